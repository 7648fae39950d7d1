//! Match values that become free: the records that were refused for them are sent after all.

use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::outbox::checksum;
use super::{JobId, Ledger, LedgerError, TargetId};
use crate::model::Fingerprint;

impl Ledger {
    /// Gives the match values that are free by now to the records of the job that were refused for them, the oldest
    /// first. Gives how many can be sent now.
    pub async fn take_free_claims(&self, target: TargetId, entity: &str, job: JobId) -> Result<u64, LedgerError> {
        let mut tx = self.write().await?;
        sqlx::query(
            "INSERT INTO match_claims (target_id, entity, value, job_id, key) \
             SELECT ?1, ?2, claim, job_id, key FROM outbox WHERE job_id = ?3 AND claim IS NOT NULL ORDER BY seq \
             ON CONFLICT DO NOTHING",
        )
        .bind(target.0)
        .bind(entity)
        .bind(job.0)
        .execute(&mut *tx)
        .await?;
        let freed = sqlx::query(
            "SELECT seq, outbox.key, fingerprint, draft, claim FROM outbox \
             CROSS JOIN match_claims ON match_claims.target_id = ?1 AND match_claims.entity = ?2 \
                 AND match_claims.value = outbox.claim AND match_claims.job_id = ?3 AND match_claims.key = outbox.key \
             WHERE outbox.job_id = ?3 AND claim IS NOT NULL",
        )
        .bind(target.0)
        .bind(entity)
        .bind(job.0)
        .fetch_all(&mut *tx)
        .await?;
        let now = self.now();
        for row in &freed {
            sqlx::query(
                "UPDATE outbox SET state = 'pending', refused = 0, match_value = claim, claim = NULL, reason = NULL, \
                 changed_at = ?2, checksum = ?3 WHERE seq = ?1",
            )
            .bind(row.try_get::<i64, _>("seq")?)
            .bind(&now)
            .bind(sealed(job, row)?.as_bytes().as_slice())
            .execute(&mut *tx)
            .await?;
        }
        tx.commit().await?;
        Ok(freed.len() as u64)
    }
}

/// The checksum of a row once it has the value that it claims.
fn sealed(job: JobId, row: &SqliteRow) -> Result<Fingerprint, LedgerError> {
    let key: &str = row.try_get("key")?;
    let fingerprint = Fingerprint::from_bytes(row.try_get("fingerprint")?)
        .ok_or_else(|| LedgerError::Corrupt { table: "outbox", key: key.to_owned() })?;
    let (draft, claim) = (row.try_get("draft")?, row.try_get("claim")?);
    Ok(checksum(job, key, &fingerprint.to_string(), draft, claim, None).finish())
}
