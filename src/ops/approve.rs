//! `approve`: the next run of a job may do what the brake holds of it.

use super::OpsError;
use crate::ledger::Ledger;
use crate::model::Plan;

/// The plan of `job` that the brake holds.
pub async fn held(ledger: &Ledger, job: &str) -> Result<Plan, OpsError> {
    let id = ledger.find_job(job).await?.ok_or_else(|| OpsError::NoJob(job.to_owned()))?;
    let held = ledger.held_plan(id).await?.ok_or_else(|| OpsError::NotHeld(job.to_owned()))?;
    Ok(held.plan)
}

/// Approves what the brake holds of `job`: as a ceiling, until a run has gone through. Nothing is approved unless it is the
/// plan called `name`, which is what a person has seen. Gives what is approved.
pub async fn approve(ledger: &Ledger, job: &str, name: &str) -> Result<Plan, OpsError> {
    let id = ledger.find_job(job).await?.ok_or_else(|| OpsError::NoJob(job.to_owned()))?;
    let plan = held(ledger, job).await?;
    if plan.is_called(name) && ledger.approve(id, plan.fingerprint).await? {
        return Ok(plan);
    }
    Err(OpsError::OtherPlan { job: job.to_owned(), asked: name.to_owned(), held: plan.name(), counts: plan.counts })
}
