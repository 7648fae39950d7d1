//! The settings of the program itself: ledger, log, monitor, alerts, and the defaults of retrying.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::address;
use super::duration;
use super::environment::Environment;
use super::reader::{Table, Value};
use super::secret::{self, SecretRef};
use super::text::Located;

const DAY: Duration = Duration::from_hours(24);

/// The memory of what was sent, and its history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ledger {
    /// The `SQLite` file.
    pub path: PathBuf,
    /// Runs and changes older than this are pruned; links never.
    pub keep_history: Duration,
    /// Whether old and new values are kept in the history.
    pub store_values: bool,
    /// The properties whose values are never kept.
    pub redact: Vec<String>,
}

/// How the program logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Log {
    /// In which form.
    pub format: LogFormat,
    /// From which level on.
    pub level: LogLevel,
}

/// The form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For the journal under systemd, for people on a terminal.
    Auto,
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
}

/// The least important level that is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// What went wrong.
    Error,
    /// What may go wrong.
    Warn,
    /// What happened.
    Info,
    /// Why it happened.
    Debug,
    /// Everything.
    Trace,
}

impl LogLevel {
    /// Its name in filters of `tracing`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// Health, metrics and the status page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Monitor {
    /// The address they are served at.
    pub listen: SocketAddr,
}

/// Who is told about changes of state.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Alerts {
    /// A program and its arguments; it gets JSON on standard input. Empty: none.
    pub command: Vec<String>,
    /// The address that JSON is posted to.
    pub webhook: Option<Located<SecretRef>>,
    /// The address that is called after every completed cycle.
    pub heartbeat: Option<Located<SecretRef>>,
}

/// How often and how long something is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// Tries in one run, of what is worth repeating.
    pub attempts: u32,
    /// The wait before the second try; it doubles from then on.
    pub initial: Duration,
    /// The longest wait between two tries.
    pub max: Duration,
    /// How long a record may wait for another one before it is quarantined.
    pub waiting_for: Duration,
    /// How often a quarantined record is tried again.
    pub retry_quarantined: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            attempts: 5,
            initial: Duration::from_secs(1),
            max: Duration::from_mins(1),
            waiting_for: 14 * DAY,
            retry_quarantined: DAY,
        }
    }
}

/// `[ledger]`, or its defaults.
pub(super) fn read_ledger(root: &mut Table<'_>, environment: &dyn Environment) -> Ledger {
    let mut ledger =
        Ledger { path: default_path(environment), keep_history: 400 * DAY, store_values: true, redact: Vec::new() };
    if let Some(mut table) = root.table("ledger") {
        ledger.path = table.or("path", Value::path, ledger.path);
        ledger.keep_history = table.or("keep_history", duration::read_positive, ledger.keep_history);
        ledger.store_values = table.or("store_values", Value::boolean, ledger.store_values);
        ledger.redact = table.or("redact", read_texts, ledger.redact);
        table.finish();
    }
    ledger
}

/// In systemd's state directory, else here. Of several state directories the first (systemd.exec(5)).
fn default_path(environment: &dyn Environment) -> PathBuf {
    let directories = environment.variable("STATE_DIRECTORY").unwrap_or_default();
    let first = std::env::split_paths(&directories).next().filter(|path| !path.as_os_str().is_empty());
    first.unwrap_or_else(|| PathBuf::from(".")).join("ledger.db")
}

/// `[log]`, or its defaults.
pub(super) fn read_log(root: &mut Table<'_>) -> Log {
    let mut log = Log { format: LogFormat::Auto, level: LogLevel::Info };
    if let Some(mut table) = root.table("log") {
        let formats = [("auto", LogFormat::Auto), ("human", LogFormat::Human), ("json", LogFormat::Json)];
        let levels = [LogLevel::Error, LogLevel::Warn, LogLevel::Info, LogLevel::Debug, LogLevel::Trace];
        let levels = levels.map(|level| (level.as_str(), level));
        log.format = table.or("format", |value| value.choice(&formats), log.format);
        log.level = table.or("level", |value| value.choice(&levels), log.level);
        table.finish();
    }
    log
}

/// `[monitor]`, if there is one.
pub(super) fn read_monitor(root: &mut Table<'_>) -> Option<Monitor> {
    let mut table = root.table("monitor")?;
    let listen = table.required("listen", address::read_listen);
    table.finish();
    Some(Monitor { listen: listen?.value })
}

/// `[alerts]`, or none.
pub(super) fn read_alerts(root: &mut Table<'_>) -> Alerts {
    let Some(mut table) = root.table("alerts") else { return Alerts::default() };
    let alerts = Alerts {
        command: table.or("command", read_command, Vec::new()),
        webhook: table.optional("webhook", secret::read),
        heartbeat: table.optional("heartbeat", secret::read),
    };
    table.finish();
    alerts
}

/// `[retry]` of the file or of a job; what is not given is as in `defaults`.
pub(super) fn read_retry(parent: &mut Table<'_>, defaults: Retry) -> Retry {
    let Some(mut table) = parent.table("retry") else { return defaults };
    let attempts = table.or("attempts", |value| value.integer(1..=100), defaults.attempts.into());
    let max = table.optional("max", duration::read_positive);
    let retry = Retry {
        attempts: u32::try_from(attempts).unwrap_or(defaults.attempts),
        initial: table.or("initial", duration::read_positive, defaults.initial),
        max: max.as_ref().map_or(defaults.max, |max| max.value),
        waiting_for: table.or("waiting_for", duration::read_positive, defaults.waiting_for),
        retry_quarantined: table.or("retry_quarantined", duration::read_positive, defaults.retry_quarantined),
    };
    if retry.max < retry.initial {
        let message = format!(
            "`max` ({}) is shorter than `initial` ({})",
            duration::show(retry.max),
            duration::show(retry.initial)
        );
        let problem = max.map_or_else(|| table.problem(&message), |max| max.error(&message));
        table.findings().push(problem);
    }
    table.finish();
    retry
}

fn read_texts(value: &Value<'_>) -> Option<Vec<String>> {
    Some(value.list(Value::text)?.into_iter().map(Located::into_value).collect())
}

fn read_command(value: &Value<'_>) -> Option<Vec<String>> {
    if value.is_text() {
        let problem = value.mismatch_problem("a list");
        return value
            .reject(problem.hint("the program and each of its arguments apart: [\"/path/program\", \"argument\"]"));
    }
    // An argument may be empty, the program not.
    let command = value.list(Value::any_text)?;
    match command.first() {
        Some(program) if !program.value.trim().is_empty() => {
            Some(command.into_iter().map(Located::into_value).collect())
        }
        _ => value.reject(value.problem("this names no program")),
    }
}
