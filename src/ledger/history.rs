//! Runs: begun, ended, and read back for people.

use sqlx::Row as _;

use super::{JobId, Ledger, LedgerError, RunId};
use crate::model::{Counters, RunResult};

/// A run that begins.
#[derive(Debug, Clone, Copy)]
pub struct RunStart<'a> {
    /// Whose pass it is.
    pub job: JobId,
    /// What set it off: `command`, `schedule`, `request`.
    pub cause: &'a str,
    /// Whether everything is read.
    pub full: bool,
}

/// A run that ended.
#[derive(Debug, Clone)]
pub struct RunEnd {
    /// How.
    pub result: RunResult,
    /// Why, when it is not done.
    pub message: Option<String>,
    /// What it counted.
    pub counters: Counters,
    /// Records without a cursor value.
    pub null_cursors: u64,
    /// Linked records that a complete full read did not find.
    pub missing: Option<u64>,
    /// Linked rows that BC no longer has, when that was looked at.
    pub vanished: Option<u64>,
    /// HTTP requests to BC.
    pub requests: u64,
}

/// A run as it is read back.
#[derive(Debug, Clone)]
pub struct EndedRun {
    /// Whose pass it was.
    pub job: JobId,
    /// Whether everything was read.
    pub full: bool,
    /// How it ended.
    pub end: RunEnd,
}

impl Ledger {
    /// Notes that a run begins.
    pub async fn begin_run(&self, start: RunStart<'_>) -> Result<RunId, LedgerError> {
        let mut tx = self.write().await?;
        let id = sqlx::query_scalar(
            "INSERT INTO run (job_id, epoch, cause, mode, started_at, result) VALUES (?1, ?2, ?3, ?4, ?5, 'running') \
             RETURNING run_id",
        )
        .bind(start.job.0)
        .bind(self.epoch)
        .bind(start.cause)
        .bind(if start.full { "full" } else { "incremental" })
        .bind(self.now())
        .fetch_one(&mut *tx)
        .await?;
        tx.commit().await?;
        self.has_begun(RunId(id))?;
        Ok(RunId(id))
    }

    /// Notes how a run ended.
    pub async fn end_run(&self, run: RunId, end: &RunEnd) -> Result<(), LedgerError> {
        let mut query = sqlx::query(
            "UPDATE run SET finished_at = ?2, result = ?3, message = ?4, null_cursors = ?5, missing = ?6, requests = ?7, \
             read = ?8, unchanged = ?9, filtered = ?10, queued = ?11, staged = ?12, refused = ?13, taken = ?14, \
             created = ?15, adopted = ?16, updated = ?17, equal = ?18, closed = ?19, deleted = ?20, \
             blocked = ?21, waiting = ?22, pending = ?23, held = ?24, locked = ?25, conflict = ?26, quarantined = ?27, \
             vanished = ?28 WHERE run_id = ?1",
        )
        .bind(run.0)
        .bind(self.now())
        .bind(end.result.as_str())
        .bind(&end.message)
        .bind(signed(end.null_cursors))
        .bind(end.missing.map(signed))
        .bind(signed(end.requests));
        for (_, count) in end.counters.named() {
            query = query.bind(signed(count));
        }
        let mut tx = self.write().await?;
        query.bind(end.vanished.map(signed)).execute(&mut *tx).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Notes a pass that could not be begun, of a job that has run before.
    pub async fn record_failure(
        &self,
        job: &str,
        cause: &str,
        result: RunResult,
        message: &str,
    ) -> Result<(), LedgerError> {
        let mut tx = self.write().await?;
        sqlx::query(
            "INSERT INTO run (job_id, epoch, cause, mode, started_at, finished_at, result, message) \
             SELECT job_id, ?2, ?3, 'incremental', ?4, ?4, ?5, ?6 FROM job WHERE name = ?1",
        )
        .bind(job)
        .bind(self.epoch)
        .bind(cause)
        .bind(self.now())
        .bind(result.as_str())
        .bind(message)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(())
    }

    /// Marks what is still running of `job` as ended: its pass was given up.
    pub async fn give_up_runs(&self, job: &str, result: RunResult, message: &str) -> Result<(), LedgerError> {
        let mut tx = self.write().await?;
        sqlx::query(
            "UPDATE run SET finished_at = ?2, result = ?3, message = ?4 \
             WHERE result = 'running' AND job_id = (SELECT job_id FROM job WHERE name = ?1)",
        )
        .bind(job)
        .bind(self.now())
        .bind(result.as_str())
        .bind(message)
        .execute(&mut *tx)
        .await?;
        Ok(tx.commit().await?)
    }

    /// A run that ended; `None` when it has not, or is no longer there.
    pub async fn ended_run(&self, run: RunId) -> Result<Option<EndedRun>, LedgerError> {
        let row = sqlx::query("SELECT * FROM run WHERE run_id = ?1").bind(run.0).fetch_optional(&self.readers).await?;
        let Some(row) = row else { return Ok(None) };
        let Some(result) = RunResult::parse(row.get("result")) else { return Ok(None) };
        let count = |name: &str| row.get::<Option<i64>, _>(name).and_then(|count| u64::try_from(count).ok());
        let end = RunEnd {
            result,
            message: row.get("message"),
            counters: Counters::of(|name| count(name).unwrap_or_default()),
            null_cursors: count("null_cursors").unwrap_or_default(),
            missing: count("missing"),
            vanished: count("vanished"),
            requests: count("requests").unwrap_or_default(),
        };
        Ok(Some(EndedRun { job: JobId(row.get("job_id")), full: row.get::<&str, _>("mode") == "full", end }))
    }

    /// Removes runs and changes that are older than `keep`; links and the newest run of each job stay. Gives how many
    /// runs were removed.
    pub async fn prune_history(&self, keep: std::time::Duration) -> Result<u64, LedgerError> {
        let keep = chrono::Duration::from_std(keep).unwrap_or(chrono::Duration::MAX);
        let Some(before) = self.clock.now().checked_sub_signed(keep).map(crate::clock::iso) else { return Ok(0) };
        let mut tx = self.write().await?;
        let old = "SELECT run_id FROM run WHERE started_at < ?1 \
                   AND run_id NOT IN (SELECT max(run_id) FROM run GROUP BY job_id) \
                   AND run_id NOT IN (SELECT run_id FROM intent) AND run_id NOT IN (SELECT run_id FROM held_plan)";
        let changes = sqlx::AssertSqlSafe(format!("DELETE FROM change WHERE run_id IN ({old})"));
        sqlx::query(changes).bind(&before).execute(&mut *tx).await?;
        let runs = sqlx::AssertSqlSafe(format!("DELETE FROM run WHERE run_id IN ({old})"));
        let pruned = sqlx::query(runs).bind(&before).execute(&mut *tx).await?.rows_affected();
        sqlx::query("DELETE FROM requests WHERE finished_at < ?1").bind(&before).execute(&mut *tx).await?;
        crate::fault!("K14: inside the pruning of history");
        tx.commit().await?;
        Ok(pruned)
    }
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
