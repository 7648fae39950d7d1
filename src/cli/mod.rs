//! The command line: arguments in, text and exit codes out. The only place that prints.
//!
//! Data goes to stdout, everything else to stderr. The exit codes are part of the interface, see `exit`.

mod approve;
mod args;
mod backup;
mod check;
mod completions;
mod consent;
mod daemon;
mod demo;
mod exit;
mod interrupt;
mod links;
mod logging;
mod man;
mod outside;
mod rebind;
mod resolve;
mod retry;
mod run;
mod schedule;
mod simulate;
mod view;

use std::process::ExitCode;

use clap::Parser as _;

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
    let ended = runtime.block_on(dispatch(args));
    // Whatever must be seen to its end was. What is left, as a name that is being looked up in vain, is not waited for.
    runtime.shutdown_background();
    match ended {
        Ok(exit) => exit.into(),
        Err(failed) => failed.report(),
    }
}

async fn dispatch(args: Args) -> Result<Exit, Failed> {
    let global = &args.global;
    match args.command {
        Command::Run(ref command) => run::run(global, command).await,
        Command::Daemon => daemon::daemon(global).await,
        Command::Check => check::check(global),
        Command::Schedule => schedule::schedule(global),
        Command::Status(ref command) => view::status(global, command).await,
        Command::History(ref command) => view::history(global, command).await,
        Command::Retry(ref command) => retry::retry(global, command).await,
        Command::Resolve(ref command) => resolve::resolve(global, command).await,
        Command::Approve(ref command) => approve::approve(global, command).await,
        Command::Backup(ref command) => backup::backup(global, command).await,
        Command::Rebind(ref command) => rebind::rebind(global, command).await,
        Command::Links(ref command) => links::links(global, command).await,
        Command::Simulate(ref command) => simulate::simulate(global, command).await,
        Command::Demo(ref command) => demo::demo(global, command).await,
        Command::Completions(ref command) => completions::completions(command),
        Command::Man => man::man(),
    }
}
