//! Why the ledger cannot be used, told so that a person knows what to do.
//!
//! What SQLite reports is sorted once, here: a lock of another program passes, a full disk or a damaged file does not.

use std::path::{Path, PathBuf};

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
         nothing is written. Put the configuration right, or give the other company a ledger of its own; \
         `bcsync rebind {name}` binds the target anew, and says before what that does"
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
    /// A process died in the midst of a change, and who looks may not undo it.
    #[error(
        "the last process left a change of the ledger {path} half done, and this user may not write there to undo it; the \
         next `bcsync run` does"
    )]
    HalfDone {
        /// The ledger.
        path: PathBuf,
    },
    /// A newer version of the program made it.
    #[error(
        "the ledger {path} was written by a newer bcsync (its tables are version {found}, this program knows {known}); \
         nothing was changed. Install the newer version again, or restore the copy {path}.before-{next} that it made"
    )]
    Newer {
        /// The ledger.
        path: PathBuf,
        /// The version of its tables.
        found: i64,
        /// The newest version that this program knows.
        known: i64,
        /// The version after that.
        next: i64,
    },
    /// The file is gone or empty, and what lies beside it says that there was a ledger.
    #[error(
        "the ledger {path} is gone or empty, but {trace} says that there was one; nothing is written, because without \
         it every record would be new. Restore a backup of it, or, 20 minutes after the last pass, remove {trace} to \
         begin with an empty ledger: then every record is matched with Business Central again"
    )]
    Lost {
        /// The ledger.
        path: PathBuf,
        /// The file that says so.
        trace: PathBuf,
    },
    /// Another file took the ledger's place while it was open.
    #[error(
        "the ledger {path} was moved, removed or replaced while this process worked with it; nothing more is written"
    )]
    Replaced {
        /// The ledger.
        path: PathBuf,
    },
    /// Another process opened the ledger for writing, although this one lives.
    #[error("another bcsync process has taken over the ledger; this one writes nothing more")]
    Fenced,
    /// Another program holds a lock on the file.
    #[error("another program keeps the ledger locked, such as an open transaction in sqlite3; end it and run again")]
    Locked,
    /// The file system is full.
    #[error("the file system of the ledger is full; nothing was sent that is not noted. Free space and run again")]
    Full,
    /// The file system is nearly full.
    #[error(
        "the file system of the ledger {path} has {free} MiB left, and {needed} MiB are needed before anything is sent; \
         nothing was sent. Free space and run again"
    )]
    NoRoom {
        /// The ledger.
        path: PathBuf,
        /// What is free, in MiB.
        free: u64,
        /// What is needed, in MiB.
        needed: u64,
    },
    /// A copy cannot be written.
    #[error("the ledger cannot be copied to {path}: {cause}")]
    Copy {
        /// Where the copy was to be.
        path: PathBuf,
        /// What is in the way.
        cause: String,
    },
    /// The file as such is damaged.
    #[error(
        "the ledger is damaged ({finding}); nothing is written. Restore a backup of it, or, 20 minutes after the last \
         pass, move it away together with its `.lock` to begin with an empty ledger: then every record is matched with \
         Business Central again"
    )]
    Damaged {
        /// What was found.
        finding: String,
    },
    /// A row does not hold what was stored in it.
    #[error(
        "the ledger is damaged: the row of {key} in its table `{table}` is not as it was written; nothing is sent. \
         Restore a backup of the ledger"
    )]
    Corrupt {
        /// The table.
        table: &'static str,
        /// The record's key, or the name.
        key: String,
    },
    /// SQLite refused.
    #[error("the ledger cannot be read or written: {0}")]
    Sqlite(sqlx::Error),
}

/// The primary result codes that are told apart (SQLite, "Result and Error Codes").
mod code {
    pub(super) const BUSY: i32 = 5;
    pub(super) const LOCKED: i32 = 6;
    pub(super) const READ_ONLY: i32 = 8;
    pub(super) const CORRUPT: i32 = 11;
    pub(super) const FULL: i32 = 13;
    pub(super) const NOT_A_DATABASE: i32 = 26;
}

/// The primary result code: the low byte of an extended one.
fn primary(refusal: &dyn sqlx::error::DatabaseError) -> Option<i32> {
    refusal.code().and_then(|code| code.parse::<i32>().ok()).map(|code| code & 0xff)
}

impl LedgerError {
    /// What kept somebody from undoing what was left half done in the ledger at `path`.
    pub(super) fn of_undoing(path: &Path, error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Database(refusal) if primary(refusal.as_ref()) == Some(code::READ_ONLY) => {
                Self::HalfDone { path: path.to_owned() }
            }
            _ => error.into(),
        }
    }
}

impl From<sqlx::Error> for LedgerError {
    fn from(error: sqlx::Error) -> Self {
        let sqlx::Error::Database(refusal) = &error else { return Self::Sqlite(error) };
        match primary(refusal.as_ref()) {
            Some(code::BUSY | code::LOCKED) => Self::Locked,
            Some(code::FULL) => Self::Full,
            Some(code::CORRUPT | code::NOT_A_DATABASE) => Self::Damaged { finding: refusal.message().to_owned() },
            _ => Self::Sqlite(error),
        }
    }
}
