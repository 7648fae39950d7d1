//! The command line: arguments in, text and exit codes out. The only place that prints.
//!
//! Data goes to stdout, everything else to stderr. The exit codes are part of the interface, see [`Exit`].

mod args;
mod check;
mod demo;
mod exit;
mod interrupt;
mod links;
mod logging;
mod run;
mod simulate;
mod view;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser as _;

use crate::clock::{SharedClock, SystemClock};
use crate::config::{Config, Environment, ProcessEnvironment, Report};
use args::{Args, Command};
use exit::{Exit, Failed};

/// Runs the program with the arguments of the process.
#[must_use]
pub fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage.into() } else { Exit::Done.into() };
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Failed::new(Exit::Configuration, format!("cannot start: {error}")).report(),
    };
    match runtime.block_on(dispatch(args)) {
        Ok(exit) => exit.into(),
        Err(failed) => failed.report(),
    }
}

async fn dispatch(args: Args) -> Result<Exit, Failed> {
    let global = &args.global;
    match args.command {
        Command::Run(ref command) => run::run(global, command).await,
        Command::Check => check::check(global),
        Command::Status(ref command) => view::status(global, command).await,
        Command::History(ref command) => view::history(global, command).await,
        Command::Links(ref command) => links::links(global, command).await,
        Command::Simulate(ref command) => simulate::simulate(global, command).await,
        Command::Demo(ref command) => demo::demo(global, command).await,
    }
}

/// What a command has from outside.
struct Outside {
    environment: ProcessEnvironment,
    clock: SharedClock,
}

impl Outside {
    fn new() -> Self {
        Self { environment: ProcessEnvironment, clock: Arc::new(SystemClock) }
    }
}

/// Finds and reads the configuration, and starts logging as it says.
fn load(global: &args::Global, environment: &dyn Environment) -> Result<Config, Failed> {
    load_with(global, environment, crate::config::load)
}

/// Like [`load`], for a command that only looks into the ledger and needs no secrets.
fn load_to_look(global: &args::Global, environment: &dyn Environment) -> Result<Config, Failed> {
    load_with(global, environment, crate::config::load_to_look)
}

fn load_with(
    global: &args::Global,
    environment: &dyn Environment,
    load: fn(&Path, &dyn Environment) -> Result<Config, Report>,
) -> Result<Config, Failed> {
    let path = crate::config::find(global.config.as_deref(), environment)
        .map_err(|error| Failed::new(Exit::Configuration, error.to_string()))?;
    let config = load(&path, environment).map_err(|report| Failed::of_report(&report))?;
    logging::start(global, Some(&config.log));
    Ok(config)
}
