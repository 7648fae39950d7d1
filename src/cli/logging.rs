//! What is said on stderr, or to the journal.
//!
//! A line of the log is one line whatever the data holds: control characters, and those that turn text around, are
//! written as escapes. Records are named by their keys; values are not logged.

use std::fmt::{self, Write as _};
use std::io::IsTerminal as _;
use std::os::linux::fs::MetadataExt as _;

use tracing::field::Field;
use tracing_subscriber::field::MakeExt as _;
use tracing_subscriber::fmt::format::{FormatFields, Writer, debug_fn};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, Registry};

use super::args::Global;
use crate::config::{Log, LogFormat, LogLevel};

/// The beginning of our fields in the journal: `journalctl BCSYNC_JOB=customers`.
const JOURNAL_PREFIX: &str = "BCSYNC";

/// Starts logging. The command line says how much, else the configuration; on a terminal, where the command itself tells
/// what it did, only what is at least as important as `on_terminal`. Once for the process.
pub(super) fn start(global: &Global, log: Option<&Log>, on_terminal: LogLevel) {
    let level = match (global.quiet, global.verbose) {
        (true, _) => LogLevel::Error,
        (false, 0) => {
            log.map_or(LogLevel::Warn, |log| if std::io::stderr().is_terminal() { on_terminal } else { log.level })
        }
        (false, 1) => LogLevel::Info,
        (false, 2) => LogLevel::Debug,
        (false, _) => LogLevel::Trace,
    };
    // Ours as asked; of the libraries only what is wrong.
    let others = if global.quiet { "error" } else { "warn" };
    let filter = EnvFilter::new(format!("{others},bcsync={}", level.as_str()));
    // A second start, as by a command within a command, keeps the first one's settings.
    let _ = tracing_subscriber::registry().with(layer(log.map(|log| log.format)).with_filter(filter)).try_init();
}

fn layer(format: Option<LogFormat>) -> Box<dyn Layer<Registry> + Send + Sync> {
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_target(false);
    match format {
        Some(LogFormat::Json) => lines.json().boxed(),
        Some(LogFormat::Auto) if stderr_is_the_journal() => match tracing_journald::layer() {
            Ok(journal) => journal.with_field_prefix(Some(JOURNAL_PREFIX.to_owned())).boxed(),
            // systemd takes what comes on stderr as well.
            Err(_) => lines.with_ansi(false).fmt_fields(escaped()).boxed(),
        },
        _ => lines.with_ansi(super::exit::colour()).fmt_fields(escaped()).boxed(),
    }
}

/// Whether systemd connected stderr to its journal, and nobody has redirected it since (systemd.exec(5)).
fn stderr_is_the_journal() -> bool {
    let Some(stream) = std::env::var("JOURNAL_STREAM").ok() else { return false };
    let stderr = std::fs::metadata("/proc/self/fd/2");
    stderr.is_ok_and(|stderr| stream == format!("{}:{}", stderr.st_dev(), stderr.st_ino()))
}

/// Writes the fields of a line without anything that would end it or move a terminal's cursor.
fn escaped() -> impl for<'w> FormatFields<'w> + 'static {
    let write = |writer: &mut Writer<'_>, field: &Field, value: &dyn fmt::Debug| {
        if field.name() != "message" {
            write!(writer, "{}=", field.name())?;
        }
        write!(Escaping(writer), "{value:?}")
    };
    debug_fn(write).delimited(" ")
}

/// Passes on text, with escapes in place of what is not to be shown.
struct Escaping<'a, 'w>(&'a mut Writer<'w>);

impl fmt::Write for Escaping<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for letter in text.chars() {
            let turns = matches!(letter, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
            if letter.is_control() || turns || matches!(letter, '\u{2028}' | '\u{2029}') {
                write!(self.0, "{}", letter.escape_default())?;
            } else {
                self.0.write_char(letter)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_stays_one_line_whatever_the_data_holds() {
        let lines = Lines::default();
        let writer = lines.clone();
        let layer = tracing_subscriber::fmt::layer()
            .with_writer(move || writer.clone())
            .with_ansi(false)
            .without_time()
            .with_target(false)
            .fmt_fields(escaped());
        let evil = "K\n2026 ERROR all is lost\r\u{1b}[2J\u{202e}gnp\u{9b}";
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            let span = tracing::info_span!("pass", job = %evil);
            span.in_scope(|| tracing::warn!(record = %evil, named = evil, "{evil}"));
        });
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        let line = text.strip_suffix('\n').unwrap();
        assert!(line.starts_with(" WARN pass{job=K\\n2026 ERROR"), "{line}");
        assert!(!line.chars().any(|letter| letter.is_control() || letter == '\u{202e}'), "{line:?}");
        assert_eq!(line.matches("all is lost").count(), 4);
    }
}
