//! The composition root: from configuration to components. The only file that knows every concrete type.
//!
//! Everything behind takes plain values; what the configuration calls a job becomes a [`JobSpec`] here, what it calls a
//! target a connected [`Target`].

mod check;
mod connect;
mod links;
mod run;

pub use check::{CheckFailed, check};
pub use links::{LinksError, export_links, import_links};
pub use run::{Finished, JobFailure, RunOptions, run};

use std::path::PathBuf;

use crate::bc::Failure;
use crate::clock::SharedClock;
use crate::config::{self, Config, Environment};
use crate::http::{BuildError, CertificateError, Refusal};
use crate::ledger::{Ledger, LedgerError, OpenOptions, RunResult, Table, View};

/// Why nothing could be begun.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The configuration, as a whole.
    #[error(transparent)]
    Check(#[from] CheckFailed),
    /// A name on the command line.
    #[error("there is no job `{name}`; {known}")]
    NoJob {
        /// As given.
        name: String,
        /// What was meant, or what there is.
        known: String,
    },
    /// A job that is switched off.
    #[error("job `{name}` is switched off: its `enabled` is false")]
    Disabled {
        /// Its name.
        name: String,
    },
}

/// Why a target cannot be reached.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// A secret cannot be had any more.
    #[error("target {target}: {cause}")]
    Secret {
        /// The target.
        target: String,
        /// Why.
        cause: String,
    },
    /// A file that the target names cannot be read.
    #[error("target {target}: cannot read {}: {cause}", path.display())]
    File {
        /// The target.
        target: String,
        /// The file.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// The certificate cannot be used.
    #[error("target {target}: {cause}")]
    Certificate {
        /// The target.
        target: String,
        /// Why.
        cause: CertificateError,
    },
    /// No client can be made.
    #[error(transparent)]
    Client(#[from] BuildError),
    /// The address is refused.
    #[error(transparent)]
    Address(#[from] Refusal),
    /// Business Central.
    #[error(transparent)]
    Bc(#[from] Failure),
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

impl ConnectError {
    /// How a run that cannot begin because of this is recorded.
    #[must_use]
    pub fn result(&self) -> RunResult {
        match self {
            Self::Bc(failure) => result_of(failure),
            _ => RunResult::Refused,
        }
    }
}

/// How a run that ends with `failure` before it began is recorded.
fn result_of(failure: &Failure) -> RunResult {
    match failure {
        Failure::Cancelled => RunResult::Interrupted,
        Failure::NoCompany { .. } => RunResult::Refused,
        failure if failure.is_denied() => RunResult::Denied,
        _ => RunResult::Failed,
    }
}

/// A configuration with what its components need from outside.
pub struct App<'a> {
    /// The checked configuration.
    pub config: &'a Config,
    /// Variables and credentials.
    pub environment: &'a dyn Environment,
    /// Wall time.
    pub clock: SharedClock,
}

impl App<'_> {
    /// Opens the ledger for writing.
    pub async fn open_ledger(&self) -> Result<Ledger, LedgerError> {
        Ledger::open(self.ledger_options(), self.clock.clone()).await
    }

    /// At most `limit` rows of a view of the ledger, which may be in use by another process.
    pub async fn view(&self, view: View, job: Option<&str>, limit: u32) -> Result<Table, LedgerError> {
        let ledger = Ledger::open_read_only(self.ledger_options(), self.clock.clone()).await?;
        let table = ledger.view(view, job, limit).await;
        ledger.close().await;
        table
    }

    fn ledger_options(&self) -> OpenOptions {
        let config::Ledger { path, store_values, redact, .. } = &self.config.ledger;
        OpenOptions { path: path.clone(), store_values: *store_values, redact: redact.clone() }
    }
}
