//! `schedule`: when each job runs next, in its own zone and in UTC, and what the changes of the clocks do to it.

use std::io::Write as _;

use super::args::Global;
use super::exit::{Exit, Failed};
use super::outside::load_to_look;
use crate::app::{App, JobSchedule, PlannedPass};
use crate::config::ProcessEnvironment;

/// Passes that are shown of each job.
const PASSES: usize = 10;

/// Shows the next passes.
pub(super) fn schedule(global: &Global) -> Result<Exit, Failed> {
    let config = load_to_look(global, &ProcessEnvironment)?;
    let schedules = App::new(&config, &ProcessEnvironment).schedule(PASSES);
    let mut out = anstream::stdout();
    for schedule in &schedules {
        if global.json {
            writeln!(out, "{}", json(schedule))?;
        } else {
            tell(&mut out, schedule)?;
        }
    }
    Ok(Exit::Done)
}

fn tell(out: &mut impl std::io::Write, schedule: &JobSchedule) -> std::io::Result<()> {
    if schedule.schedules.is_empty() {
        return writeln!(out, "{}: no schedule; it runs when `bcsync run` says so", schedule.job);
    }
    writeln!(out, "{}: {}", schedule.job, schedule.schedules.join("; "))?;
    for PlannedPass { at, full, paused } in &schedule.passes {
        let local = at.with_timezone(&schedule.zone).format("%a %Y-%m-%d %H:%M:%S %Z");
        let full = if *full { "  everything" } else { "" };
        let paused = if *paused { "  waits for the end of the pause" } else { "" };
        writeln!(out, "  {local:<30} {}{full}{paused}", at.format("%Y-%m-%dT%H:%M:%SZ"))?;
    }
    for change in &schedule.clock_changes {
        writeln!(out, "  {change}")?;
    }
    Ok(())
}

fn json(schedule: &JobSchedule) -> serde_json::Value {
    let passes = schedule.passes.iter().map(|PlannedPass { at, full, paused }| {
        serde_json::json!({
            "at": at.to_rfc3339(),
            "local": at.with_timezone(&schedule.zone).to_rfc3339(),
            "full": full,
            "paused": paused,
        })
    });
    serde_json::json!({
        "job": schedule.job,
        "zone": schedule.zone.name(),
        "schedules": schedule.schedules,
        "passes": passes.collect::<Vec<_>>(),
        "clock_changes": schedule.clock_changes,
    })
}
