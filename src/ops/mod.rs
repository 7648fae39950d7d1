//! What operators do beside a pass: it changes the ledger, and the next pass acts on it.

mod approve;
mod backup;
mod resolve;
mod retry;

pub use approve::approve;
pub use backup::backup;
pub use resolve::resolve;
pub use retry::retry;

use crate::ledger::LedgerError;

/// Why nothing was done.
#[derive(Debug, thiserror::Error)]
pub enum OpsError {
    /// The ledger does not know the job.
    #[error("job {0} has not run yet, so that nothing of it is in the ledger")]
    NoJob(String),
    /// There is nothing to approve.
    #[error("the brake holds nothing of job {0}")]
    NotHeld(String),
    /// A record is not there, or not in the state that it would have to be in.
    #[error("record {key} of job {job} {problem}")]
    Record {
        /// The job.
        job: String,
        /// The record's key.
        key: String,
        /// What is in the way.
        problem: String,
    },
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}
