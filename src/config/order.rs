//! The order of jobs: what `after` says, without circles, and the time zone that goes along with it.

use std::collections::HashMap;

use chrono_tz::Tz;

use super::job::{Names, Outline};
use super::name;
use super::reader::Findings;

/// Reports jobs in `after` that do not exist, and jobs that wait for themselves.
pub(super) fn check(outlines: &[&Outline], names: &Names, findings: &Findings) {
    for outline in outlines {
        for after in &outline.after {
            name::check(after, "job", &names.jobs, findings);
        }
    }
    let by_name: HashMap<&str, &Outline> = outlines.iter().map(|outline| (outline.name.as_str(), *outline)).collect();
    let mut done = Vec::new();
    for outline in outlines {
        visit(outline, &by_name, &mut Vec::new(), &mut done, findings);
    }
}

/// Follows `after` in depth; `path` leads here, `done` is known to be told already or free of circles.
fn visit<'o>(
    outline: &'o Outline,
    by_name: &HashMap<&str, &'o Outline>,
    path: &mut Vec<&'o str>,
    done: &mut Vec<&'o str>,
    findings: &Findings,
) {
    if done.contains(&outline.name.as_str()) {
        return;
    }
    path.push(&outline.name);
    for after in &outline.after {
        if let Some(start) = path.iter().position(|name| *name == after.value) {
            let circle: Vec<&str> = path[start..].iter().copied().chain([after.value.as_str()]).collect();
            let problem = after.error(format!("no job of this circle could ever run: {}", circle.join(" after ")));
            findings.push(problem.hint("take one of them out of an `after`"));
        } else if let Some(next) = by_name.get(after.value.as_str()) {
            visit(next, by_name, path, done, findings);
        }
    }
    path.pop();
    done.push(&outline.name);
}

/// The time zone that is in force for a job: its own; without one and without a schedule, that of the first job in `after`;
/// else UTC.
pub(super) fn timezone(outline: &Outline, outlines: &[&Outline]) -> Tz {
    let mut outline = outline;
    // As many steps as there are jobs reach every one of them; more would go round in a circle.
    for _ in outlines {
        if let Some(timezone) = outline.timezone {
            return timezone;
        }
        let first = outline.after.first().filter(|_| !outline.has_schedule);
        match first.and_then(|first| outlines.iter().find(|other| other.name == first.value)) {
            Some(before) => outline = before,
            None => break,
        }
    }
    Tz::UTC
}
