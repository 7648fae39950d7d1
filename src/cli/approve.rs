//! `approve`: lets the next run of a job do what the brake holds.

use std::io::Write as _;

use super::args::{Approve, Global};
use super::consent;
use super::exit::{Exit, Failed};
use super::outside::load_to_look;
use crate::app::{App, Operated, Operation};
use crate::config::ProcessEnvironment;

/// Approves what is held: the plan that was shown, and no other. Nothing is sent by this: the next run does that.
pub(super) async fn approve(global: &Global, command: &Approve) -> Result<Exit, Failed> {
    let config = load_to_look(global, &ProcessEnvironment)?;
    let app = App::new(&config, &ProcessEnvironment);
    let job = &command.job;
    let plan = match &command.plan {
        Some(plan) => plan.clone(),
        None => shown(&app, job).await?,
    };
    let operated = app.operate(job, &Operation::Approve { plan }).await?;
    let Operated::Approved { plan, counts } = operated else { return Ok(Exit::Done) };
    let mut out = anstream::stdout();
    if global.json {
        let json = serde_json::json!({
            "job": job,
            "plan": plan,
            "creates": counts.creates,
            "updates": counts.updates,
            "deletes": counts.deletes,
            "closes": counts.closes,
        });
        writeln!(out, "{json}")?;
    } else {
        writeln!(out, "{job}: approved are {counts}; `bcsync run {job}` goes ahead within that")?;
    }
    Ok(Exit::Done)
}

/// The hash of the plan that is held, once a person has seen it and agreed, where one can be asked.
async fn shown(app: &App<'_>, job: &str) -> Result<String, Failed> {
    let held = app.held_plan(job).await?;
    writeln!(anstream::stderr(), "{job}: the brake holds plan {}: {}", held.name(), held.counts)?;
    if consent::ask() == Some(false) {
        return Err(Failed::new(Exit::Usage, "nothing was approved"));
    }
    Ok(held.fingerprint.to_string())
}
