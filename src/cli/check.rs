//! `check`: the configuration, offline.

use std::io::Write as _;
use std::path::Path;

use super::args::Global;
use super::exit::{Exit, Failed, colour};
use super::outside::find;
use crate::app;
use crate::config::{self, Config, ProcessEnvironment, Report, Severity};

/// Checks the configuration and tells everything that is wrong with it.
pub(super) fn check(global: &Global) -> Result<Exit, Failed> {
    let path = find(global, &ProcessEnvironment)?;
    let checked = match config::load(&path, &ProcessEnvironment) {
        Ok(config) => mappings(config),
        Err(report) => Err(with_mappings(report, &path)),
    };
    let (report, exit) = match &checked {
        Ok(config) => (&config.report, Exit::Done),
        Err(report) => (report, Exit::Configuration),
    };
    let mut out = anstream::stdout();
    if global.json {
        writeln!(out, "{}", json(report, checked.is_ok()))?;
        return Ok(exit);
    }
    if !report.problems().is_empty() {
        writeln!(anstream::stderr(), "{}", report.render(colour()))?;
    }
    if let Ok(config) = &checked {
        let enabled = config.jobs.iter().filter(|job| job.enabled).count();
        writeln!(out, "{}: in order; {enabled} of {} jobs enabled", path.display(), config.jobs.len())?;
    }
    Ok(exit)
}

/// The configuration, whose mappings are in order, or the report on them.
fn mappings(mut config: Config) -> Result<Config, Report> {
    app::check(&mut config).map_err(|failed| failed.0)?;
    Ok(config)
}

/// Adds what is wrong with the mappings to a report that may be about nothing but a missing secret.
fn with_mappings(mut report: Report, path: &Path) -> Report {
    if let Some(more) = config::load_to_look(path, &ProcessEnvironment).ok().and_then(|config| mappings(config).err()) {
        let new: Vec<_> =
            more.problems().iter().filter(|problem| !report.problems().contains(problem)).cloned().collect();
        for problem in new {
            report.push(problem);
        }
    }
    report
}

/// The report for programs, an editor for instance: lines and columns count from 1, and are null for the file as a whole.
fn json(report: &Report, ok: bool) -> serde_json::Value {
    let problems = report.problems().iter().map(|problem| {
        let position = report.position(problem);
        serde_json::json!({
            "severity": match problem.severity { Severity::Error => "error", Severity::Warning => "warning" },
            "line": position.as_ref().map(|position| position.line),
            "column": position.as_ref().map(|position| position.column),
            "key": problem.path,
            "message": problem.message,
            "allowed": problem.allowed,
            "hint": problem.hint,
        })
    });
    serde_json::json!({ "ok": ok, "file": report.source().path(), "problems": problems.collect::<Vec<_>>() })
}
