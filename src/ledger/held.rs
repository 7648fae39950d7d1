//! What the brake held, and what a person approved of it.
//!
//! An approval is a ceiling and no licence: whatever later runs do counts against it, until one of them goes through.

use chrono::{DateTime, Utc};
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Row as _};

use super::checksum::Checksum;
use super::outbox::DUE;
use super::rows::json_list;
use super::{JobId, Ledger, LedgerError, RunId};
use crate::model::{Counts, Fingerprint, Plan, RecordState};

/// The plan of a run that was held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeldPlan {
    /// The run.
    pub run: RunId,
    /// What it was about to do.
    pub plan: Plan,
    /// Whether a person approved it.
    pub approved: bool,
}

impl Ledger {
    /// The plan that the brake held at the last run of the job, if it did.
    pub async fn held_plan(&self, job: JobId) -> Result<Option<HeldPlan>, LedgerError> {
        let row = sqlx::query("SELECT * FROM held_plan WHERE job_id = ?1").bind(job.0);
        row.fetch_optional(&self.readers).await?.as_ref().map(read).transpose()
    }

    /// What was done in runs of the job after `run`.
    pub async fn done_since(&self, job: JobId, run: RunId) -> Result<Counts, LedgerError> {
        let (creates, updates, deletes, closes) = sqlx::query_as(
            "SELECT count(*) FILTER (WHERE outcome = 'created'), \
                    count(*) FILTER (WHERE outcome IN ('adopted', 'updated')), \
                    count(*) FILTER (WHERE outcome IN ('deleted', 'blocked')), \
                    count(*) FILTER (WHERE outcome = 'closed') \
             FROM run CROSS JOIN change ON change.run_id = run.run_id WHERE run.job_id = ?1 AND run.run_id > ?2",
        )
        .bind(job.0)
        .bind(run.0)
        .fetch_one(&self.readers)
        .await?;
        Ok(counts([creates, updates, deletes, closes]))
    }

    /// Holds everything of the job that is about to be sent at the time `as_of`, for `reason`, and keeps `plan` for a
    /// person to approve. Gives how many records are due, by the states that they are left in.
    pub async fn hold(
        &self,
        job: JobId,
        run: RunId,
        plan: &Plan,
        reason: &str,
        as_of: DateTime<Utc>,
    ) -> Result<Vec<(RecordState, u64)>, LedgerError> {
        let mut tx = self.write().await?;
        note(&mut tx, job, run, plan).await?;
        sqlx::query(
            "UPDATE outbox SET state = 'held', reason = ?2, changed_at = ?3 \
             WHERE job_id = ?1 AND state IN ('pending', 'held') AND reason IS NOT ?2 AND NOT refused \
             AND NOT EXISTS (SELECT 1 FROM intent WHERE intent.job_id = outbox.job_id AND intent.key = outbox.key)",
        )
        .bind(job.0)
        .bind(reason)
        .bind(self.now())
        .execute(&mut *tx)
        .await?;
        let statement = format!("SELECT state, count(*) FROM outbox WHERE job_id = ?1 AND {DUE} GROUP BY state");
        let states: Vec<(String, i64)> = sqlx::query_as(AssertSqlSafe(statement))
            .bind(job.0)
            .bind(crate::clock::iso(as_of))
            .fetch_all(&mut *tx)
            .await?;
        tx.commit().await?;
        let known = |(state, count): &(String, i64)| Some((RecordState::parse(state)?, count.unsigned_abs()));
        Ok(states.iter().filter_map(known).collect())
    }

    /// Holds the records of the job that are due at the time `as_of` and have one of these `errors`, which is no longer in
    /// their way, and keeps `plan` for a person to approve. Gives how many there are.
    pub async fn hold_followers(
        &self,
        job: JobId,
        run: RunId,
        plan: &Plan,
        errors: &[String],
        reason: &str,
        as_of: DateTime<Utc>,
    ) -> Result<u64, LedgerError> {
        let mut tx = self.write().await?;
        note(&mut tx, job, run, plan).await?;
        let statement = format!(
            "UPDATE outbox SET state = 'held', reason = ?3, code = NULL, correlation_id = NULL, error = NULL, \
             retry_at = NULL, changed_at = ?4 \
             WHERE job_id = ?1 AND state IN ('quarantined', 'waiting') AND error IN (SELECT value FROM json_each(?5)) \
             AND {DUE}"
        );
        let held = sqlx::query(AssertSqlSafe(statement))
            .bind(job.0)
            .bind(crate::clock::iso(as_of))
            .bind(reason)
            .bind(self.now())
            .bind(json_list(errors.iter().map(String::as_str)))
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(held.rows_affected())
    }

    /// Keeps `plan` for a person to approve; its records are held already.
    pub async fn note_held(&self, job: JobId, run: RunId, plan: &Plan) -> Result<(), LedgerError> {
        let mut tx = self.write().await?;
        note(&mut tx, job, run, plan).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Lets everything of the job go that was held. An approval stays until [`Ledger::end_hold`].
    pub async fn resume(&self, job: JobId) -> Result<(), LedgerError> {
        let mut tx = self.write().await?;
        sqlx::query(
            "UPDATE outbox SET state = 'pending', reason = NULL, changed_at = ?2 WHERE job_id = ?1 AND state = 'held'",
        )
        .bind(job.0)
        .bind(self.now())
        .execute(&mut *tx)
        .await?;
        sqlx::query("DELETE FROM held_plan WHERE job_id = ?1 AND approved_at IS NULL")
            .bind(job.0)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(())
    }

    /// Forgets the plan that was held, and its approval: a run went through.
    pub async fn end_hold(&self, job: JobId) -> Result<(), LedgerError> {
        let mut tx = self.write().await?;
        sqlx::query("DELETE FROM held_plan WHERE job_id = ?1").bind(job.0).execute(&mut *tx).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Approves `plan`, when it is the one that is held; whether it is.
    pub async fn approve(&self, job: JobId, plan: Fingerprint) -> Result<bool, LedgerError> {
        let held = self.held_plan(job).await?.filter(|held| held.plan.fingerprint == plan);
        let Some(held) = held else { return Ok(false) };
        if held.approved {
            return Ok(true);
        }
        let now = self.now();
        let mut tx = self.write().await?;
        let approved = sqlx::query(
            "UPDATE held_plan SET approved_at = ?4, checksum = ?5 WHERE job_id = ?1 AND run_id = ?2 AND plan = ?3",
        )
        .bind(job.0)
        .bind(held.run.0)
        .bind(plan.as_bytes().as_slice())
        .bind(&now)
        .bind(checksum(job, held.run, &held.plan, Some(&now)).finish().as_bytes().as_slice())
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(approved.rows_affected() > 0)
    }
}

/// Reads a row of the table, with all its columns.
pub(super) fn read(row: &SqliteRow) -> Result<HeldPlan, LedgerError> {
    let (job, run) = (JobId(row.try_get("job_id")?), RunId(row.try_get("run_id")?));
    let corrupt = || LedgerError::Corrupt { table: "held_plan", key: job.0.to_string() };
    let fingerprint = Fingerprint::from_bytes(row.try_get("plan")?).ok_or_else(corrupt)?;
    let counts =
        counts([row.try_get("creates")?, row.try_get("updates")?, row.try_get("deletes")?, row.try_get("closes")?]);
    let (plan, approved_at) = (Plan { counts, fingerprint }, row.try_get("approved_at")?);
    checksum(job, run, &plan, approved_at).verify(row.try_get("checksum")?, "held_plan", &job.0.to_string())?;
    Ok(HeldPlan { run, plan, approved: approved_at.is_some() })
}

fn checksum(job: JobId, run: RunId, plan: &Plan, approved_at: Option<&str>) -> Checksum {
    let sum = Checksum::of_job("held_plan", job).number(run.0).text(&plan.fingerprint.to_string());
    let Counts { creates, updates, deletes, closes } = plan.counts;
    [creates, updates, deletes, closes].map(signed).into_iter().fold(sum, Checksum::number).nullable(approved_at)
}

async fn note(
    tx: &mut sqlx::Transaction<'static, sqlx::Sqlite>,
    job: JobId,
    run: RunId,
    plan: &Plan,
) -> Result<(), LedgerError> {
    sqlx::query(
        "INSERT OR REPLACE INTO held_plan (job_id, run_id, plan, creates, updates, deletes, closes, checksum) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )
    .bind(job.0)
    .bind(run.0)
    .bind(plan.fingerprint.as_bytes().as_slice())
    .bind(signed(plan.counts.creates))
    .bind(signed(plan.counts.updates))
    .bind(signed(plan.counts.deletes))
    .bind(signed(plan.counts.closes))
    .bind(checksum(job, run, plan, None).finish().as_bytes().as_slice())
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// A count as the table holds it.
fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn counts([creates, updates, deletes, closes]: [i64; 4]) -> Counts {
    Counts {
        creates: creates.unsigned_abs(),
        updates: updates.unsigned_abs(),
        deletes: deletes.unsigned_abs(),
        closes: closes.unsigned_abs(),
    }
}
