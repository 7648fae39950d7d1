//! Setting the clocks of records that are not to be tried before a certain time.
//!
//! States change when the records are taken up. Only lost creates of records that a person names are forgotten at once: that
//! says that none of the rows in question is theirs.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::AssertSqlSafe;

use super::rows::json_list;
use super::{JobId, Ledger, LedgerError};
use crate::clock;
use crate::model::Retried;

impl Ledger {
    /// Puts off by `after` all quarantined and waiting records of the job with this `error` that were due at `as_of`:
    /// one of them was tried, and it was still there.
    pub async fn put_off(
        &self,
        job: JobId,
        error: &str,
        as_of: DateTime<Utc>,
        after: Duration,
    ) -> Result<(), LedgerError> {
        let until = TimeDelta::from_std(after).ok().and_then(|after| self.clock.now().checked_add_signed(after));
        let mut tx = self.write().await?;
        sqlx::query("UPDATE outbox SET retry_at = ?4 WHERE job_id = ?1 AND error = ?2 AND retry_at <= ?3")
            .bind(job.0)
            .bind(error)
            .bind(clock::iso(as_of))
            .bind(until.map(clock::iso))
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(())
    }

    /// Makes the quarantined, waiting and locked records of the job due now; those of `keys` only, when there are any.
    /// Records that are named are tried one by one, whatever others have the same error; that a person names one says
    /// also that none of the rows is its own that could be what its lost create has made.
    pub async fn retry(&self, job: JobId, keys: &[String]) -> Result<Retried, LedgerError> {
        let named = json_list(keys.iter().map(String::as_str));
        let stuck = "job_id = ?1 AND state IN ('quarantined', 'waiting', 'locked')";
        let mut tx = self.write().await?;
        let missing = format!(
            "SELECT value FROM json_each(?2) WHERE value NOT IN (SELECT key FROM outbox WHERE {stuck}) ORDER BY value"
        );
        let missing: Vec<String> =
            sqlx::query_scalar(AssertSqlSafe(missing)).bind(job.0).bind(&named).fetch_all(&mut *tx).await?;
        if !missing.is_empty() {
            return Ok(Retried { missing, ..Retried::default() });
        }
        let chosen = format!("{stuck} AND (json_array_length(?2) = 0 OR key IN (SELECT value FROM json_each(?2)))");
        let refused = format!("SELECT count(*) FROM outbox WHERE {chosen} AND refused");
        let refused: i64 =
            sqlx::query_scalar(AssertSqlSafe(refused)).bind(job.0).bind(&named).fetch_one(&mut *tx).await?;
        sqlx::query(
            "DELETE FROM intent WHERE job_id = ?1 AND kind = 'create' AND key IN (SELECT value FROM json_each(?2)) \
             AND EXISTS (SELECT 1 FROM outbox WHERE outbox.job_id = ?1 AND outbox.key = intent.key \
                         AND outbox.state = 'quarantined' AND outbox.retry_at IS NULL AND NOT outbox.refused)",
        )
        .bind(job.0)
        .bind(&named)
        .execute(&mut *tx)
        .await?;
        let due = format!(
            "UPDATE outbox SET retry_at = ?3, waiting_since = NULL, error = iif(json_array_length(?2) = 0, error, NULL) \
             WHERE {chosen} AND NOT refused"
        );
        let due = sqlx::query(AssertSqlSafe(due)).bind(job.0).bind(&named).bind(self.now()).execute(&mut *tx).await?;
        tx.commit().await?;
        Ok(Retried { due: due.rows_affected(), refused: refused.unsigned_abs(), missing })
    }
}
