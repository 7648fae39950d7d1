//! `tokio-cron-scheduler`, used for what it does well: to set off what [`Ticks`] says is due.
//!
//! Its jobs only ring a bell. They cannot fail, block or panic, so none of them can hold up another or be dropped by the
//! crate; passes are made elsewhere. There is one scheduler in a process: its tasks never end.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio_cron_scheduler::{
    JobBuilder, JobScheduler, JobSchedulerError, SimpleJobCode, SimpleNotificationCode, SimpleNotificationStore,
};

use super::ticks::{Ticks, Triggers, id};

/// Messages between the tasks of the crate, for which it keeps room from the beginning. One at a time is all that is sent.
const CHANNEL: usize = 16;

/// How long the crate may take to take up a job.
const ADDED_WITHIN: Duration = Duration::from_secs(10);

/// Why jobs cannot be scheduled.
#[derive(Debug, thiserror::Error)]
pub enum SchedulerError {
    /// The crate.
    #[error("the scheduler failed: {0}")]
    Failed(#[from] JobSchedulerError),
    /// It does not answer.
    #[error("the scheduler did not take up job {job} within {} s", ADDED_WITHIN.as_secs())]
    Silent {
        /// Which job.
        job: String,
    },
}

/// The scheduler of the process.
pub(super) struct Scheduler {
    crates: JobScheduler,
    ticks: Ticks,
    bell: Arc<Notify>,
}

impl Scheduler {
    /// Starts without any job.
    pub(super) async fn start(ticks: Ticks) -> Result<Self, SchedulerError> {
        let crates = JobScheduler::new_with_storage_and_code(
            Box::new(ticks.clone()),
            Box::<SimpleNotificationStore>::default(),
            Box::<SimpleJobCode>::default(),
            Box::<SimpleNotificationCode>::default(),
            CHANNEL,
        )
        .await?;
        crates.start().await?;
        Ok(Self { crates, ticks, bell: Arc::new(Notify::new()) })
    }

    /// Schedules a job, or changes when it is due.
    pub(super) async fn set(&self, job: &str, triggers: &Triggers) -> Result<(), SchedulerError> {
        let is_new = self.ticks.set(job, triggers);
        if !is_new {
            return Ok(());
        }
        let bell = self.bell.clone();
        let ring = move |_, _| {
            bell.notify_one();
            Box::pin(std::future::ready(())) as std::pin::Pin<Box<dyn Future<Output = ()> + Send>>
        };
        // The expression is a placeholder: the store decides.
        let builder = JobBuilder::new().with_job_id(id(job).into()).with_cron_job_type();
        let entry = builder.with_schedule("* * * * * *")?.with_run_async(Box::new(ring)).build()?;
        // One after the other: the crate loses some of many that are added at once.
        let added = tokio::time::timeout(ADDED_WITHIN, self.crates.add(entry)).await;
        added.map_err(|_| SchedulerError::Silent { job: job.to_owned() })??;
        Ok(())
    }

    /// Takes a job off the schedule.
    pub(super) async fn remove(&self, job: &str) -> Result<(), SchedulerError> {
        Ok(self.crates.remove(&id(job)).await?)
    }

    /// Waits until something is due.
    pub(super) async fn due(&self) {
        self.bell.notified().await;
    }

    /// Sets off nothing any more.
    pub(super) async fn stop(&mut self) {
        // Only a scheduler that was never started refuses.
        let _ = self.crates.shutdown().await;
    }
}
