//! `resolve`: a person says who is right in a conflict.

use super::OpsError;
use crate::ledger::{Decided, Ledger};
use crate::model::Take;

/// Decides the conflict of the record `key` of `job`.
pub async fn resolve(ledger: &Ledger, job: &str, key: &str, take: Take) -> Result<(), OpsError> {
    let id = ledger.find_job(job).await?.ok_or_else(|| OpsError::NoJob(job.to_owned()))?;
    let problem = match ledger.decide(id, key, take).await? {
        Decided::Noted => return Ok(()),
        Decided::NoConflict(Some(state)) => format!("is {state}, not in conflict; nothing was done"),
        Decided::NoConflict(None) => "is not in conflict; nothing was done".to_owned(),
        Decided::NothingToSend => "is in a conflict that sending again does not end: change the source or Business \
                                   Central, or accept what Business Central holds with `--take bc`"
            .to_owned(),
    };
    Err(OpsError::Record { job: job.to_owned(), key: key.to_owned(), problem })
}
