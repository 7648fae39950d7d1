//! `daemon`: the scheduler, until a signal ends it.

use super::args::Global;
use super::exit::{Exit, Failed};
use super::interrupt::Interrupt;
use super::outside::{find, load_to_serve};
use crate::app::{self, DaemonOptions};
use crate::config::{self, ProcessEnvironment};

/// Runs the jobs when they are due. SIGHUP reads the configuration again.
pub(super) async fn daemon(global: &Global) -> Result<Exit, Failed> {
    let config = load_to_serve(global, &ProcessEnvironment)?;
    let path = find(global, &ProcessEnvironment)?;
    let interrupt = Interrupt::watch();
    let load = Box::new(move || config::load(&path, &ProcessEnvironment));
    let options = DaemonOptions { config, load, environment: &ProcessEnvironment, stop: interrupt.token() };
    app::daemon(options).await?;
    Ok(Exit::Done)
}
