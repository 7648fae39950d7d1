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
}
