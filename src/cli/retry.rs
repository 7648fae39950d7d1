//! `retry`: asks the next pass to try again what did not go through.

use std::io::Write as _;

use super::args::{Global, Retry};
use super::exit::{Exit, Failed};
use super::outside::load_to_look;
use crate::app::{App, AppError, Operated, Operation};
use crate::config::ProcessEnvironment;
use crate::ops::OpsError;

/// Makes records due: of one job or of all, those that are named or all of them.
pub(super) async fn retry(global: &Global, command: &Retry) -> Result<Exit, Failed> {
    let config = load_to_look(global, &ProcessEnvironment)?;
    let app = App::new(&config, &ProcessEnvironment);
    let jobs = match &command.job {
        Some(job) => vec![job.clone()],
        None => config.jobs.iter().map(|job| job.name.value.clone()).collect(),
    };
    let operation = Operation::Retry { keys: command.keys.clone() };
    for job in jobs {
        match app.operate(&job, &operation).await {
            Ok(operated) => tell(global, &job, &operated)?,
            // Of all jobs, those that have not run yet have nothing to try again.
            Err(AppError::Ops(OpsError::NoJob(_))) if command.job.is_none() => {}
            // Nor have those that the daemon does not run; whatever it says, the others are still asked for.
            Err(AppError::Declined(why)) if command.job.is_none() => writeln!(anstream::stderr(), "{job}: {why}")?,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Exit::Done)
}

fn tell(global: &Global, job: &str, operated: &Operated) -> std::io::Result<()> {
    let mut out = anstream::stdout();
    let Operated::Retried { due, refused } = operated else { return Ok(()) };
    if global.json {
        return writeln!(out, "{}", serde_json::json!({ "job": job, "due": due, "refused": refused }));
    }
    writeln!(out, "{job}: {due} records are tried again by the next pass")?;
    if *refused > 0 {
        writeln!(out, "  {refused} cannot be sent as they are: `bcsync history {job} --failed` tells why")?;
    }
    Ok(())
}
