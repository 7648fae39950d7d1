//! What to do when another process holds the ledger: ask it, and follow the request to its end.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::pass::JobFailure;
use super::{App, AppError};
use crate::config::Job;
use crate::ledger::{Asking, Ledger, LedgerError, NewRequest, RequestEnd, RequestProgress};
use crate::sync::Report;

/// How long the holder may take to take up a request. It looks twice a second.
const TAKEN_WITHIN: Duration = Duration::from_secs(10);

/// How often the progress of a request is looked at.
const LOOK: Duration = Duration::from_millis(200);

/// How often it is looked at whether the holder is still there.
const LOOK_FOR_HOLDER: Duration = Duration::from_secs(2);

impl App<'_> {
    /// Asks the process that holds the ledger, which was found `busy`, for `requests`; hands over the end of each one, in
    /// their order.
    ///
    /// # Errors
    /// When that process takes no requests, did not take them up in time or before it ended, or ended meanwhile.
    pub(super) async fn ask(
        &self,
        busy: AppError,
        requests: &[NewRequest],
        cancel: &CancellationToken,
        mut ended: impl AsyncFnMut(usize, RequestEnd) -> Result<(), AppError>,
    ) -> Result<(), AppError> {
        let Some(asking) = Asking::open(self.ledger_options(), self.clock.clone()).await? else { return Err(busy) };
        let Some(ids) = asking.ask(requests).await? else { return Err(busy) };
        let (asked, mut looked) = (Instant::now(), Instant::now());
        let mut over = 0;
        while over < ids.len() {
            match asking.progress(ids[over]).await? {
                RequestProgress::Finished(end) => {
                    ended(over, end).await?;
                    over += 1;
                    continue;
                }
                RequestProgress::Gone => return Err(AppError::NotTaken),
                RequestProgress::Asked
                    if asked.elapsed() > TAKEN_WITHIN && asking.withdraw(&ids[over..]).await? > 0 =>
                {
                    return Err(busy);
                }
                RequestProgress::Asked | RequestProgress::Taken => {}
            }
            if looked.elapsed() > LOOK_FOR_HOLDER {
                looked = Instant::now();
                if asking.is_alone() {
                    return Err(AppError::HolderEnded);
                }
            }
            tokio::select! {
                () = sleep(LOOK) => {}
                () = cancel.cancelled() => {
                    if asking.withdraw(&ids[over..]).await? == 0 {
                        warn!("the other process goes on with what was asked of it");
                    }
                    break;
                }
            }
        }
        asking.close().await;
        Ok(())
    }

    /// What the pass that was made for a request did, or why there was none.
    pub(super) async fn answered(&self, job: &Job, end: RequestEnd) -> Result<Result<Report, JobFailure>, LedgerError> {
        let failure =
            |result, message: Option<String>| Ok(Err(JobFailure { result, message: message.unwrap_or_default() }));
        let Some(run) = end.run else { return failure(end.result, end.message) };
        let ledger = Ledger::open_read_only(self.ledger_options(), self.clock.clone()).await?;
        let ended = ledger.ended_run(run).await?;
        let failed = match &ended {
            Some(ended) => ledger.failed_count(ended.job).await?,
            None => 0,
        };
        ledger.close().await;
        let Some(ended) = ended else { return failure(end.result, end.message) };
        Ok(Ok(Report {
            job: job.name.value.clone(),
            run,
            full: ended.full,
            result: ended.end.result,
            counters: ended.end.counters,
            null_cursors: ended.end.null_cursors,
            missing: ended.end.missing,
            on_delete: job.on_delete,
            vanished: ended.end.vanished,
            failed,
            requests: ended.end.requests,
            message: ended.end.message,
        }))
    }
}
