//! The ledger: our SQLite file of links, outbox, intents, runs and changes.
//!
//! One process writes it (an OS lock beside the file), through one connection, in immediate transactions with
//! `synchronous=FULL`: what a method has returned from is on the disk. No transaction spans a network call.
//! The tables are described where they are created, in `migrations/`.

mod alerts;
mod checksum;
mod claims;
mod copy;
mod decision;
mod error;
mod file;
mod held;
mod history;
mod intent;
mod leave;
mod letter_box;
mod link_write;
mod links;
mod marks;
mod migrate;
mod missing;
mod open;
mod outbox;
mod pool;
mod rebind;
mod requests;
mod restored;
mod retry;
mod room;
mod rows;
mod schedule;
mod settle;
mod settlement;
mod soundness;
mod stage;
mod standing;
mod target;
mod views;
mod withdraw;

pub use alerts::{FailingJob, HeldJob, JobBacklog, ToldAlert, Troubles};
pub use decision::Decided;
pub use error::LedgerError;
pub use held::HeldPlan;
pub use history::{EndedRun, RunEnd, RunStart};
pub use intent::{Intent, IntentKind, NewIntent};
pub use links::{ImportedLink, Link, LinkRow};
pub use open::{Ledger, OpenOptions};
pub use outbox::{OutboxRow, Reason};
pub use rebind::{MadeRow, Restart, TargetCounts};
pub use requests::{Asking, NewRequest, Request, RequestEnd, RequestId, RequestProgress};
pub use schedule::KeptSchedule;
pub use settlement::{FieldChange, History, LinkUpdate, Next, SettledLink, Settlement};
pub use stage::{Staged, StagedAs, Staging};
pub use standing::Standing;
pub use target::{Binding, JobRow};

use std::fmt;

/// A configured job's row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct JobId(pub(crate) i64);

/// A target's row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TargetId(pub(crate) i64);

/// One pass of one job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RunId(pub(crate) i64);

impl fmt::Display for RunId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}
