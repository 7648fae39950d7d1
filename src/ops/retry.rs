//! `retry`: what is quarantined, waiting or locked is tried by the next pass, whenever it would have been tried else.

use super::OpsError;
use crate::ledger::Ledger;
use crate::model::Retried;

/// Makes the records of `job` due now: those with these `keys`, or all of them when there are none. A record that is
/// named and is in none of those states is an error, and nothing is done.
pub async fn retry(ledger: &Ledger, job: &str, keys: &[String]) -> Result<Retried, OpsError> {
    let id = ledger.find_job(job).await?.ok_or_else(|| OpsError::NoJob(job.to_owned()))?;
    let retried = ledger.retry(id, keys).await?;
    match retried.missing.first() {
        None => Ok(retried),
        Some(key) => Err(OpsError::Record {
            job: job.to_owned(),
            key: key.clone(),
            problem: "is neither quarantined nor waiting nor locked; nothing was done".to_owned(),
        }),
    }
}
