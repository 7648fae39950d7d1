//! Whole configurations: the example is right, and each kind of mistake is told with its place.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono_tz::Tz;
use rust_decimal::Decimal;
use secrecy::ExposeSecret;

use super::*;

/// Variables that a test sets, and the groups of the real process.
#[derive(Default)]
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

/// The smallest configuration without problems. `%ROOT%`, `%TARGET%` and so on are where a test adds or changes something.
const SMALL: &str = r#"
[targets.main]
tenant = "contoso.onmicrosoft.com"
environment = "production"
company = "CRONUS"
client_id = "app"
client_secret = { env = "SECRET" }

[sources.crm]
type = "sqlite"
path = "crm.db"

[jobs.customers]
source = "crm"
entity = "customers"
query = "SELECT 1"
key = "id"
match_on = "number"
on_conflict = "hold"

[jobs.customers.fields]
number = "no"
"#;

fn load_text(text: &str) -> Result<Config, Report> {
    check(SourceText::new("config.toml", text), &Surroundings::with(&[("SECRET", "s3cret"), ("EMPTY", "")]))
}

/// Problems as `line:column message`, errors and warnings alike.
fn problems(text: &str) -> Vec<String> {
    let report = load_text(text).map_or_else(|report| report, |config| config.report);
    let place =
        |problem: &Problem| report.position(problem).map(|at| format!("{}:{}", at.line, at.column)).unwrap_or_default();
    report.problems().iter().map(|problem| format!("{} {}", place(problem), problem.message)).collect()
}

/// [`SMALL`] with `from` replaced by `to`.
fn changed(from: &str, to: &str) -> String {
    assert!(SMALL.contains(from), "{from:?} is not in the small configuration");
    SMALL.replacen(from, to, 1)
}

#[test]
fn the_small_configuration_has_no_problems() {
    assert_eq!(problems(SMALL), Vec::<String>::new());
}
