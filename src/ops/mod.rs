//! What operators do beside a pass: it changes the ledger, and the next pass acts on it.

mod approve;
mod backup;
mod resolve;
mod retry;

pub use approve::{approve, held};
pub use backup::backup;
pub use resolve::resolve;
pub use retry::retry;

use crate::ledger::LedgerError;
use crate::model::Counts;

/// Why nothing was done.
#[derive(Debug, thiserror::Error)]
pub enum OpsError {
    /// The ledger does not know the job.
    #[error("job {0} has not run yet, so that nothing of it is in the ledger")]
    NoJob(String),
    /// There is nothing to approve.
    #[error("the brake holds nothing of job {0}")]
    NotHeld(String),
    /// The plan to approve is not the one that is held.
    #[error("nothing was approved: of job {job} the brake holds plan {held} ({counts}) now, not {asked}")]
    OtherPlan {
        /// The job.
        job: String,
        /// The plan that a person has seen.
        asked: String,
        /// What the held one is called.
        held: String,
        /// How much of each kind it is.
        counts: Counts,
    },
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
