//! Reading: page by page from the source into the outbox, past everything that is unchanged.

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio::sync::mpsc;
use tracing::warn;

use super::error::SyncError;
use super::pass::Pass;
use super::seen::{Present, Seen};
use crate::bc::Failure;
use crate::ledger::{JobId, JobRow, Staged, StagedAs, Standing};
use crate::mapping::{MapContext, Mapped, match_value};
use crate::model::{Counters, Fingerprint, Problem, Progress, Record, RecordError};
use crate::source::{Page, ReadSummary, Reject, SourceError, SqlStream, Start};

/// Pages that may be read ahead of the one that is being staged.
const READ_AHEAD: usize = 2;

/// Pages whose standing is asked for side by side.
const COMPARED_AT_ONCE: usize = 2;

/// What reading counted beside the counters.
#[derive(Debug, Default)]
pub(super) struct Reading {
    pub(super) counters: Counters,
    /// Linked records among those read.
    pub(super) linked: u64,
    pub(super) null_cursors: u64,
    pub(super) missing: Option<u64>,
    pub(super) vanished: Option<u64>,
    /// Rows that no record can be told from, because they have no key.
    pub(super) without_key: u64,
    /// Which links have a record in the source; only where the rows of the others are removed.
    pub(super) present: Option<Present>,
    /// Which records the source has that may be in the outbox; only where that is asked for.
    pub(super) seen: Option<Seen>,
}

impl Reading {
    fn saw(&mut self, key: &str) {
        if let Some(seen) = &mut self.seen {
            seen.insert(key);
        }
    }
}

impl Pass<'_> {
    /// Reads the stream, and stages what is not simply unchanged.
    pub(super) async fn read(
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
        let open = Box::pin(SqlStream::open(&self.job.source, self.job.stream.clone(), start));
        let stream = self.unless_cancelled(open).await??;
        self.check_columns(&stream)?;
        let outbox_end = if full { self.ledger.outbox_end(row.id).await? } else { None };
        reading.seen = outbox_end.map(|_| Seen::default());
        reading.present = (full && self.job.on_delete.removal().is_some()).then(Present::default);
        let watched = reading.present.is_some();
        let (pages, ahead) = mpsc::channel(READ_AHEAD);
        let mut reader = AbortOnDrop(tokio::spawn(read_ahead(stream, pages)));
        let compared = stream::unfold(ahead, async |mut ahead| Some((ahead.recv().await?, ahead)))
            .map(|page| self.compare(row.id, mapping, page, watched))
            .buffered(COMPARED_AT_ONCE);
        let mut compared = std::pin::pin!(compared);
        while let Some((mut page, standings, links)) = self.unless_cancelled(compared.try_next()).await?? {
            if let Some(present) = &mut reading.present {
                for link in links {
                    present.insert(link);
                }
            }
            if full {
                // Whether everything was read that there is turns out at the end.
                page.checkpoint = None;
            }
            crate::fault!("K1: page read");
            self.stage(row.id, mapping, page, standings, reading).await?;
            (self.progress)(Progress::Read(reading.counters.read));
        }
        let summary = match (&mut reader.0).await {
            Ok(summary) => summary?,
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        };
        reading.null_cursors = summary.null_cursors;
        if summary.null_cursors > 0 && self.job.stream.cursor.is_some() {
            warn!(job = %self.job.name, records = summary.null_cursors, "records without a cursor value are seen by full reads only");
        }
        let complete = full && summary.complete;
        if complete {
            self.conclude(row, outbox_end, reading).await?;
        }
        crate::fault!("K3: read to the end");
        let cursor = summary.next_cursor.as_deref().filter(|_| complete);
        self.ledger.read_ended(row.id, mapping, complete, cursor).await?;
        Ok(())
    }

    /// What `future` gives; a source that does not answer must not hold up who asks to stop.
    async fn unless_cancelled<T>(&self, future: impl Future<Output = T>) -> Result<T, SyncError> {
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => Err(Failure::Cancelled.into()),
            value = future => Ok(value),
        }
    }

    fn check_columns(&self, stream: &SqlStream) -> Result<(), SyncError> {
        let problems = self.job.mapping.check_columns(stream.columns(), stream.line_columns());
        if problems.is_empty() {
            return Ok(());
        }
        let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
        Err(SyncError::Mapping { job: self.job.name.clone(), problems: problems.join("; ") })
    }

    /// How the records of `page` stand to the ledger, and, when that is `watched`, the numbers of the links of all its
    /// rows.
    async fn compare(
        &self,
        job: JobId,
        mapping: Fingerprint,
        page: Result<Page, SourceError>,
        watched: bool,
    ) -> Result<(Page, Vec<(Fingerprint, Standing)>, Vec<i64>), SyncError> {
        let page = page?;
        let fingerprints: Vec<_> = page.records.iter().map(|record| record.fingerprint(mapping)).collect();
        let keys: Vec<_> =
            page.records.iter().zip(&fingerprints).map(|(record, print)| (record.key.as_str(), *print)).collect();
        let standings = self.ledger.standings(job, &keys).await?;
        let rejected = page.rejects.iter().filter_map(|reject| reject.key.as_deref());
        let links = if watched {
            self.ledger.link_numbers(job, keys.iter().map(|(key, _)| *key).chain(rejected)).await?
        } else {
            Vec::new()
        };
        Ok((page, fingerprints.into_iter().zip(standings).collect(), links))
    }

    async fn stage(
        &self,
        job: JobId,
        mapping: Fingerprint,
        page: Page,
        standings: Vec<(Fingerprint, Standing)>,
        reading: &mut Reading,
    ) -> Result<(), SyncError> {
        // Counted when it is on the disk, so that the sums hold whenever the read ends early.
        let mut counters = reading.counters;
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
                    reading.saw(&record.key);
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
        reading.without_key += page.rejects.iter().filter(|reject| reject.key.is_none()).count() as u64;
        staged.extend(page.rejects.into_iter().map(|reject| refuse(reject, mapping)));
        for staged in &staged {
            reading.saw(&staged.key);
        }
        if staged.is_empty() && page.checkpoint.is_none() {
            reading.counters = counters;
            return Ok(());
        }
        crate::fault!("K2: page mapped");
        let entity = self.job.entity.to_string();
        let done = self
            .ledger
            .stage(self.target.id, &entity, job, staged, page.checkpoint.as_deref(), self.job.rename)
            .await?;
        counters.staged += done.staged;
        counters.unchanged += done.equal;
        counters.refused += done.refused;
        counters.queued += done.queued;
        reading.counters = counters;
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
}

/// A task that does not outlive the pass that waits for it.
struct AbortOnDrop<T>(tokio::task::JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
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
