//! What alerts go by: what is wrong at the moment, and what people were told of it.
//!
//! Nothing here names a record or holds a value of one: jobs, counts and times.

use chrono::{DateTime, Utc};
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::file::beside;
use super::{Ledger, LedgerError, held};
use crate::clock::iso;
use crate::model::{Plan, RunResult};

/// A job whose last pass failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailingJob {
    /// Its name.
    pub job: String,
    /// When the first of the passes ended that failed in a row.
    pub since: DateTime<Utc>,
    /// How many they are.
    pub passes: u64,
    /// How the last one ended.
    pub result: RunResult,
}

/// A job that the brake holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldJob {
    /// Its name.
    pub job: String,
    /// When the pass began that was held last.
    pub since: DateTime<Utc>,
    /// What it was about to do.
    pub plan: Plan,
}

/// A job with records that have been pending for long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobBacklog {
    /// Its name.
    pub job: String,
    /// When the record that comes first was read.
    pub since: DateTime<Utc>,
    /// How many are pending.
    pub pending: u64,
}

/// What is wrong at the moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Troubles {
    /// Jobs whose last pass failed.
    pub failing: Vec<FailingJob>,
    /// Jobs that the brake holds.
    pub held: Vec<HeldJob>,
    /// Jobs with links that were closed unexplained, and how many.
    pub closed_unexplained: Vec<(String, u64)>,
    /// Jobs with records that have been pending for long.
    pub backlogs: Vec<JobBacklog>,
    /// The length of the write-ahead log, in bytes.
    pub wal: u64,
}

/// Something that people were told of, and not yet of its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToldAlert {
    /// What is wrong.
    pub condition: String,
    /// The job or target that it is about; empty for the ledger.
    pub subject: String,
    /// How bad it was.
    pub level: u64,
    /// When it began.
    pub since: DateTime<Utc>,
}

impl Ledger {
    /// Notes how a pass of `job` ended, for [`Ledger::troubles`]. One that was interrupted says nothing about the job.
    pub async fn note_pass(&self, job: &str, result: RunResult) -> Result<(), LedgerError> {
        if result == RunResult::Interrupted {
            return Ok(());
        }
        if result.is_failure() {
            let mut tx = self.write().await?;
            sqlx::query(
                "INSERT INTO failing (job, since, passes, result) VALUES (?1, ?2, 1, ?3) \
                 ON CONFLICT (job) DO UPDATE SET passes = passes + 1, result = ?3",
            )
            .bind(job)
            .bind(self.now())
            .bind(result.as_str())
            .execute(&mut *tx)
            .await?;
            return Ok(tx.commit().await?);
        }
        // Most passes follow a good one, and looking costs no writing transaction.
        let failing = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM failing WHERE job = ?1)").bind(job);
        if failing.fetch_one(&self.readers).await? {
            let mut tx = self.write().await?;
            sqlx::query("DELETE FROM failing WHERE job = ?1").bind(job).execute(&mut *tx).await?;
            tx.commit().await?;
        }
        Ok(())
    }

    /// What is wrong at the moment. Pending records count as a backlog when the first of their job was read before
    /// `pending_before`.
    pub async fn troubles(&self, pending_before: DateTime<Utc>) -> Result<Troubles, LedgerError> {
        let failing = sqlx::query("SELECT job, since, passes, result FROM failing ORDER BY job");
        let held = sqlx::query(
            "SELECT job.name AS job, run.started_at AS since, held_plan.* \
             FROM held_plan JOIN run USING (run_id) JOIN job ON job.job_id = held_plan.job_id ORDER BY job.name",
        );
        let unexplained = sqlx::query_as(
            "SELECT job.name, count(*) FROM link_detail INDEXED BY link_unexplained \
             CROSS JOIN link USING (link_id) CROSS JOIN job USING (job_id) \
             WHERE link_detail.state = 'unexplained' GROUP BY job.name ORDER BY job.name",
        );
        // By seq, because the oldest stamp would have to be looked for in every row.
        let backlogs = sqlx::query(
            "WITH first AS (SELECT job.job_id, job.name AS job, \
                                   (SELECT staged_at FROM outbox WHERE outbox.job_id = job.job_id \
                                    AND outbox.state = 'pending' ORDER BY seq LIMIT 1) AS since FROM job) \
             SELECT job, since, (SELECT count(*) FROM outbox WHERE outbox.job_id = first.job_id \
                                 AND outbox.state = 'pending') AS pending \
             FROM first WHERE since < ?1 ORDER BY job",
        );
        let unexplained: Vec<(String, i64)> = unexplained.fetch_all(&self.readers).await?;
        let all = |rows: Vec<SqliteRow>| rows.into_iter();
        Ok(Troubles {
            failing: all(failing.fetch_all(&self.readers).await?)
                .map(|row| {
                    let corrupt = || LedgerError::Corrupt { table: "failing", key: row.get("job") };
                    Ok(FailingJob {
                        job: row.get("job"),
                        since: time(&row, "failing", "job")?,
                        passes: count(&row, "passes"),
                        result: RunResult::parse(row.get("result")).ok_or_else(corrupt)?,
                    })
                })
                .collect::<Result<_, LedgerError>>()?,
            held: all(held.fetch_all(&self.readers).await?)
                .map(|row| {
                    let since = time(&row, "run", "job")?;
                    Ok(HeldJob { job: row.get("job"), since, plan: held::read(&row)?.plan })
                })
                .collect::<Result<_, LedgerError>>()?,
            closed_unexplained: unexplained.into_iter().map(|(job, count)| (job, count.unsigned_abs())).collect(),
            backlogs: all(backlogs.bind(iso(pending_before)).fetch_all(&self.readers).await?)
                .map(|row| {
                    let since = time(&row, "outbox", "job")?;
                    Ok(JobBacklog { job: row.get("job"), since, pending: count(&row, "pending") })
                })
                .collect::<Result<_, LedgerError>>()?,
            wal: std::fs::metadata(beside(&self.options.path, "-wal")).map_or(0, |meta| meta.len()),
        })
    }

    /// What people were told of by `channel`, and not yet of its end.
    pub async fn told_alerts(&self, channel: &str) -> Result<Vec<ToldAlert>, LedgerError> {
        let rows = sqlx::query("SELECT condition, subject, level, since FROM told_alert WHERE channel = ?1")
            .bind(channel)
            .fetch_all(&self.readers)
            .await?;
        let told = |row: &SqliteRow| {
            Ok(ToldAlert {
                condition: row.get("condition"),
                subject: row.get("subject"),
                level: count(row, "level"),
                since: time(row, "told_alert", "subject")?,
            })
        };
        rows.iter().map(told).collect()
    }

    /// Notes what people were told of by `channel`.
    pub async fn note_told(&self, channel: &str, told: &ToldAlert) -> Result<(), LedgerError> {
        let mut tx = self.write().await?;
        sqlx::query(
            "INSERT OR REPLACE INTO told_alert (channel, condition, subject, level, since) VALUES (?1, ?2, ?3, ?4, ?5)",
        )
        .bind(channel)
        .bind(&told.condition)
        .bind(&told.subject)
        .bind(i64::try_from(told.level).unwrap_or(i64::MAX))
        .bind(iso(told.since))
        .execute(&mut *tx)
        .await?;
        Ok(tx.commit().await?)
    }

    /// Forgets what people were told of by `channel`: its end was told as well, or concerns nobody any more.
    pub async fn forget_told(&self, channel: &str, condition: &str, subject: &str) -> Result<(), LedgerError> {
        let mut tx = self.write().await?;
        sqlx::query("DELETE FROM told_alert WHERE channel = ?1 AND condition = ?2 AND subject = ?3")
            .bind(channel)
            .bind(condition)
            .bind(subject)
            .execute(&mut *tx)
            .await?;
        Ok(tx.commit().await?)
    }
}

/// Since when, of a row of `table` about what its column `key` names.
fn time(row: &SqliteRow, table: &'static str, key: &str) -> Result<DateTime<Utc>, LedgerError> {
    let corrupt = |_| LedgerError::Corrupt { table, key: row.get(key) };
    row.get::<&str, _>("since").parse().map_err(corrupt)
}

fn count(row: &SqliteRow, name: &str) -> u64 {
    row.get::<i64, _>(name).unsigned_abs()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use chrono::TimeDelta;

    use super::*;
    use crate::clock::{Clock as _, ManualClock};
    use crate::ledger::OpenOptions;

    #[tokio::test]
    async fn failures_in_a_row_are_counted_until_a_pass_goes_well() {
        let folder = tempfile::tempdir().unwrap();
        let options = OpenOptions { path: folder.path().join("ledger.db"), store_values: true, redact: Vec::new() };
        let clock = Arc::new(ManualClock::new("2026-06-01T12:00:00Z".parse().unwrap()));
        let ledger = Ledger::open(options, clock.clone()).await.unwrap();
        let failing = async || ledger.troubles(clock.now()).await.unwrap().failing;
        let since = clock.now();
        for (passes, result) in [(1, RunResult::Failed), (2, RunResult::Denied), (3, RunResult::Refused)] {
            ledger.note_pass("orders", result).await.unwrap();
            // Neither of these says anything about orders.
            ledger.note_pass("orders", RunResult::Interrupted).await.unwrap();
            ledger.note_pass("customers", RunResult::Done).await.unwrap();
            assert_eq!(failing().await, [FailingJob { job: "orders".to_owned(), since, passes, result }]);
            clock.advance(TimeDelta::hours(1));
        }
        for good in [RunResult::Done, RunResult::Attention, RunResult::Held] {
            ledger.note_pass("orders", good).await.unwrap();
            assert_eq!(failing().await, []);
            ledger.note_pass("orders", RunResult::Failed).await.unwrap();
            assert_eq!(failing().await[0].passes, 1);
        }
        ledger.close().await;
    }

    #[tokio::test]
    async fn what_was_told_is_remembered_by_channel() {
        let folder = tempfile::tempdir().unwrap();
        let options = OpenOptions { path: folder.path().join("ledger.db"), store_values: true, redact: Vec::new() };
        let ledger = Ledger::open(options, Arc::new(ManualClock::new(DateTime::UNIX_EPOCH))).await.unwrap();
        let told = |level| ToldAlert {
            condition: "held".to_owned(),
            subject: "orders".to_owned(),
            level,
            since: DateTime::UNIX_EPOCH,
        };
        ledger.note_told("command", &told(1)).await.unwrap();
        ledger.note_told("command", &told(7)).await.unwrap();
        ledger.note_told("webhook", &told(2)).await.unwrap();
        assert_eq!(ledger.told_alerts("command").await.unwrap(), [told(7)]);
        ledger.forget_told("command", "held", "orders").await.unwrap();
        assert_eq!(ledger.told_alerts("command").await.unwrap(), []);
        assert_eq!(ledger.told_alerts("webhook").await.unwrap(), [told(2)]);
        ledger.close().await;
    }

    /// As long as somebody reads an old state of the file, nothing of the log can be carried over.
    #[tokio::test]
    async fn the_log_grows_while_somebody_keeps_it_open_and_is_short_afterwards() {
        let folder = tempfile::tempdir().unwrap();
        let options = OpenOptions { path: folder.path().join("ledger.db"), store_values: true, redact: Vec::new() };
        let ledger = Ledger::open(options, Arc::new(ManualClock::new(DateTime::UNIX_EPOCH))).await.unwrap();
        let wal = async || ledger.troubles(DateTime::UNIX_EPOCH).await.unwrap().wal;
        let fill = async |name: &str| {
            let mut tx = ledger.write().await.unwrap();
            let insert = "INSERT INTO meta (name, value) VALUES (?1, hex(zeroblob(35 << 20)))";
            sqlx::query(insert).bind(name).execute(&mut *tx).await.unwrap();
            tx.commit().await.unwrap();
        };
        let mut reader = ledger.readers.begin_with("BEGIN").await.unwrap();
        sqlx::query("SELECT count(*) FROM meta").fetch_one(&mut *reader).await.unwrap();
        fill("long").await;
        assert!(wal().await > 64 << 20);
        reader.rollback().await.unwrap();
        for _ in 0..2 {
            ledger.note_pass("orders", RunResult::Failed).await.unwrap();
        }
        assert!(wal().await <= 64 << 20, "{}", wal().await);
        ledger.close().await;
    }
}
