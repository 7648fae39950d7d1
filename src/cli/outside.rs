//! The configuration, found and read for a command.

use std::path::{Path, PathBuf};

use super::args::Global;
use super::exit::{Exit, Failed};
use super::logging;
use crate::config::{Config, Environment, LogLevel, Report};

/// Finds and reads the configuration, and starts logging as it says.
pub(super) fn load(global: &Global, environment: &dyn Environment) -> Result<Config, Failed> {
    load_with(global, environment, crate::config::load, LogLevel::Warn)
}

/// Like [`load`], for a command that tells nothing but by its log.
pub(super) fn load_to_serve(global: &Global, environment: &dyn Environment) -> Result<Config, Failed> {
    load_with(global, environment, crate::config::load, LogLevel::Info)
}

/// Like [`load`], for a command that only looks into the ledger and needs no secrets.
pub(super) fn load_to_look(global: &Global, environment: &dyn Environment) -> Result<Config, Failed> {
    load_with(global, environment, crate::config::load_to_look, LogLevel::Warn)
}

/// Finds the configuration.
pub(super) fn find(global: &Global, environment: &dyn Environment) -> Result<PathBuf, Failed> {
    crate::config::find(global.config.as_deref(), environment)
        .map_err(|error| Failed::new(Exit::Configuration, error.to_string()))
}

fn load_with(
    global: &Global,
    environment: &dyn Environment,
    load: fn(&Path, &dyn Environment) -> Result<Config, Report>,
    on_terminal: LogLevel,
) -> Result<Config, Failed> {
    let path = find(global, environment)?;
    let config = load(&path, environment).map_err(|report| Failed::of_report(&report))?;
    logging::start(global, Some(&config.log), on_terminal);
    Ok(config)
}
