//! The composition root: from configuration to components. The only file that knows every concrete type.
//!
//! Everything behind takes plain values; what the configuration calls a job becomes a `JobSpec` here, what it calls a
//! target a connected `Target`.

mod alerts;
mod ask;
mod budgets;
mod check;
mod connect;
mod daemon;
mod links;
mod operate;
mod pass;
mod rebind;
mod run;
mod schedule;

pub use check::{CheckFailed, check};
pub use daemon::{DaemonOptions, daemon};
pub use links::{LinksError, export_links, import_links};
pub use operate::{Operated, Operation};
pub use pass::JobFailure;
pub use rebind::{RebindError, Rebinding, rebind};
pub use run::{Finished, RunOptions, run};
pub use schedule::{JobSchedule, PlannedPass};

use std::path::PathBuf;
use std::sync::Arc;

use budgets::Budgets;

use crate::bc::Failure;
use crate::clock::{SharedClock, SystemClock};
use crate::config::{self, Config, Environment};
use crate::daemon::DaemonError;
use crate::http::{BuildError, CertificateError, Refusal};
use crate::ledger::{Ledger, LedgerError, OpenOptions};
use crate::model::{RunResult, Table, View};
use crate::ops::OpsError;

/// Why nothing could be begun.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// Another process holds the ledger, or has taken it over.
    #[error(transparent)]
    Busy(LedgerError),
    /// The process that was asked ended before it was done.
    #[error("the process that worked on it ended before it was done; `bcsync history` tells how far it came")]
    HolderEnded,
    /// The process that was asked ended before it took that up.
    #[error("the process that was asked stopped before it took that up, and nothing was done; ask again")]
    NotTaken,
    /// An operation cannot be done.
    #[error(transparent)]
    Ops(OpsError),
    /// The process that was asked declined.
    #[error("{0}")]
    Declined(String),
    /// There is no ledger yet to look into.
    #[error(transparent)]
    NoLedger(LedgerError),
    /// The ledger cannot be used.
    #[error(transparent)]
    Ledger(LedgerError),
    /// The daemon ended by itself.
    #[error(transparent)]
    Daemon(DaemonError),
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

impl From<LedgerError> for AppError {
    fn from(error: LedgerError) -> Self {
        match error {
            LedgerError::Busy { .. } | LedgerError::Fenced | LedgerError::Locked => Self::Busy(error),
            LedgerError::None { .. } => Self::NoLedger(error),
            _ => Self::Ledger(error),
        }
    }
}

impl From<OpsError> for AppError {
    fn from(error: OpsError) -> Self {
        match error {
            OpsError::Ledger(error) => error.into(),
            error => Self::Ops(error),
        }
    }
}

impl From<DaemonError> for AppError {
    fn from(error: DaemonError) -> Self {
        match error {
            DaemonError::Ledger(error) => error.into(),
            error => Self::Daemon(error),
        }
    }
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
    config: &'a Config,
    environment: &'a (dyn Environment + Sync),
    clock: SharedClock,
    budgets: Budgets,
}

impl<'a> App<'a> {
    /// The application of `config`, with variables and credentials from `environment` and the system's clock.
    #[must_use]
    pub fn new(config: &'a Config, environment: &'a (dyn Environment + Sync)) -> Self {
        Self { config, environment, clock: Arc::new(SystemClock), budgets: Budgets::default() }
    }

    /// The same by another clock, such as one that a test moves.
    #[must_use]
    pub fn with_clock(self, clock: SharedClock) -> Self {
        Self { clock, ..self }
    }

    /// Opens the ledger for writing.
    pub async fn open_ledger(&self) -> Result<Ledger, AppError> {
        Ok(Ledger::open(self.ledger_options(), self.clock.clone()).await?)
    }

    /// Opens the ledger for writing when there is one.
    pub async fn open_existing_ledger(&self) -> Result<Ledger, AppError> {
        let options = self.ledger_options();
        if !options.path.exists() {
            return Err(LedgerError::None { path: options.path }.into());
        }
        Ok(Ledger::open(options, self.clock.clone()).await?)
    }

    /// Opens the ledger, which may be in use by another process, for looking only.
    pub async fn look_into_ledger(&self) -> Result<Ledger, AppError> {
        Ok(Ledger::open_read_only(self.ledger_options(), self.clock.clone()).await?)
    }

    /// At most `limit` rows of a view of the ledger, which may be in use by another process.
    pub async fn view(&self, view: View, job: Option<&str>, limit: u32) -> Result<Table, AppError> {
        let ledger = self.look_into_ledger().await?;
        let table = ledger.view(view, job, limit).await;
        ledger.close().await;
        Ok(table?)
    }

    fn ledger_options(&self) -> OpenOptions {
        let config::Ledger { path, store_values, redact, .. } = &self.config.ledger;
        OpenOptions { path: path.clone(), store_values: *store_values, redact: redact.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ledger_that_another_process_has_for_now_is_busy_whoever_comes_across_it() {
        for make in [|| LedgerError::Fenced, || LedgerError::Locked] {
            let all = [AppError::from(make()), OpsError::from(make()).into(), DaemonError::from(make()).into()];
            for error in all {
                assert!(matches!(error, AppError::Busy(_)), "{error:?}");
            }
        }
        let error = AppError::from(DaemonError::from(LedgerError::Full));
        assert!(matches!(error, AppError::Ledger(LedgerError::Full)), "{error:?}");
    }
}
