//! The ledger: our SQLite file of links, outbox, intents, runs and changes.
//!
//! One process writes it (an OS lock beside the file), through one connection, in immediate transactions with
//! `synchronous=FULL`: what a method has returned from is on the disk. No transaction spans a network call.
//! The tables are described where they are created, in `migrations/`.

mod history;
mod intent;
mod links;
mod open;
mod outbox;
mod retry;
mod rows;
mod settle;
mod stage;
mod standing;
mod target;
mod views;
mod withdraw;

pub use history::{RunEnd, RunStart};
pub use intent::{Intent, IntentKind, NewIntent};
pub use links::{ImportedLink, Link, LinkRow};
pub use open::{Ledger, OpenOptions};
pub use outbox::{OutboxRow, Reason};
pub use retry::Retried;
pub use settle::{FieldChange, History, LinkUpdate, Next, SettledLink, Settlement};
pub use stage::{Staged, StagedAs, Staging};
pub use standing::Standing;
pub use target::{Binding, JobRow};

use std::path::PathBuf;

/// A configured job's row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct JobId(pub(crate) i64);

/// A target's row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TargetId(pub(crate) i64);

/// One pass of one job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RunId(pub(crate) i64);

/// Why the ledger cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// Another process writes to it.
    #[error("another bcsync process works with the ledger {path}; wait until it ends, or stop it")]
    Busy {
        /// The ledger.
        path: PathBuf,
    },
    /// There is no ledger to look into.
    #[error("there is no ledger {path} yet; the first `bcsync run` makes it")]
    None {
        /// Where it would be.
        path: PathBuf,
    },
    /// The file is something else.
    #[error("{path} is not a bcsync ledger ({found}); give [ledger] path another name, nothing was changed")]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What it seems to be.
        found: String,
    },
    /// The file or its folder cannot be opened or made.
    #[error("cannot open the ledger {path}: {cause}")]
    Unusable {
        /// The ledger.
        path: PathBuf,
        /// What the system said.
        cause: String,
    },
    /// The target was bound to another company.
    #[error(
        "target `{name}` of this ledger is bound to company {bound}, the configuration says {configured}; \
         nothing is written. Give the other company a ledger of its own, or put the configuration right"
    )]
    OtherCompany {
        /// The target's name.
        name: String,
        /// What the ledger says: tenant, environment, company id.
        bound: String,
        /// What the configuration says.
        configured: String,
    },
    /// The job wrote other rows before.
    #[error(
        "job `{name}` of this ledger wrote {entity} of target `{target}` up to now, and its links are to those; \
         nothing is written. Put the job's entity and target right, or give the job another name"
    )]
    OtherRows {
        /// The job's name.
        name: String,
        /// The entity that it wrote.
        entity: String,
        /// The target that it wrote to.
        target: String,
    },
    /// A stored text that this program wrote cannot be read back.
    #[error("the ledger holds a damaged {what} for record {key}; restore a backup of the ledger")]
    Damaged {
        /// Which column.
        what: &'static str,
        /// The record.
        key: String,
    },
    /// SQLite refused.
    #[error("the ledger cannot be read or written: {0}")]
    Sqlite(#[from] sqlx::Error),
}
