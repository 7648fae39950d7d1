//! What readers and writers share: the session, the addresses, the headers, and BC's clock.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use reqwest::Method;
use reqwest::header::{ACCEPT, ACCEPT_LANGUAGE, CONTENT_TYPE, HeaderName, HeaderValue};

use super::address::{Api, ApiRoute};
use crate::clock::SharedClock;
use crate::http::{Effect, Request, Response, Session};

/// No offset known yet.
const UNKNOWN: i64 = i64::MIN;

/// One environment, reached on behalf of one app registration.
pub struct Connection {
    pub(super) session: Session,
    pub(super) api: Api,
    pub(super) clock: SharedClock,
    /// What one `$batch` counts for in the budget.
    pub(super) batch_cost: u32,
    /// How long one request may take.
    timeout: Duration,
    ahead_ms: AtomicI64,
    newest_ms: AtomicI64,
    requests: AtomicU64,
}

impl Connection {
    /// A connection to `api`. A `$batch` counts as `batch_cost` requests; `timeout` is how long one request may take:
    /// the settle window must be longer by all the time that BC may still work on a request that was given up.
    #[must_use]
    pub fn new(session: Session, api: Api, clock: SharedClock, batch_cost: u32, timeout: Duration) -> Self {
        Self {
            session,
            api,
            clock,
            batch_cost,
            timeout,
            ahead_ms: AtomicI64::new(UNKNOWN),
            newest_ms: AtomicI64::new(UNKNOWN),
            requests: AtomicU64::new(0),
        }
    }

    /// By how many milliseconds BC's clock was ahead of ours at its newest answer; `None` before the first.
    #[must_use]
    pub fn clock_ahead(&self) -> Option<i64> {
        Some(self.ahead_ms.load(Ordering::Relaxed)).filter(|ahead| *ahead != UNKNOWN)
    }

    /// The newest `Date` that BC gave, on its own clock, with whole seconds.
    #[must_use]
    pub fn newest_date(&self) -> Option<DateTime<Utc>> {
        DateTime::from_timestamp_millis(Some(self.newest_ms.load(Ordering::Relaxed)).filter(|ms| *ms != UNKNOWN)?)
    }

    /// How many requests were answered so far.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    pub(super) fn saw(&self, response: &Response) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        if let Some(date) = response.date {
            let ahead = date.signed_duration_since(self.clock.now()).num_milliseconds();
            self.ahead_ms.store(ahead, Ordering::Relaxed);
            self.newest_ms.fetch_max(date.timestamp_millis(), Ordering::Relaxed);
        }
    }

    pub(super) fn get(&self, route: &ApiRoute, path: &str) -> Request {
        let mut request = Request::get(self.api.url(route, path), self.timeout);
        request.headers = headers(&[]);
        request
    }

    pub(super) fn batch(
        &self,
        route: &ApiRoute,
        body: Bytes,
        effect: Effect,
        mode: &[(&'static str, &'static str)],
    ) -> Request {
        let mut headers = headers(mode);
        headers.push((CONTENT_TYPE, HeaderValue::from_static("application/json")));
        Request {
            method: Method::POST,
            url: self.api.url(route, "$batch"),
            headers,
            body: Some(body),
            timeout: self.timeout,
            effect,
        }
    }
}

/// The headers of every request. The language is fixed because errors are classified by their text in places; without
/// `Accept` a batch is answered in another format.
fn headers(more: &[(&'static str, &'static str)]) -> Vec<(HeaderName, HeaderValue)> {
    let fixed = [(ACCEPT, "application/json"), (ACCEPT_LANGUAGE, "en-US")];
    let more = more.iter().map(|(name, value)| (HeaderName::from_static(name), *value));
    fixed.into_iter().chain(more).map(|(name, value)| (name, HeaderValue::from_static(value))).collect()
}
