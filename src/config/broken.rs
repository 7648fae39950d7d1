//! A file that is not TOML: what is told about it, and what is not shown.
//!
//! Where the structure is not known, a secret in the wrong place can only be guessed by the key before it.

use std::ops::Range;

use super::problem::{Problem, Report};

/// Parts of keys whose values may be secrets.
const SUSPICIOUS: [&str; 8] = ["secret", "passw", "token", "url", "webhook", "heartbeat", "certificate", "proxy"];

/// The report on a file that TOML cannot be read from.
pub(super) fn report(mut report: Report, errors: &[toml::de::Error]) -> Report {
    for span in secrets(report.source().text()) {
        report.hide(span);
    }
    let end = report.source().text().len();
    for error in errors {
        let span = error.span().unwrap_or(end..end);
        report.push(Problem::error(span, "", format!("this is not TOML: {}", error.message())));
    }
    report
}

/// What follows a suspicious key, to the end of its line.
pub(super) fn secrets(text: &str) -> Vec<Range<usize>> {
    let mut hidden = Vec::new();
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let suspicious = line.match_indices('=').find(|(equals, _)| {
            let key =
                line[..*equals].trim_end().rsplit(|c: char| c.is_whitespace() || matches!(c, ',' | '{' | '.')).next();
            let key = key.unwrap_or_default().to_lowercase();
            SUSPICIOUS.iter().any(|part| key.contains(part))
        });
        if let Some((equals, _)) = suspicious {
            let value = line[equals + 1..].trim();
            if !value.is_empty() {
                let from = start + equals + 1 + line[equals + 1..].find(value).unwrap_or_default();
                hidden.push(from..from + value.len());
            }
        }
        start += line.len();
    }
    hidden
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_a_suspicious_key_is_hidden() {
        for (line, expected) in [
            ("client_secret = \"a=b", Some("\"a=b")),
            ("  \"client_secret\"=x  ", Some("x")),
            ("a = { user = 'u', password = 'p' }", Some("'p' }")),
            ("targets.main.client_secret = 'p'", Some("'p'")),
            ("url =", None),
            ("key = 'account_id'", None),
        ] {
            let text = format!("first = 1\n{line}\nlast = 2\n");
            let hidden: Vec<_> = secrets(&text).into_iter().map(|span| text[span].to_owned()).collect();
            assert_eq!(hidden, expected.map(str::to_owned).into_iter().collect::<Vec<_>>(), "{line}");
        }
    }
}
