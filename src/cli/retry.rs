//! `retry`: asks the next pass to try again what did not go through.

use std::io::Write as _;

use super::args::{Global, Retry};
use super::exit::{Exit, Failed};
use super::outside::load_to_look;
use crate::app::App;
use crate::config::ProcessEnvironment;
use crate::model::Retried;
use crate::ops::{self, OpsError};

/// Makes records due: of one job or of all, those that are named or all of them.
pub(super) async fn retry(global: &Global, command: &Retry) -> Result<Exit, Failed> {
    let config = load_to_look(global, &ProcessEnvironment)?;
    let app = App::new(&config, &ProcessEnvironment);
    let ledger = app.open_existing_ledger().await?;
    let jobs = match &command.job {
        Some(job) => vec![job.clone()],
        None => config.jobs.iter().map(|job| job.name.value.clone()).collect(),
    };
    let mut done = Vec::with_capacity(jobs.len());
    for job in jobs {
        match ops::retry(&ledger, &job, &command.keys).await {
            Err(OpsError::NoJob(_)) if command.job.is_none() => {}
            retried => done.push((job, retried)),
        }
    }
    ledger.close().await;
    for (job, retried) in done {
        tell(global, &job, &retried?)?;
    }
    Ok(Exit::Done)
}

fn tell(global: &Global, job: &str, retried: &Retried) -> std::io::Result<()> {
    let mut out = anstream::stdout();
    let Retried { due, refused, .. } = retried;
    if global.json {
        return writeln!(out, "{}", serde_json::json!({ "job": job, "due": due, "refused": refused }));
    }
    writeln!(out, "{job}: {due} records are tried again by the next pass")?;
    if *refused > 0 {
        writeln!(out, "  {refused} cannot be sent as they are: `bcsync history {job} --failed` tells why")?;
    }
    Ok(())
}

impl From<OpsError> for Failed {
    fn from(error: OpsError) -> Self {
        let exit = match &error {
            OpsError::NoJob(_) | OpsError::NotHeld(_) | OpsError::Record { .. } => Exit::Usage,
            OpsError::Ledger(_) => Exit::Configuration,
        };
        Self::new(exit, error.to_string())
    }
}
