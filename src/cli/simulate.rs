//! `simulate`: a Business Central to rehearse with.

use std::io::{ErrorKind, Write as _};

use super::args::{Global, Simulate};
use super::exit::{Exit, Failed};
use super::interrupt::Interrupt;
use super::logging;
use crate::config::LogLevel;
use crate::simulator::{Limits, Options, Settings, Simulator};

/// Serves until it is interrupted.
pub(super) async fn simulate(global: &Global, command: &Simulate) -> Result<Exit, Failed> {
    logging::start(global, None, LogLevel::Warn);
    let defaults = Options::default();
    let client_secret = match &command.secret_env {
        Some(name) => std::env::var(name)
            .map_err(|error| Failed::new(Exit::Usage, format!("--secret-env: the variable {name}: {error}")))?,
        None => defaults.client_secret.clone(),
    };
    let settings = Settings {
        request_ms: command.request_ms,
        operation_ms: command.operation_ms,
        limits: Limits {
            requests: if command.no_rate_limit { usize::MAX } else { Limits::default().requests },
            ..Limits::default()
        },
        ..Settings::default()
    };
    let simulator = Simulator::start(Options {
        listen: command.listen,
        tenant: command.tenant.clone(),
        environment: command.environment.clone(),
        companies: command.companies.clone(),
        client_id: command.client_id.clone(),
        client_secret,
        data_file: command.data.clone(),
        manual_numbers: !command.no_manual_numbers,
        settings,
        ..defaults
    })
    .await
    .map_err(|error| cannot_start(command, &error))?;

    let interrupt = Interrupt::watch();
    let mut out = anstream::stdout();
    writeln!(out, "# A simulated Business Central and Entra ID. In config.toml:")?;
    writeln!(out, "[targets.main]")?;
    writeln!(out, "tenant        = \"{}\"", command.tenant)?;
    writeln!(out, "environment   = \"{}\"", command.environment)?;
    writeln!(out, "company       = \"{}\"", command.companies.first().map_or("", String::as_str))?;
    writeln!(out, "client_id     = \"{}\"", command.client_id)?;
    writeln!(out, "client_secret = {{ env = \"{}\" }}", command.secret_env.as_deref().unwrap_or("BC_CLIENT_SECRET"))?;
    writeln!(out, "login_url     = \"{}\"", simulator.login_url())?;
    writeln!(out, "base_url      = \"{}\"", simulator.base_url())?;
    writeln!(out, "settle_window = \"20s\"")?;
    writeln!(out, "# Counters, faults and rows: {}/simulator/ ; Ctrl-C ends it.", simulator.base_url())?;
    out.flush()?;
    interrupt.token().cancelled().await;
    simulator.stop().await?;
    // Being stopped is how it ends well.
    Ok(Exit::Done)
}

fn cannot_start(command: &Simulate, error: &std::io::Error) -> Failed {
    let (listen, text) = (command.listen, format!("the simulator cannot start: {error}"));
    match error.kind() {
        ErrorKind::InvalidInput => Failed::new(Exit::Usage, text),
        ErrorKind::AddrInUse => {
            Failed::new(Exit::Failed, format!("{text}: something listens on {listen} already; give `--listen` another"))
        }
        _ => Failed::new(Exit::Failed, text),
    }
}
