//! Whole configurations: what they become, and what is told about each kind of mistake.

mod mistakes;
mod secrets;
mod values;
mod whole_files;

use std::collections::HashMap;
use std::ffi::OsString;

use super::{Config, Environment, Problem, ProcessEnvironment, Purpose, Report, SourceText, check};

/// Variables that a test sets, and the groups of the real process.
struct Surroundings(HashMap<String, OsString>);

impl Surroundings {
    fn with(variables: &[(&str, &str)]) -> Self {
        Self(variables.iter().map(|(name, value)| ((*name).to_owned(), OsString::from(value))).collect())
    }
}

impl Environment for Surroundings {
    fn variable(&self, name: &str) -> Option<OsString> {
        self.0.get(name).cloned()
    }

    fn groups(&self) -> Vec<u32> {
        ProcessEnvironment.groups()
    }
}

/// The smallest configuration without problems, for tests to change.
const SMALL: &str = "
[targets.main]
tenant = 'contoso.onmicrosoft.com'
environment = 'production'
company = 'CRONUS'
client_id = 'app'
client_secret = { env = 'SECRET' }

[sources.crm]
type = 'sqlite'
path = 'crm.db'

[jobs.customers]
source = 'crm'
entity = 'customers'
query = 'SELECT 1'
key = 'id'
match_on = 'number'
on_conflict = 'hold'

[jobs.customers.fields]
number = 'no'
";

/// [`SMALL`] with `from` replaced by `to`.
fn changed(from: &str, to: &str) -> String {
    assert!(SMALL.contains(from), "{from:?} is not in the small configuration");
    SMALL.replacen(from, to, 1)
}

fn load_text(text: &str) -> Result<Config, Report> {
    let surroundings = Surroundings::with(&[("SECRET", "s3cret"), ("DATABASE", "mysql://u:pw@h/d"), ("EMPTY", "")]);
    check(SourceText::new("config.toml", text), &surroundings, Purpose::Work)
}

/// All that is told about `text`, warnings too.
fn report_on(text: &str) -> Report {
    load_text(text).map_or_else(|report| report, |config| config.report)
}

/// The same in short: `line:column message`.
fn problems(text: &str) -> Vec<String> {
    let report = report_on(text);
    let place = |problem: &Problem| {
        report.position(problem).map_or_else(|| "file".to_owned(), |at| format!("{}:{}", at.line, at.column))
    };
    report.problems().iter().map(|problem| format!("{} {}", place(problem), problem.message)).collect()
}
