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
    /// The pass took longer than its job allows.
    #[error(
        "stopped after {} s, the job's `timeout`; what is left stays in the outbox, and the next pass goes on",
        after.as_secs()
    )]
    TimedOut {
        /// What the job allows.
        after: Duration,
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
            | Self::TimedOut { .. }
            | Self::Ledger(LedgerError::Locked) => RunResult::Failed,
            Self::Source(_) | Self::Record(_) | Self::Mapping { .. } | Self::Ledger(_) => RunResult::Refused,
            Self::Held(_) => RunResult::Held,
            Self::Bc(Failure::Cancelled) => RunResult::Interrupted,
            Self::Bc(failure) if failure.is_denied() => RunResult::Denied,
            Self::Bc(_) => RunResult::Failed,
        }
    }
}
