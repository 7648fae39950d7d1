//! `approve`: lets the next run of a job do what the brake holds.

use std::io::Write as _;

use super::args::{Approve, Global};
use super::exit::{Exit, Failed};
use super::outside::load_to_look;
use crate::app::{App, Operated, Operation};
use crate::config::ProcessEnvironment;

/// Approves what is held. Nothing is sent by this: the next run does that.
pub(super) async fn approve(global: &Global, command: &Approve) -> Result<Exit, Failed> {
    let config = load_to_look(global, &ProcessEnvironment)?;
    let job = &command.job;
    let operated = App::new(&config, &ProcessEnvironment).operate(job, &Operation::Approve).await?;
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
