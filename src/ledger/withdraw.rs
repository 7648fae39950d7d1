//! Taking records out of the outbox that nobody wants to send any more, with the claims that they alone held.

use sqlx::{AssertSqlSafe, Sqlite, Transaction};

use super::rows::json_list;
use super::{JobId, Ledger, LedgerError};

/// The match value that the outbox has for the record of a claim.
pub(super) const IN_OUTBOX: &str =
    "(SELECT outbox.match_value FROM outbox WHERE outbox.job_id = ?1 AND outbox.key = own.key)";

/// Outbox rows that are looked at in one statement.
const PAGE: i64 = 1_000;

impl Ledger {
    /// The place of the newest outbox row of the job; `None` when there is none.
    pub async fn outbox_end(&self, job: JobId) -> Result<Option<i64>, LedgerError> {
        let end = sqlx::query_scalar("SELECT max(seq) FROM outbox WHERE job_id = ?1");
        Ok(end.bind(job.0).fetch_one(&self.readers).await?)
    }

    /// Withdraws the records up to the place `end` of the outbox that are not `seen`: the source has them no longer. One
    /// whose request is on its way stays, and so does a change of a linked row, unless a person would have to look at
    /// it, or `restored` says that the ledger is an older copy of itself: what it wanted may have been done since, and more.
    /// Gives their number.
    pub async fn withdraw_vanished(
        &self,
        job: JobId,
        end: i64,
        restored: bool,
        seen: impl Fn(&str) -> bool,
    ) -> Result<u64, LedgerError> {
        let (mut withdrawn, mut after) = (0, 0);
        loop {
            let rows: Vec<(i64, String)> = sqlx::query_as(
                "SELECT seq, key FROM outbox NOT INDEXED WHERE seq > ?2 AND seq <= ?3 AND job_id = ?1 AND removal IS NULL \
                 AND NOT EXISTS (SELECT 1 FROM intent WHERE intent.job_id = ?1 AND intent.key = outbox.key) \
                 AND (?5 OR state IN ('quarantined', 'conflict') \
                      OR NOT EXISTS (SELECT 1 FROM link WHERE link.job_id = ?1 AND link.key = outbox.key)) \
                 ORDER BY seq LIMIT ?4",
            )
            .bind(job.0)
            .bind(after)
            .bind(end)
            .bind(PAGE)
            .bind(restored)
            .fetch_all(&self.readers)
            .await?;
            let Some((last, _)) = rows.last() else { return Ok(withdrawn) };
            after = *last;
            let vanished: Vec<_> = rows.into_iter().map(|(_, key)| key).filter(|key| !seen(key)).collect();
            if !vanished.is_empty() {
                let mut tx = self.write().await?;
                withdraw(&mut tx, job, &vanished).await?;
                tx.commit().await?;
                withdrawn += vanished.len() as u64;
            }
        }
    }
}

/// Takes the records out of the outbox.
pub(super) async fn withdraw(
    tx: &mut Transaction<'static, Sqlite>,
    job: JobId,
    keys: &[String],
) -> Result<(), LedgerError> {
    if keys.is_empty() {
        return Ok(());
    }
    let page = json_list(keys.iter().map(String::as_str));
    sqlx::query("DELETE FROM outbox WHERE job_id = ?1 AND key IN (SELECT value FROM json_each(?2))")
        .bind(job.0)
        .bind(&page)
        .execute(&mut **tx)
        .await?;
    release(tx, job, &page, "NULL", "page.value").await
}

/// Gives up the claims of the records on `page` that are neither linked nor on their way, except the one that they keep.
pub(super) async fn release(
    tx: &mut Transaction<'static, Sqlite>,
    job: JobId,
    page: &str,
    keeps: &str,
    key: &str,
) -> Result<(), LedgerError> {
    let statement = format!(
        "DELETE FROM match_claims WHERE (target_id, entity, value) IN ( \
         SELECT own.target_id, own.entity, own.value FROM json_each(?2) AS page \
         CROSS JOIN match_claims AS own ON own.job_id = ?1 AND own.key = {key} \
         WHERE own.value IS NOT {keeps} \
         AND NOT EXISTS (SELECT 1 FROM link WHERE link.job_id = ?1 AND link.key = own.key) \
         AND NOT EXISTS (SELECT 1 FROM intent WHERE intent.job_id = ?1 AND intent.key = own.key))"
    );
    sqlx::query(AssertSqlSafe(statement)).bind(job.0).bind(page).execute(&mut **tx).await?;
    Ok(())
}
