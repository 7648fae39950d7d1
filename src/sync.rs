//! One pass of one job, top to bottom: read, fast path, map, stage, apply.
//!
//! From staging on nothing depends on the source any more: the cursor is stored together with what was staged, and what
//! BC refuses or loses is retried from the outbox. Memory does not grow with the data: pages of a thousand are streamed.

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::apply::{Applied, Applier, ApplyError, ApplyJob, CheckTotal};
use crate::bc::{Failure, Reader, Writer};
use crate::http::RetryPolicy;
use crate::ledger::{
    JobId, JobRow, Ledger, LedgerError, RunEnd, RunResult, RunStart, Staged, StagedAs, Standing, TargetId,
};
use crate::mapping::{MapContext, Mapped, Mapping, match_value};
use crate::model::{
    Adopt, Counters, EntityName, Fingerprint, Mode, OnConflict, OnMissing, Problem, Record, RecordError,
};
use crate::schema::{EntitySchema, standard};
use crate::source::{Page, ReadSummary, Reject, SourceError, SqlSource, SqlStream, Start, StreamSpec};

/// Pages that may be read ahead of the one that is being staged.
const READ_AHEAD: usize = 2;

/// Pages whose standing is asked for side by side.
const COMPARED_AT_ONCE: usize = 2;

/// Everything about a job that does not change between its passes.
pub struct JobSpec {
    /// Its name.
    pub name: String,
    /// The entity it writes.
    pub entity: EntityName,
    /// The entity of its lines.
    pub line_entity: Option<EntityName>,
    /// Where it reads.
    pub source: SqlSource,
    /// What it reads.
    pub stream: StreamSpec,
    /// From record to draft.
    pub mapping: Mapping,
    /// The properties by which a row is found again in BC.
    pub match_on: Vec<String>,
    /// What happens with a matching row that we did not make.
    pub adopt: Adopt,
    /// Which writes it may make.
    pub mode: Mode,
    /// Who wins when someone changed our properties in BC.
    pub on_conflict: OnConflict,
    /// What becomes of a record whose row BC no longer has.
    pub on_missing: OnMissing,
    /// Whether a changed match value may rename the row.
    pub rename: bool,
    /// The total that must come out right.
    pub check_total: Option<CheckTotal>,
    /// The zone of dates.
    pub timezone: chrono_tz::Tz,
    /// How often what may pass is tried again within a run.
    pub retry: RetryPolicy,
}

impl JobSpec {
    /// Over all that decides what becomes of a record, beside the record: mapping and policies. With another one
    /// everything is looked at again, also what was refused or is in conflict.
    fn fingerprint(&self) -> Fingerprint {
        let policies = (self.adopt, self.mode, self.on_conflict, self.on_missing, self.rename, &self.check_total);
        Fingerprint::of([self.mapping.fingerprint().to_string().as_str(), &format!("{policies:?}")])
    }
}

/// A company, reached.
pub struct Target {
    /// Its row in the ledger.
    pub id: TargetId,
    /// The company's id in BC.
    pub company: String,
    /// Its local currency.
    pub local_currency: String,
    /// Reads it.
    pub reader: Reader,
    /// Writes it.
    pub writer: Writer,
    /// How long a request whose answer was lost may still take effect.
    pub settle_window: std::time::Duration,
    /// Operations in an envelope, at most.
    pub batch_size: usize,
    /// Envelopes on their way or being settled at once.
    pub lanes: usize,
}

/// How far a pass has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// So many records were read.
    Read(u64),
    /// So many records of the outbox are settled, of so many.
    Applied {
        /// Settled so far.
        done: u64,
        /// Were in the outbox when applying began.
        of: u64,
    },
}

/// One pass about to be made.
pub struct Pass<'a> {
    /// The ledger.
    pub ledger: &'a Ledger,
    /// The company.
    pub target: &'a Target,
    /// The job.
    pub job: &'a JobSpec,
    /// Whether to read everything even if a cursor would do.
    pub full: bool,
    /// What set it off: `command`, `schedule`, `request`.
    pub cause: &'a str,
    /// Asks to stop.
    pub cancel: CancellationToken,
    /// Told how far it has come.
    pub progress: &'a (dyn Fn(Progress) + Sync),
}

/// Why a pass did not do all it was to do.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    /// The source.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The source hands over something that is no record.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The columns of the source do not fit the mapping.
    #[error("the mapping of job {job} does not fit its query: {problems}")]
    Mapping {
        /// The job.
        job: String,
        /// All that does not fit.
        problems: String,
    },
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// Business Central.
    #[error(transparent)]
    Bc(#[from] Failure),
}

impl From<ApplyError> for SyncError {
    fn from(error: ApplyError) -> Self {
        match error {
            ApplyError::Ledger(error) => Self::Ledger(error),
            ApplyError::Bc(error) => Self::Bc(error),
        }
    }
}

impl SyncError {
    /// How a run that ends with this is recorded.
    #[must_use]
    pub fn result(&self) -> RunResult {
        match self {
            Self::Source(SourceError::Unreachable { .. } | SourceError::Interrupted { .. }) => RunResult::Failed,
            Self::Source(_) | Self::Record(_) | Self::Mapping { .. } | Self::Ledger(_) => RunResult::Refused,
            Self::Bc(Failure::Cancelled) => RunResult::Interrupted,
            Self::Bc(failure) if failure.is_denied() => RunResult::Denied,
            Self::Bc(_) => RunResult::Failed,
        }
    }
}

/// What a pass did.
#[derive(Debug)]
pub struct Report {
    /// The job.
    pub job: String,
    /// Whether everything was read.
    pub full: bool,
    /// How it ended.
    pub result: RunResult,
    /// What was counted.
    pub counters: Counters,
    /// Records without a cursor value; only full reads see them.
    pub null_cursors: u64,
    /// Linked records that a complete full read did not find.
    pub missing: Option<u64>,
    /// HTTP requests to BC.
    pub requests: u64,
    /// Why it did not do all it was to do.
    pub error: Option<SyncError>,
}

/// What reading counted beside the counters.
#[derive(Debug, Default)]
struct Reading {
    counters: Counters,
    /// Linked records among those read.
    linked: u64,
    null_cursors: u64,
    missing: Option<u64>,
}

impl Pass<'_> {
    /// Makes the pass. Its outcome is in the ledger as well as in the report; only a ledger that cannot be written at
    /// all is an error.
    pub async fn run(&self) -> Result<Report, LedgerError> {
        let mapping = self.job.fingerprint();
        let entity = self.job.entity.to_string();
        let row = self.ledger.job(&self.job.name, self.target.id, &entity, mapping).await?;
        // Another mapping makes other drafts of the same records: all of them have to be looked at again.
        let full = self.full || row.cursor.is_none() || row.mapping != mapping;
        let run = self.ledger.begin_run(RunStart { job: row.id, cause: self.cause, full }).await?;
        let requests_before = self.target.reader.connection().requests();
        info!(job = %self.job.name, mode = if full { "full" } else { "incremental" }, "pass begins");

        let mut reading = Reading::default();
        let mut error = self.read(&row, full, mapping, &mut reading).await.err();
        // What was staged before is applied all the same, unless it was mapped in a way that is no longer wanted.
        let Applied { mut counters, stopped } = if error.is_none() || row.mapping == mapping {
            self.apply(row.id, run).await?
        } else {
            Applied { counters: Counters::default(), stopped: None }
        };
        merge_reading(&mut counters, &reading.counters);
        error = error.or(stopped.map(SyncError::from));
        let result = match &error {
            Some(error) => error.result(),
            None if counters.needs_attention() => RunResult::Attention,
            None => RunResult::Done,
        };
        let report = Report {
            job: self.job.name.clone(),
            full,
            result,
            counters,
            null_cursors: reading.null_cursors,
            missing: reading.missing,
            requests: self.target.reader.connection().requests() - requests_before,
            error,
        };
        let end = RunEnd {
            result,
            message: report.error.as_ref().map(ToString::to_string),
            counters,
            null_cursors: report.null_cursors,
            missing: report.missing,
            requests: report.requests,
        };
        self.ledger.end_run(run, &end).await?;
        Ok(report)
    }

    /// Reads the stream, and stages what is not simply unchanged.
    async fn read(
        &self,
        row: &JobRow,
        full: bool,
        mapping: Fingerprint,
        reading: &mut Reading,
    ) -> Result<(), SyncError> {
        let start = match &row.cursor {
            Some(cursor) if !full => Start::Since(cursor.clone()),
            _ => Start::Full,
        };
        let stream = SqlStream::open(&self.job.source, self.job.stream.clone(), start).await?;
        self.check_columns(&stream)?;
        let (pages, ahead) = mpsc::channel(READ_AHEAD);
        let reader = tokio::spawn(read_ahead(stream, pages));
        let compared = stream::unfold(ahead, async |mut ahead| Some((ahead.recv().await?, ahead)))
            .map(|page| self.compare(row.id, mapping, page))
            .buffered(COMPARED_AT_ONCE);
        let mut compared = std::pin::pin!(compared);
        while let Some((page, standings)) = compared.try_next().await? {
            if self.cancel.is_cancelled() {
                return Err(Failure::Cancelled.into());
            }
            self.stage(row.id, mapping, page, standings, reading).await?;
            (self.progress)(Progress::Read(reading.counters.read));
        }
        let summary = match reader.await {
            Ok(summary) => summary?,
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        };
        reading.null_cursors = summary.null_cursors;
        if summary.null_cursors > 0 && self.job.stream.cursor.is_some() {
            warn!(job = %self.job.name, records = summary.null_cursors, "records without a cursor value are seen by full reads only");
        }
        if full && summary.complete {
            let missing = self.ledger.linked(row.id).await?.saturating_sub(reading.linked);
            reading.missing = Some(missing);
            if missing > 0 {
                warn!(job = %self.job.name, records = missing, "linked records are no longer in the source; their rows in Business Central stay");
            }
        }
        self.ledger.read_ended(row.id, mapping, full && summary.complete).await?;
        Ok(())
    }

    fn check_columns(&self, stream: &SqlStream) -> Result<(), SyncError> {
        let problems = self.job.mapping.check_columns(stream.columns(), stream.line_columns());
        if problems.is_empty() {
            return Ok(());
        }
        let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
        Err(SyncError::Mapping { job: self.job.name.clone(), problems: problems.join("; ") })
    }

    async fn compare(
        &self,
        job: JobId,
        mapping: Fingerprint,
        page: Result<Page, SourceError>,
    ) -> Result<(Page, Vec<(Fingerprint, Standing)>), SyncError> {
        let page = page?;
        let fingerprints: Vec<_> = page.records.iter().map(|record| record.fingerprint(mapping)).collect();
        let keys: Vec<_> =
            page.records.iter().zip(&fingerprints).map(|(record, print)| (record.key.as_str(), *print)).collect();
        let standings = self.ledger.standings(job, &keys).await?;
        Ok((page, fingerprints.into_iter().zip(standings).collect()))
    }

    async fn stage(
        &self,
        job: JobId,
        mapping: Fingerprint,
        page: Page,
        standings: Vec<(Fingerprint, Standing)>,
        reading: &mut Reading,
    ) -> Result<(), SyncError> {
        let counters = &mut reading.counters;
        counters.read += (page.records.len() + page.rejects.len()) as u64;
        let mut staged = Vec::new();
        for (record, (fingerprint, standing)) in page.records.into_iter().zip(standings) {
            reading.linked += u64::from(standing.is_linked());
            let stage = match standing {
                Standing::Unchanged => {
                    counters.unchanged += 1;
                    continue;
                }
                Standing::Queued { .. } => {
                    counters.queued += 1;
                    continue;
                }
                Standing::Reverted { in_flight: false } => {
                    counters.unchanged += 1;
                    StagedAs::Reverted
                }
                Standing::Reverted { in_flight: true } | Standing::Changed { .. } => self.map(&record)?,
            };
            counters.filtered += u64::from(matches!(stage, StagedAs::Filtered));
            staged.push(Staged { key: record.key, fingerprint, stage });
        }
        staged.extend(page.rejects.into_iter().map(|reject| refuse(reject, mapping)));
        if staged.is_empty() && page.checkpoint.is_none() {
            return Ok(());
        }
        let entity = self.job.entity.to_string();
        let done = self
            .ledger
            .stage(self.target.id, &entity, job, staged, page.checkpoint.as_deref(), self.job.rename)
            .await?;
        counters.staged += done.staged;
        counters.unchanged += done.equal;
        counters.refused += done.refused;
        counters.queued += done.queued;
        Ok(())
    }

    fn map(&self, record: &Record) -> Result<StagedAs, RecordError> {
        let fields = record.fields()?;
        let context = MapContext { local_currency: Some(self.target.local_currency.clone()) };
        Ok(match self.job.mapping.map(&fields, &context) {
            Mapped::Filtered => StagedAs::Filtered,
            Mapped::Problems(problems) => {
                StagedAs::Refused { record: fields.to_json(), reason: Problem::join(&problems) }
            }
            Mapped::Draft(draft) => StagedAs::Wanted {
                record: fields.to_json(),
                draft: draft.to_json(),
                draft_fingerprint: draft.fingerprint(),
                match_value: match_value(&draft, &self.job.match_on),
            },
        })
    }

    async fn apply(&self, job: JobId, run: crate::ledger::RunId) -> Result<Applied, LedgerError> {
        let of = self.ledger.due_count(job).await?;
        let target = self.target;
        let schema_of = |entity: &EntityName| match standard(entity.set()) {
            Some(schema) if entity.route() == "v2.0" => std::borrow::Cow::Borrowed(schema),
            _ => std::borrow::Cow::Owned(EntitySchema::open(entity.set())),
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
                settle_window: target.settle_window,
                batch_size: target.batch_size,
                check_total: self.job.check_total.clone(),
                timezone: self.job.timezone,
            },
            ledger: self.ledger,
            reader: target.reader.clone(),
            writer: target.writer.clone(),
            retry: self.job.retry,
            lanes: target.lanes,
            cancel: self.cancel.clone(),
            progress: &|done| (self.progress)(Progress::Applied { done, of }),
        };
        Ok(applier.apply(run).await)
    }
}

/// Reads pages into the channel until the stream ends or nobody takes them any more.
async fn read_ahead(
    mut stream: SqlStream,
    pages: mpsc::Sender<Result<Page, SourceError>>,
) -> Result<ReadSummary, SourceError> {
    loop {
        match stream.next_page().await {
            Ok(Some(page)) => {
                if pages.send(Ok(page)).await.is_err() {
                    return Ok(stream.summary());
                }
            }
            Ok(None) => return Ok(stream.summary()),
            Err(error) => {
                let _ = pages.send(Err(error.clone())).await;
                return Err(error);
            }
        }
    }
}

/// A row that cannot be a record is quarantined under its key, or under its content when it has none.
fn refuse(reject: Reject, mapping: Fingerprint) -> Staged {
    let fingerprint = Fingerprint::of([reject.body.as_str(), &mapping.to_string(), &reject.problem.message]);
    let key = reject.key.unwrap_or_else(|| format!("(no key) {fingerprint}"));
    Staged { key, fingerprint, stage: StagedAs::Refused { record: reject.body, reason: reject.problem.to_string() } }
}

fn merge_reading(counters: &mut Counters, reading: &Counters) {
    counters.read = reading.read;
    counters.unchanged = reading.unchanged;
    counters.filtered = reading.filtered;
    counters.queued = reading.queued;
    counters.staged = reading.staged;
    counters.refused = reading.refused;
}
