//! A pass before and after it is made: what it needs, what it did.

use tokio_util::sync::CancellationToken;

use super::spec::{JobSpec, Target};
use crate::ledger::{Ledger, RunId};
use crate::model::{Counters, OnDelete, Progress, RunResult};

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
    /// Asks to stop; the pass itself does when its time is up.
    pub cancel: CancellationToken,
    /// Told how far it has come.
    pub progress: &'a (dyn Fn(Progress) + Sync),
}

/// What a pass did.
#[derive(Debug)]
pub struct Report {
    /// The job.
    pub job: String,
    /// The run in the ledger.
    pub run: RunId,
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
    /// What becomes of their rows.
    pub on_delete: OnDelete,
    /// Linked rows that Business Central no longer has, when that was looked at.
    pub vanished: Option<u64>,
    /// Records that a person must look at, those of earlier passes included.
    pub failed: u64,
    /// HTTP requests to BC.
    pub requests: u64,
    /// Why it did not do all it was to do.
    pub message: Option<String>,
}
