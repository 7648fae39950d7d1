//! `approve`: lets the next run of a job do what the brake holds.

use std::io::Write as _;

use super::args::{Approve, Global};
use super::exit::{Exit, Failed};
use super::outside::load_to_look;
use crate::app::App;
use crate::config::ProcessEnvironment;
use crate::ops;

/// Approves what is held. Nothing is sent by this: the next run does that.
pub(super) async fn approve(global: &Global, command: &Approve) -> Result<Exit, Failed> {
    let config = load_to_look(global, &ProcessEnvironment)?;
    let job = &command.job;
    let ledger = App::new(&config, &ProcessEnvironment).open_existing_ledger().await?;
    let plan = ops::approve(&ledger, job).await?;
    ledger.close().await;
    let mut out = anstream::stdout();
    if global.json {
        let counts = plan.counts;
        let json = serde_json::json!({
            "job": job,
            "plan": plan.fingerprint.to_string(),
            "creates": counts.creates,
            "updates": counts.updates,
            "deletes": counts.deletes,
            "closes": counts.closes,
        });
        writeln!(out, "{json}")?;
    } else {
        writeln!(out, "{job}: approved are {}; `bcsync run {job}` goes ahead within that", plan.counts)?;
    }
    Ok(Exit::Done)
}
