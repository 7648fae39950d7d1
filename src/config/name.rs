//! The names that people give to targets, sources, jobs and tables of codes, and references to them.

use super::problem::Problem;
use super::reader::{Findings, Value};
use super::text::Located;

/// The key of `value` as a name; it appears in commands, addresses of the status page and the ledger.
pub(super) fn read(value: &Value<'_>) -> Option<Located<String>> {
    let name = value.key();
    if !name.value.is_empty() && name.value.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-')) {
        return Some(name);
    }
    value.reject(name.error(format!("`{}` cannot be a name", name.value)).allowed("ASCII letters, digits, `_` and `-`"))
}

/// Reports `reference` unless it is one of the `names` of all things of this `kind`.
pub(super) fn check(reference: &Located<String>, kind: &str, names: &[String], findings: &Findings) {
    if names.contains(&reference.value) {
        return;
    }
    let problem = reference.error(format!("there is no {kind} `{}`", reference.value));
    findings.push(with_names(problem, &reference.value, kind, names));
}

fn with_names(problem: Problem, given: &str, kind: &str, names: &[String]) -> Problem {
    if names.is_empty() {
        return problem.hint(format!("define it as [{kind}s.{given}]"));
    }
    problem.allowed(names.join(", ")).suggest(given, names.iter().map(String::as_str))
}
