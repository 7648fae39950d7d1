//! `completions`: what a shell needs to complete commands and options.

use std::io::Write as _;

use clap::CommandFactory as _;

use super::args::{Args, Completions};
use super::exit::{Exit, Failed};

/// Prints the script that the shell loads.
pub(super) fn completions(command: &Completions) -> Result<Exit, Failed> {
    let mut script = Vec::new();
    clap_complete::generate(command.shell, &mut Args::command(), "bcsync", &mut script);
    anstream::stdout().write_all(&script)?;
    Ok(Exit::Done)
}
