//! Why applying ends early.

use crate::bc::Failure;
use crate::ledger::LedgerError;

/// Why a job's pass over the outbox ended early. What was settled before stays settled.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The ledger failed.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// BC failed or refuses.
    #[error(transparent)]
    Bc(#[from] Failure),
    /// The brake holds it.
    #[error(transparent)]
    Held(#[from] Held),
}

/// A run would change more than it may.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("held by the brake: {exceeded}; `bcsync approve {job} --plan {plan}` lets it go ahead")]
pub struct Held {
    /// The job.
    pub job: String,
    /// What is too much, with what is allowed.
    pub exceeded: String,
    /// What the plan is called.
    pub plan: String,
}
