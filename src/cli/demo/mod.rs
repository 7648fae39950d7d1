//! `demo`: the main job against the embedded simulator, in seconds, with nothing prepared.
//!
//! Everything in it is real: a SQLite file as the CRM, a configuration file, the ledger, HTTP on loopback. Three passes
//! are made: everything, exactly what was edited, nothing.

mod crm;
mod story;

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::args::{Demo, Global};
use super::exit::{Exit, Failed};
use super::interrupt::Interrupt;
use super::logging;
use crate::config::LogLevel;
use crate::simulator::{Options, Simulator};

/// Shows the whole thing at work.
pub(super) async fn demo(global: &Global, command: &Demo) -> Result<Exit, Failed> {
    logging::start(global, None, LogLevel::Warn);
    let interrupt = Interrupt::watch();
    let folder = folder(command.dir.as_deref())?;
    let simulator = Simulator::start(Options { data_file: Some(folder.join("bc.jsonl")), ..Options::default() })
        .await
        .map_err(|error| Failed::new(Exit::Failed, format!("the simulator cannot start: {error}")))?;
    let failed = |error: sqlx::Error| Failed::new(Exit::Failed, format!("the demo's CRM cannot be made: {error}"));
    simulator.load("items", &crm::items()).map_err(|error| Failed::new(Exit::Failed, error))?;
    let crm = crm::Crm::make(&folder.join("crm.db")).await.map_err(failed)?;
    let config = write_config(&folder, &simulator)?;
    let mut story = story::Story { config: &config, simulator: &simulator, cancel: interrupt.token() };

    let mut out = anstream::stdout();
    writeln!(out, "A CRM with 300 customers and 400 orders, a few of them flawed, and an empty Business Central.\n")?;
    writeln!(out, "First pass: everything")?;
    let first = story.pass().await?;
    crm.edit().await.map_err(failed)?;
    writeln!(
        out,
        "\nIn the CRM: two e-mail addresses, a credit limit and a quantity edited, one flaw mended, one customer with one order added."
    )?;
    writeln!(out, "\nSecond pass: exactly those")?;
    let second = story.pass().await?;
    story.fields().await?;
    writeln!(out, "\nThird pass: nothing")?;
    let third = story.pass().await?;
    crm.close().await;
    simulator.stop().await?;
    if let Some(exit) = interrupt.exit() {
        return Ok(exit);
    }

    let ledger = folder.join("ledger.db");
    writeln!(
        out,
        "\nBusiness Central was asked {} times in the three passes; writes: {} + {} + {}.",
        first.requests + second.requests + third.requests,
        first.writes,
        second.writes,
        third.writes
    )?;
    writeln!(out, "The flawed records wait in the ledger with their reasons:")?;
    writeln!(out, "  sqlite3 {} 'select job, key, reason from failed_records'", ledger.display())?;
    writeln!(
        out,
        "Play on: edit {} and run again, with the simulator in another terminal:",
        folder.join("crm.db").display()
    )?;
    writeln!(
        out,
        "  bcsync simulate --listen {} --data {}",
        address(&simulator_address(&config)?),
        folder.join("bc.jsonl").display()
    )?;
    writeln!(out, "  BC_CLIENT_SECRET=simulator-secret bcsync --config {} run", config.display())?;
    if third.writes > 0 {
        return Err(Failed::new(Exit::Failed, "the third pass wrote to Business Central, which must not happen"));
    }
    Ok(Exit::Done)
}

/// The folder to work in: the one asked for, which must be new or empty, or one of our own.
fn folder(wanted: Option<&Path>) -> Result<PathBuf, Failed> {
    let folder = match wanted {
        Some(folder) => folder.to_owned(),
        None => std::env::temp_dir().join(format!("bcsync-demo-{}", std::process::id())),
    };
    let told = |error: std::io::Error| Failed::new(Exit::Configuration, format!("{}: {error}", folder.display()));
    fs::create_dir_all(&folder).map_err(told)?;
    if fs::read_dir(&folder).map_err(told)?.next().is_some() {
        let text = format!("{} is not empty; give `--dir` a new folder", folder.display());
        return Err(Failed::new(Exit::Usage, text));
    }
    Ok(folder)
}

/// Writes the configuration: the README's example for this CRM and this simulator.
fn write_config(folder: &Path, simulator: &Simulator) -> Result<PathBuf, Failed> {
    let path = folder.join("config.toml");
    let text = include_str!("config.toml")
        .replace("@FOLDER@", &folder.display().to_string())
        .replace("@LOGIN_URL@", &simulator.login_url())
        .replace("@BASE_URL@", &simulator.base_url());
    fs::write(&path, text)?;
    Ok(path)
}

fn simulator_address(config: &Path) -> Result<String, Failed> {
    let text = fs::read_to_string(config)?;
    let url = text.lines().find_map(|line| line.trim().strip_prefix("base_url"));
    Ok(url.and_then(|rest| rest.split('"').nth(1)).unwrap_or_default().to_owned())
}

fn address(url: &str) -> &str {
    url.trim_start_matches("http://")
}
