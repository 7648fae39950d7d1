//! What is said on stderr.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

use super::args::Global;
use crate::config::{Log, LogFormat};

/// Starts logging. The command line says how much, else the configuration; once for the process.
pub(super) fn start(global: &Global, log: Option<&Log>) {
    let level = match (global.quiet, global.verbose) {
        (true, _) => "error",
        (false, 0) => {
            log.map_or("warn", |log| if std::io::stderr().is_terminal() { "warn" } else { log.level.as_str() })
        }
        (false, 1) => "info",
        (false, 2) => "debug",
        (false, _) => "trace",
    };
    // Ours as asked; of the libraries only what is wrong.
    let others = if global.quiet { "error" } else { "warn" };
    let filter = EnvFilter::new(format!("{others},bcsync={level}"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    let json = log.is_some_and(|log| log.format == LogFormat::Json);
    // A second start, as by a command within a command, keeps the first one's settings.
    let _ = if json { builder.json().try_init() } else { builder.with_ansi(super::exit::colour()).try_init() };
}
