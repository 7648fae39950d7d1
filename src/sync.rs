//! One pass of one job, top to bottom: read, fast path, map, stage, apply.
//!
//! From staging on nothing depends on the source any more: the cursor is stored together with what was staged, that of a
//! full read once it is known to be sound, and what BC refuses or loses is retried from the outbox. Memory does not grow
//! with the data: pages of a thousand are streamed.

mod error;
mod missing;
mod pass;
mod read;
mod seen;
mod spec;
mod walk;

pub use error::SyncError;
pub use pass::{Pass, Report};
pub use spec::{JobSpec, Target};
pub use walk::{Gap, WalkSpec, Walked};

use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, Ordering};

use tracing::field::Empty;
use tracing::{Instrument as _, Span, info, info_span};

use crate::apply::{Applied, Applier, ApplyJob};
use crate::bc::Failure;
use crate::ledger::{JobId, LedgerError, RunEnd, RunId, RunStart};
use crate::model::{Counters, EntityName, Progress, RunResult};
use crate::schema::{EntitySchema, standard};
use read::Reading;

/// What is said of the first whole pass with a ledger that is an older copy of itself.
const RESTORED: &str = "the ledger was restored from a backup: everything was read and compared again";

impl Pass<'_> {
    /// Makes the pass, for as long as the job allows. Its outcome is in the ledger as well as in the report; only a
    /// ledger that cannot be written at all is an error.
    pub async fn run(&self) -> Result<Report, LedgerError> {
        let expired = AtomicBool::new(false);
        let expire = async {
            tokio::time::sleep(self.job.timeout).await;
            expired.store(true, Ordering::Relaxed);
            self.cancel.cancel();
            std::future::pending().await
        };
        tokio::select! {
            report = Box::pin(self.make(&expired).instrument(info_span!("pass", run = Empty))) => report,
            report = expire => report,
        }
    }

    async fn make(&self, expired: &AtomicBool) -> Result<Report, LedgerError> {
        let mapping = self.job.fingerprint();
        let entity = self.job.entity.to_string();
        let row = self.ledger.job(&self.job.name, self.target.id, &entity, mapping).await?;
        // Another mapping makes other drafts of the same records: all of them have to be looked at again.
        let full = self.full || row.cursor.is_none() || row.mapping != mapping || row.unread;
        let run = self.ledger.begin_run(RunStart { job: row.id, cause: self.cause, full }).await?;
        Span::current().record("run", tracing::field::display(run));
        let requests_before = self.target.outlet.reader.connection().requests();
        info!(job = %self.job.name, mode = if full { "full" } else { "incremental" }, "pass begins");

        let mut reading = Reading::default();
        let mut error = self.read(&row, full, mapping, &mut reading).await.err();
        if self.full && error.is_none() {
            error = self.walk(row.id, &mut reading).await.err();
        }
        // What was staged before is applied all the same, unless it was mapped in a way that is no longer wanted.
        // A ledger that is older than what was done has old wishes in its outbox: only a complete read tells which.
        let mut may_apply = !matches!(error, Some(SyncError::Restored { .. }))
            && (error.is_none() || (row.mapping == mapping && !row.unread));
        if may_apply && let Err(failure) = self.look_at_latest(row.id, &mut reading).await {
            may_apply = false;
            error = [Some(failure), error].into_iter().flatten().max_by_key(SyncError::result);
        }
        let Applied { mut counters, stopped } = if may_apply {
            self.apply(row.id, run).await?
        } else {
            Applied { counters: Counters::default(), stopped: None }
        };
        merge_reading(&mut counters, &reading.counters);
        error = [stopped.map(SyncError::from), error].into_iter().flatten().max_by_key(SyncError::result);
        if let Some(SyncError::Bc(Failure::Cancelled)) = error
            && expired.load(Ordering::Relaxed)
        {
            error = Some(SyncError::TimedOut { after: self.job.timeout });
        }
        let failed = self.ledger.failed_count(row.id).await?;
        let result = match &error {
            Some(error) => error.result(),
            // Also those of earlier passes: a run is not fine as long as something is lying there.
            None if failed > 0 => RunResult::Attention,
            None => RunResult::Done,
        };
        let report = Report {
            job: self.job.name.clone(),
            run,
            full,
            result,
            counters,
            null_cursors: reading.null_cursors,
            missing: reading.missing,
            on_delete: self.job.on_delete,
            vanished: reading.vanished,
            failed,
            requests: self.target.outlet.reader.connection().requests() - requests_before,
            message: error.as_ref().map(ToString::to_string).or_else(|| row.unread.then(|| RESTORED.to_owned())),
        };
        let end = RunEnd {
            result,
            message: report.message.clone(),
            counters,
            null_cursors: report.null_cursors,
            missing: report.missing,
            vanished: report.vanished,
            requests: report.requests,
        };
        crate::fault!("K13: applied, run open");
        self.ledger.end_run(run, &end).await?;
        Ok(report)
    }

    /// Whether the ledger can be used for what is to be sent, and what is not due can be trusted not to be.
    async fn is_ready(&self, job: JobId) -> Result<(), LedgerError> {
        if self.ledger.may_send(job).await? {
            self.ledger.prepare()?;
        }
        // Nothing reads what rests, and nothing would tell that it rests by mistake.
        if self.ledger.has_resting(job).await? {
            self.ledger.sound().await?;
        }
        Ok(())
    }

    async fn apply(&self, job: JobId, run: RunId) -> Result<Applied, LedgerError> {
        let of = self.ledger.due_count(job).await?;
        if let Err(error) = self.is_ready(job).await {
            return Ok(Applied { counters: Counters::default(), stopped: Some(error.into()) });
        }
        let target = self.target;
        let schema_of = |entity: &EntityName| match standard(entity.set()) {
            Some(schema) if entity.is_standard() => Cow::Borrowed(schema),
            _ => Cow::Owned(EntitySchema::open(entity.set())),
        };
        let applier = Applier {
            job: ApplyJob {
                name: self.job.name.clone(),
                id: job,
                target: target.id,
                company: target.company.clone(),
                local_currency: target.local_currency.clone(),
                schema: schema_of(&self.job.entity),
                line_schema: self.job.line_entity.as_ref().map(schema_of),
                entity: self.job.entity.clone(),
                match_on: self.job.match_on.clone(),
                adopt: self.job.adopt,
                mode: self.job.mode,
                on_conflict: self.job.on_conflict,
                on_missing: self.job.on_missing,
                patience: self.job.patience,
                brake: self.job.brake,
                settle_window: target.settle_window,
                restored_at: self.ledger.restored_at(),
                batch_size: target.batch_size,
                check_total: self.job.check_total.clone(),
                timezone: self.job.timezone,
            },
            ledger: self.ledger,
            outlet: &target.outlet,
            retry: self.job.retry,
            cancel: self.cancel.clone(),
            progress: &|done| (self.progress)(Progress::Applied { done, of }),
        };
        Ok(applier.apply(run).await)
    }
}

fn merge_reading(counters: &mut Counters, reading: &Counters) {
    counters.read = reading.read;
    counters.unchanged = reading.unchanged;
    counters.filtered = reading.filtered;
    counters.queued = reading.queued;
    counters.staged = reading.staged;
    counters.refused = reading.refused;
}
