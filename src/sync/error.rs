//! Why a pass did not do all it was to do, and how that is recorded.

use std::time::Duration;

use crate::apply::{ApplyError, Held};
use crate::bc::Failure;
use crate::ledger::LedgerError;
use crate::model::{RecordError, RunResult};
use crate::source::SourceError;

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
    /// The source gave next to nothing of what is linked.
    #[error(
        "the source has {found} of the {linked} records that job {job} has linked; that looks like a broken source or \
         query rather than like deletes, and nothing was concluded from it. Put the source or the query right; if these \
         records are gone for good, set `on_delete = \"keep\"`, or switch the job off when there are none at all"
    )]
    Collapsed {
        /// The job.
        job: String,
        /// How many linked records were read.
        found: u64,
        /// How many there should be.
        linked: u64,
    },
    /// The pass took longer than its job allows.
    #[error(
        "stopped after {} s, the job's `timeout`; what is left stays in the outbox, and the next pass goes on",
        after.as_secs()
    )]
    TimedOut {
        /// What the job allows.
        after: Duration,
    },
    /// Business Central was restored from a backup.
    #[error(
        "Business Central no longer has {rows} rows of {entity} that were made one after another: it was restored to a \
         moment {}. Nothing is written to target `{target}` until \
         `bcsync rebind {target} --restored` lets what is missing be made again; where these rows were deleted on \
         purpose, that makes them again too",
        moment(since.as_deref(), before)
    )]
    Restored {
        /// How many rows are missing in a row.
        rows: usize,
        /// Of which entity.
        entity: String,
        /// When the row was made before them that is there.
        since: Option<String>,
        /// When the first of them was made.
        before: String,
        /// The target.
        target: String,
    },
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// Business Central.
    #[error(transparent)]
    Bc(#[from] Failure),
    /// The brake.
    #[error(transparent)]
    Held(#[from] Held),
}

/// When it was, in words.
fn moment(since: Option<&str>, before: &str) -> String {
    since.map_or_else(|| format!("before {before}"), |since| format!("between {since} and {before}"))
}

impl From<ApplyError> for SyncError {
    fn from(error: ApplyError) -> Self {
        match error {
            ApplyError::Ledger(error) => Self::Ledger(error),
            ApplyError::Bc(error) => Self::Bc(error),
            ApplyError::Held(held) => Self::Held(held),
        }
    }
}

impl SyncError {
    /// How a run that ends with this is recorded.
    #[must_use]
    pub fn result(&self) -> RunResult {
        match self {
            Self::Source(SourceError::Unreachable { .. } | SourceError::Interrupted { .. })
            | Self::Collapsed { .. }
            | Self::TimedOut { .. }
            | Self::Ledger(LedgerError::Locked) => RunResult::Failed,
            Self::Source(_) | Self::Record(_) | Self::Mapping { .. } | Self::Restored { .. } | Self::Ledger(_) => {
                RunResult::Refused
            }
            Self::Held(_) => RunResult::Held,
            Self::Bc(Failure::Cancelled) => RunResult::Interrupted,
            Self::Bc(failure) if failure.is_denied() => RunResult::Denied,
            Self::Bc(_) => RunResult::Failed,
        }
    }
}
