//! An alert as JSON: what a command gets on standard input, and what is posted to a webhook.
//!
//! The names are a public interface, described in the README: more may come, none goes.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::change::Event;
use super::condition::Scope;
use crate::clock::iso;

/// The event that tells of the end of any other one.
const RECOVERED: &str = "recovered";

#[derive(Serialize)]
struct Alert<'a> {
    event: &'a str,
    condition: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    job: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<&'a str>,
    since: String,
    at: String,
    message: &'a str,
    /// What incoming webhooks of chat systems show.
    text: String,
    host: &'a str,
    version: &'a str,
}

/// `event`, told at `at`, as JSON.
pub(super) fn json(event: &Event, at: DateTime<Utc>) -> String {
    let Event { kind, is_over, subject, since, message } = event;
    let about = |scope| (kind.scope() == scope).then_some(subject.as_str());
    let system = rustix::system::uname();
    let host = system.nodename().to_string_lossy();
    let alert = Alert {
        event: if *is_over { RECOVERED } else { kind.as_str() },
        condition: kind.as_str(),
        job: about(Scope::Job),
        target: about(Scope::Target),
        since: iso(*since),
        at: iso(at),
        message,
        text: format!("bcsync on {host}: {message}"),
        host: &host,
        version: env!("CARGO_PKG_VERSION"),
    };
    serde_json::to_string(&alert).expect("texts are JSON")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::condition::Kind;

    fn told(kind: Kind, is_over: bool, subject: &str) -> serde_json::Value {
        let (subject, message) = (subject.to_owned(), "it is so".to_owned());
        let event = Event { kind, is_over, subject, since: DateTime::UNIX_EPOCH, message };
        let at = "2026-06-01T12:00:00Z".parse().unwrap();
        let mut json: serde_json::Value = serde_json::from_str(&json(&event, at)).unwrap();
        let host = json["host"].as_str().unwrap().to_owned();
        assert!(!host.is_empty());
        assert_eq!(json["text"], format!("bcsync on {host}: it is so"));
        json["host"] = "h".into();
        json["text"] = "t".into();
        json
    }

    #[test]
    fn the_names_stay() {
        let (since, version) = ("1970-01-01T00:00:00.000Z", env!("CARGO_PKG_VERSION"));
        let expected = serde_json::json!({
            "event": "failing", "condition": "failing", "job": "orders", "since": since,
            "at": "2026-06-01T12:00:00.000Z", "message": "it is so", "text": "t", "host": "h", "version": version,
        });
        assert_eq!(told(Kind::Failing, false, "orders"), expected);
        let expected = serde_json::json!({
            "event": "recovered", "condition": "secret_expires", "target": "main", "since": since,
            "at": "2026-06-01T12:00:00.000Z", "message": "it is so", "text": "t", "host": "h", "version": version,
        });
        assert_eq!(told(Kind::SecretExpires, true, "main"), expected);
        let ledger = told(Kind::Wal, false, "");
        assert!(ledger.get("job").is_none() && ledger.get("target").is_none(), "{ledger}");
    }
}
