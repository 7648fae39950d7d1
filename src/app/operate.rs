//! What operators do beside the passes: done here, or by the process that holds the ledger.
//!
//! As a request it travels through the ledger as JSON: what is to be done as its argument, what came of it as its message.

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::{App, AppError};
use crate::ledger::{Ledger, NewRequest, RequestEnd};
use crate::model::{Counts, Plan, RunResult, Take};
use crate::ops::{self, OpsError};

/// The kind of request that asks for an operation.
pub(super) const OPERATION: &str = "operation";

/// What to do with one job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// Approve what the brake holds.
    Approve {
        /// What the plan is called that a person has seen.
        plan: String,
    },
    /// Make records due: those with these keys, or all.
    Retry {
        /// The records' keys.
        keys: Vec<String>,
    },
    /// Decide a conflict.
    Resolve {
        /// The record's key.
        key: String,
        /// Whose values are taken.
        take: Take,
    },
}

/// What came of an operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operated {
    /// A plan was approved.
    Approved {
        /// Its fingerprint.
        plan: String,
        /// How much of each kind.
        counts: Counts,
    },
    /// Records are tried again.
    Retried {
        /// So many.
        due: u64,
        /// So many cannot be sent as they are.
        refused: u64,
    },
    /// A conflict is decided.
    Resolved,
}

impl App<'_> {
    /// The plan of `job` that the brake holds, also while another process holds the ledger.
    ///
    /// # Errors
    /// When none is held, or the ledger cannot be read.
    pub async fn held_plan(&self, job: &str) -> Result<Plan, AppError> {
        let ledger = self.look_into_ledger().await?;
        let held = ops::held(&ledger, job).await;
        ledger.close().await;
        Ok(held?)
    }

    /// Does `operation` with `job`. Nothing is sent by this: the next pass acts on it.
    ///
    /// # Errors
    /// When it cannot be done, or the ledger cannot be used.
    pub async fn operate(&self, job: &str, operation: &Operation) -> Result<Operated, AppError> {
        match self.open_existing_ledger().await {
            Ok(ledger) => {
                let operated = operate(&ledger, job, operation).await;
                ledger.close().await;
                Ok(operated?)
            }
            Err(busy @ AppError::Busy(_)) => self.ask_to_operate(busy, job, operation).await,
            Err(error) => Err(error),
        }
    }

    async fn ask_to_operate(&self, busy: AppError, job: &str, operation: &Operation) -> Result<Operated, AppError> {
        let argument = serde_json::to_string(operation).ok();
        let request = NewRequest { kind: OPERATION.to_owned(), job: job.to_owned(), argument };
        let mut operated = Err(AppError::HolderEnded);
        let ended = async |_, end: RequestEnd| {
            let message = end.message.unwrap_or_default();
            operated = match end.result {
                RunResult::Done => serde_json::from_str(&message).map_err(|_| AppError::Declined(message)),
                _ => Err(AppError::Declined(message)),
            };
            Ok(())
        };
        self.ask(busy, &[request], &CancellationToken::new(), ended).await?;
        operated
    }
}

/// Does what another process asks for.
pub(super) async fn answer(ledger: &Ledger, asked: &NewRequest) -> RequestEnd {
    let end = |result, message| RequestEnd { result, message: Some(message), run: None };
    let operation = asked.argument.as_deref().filter(|_| asked.kind == OPERATION);
    let Some(operation) = operation.and_then(|operation| serde_json::from_str(operation).ok()) else {
        return end(RunResult::Refused, format!("the daemon knows no such request as `{}`", asked.kind));
    };
    match operate(ledger, &asked.job, &operation).await {
        Ok(operated) => end(RunResult::Done, serde_json::json!(operated).to_string()),
        Err(error) => end(RunResult::Refused, error.to_string()),
    }
}

async fn operate(ledger: &Ledger, job: &str, operation: &Operation) -> Result<Operated, OpsError> {
    Ok(match operation {
        Operation::Approve { plan } => {
            let plan = ops::approve(ledger, job, plan).await?;
            Operated::Approved { plan: plan.fingerprint.to_string(), counts: plan.counts }
        }
        Operation::Retry { keys } => {
            let retried = ops::retry(ledger, job, keys).await?;
            Operated::Retried { due: retried.due, refused: retried.refused }
        }
        Operation::Resolve { key, take } => {
            ops::resolve(ledger, job, key, *take).await?;
            Operated::Resolved
        }
    })
}
