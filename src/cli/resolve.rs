//! `resolve`: ends a conflict.

use std::io::Write as _;

use super::args::{Global, Resolve};
use super::exit::{Exit, Failed};
use super::outside::load_to_look;
use crate::app::{App, Operation};
use crate::config::ProcessEnvironment;

/// Notes whose values a person takes.
pub(super) async fn resolve(global: &Global, command: &Resolve) -> Result<Exit, Failed> {
    let config = load_to_look(global, &ProcessEnvironment)?;
    let Resolve { job, key, take } = command;
    let take = take.model();
    let operation = Operation::Resolve { key: key.clone(), take };
    App::new(&config, &ProcessEnvironment).operate(job, &operation).await?;
    let mut out = anstream::stdout();
    if global.json {
        writeln!(out, "{}", serde_json::json!({ "job": job, "key": key, "take": take.as_str() }))?;
    } else {
        writeln!(out, "{job}: record {key} is decided; the next pass acts on it")?;
    }
    Ok(Exit::Done)
}
