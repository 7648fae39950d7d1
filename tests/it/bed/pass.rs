//! A pass of the executable, as a story sees it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::Output;

use serde_json::Value;

/// One pass of all jobs, as `run --json` told it.
#[derive(Debug)]
pub(crate) struct Pass {
    code: Option<i32>,
    stderr: String,
    pub(crate) jobs: BTreeMap<String, Value>,
}

impl Pass {
    /// Fails unless the process ended with this code.
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}", self.details());
        self
    }

    /// Fails unless the counters of `job` that are not 0 are these, as in "1 staged, 1 created". The two that are the
    /// sums of the others are left out.
    #[track_caller]
    pub(crate) fn did(self, job: &str, counters: &str) -> Self {
        assert_eq!(self.counters(job), counters, "job {job}: {}", self.details());
        self
    }

    /// The counters of `job` that are not 0, without the two sums.
    #[track_caller]
    pub(crate) fn counters(&self, job: &str) -> String {
        let report = self.jobs.get(job).unwrap_or_else(|| panic!("no report of {job}: {}", self.details()));
        let counters: BTreeMap<String, u64> = serde_json::from_value(report["counters"].clone()).unwrap_or_default();
        let shown = COUNTERS.iter().filter_map(|name| match counters.get(*name) {
            Some(count @ 1..) => Some(format!("{count} {name}")),
            _ => None,
        });
        shown.collect::<Vec<_>>().join(", ")
    }

    /// One counter of `job`.
    pub(crate) fn count(&self, job: &str, counter: &str) -> u64 {
        self.jobs.get(job).and_then(|report| report["counters"][counter].as_u64()).unwrap_or_default()
    }

    /// What was said of the pass of `job`; empty when it did all it was to do.
    pub(crate) fn message(&self, job: &str) -> String {
        self.jobs.get(job).and_then(|report| report["message"].as_str()).unwrap_or_default().to_owned()
    }

    /// Everything, for a failing test.
    pub(crate) fn details(&self) -> String {
        let mut text = format!("exit {:?}\n", self.code);
        for job in self.jobs.values() {
            let _ = writeln!(text, "{job}");
        }
        text + &self.stderr
    }
}

/// The counters in the order of the documentation, without the two sums.
pub(super) const COUNTERS: [&str; 18] = [
    "unchanged",
    "filtered",
    "queued",
    "staged",
    "refused",
    "created",
    "adopted",
    "updated",
    "equal",
    "closed",
    "deleted",
    "blocked",
    "waiting",
    "pending",
    "held",
    "locked",
    "conflict",
    "quarantined",
];

/// What `run --json` put out. Its counters must add up.
pub(crate) fn pass_of(output: &Output) -> Pass {
    let stdout = String::from_utf8_lossy(&output.stdout);
    let mut pass = Pass {
        code: output.status.code(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        jobs: BTreeMap::new(),
    };
    for line in stdout.lines() {
        let report: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line}"));
        pass.jobs.insert(report["job"].as_str().unwrap().to_owned(), report);
    }
    for job in pass.jobs.keys() {
        let sum = |names: &[&str]| names.iter().map(|name| pass.count(job, name)).sum::<u64>();
        assert_eq!(pass.count(job, "read"), sum(&COUNTERS[..5]), "read does not add up: {}", pass.details());
        assert_eq!(pass.count(job, "taken"), sum(&COUNTERS[5..]), "taken does not add up: {}", pass.details());
    }
    pass
}
