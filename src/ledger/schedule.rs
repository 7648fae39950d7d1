//! How far the schedule of each job was kept, so that a restarted process knows what it missed.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sqlx::Row as _;

use super::{Ledger, LedgerError};
use crate::clock::iso;

/// How far the schedule of a job was kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptSchedule {
    /// The schedules that were in force, as text.
    pub triggers: String,
    /// Passes that were due up to here are over.
    pub pass_until: DateTime<Utc>,
    /// The same of passes that read everything.
    pub full_until: DateTime<Utc>,
}

impl Ledger {
    /// How far the schedule of each job was kept, by the job's name. What cannot be read counts as never kept.
    pub async fn kept_schedules(&self) -> Result<BTreeMap<String, KeptSchedule>, LedgerError> {
        let rows = sqlx::query("SELECT job, triggers, pass_until, full_until FROM schedule").fetch_all(&self.readers);
        let time = |text: String| text.parse::<DateTime<Utc>>().ok();
        let kept = rows.await?.into_iter().filter_map(|row| {
            let pass_until = time(row.get("pass_until"))?;
            let full_until = time(row.get("full_until"))?;
            Some((row.get("job"), KeptSchedule { triggers: row.get("triggers"), pass_until, full_until }))
        });
        Ok(kept.collect())
    }

    /// Notes how far the schedule of `job` was kept.
    pub async fn keep_schedule(&self, job: &str, kept: &KeptSchedule) -> Result<(), LedgerError> {
        let mut tx = self.write().await?;
        sqlx::query(
            "INSERT INTO schedule (job, triggers, pass_until, full_until) VALUES (?1, ?2, ?3, ?4) ON CONFLICT (job) \
             DO UPDATE SET triggers = ?2, pass_until = ?3, full_until = ?4",
        )
        .bind(job)
        .bind(&kept.triggers)
        .bind(iso(kept.pass_until))
        .bind(iso(kept.full_until))
        .execute(&mut *tx)
        .await?;
        Ok(tx.commit().await?)
    }

    /// Counts a time of the schedule that was left out because a pass of the job was still running.
    pub async fn count_skipped(&self, job: &str) -> Result<(), LedgerError> {
        let mut tx = self.write().await?;
        sqlx::query("UPDATE schedule SET skipped = skipped + 1, skipped_at = ?2 WHERE job = ?1")
            .bind(job)
            .bind(self.now())
            .execute(&mut *tx)
            .await?;
        Ok(tx.commit().await?)
    }

    /// Forgets the schedule of a job that is no longer scheduled, so that nothing counts as missed should it come back.
    pub async fn forget_schedule(&self, job: &str) -> Result<(), LedgerError> {
        let mut tx = self.write().await?;
        sqlx::query("DELETE FROM schedule WHERE job = ?1").bind(job).execute(&mut *tx).await?;
        Ok(tx.commit().await?)
    }
}
