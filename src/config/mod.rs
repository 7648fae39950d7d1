//! The configuration: TOML in, a checked [`Config`] out, or a [`Report`] of everything that is wrong with it.
//!
//! What is promised: every problem is found in one go, each with file, line, column, the text underlined, what is allowed
//! and a hint; a [`Config`] that exists keeps what its types say. Secrets are never in it, only where to find them, and
//! one that was written inline by mistake is never shown.
//!
//! What depends on expressions or on Business Central's schema is checked elsewhere, on the [`Located`] values kept here,
//! and reported through the same [`Report`]. Nothing here opens a connection.

mod address;
mod brake;
mod broken;
mod duration;
mod entity;
mod environment;
mod find;
mod job;
mod mapping;
mod name;
mod order;
mod places;
mod policy;
mod problem;
mod reader;
mod schedule;
mod secret;
mod service;
mod source;
mod stream;
mod target;
#[cfg(test)]
mod tests;
mod text;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use toml::de::DeTable;

pub use environment::{Environment, ProcessEnvironment};
pub use find::{NoConfig, find};
pub use job::Job;
pub use mapping::{CheckTotal, Field, Lines, LinesOrigin};
pub use problem::{Problem, Report, Severity};
pub use schedule::Schedule;
pub use secret::{Certificate, SecretError, SecretRef};
pub use service::{Alerts, Ledger, Log, LogFormat, LogLevel, Monitor, Retry};
pub use source::{Source, SourceKind};
pub use stream::{Cursor, Overlap, Stream};
pub use target::{Limits, Pause, REQUEST_TIMEOUT, SignIn, Target};
pub use text::{Located, Position, SourceText};

use job::Names;
use reader::{Findings, Table, Value};

/// A configuration without errors.
#[derive(Debug, Clone)]
pub struct Config {
    /// The file it was read from, with what there is to warn of. Later checks add to it.
    pub report: Report,
    /// The memory of what was sent, and its history.
    pub ledger: Ledger,
    /// How the program logs.
    pub log: Log,
    /// Health, metrics and the status page, if they are wanted.
    pub monitor: Option<Monitor>,
    /// Who is told about changes of state.
    pub alerts: Alerts,
    /// The defaults of retrying; each job has its own.
    pub retry: Retry,
    /// Where records go, in the order of the file.
    pub targets: Vec<Target>,
    /// Where records come from, in the order of the file.
    pub sources: Vec<Source>,
    /// The jobs, enabled or not, in the order of the file.
    pub jobs: Vec<Job>,
    /// Tables of codes for `translate`, in the order of the file.
    pub maps: Vec<CodeMap>,
}

/// A table of codes.
#[derive(Debug, Clone)]
pub struct CodeMap {
    /// Its name in the configuration.
    pub name: Located<String>,
    /// The code in Business Central for each value of the source.
    pub codes: BTreeMap<String, Located<String>>,
}

impl Config {
    /// The target of this name.
    #[must_use]
    pub fn target(&self, name: &str) -> Option<&Target> {
        self.targets.iter().find(|target| target.name.value == name)
    }

    /// The source of this name.
    #[must_use]
    pub fn source(&self, name: &str) -> Option<&Source> {
        self.sources.iter().find(|source| source.name.value == name)
    }

    /// The job of this name.
    #[must_use]
    pub fn job(&self, name: &str) -> Option<&Job> {
        self.jobs.iter().find(|job| job.name.value == name)
    }

    /// The names of all jobs, to be read.
    #[must_use]
    pub fn job_names(&self) -> String {
        let names: Vec<_> = self.jobs.iter().map(|job| format!("`{}`", job.name.value)).collect();
        if names.is_empty() { "no job".to_owned() } else { names.join(", ") }
    }

    /// All jobs, each after those named in its `after`, otherwise in the order of the file.
    #[must_use]
    pub fn jobs_in_order(&self) -> Vec<&Job> {
        let mut ordered: Vec<&Job> = Vec::with_capacity(self.jobs.len());
        // There are no circles, so each round finds at least one job that waits for none of the rest.
        while ordered.len() < self.jobs.len() {
            let is_done = |name: &str| ordered.iter().any(|job| job.name.value == name);
            let is_next = |job: &&Job| !is_done(&job.name.value) && job.after.iter().all(|after| is_done(&after.value));
            match self.jobs.iter().find(is_next) {
                Some(job) => ordered.push(job),
                None => break,
            }
        }
        ordered
    }
}

/// Reads and checks the configuration at `path`, with the secrets that its enabled jobs need.
///
/// # Errors
///
/// Everything that is wrong, and what there is to warn of.
pub fn load(path: &Path, environment: &dyn Environment) -> Result<Config, Report> {
    load_for(path, environment, Purpose::Work)
}

/// Like [`load`], for those who only look into the ledger: people who have no access to the secrets may do that.
///
/// # Errors
///
/// Everything that is wrong in the file itself.
pub fn load_to_look(path: &Path, environment: &dyn Environment) -> Result<Config, Report> {
    load_for(path, environment, Purpose::Look)
}

/// What a configuration is loaded for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// Running jobs: secrets and files must be there.
    Work,
    /// Looking at what was done: nothing outside the file matters.
    Look,
}

fn load_for(path: &Path, environment: &dyn Environment, purpose: Purpose) -> Result<Config, Report> {
    match fs::read(path).map(String::from_utf8) {
        Ok(Ok(text)) => check(SourceText::new(path, text), environment, purpose),
        Ok(Err(error)) => {
            let valid = error.utf8_error().valid_up_to();
            let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
            let mut report = Report::new(Arc::new(SourceText::new(path, text)));
            for span in broken::secrets(report.source().text()) {
                report.hide(span);
            }
            report.push(Problem::error(valid..valid, "", "the file is not UTF-8 text"));
            Err(report)
        }
        Err(error) => {
            let mut report = Report::new(Arc::new(SourceText::new(path, "")));
            report.push(Problem::of_file(format!("the configuration cannot be read: {error}")));
            Err(report)
        }
    }
}

/// Checks the configuration in `source`.
fn check(source: SourceText, environment: &dyn Environment, purpose: Purpose) -> Result<Config, Report> {
    let source = Arc::new(source);
    let report = Report::new(Arc::clone(&source));
    let (document, errors) = DeTable::parse_recoverable(source.text());
    if !errors.is_empty() {
        return Err(broken::report(report, &errors));
    }
    let config = read(document.get_ref(), environment, purpose, report);
    if config.report.has_errors() { Err(config.report) } else { Ok(config) }
}

/// What the document says, as far as it can be used, with the report on it.
fn read(document: &DeTable<'_>, environment: &dyn Environment, purpose: Purpose, report: Report) -> Config {
    let findings = Findings::new(report);
    let mut root = Table::root(document, &findings);
    let ledger = service::read_ledger(&mut root, environment);
    let log = service::read_log(&mut root);
    let monitor = service::read_monitor(&mut root);
    let alerts = service::read_alerts(&mut root);
    let retry = service::read_retry(&mut root, Retry::default());
    let targets = named(&mut root, "targets");
    let sources = named(&mut root, "sources");
    let jobs = named(&mut root, "jobs");
    let maps = named(&mut root, "maps");
    root.finish();
    if targets.is_empty() {
        findings.push(Problem::of_file("no target is defined").hint("[targets.main] says where records go"));
    }
    if jobs.is_empty() {
        findings.push(Problem::of_file("no job is defined").hint("[jobs.customers] says what goes there").as_warning());
    }
    let names_of = |values: &[Value<'_>]| values.iter().map(|value| value.key().value).collect();
    let names = Names { sources: names_of(&sources), targets: names_of(&targets), jobs: names_of(&jobs) };

    let targets: Vec<Target> = targets.iter().filter_map(target::read).collect();
    let sources: Vec<Source> = sources.iter().filter_map(source::read).collect();
    let jobs = read_jobs(&jobs, &names, retry, &findings);
    let maps = maps.iter().filter_map(read_map).collect();
    if purpose == Purpose::Work {
        places::check(&targets, &sources, &jobs, &alerts, environment, &findings);
    }
    let report = findings.into_report();
    Config { report, ledger, log, monitor, alerts, retry, targets, sources, jobs, maps }
}

/// The entries of a table whose keys are names.
fn named<'d>(root: &mut Table<'d>, key: &'static str) -> Vec<Value<'d>> {
    root.table(key).map(|table| table.entries()).unwrap_or_default()
}

fn read_jobs(values: &[Value<'_>], names: &Names, retry: Retry, findings: &Findings) -> Vec<Job> {
    let read: Vec<_> = values.iter().filter_map(|value| Some((value, job::read_outline(value)?))).collect();
    let outlines: Vec<_> = read.iter().map(|(_, (outline, _))| outline).collect();
    order::check(&outlines, names, findings);
    let timezones: Vec<_> = outlines.iter().map(|outline| order::timezone(outline, &outlines)).collect();
    let jobs = read.into_iter().zip(timezones);
    jobs.filter_map(|((value, (outline, table)), timezone)| job::read(value, outline, timezone, table, names, retry))
        .collect()
}

fn read_map(value: &Value<'_>) -> Option<CodeMap> {
    let name = name::read(value)?;
    let entries = value.table()?.entries();
    let codes = entries.iter().filter_map(|entry| Some((entry.key().value, entry.locate(entry.any_text()?)))).collect();
    Some(CodeMap { name, codes })
}
