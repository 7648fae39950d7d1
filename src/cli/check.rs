//! `check`: the configuration, offline.

use std::io::Write as _;

use super::args::Global;
use super::exit::{Exit, Failed, colour};
use super::outside::load;
use crate::app;
use crate::config::ProcessEnvironment;

/// Checks the configuration and tells everything that is wrong with it, or what it would do.
pub(super) fn check(global: &Global) -> Result<Exit, Failed> {
    let mut config = load(global, &ProcessEnvironment)?;
    app::check(&mut config).map_err(|failed| Failed::of_report(&failed.0))?;
    if !config.report.problems().is_empty() {
        writeln!(anstream::stderr(), "{}\n", config.report.render(colour()))?;
    }
    let mut out = anstream::stdout();
    if global.json {
        let jobs: Vec<_> = config.jobs.iter().map(|job| job.name.value.as_str()).collect();
        writeln!(out, "{}", serde_json::json!({ "ok": true, "jobs": jobs }))?;
    } else {
        let enabled = config.jobs.iter().filter(|job| job.enabled).count();
        let (all, path) = (config.jobs.len(), config.report.source().path().display());
        writeln!(out, "{path}: in order; {enabled} of {all} jobs enabled")?;
    }
    Ok(Exit::Done)
}
