//! One complete answer.
//!
//! Every status is an answer here, also 4xx and 5xx: what they mean is decided by whoever knows the server.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, NaiveDateTime, Utc};
use reqwest::StatusCode;
use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};
use uuid::Uuid;

/// An answer whose body has arrived completely.
#[derive(Clone)]
pub struct Response {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, decompressed.
    pub body: Bytes,
    /// The server's clock, from the `Date` header: whole seconds.
    pub date: Option<DateTime<Utc>>,
    /// From handing the request over to the last byte of the answer.
    pub elapsed: Duration,
    /// The id under which the request can be found in the server's telemetry.
    pub client_request_id: Uuid,
    /// Whether this is a 401 after which the next [`Session::ready`](super::Session::ready) brings another token to try.
    pub another_token: bool,
}

impl Response {
    /// How long the server asks to be left alone, unbounded; `None` when it does not say or says it illegibly.
    ///
    /// An absolute time is taken relative to the answer's own `Date`, so that a wrong clock here does no harm; `now`
    /// stands in for a missing one.
    #[must_use]
    pub fn retry_after(&self, now: DateTime<Utc>) -> Option<Duration> {
        let text = self.headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
        if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
            // More digits than fit are still a number, and a large one.
            return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
        }
        let until = http_date(text)?;
        Some((until - self.date.unwrap_or(now)).to_std().unwrap_or(Duration::ZERO))
    }
}

/// The `Date` header of an answer.
pub(super) fn date(headers: &HeaderMap) -> Option<DateTime<Utc>> {
    http_date(headers.get(DATE)?.to_str().ok()?)
}

/// Parses `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110 section 5.6.7, without the obsolete forms).
fn http_date(text: &str) -> Option<DateTime<Utc>> {
    Some(NaiveDateTime::parse_from_str(text.trim(), "%a, %d %b %Y %H:%M:%S GMT").ok()?.and_utc())
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response")
            .field("status", &self.status)
            .field("body_bytes", &self.body.len())
            .field("elapsed", &self.elapsed)
            .field("client_request_id", &self.client_request_id)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(headers: &[(&'static str, &str)]) -> Response {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().unwrap());
        }
        Response {
            status: StatusCode::TOO_MANY_REQUESTS,
            date: date(&map),
            headers: map,
            body: Bytes::from_static(b"canary"),
            elapsed: Duration::ZERO,
            client_request_id: Uuid::nil(),
            another_token: false,
        }
    }

    #[test]
    fn retry_after_is_read_in_seconds_and_as_a_date() {
        let now = http_date("Wed, 21 Oct 2015 07:28:00 GMT").unwrap();
        for (text, expected) in [
            ("120", Some(120)),
            (" 7 ", Some(7)),
            ("0", Some(0)),
            ("86400", Some(86_400)),
            ("99999999999999999999999", Some(u64::MAX)),
            ("Wed, 21 Oct 2015 07:29:30 GMT", Some(90)),
            ("Wed, 21 Oct 2015 07:00:00 GMT", Some(0)),
            ("-5", None),
            ("1.5", None),
            ("soon", None),
            ("", None),
            ("Wed, 21 Oct 2015", None),
        ] {
            assert_eq!(
                response(&[("retry-after", text)]).retry_after(now),
                expected.map(Duration::from_secs),
                "{text:?}"
            );
        }
        assert_eq!(response(&[]).retry_after(now), None);
    }

    #[test]
    fn a_date_is_taken_relative_to_the_servers_own_clock() {
        let ours = http_date("Wed, 21 Oct 2015 10:00:00 GMT").unwrap();
        let answer =
            response(&[("date", "Wed, 21 Oct 2015 07:28:00 GMT"), ("retry-after", "Wed, 21 Oct 2015 07:28:20 GMT")]);
        assert_eq!(answer.retry_after(ours), Some(Duration::from_secs(20)));
    }

    #[test]
    fn an_illegible_date_is_no_date() {
        assert_eq!(response(&[("date", "yesterday")]).date, None);
    }

    #[test]
    fn debug_shows_no_body() {
        assert!(!format!("{:?}", response(&[])).contains("canary"));
    }
}
