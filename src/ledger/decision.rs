//! What a person decides about a conflict. The next pass acts on it.

use super::{JobId, Ledger, LedgerError};
use crate::model::Take;

/// What became of a decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decided {
    /// It stands.
    Noted,
    /// The record is in no conflict; its state, if it has one.
    NoConflict(Option<String>),
    /// There is nothing of the source's to send.
    NothingToSend,
}

impl Ledger {
    /// Decides the conflict of a record.
    pub async fn decide(&self, job: JobId, key: &str, take: Take) -> Result<Decided, LedgerError> {
        let mut tx = self.write().await?;
        let row: Option<(String, Option<String>)> =
            sqlx::query_as("SELECT state, seen_etag FROM outbox WHERE job_id = ?1 AND key = ?2")
                .bind(job.0)
                .bind(key)
                .fetch_optional(&mut *tx)
                .await?;
        match row {
            Some((state, etag)) if state == "conflict" => {
                if take == Take::Source && etag.is_none() {
                    return Ok(Decided::NothingToSend);
                }
            }
            other => return Ok(Decided::NoConflict(other.map(|(state, _)| state))),
        }
        sqlx::query(
            "UPDATE outbox SET state = 'pending', decision = ?3, changed_at = ?4, reason = ?5 WHERE job_id = ?1 AND key = ?2",
        )
        .bind(job.0)
        .bind(key)
        .bind(take.as_str())
        .bind(self.now())
        .bind(take.told())
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(Decided::Noted)
    }
}
