//! `approve`: the next run of a job may do what the brake holds of it.

use super::OpsError;
use crate::ledger::Ledger;
use crate::model::Plan;

/// Approves what the brake holds of `job`: as a ceiling, until a run has gone through. Gives what is approved.
pub async fn approve(ledger: &Ledger, job: &str) -> Result<Plan, OpsError> {
    let id = ledger.find_job(job).await?.ok_or_else(|| OpsError::NoJob(job.to_owned()))?;
    ledger.approve(id).await?.ok_or_else(|| OpsError::NotHeld(job.to_owned()))
}
