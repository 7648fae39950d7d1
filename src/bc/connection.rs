//! What readers and writers share: the session, the addresses, the headers, and BC's clock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use reqwest::Method;
use reqwest::header::{ACCEPT, ACCEPT_LANGUAGE, CONTENT_TYPE, HeaderName, HeaderValue};

use super::address::{Api, ApiRoute};
use super::their_clock::TheirClock;
use crate::clock::SharedClock;
use crate::http::{Effect, Request, Response, Session};

/// One environment, reached on behalf of one app registration.
pub struct Connection {
    pub(super) session: Session,
    pub(super) api: Api,
    pub(super) clock: SharedClock,
    /// What one `$batch` counts for in the budget.
    pub(super) batch_cost: u32,
    /// How long one request may take.
    timeout: Duration,
    theirs: TheirClock,
    requests: AtomicU64,
}

impl Connection {
    /// A connection to `api`. A `$batch` counts as `batch_cost` requests; `timeout` is how long one request may take:
    /// the settle window must be longer by all the time that BC may still work on a request that was given up.
    #[must_use]
    pub fn new(session: Session, api: Api, clock: SharedClock, batch_cost: u32, timeout: Duration) -> Self {
        Self { session, api, clock, batch_cost, timeout, theirs: TheirClock::default(), requests: AtomicU64::new(0) }
    }

    /// By how many milliseconds BC's clock is ahead of ours, at least; `None` before the first answer.
    #[must_use]
    pub fn clock_ahead(&self) -> Option<i64> {
        self.theirs.ahead(self.clock.now())
    }

    /// The `Date` of the newest answer of BC, on its own clock, with whole seconds.
    #[must_use]
    pub fn newest_date(&self) -> Option<DateTime<Utc>> {
        self.theirs.shown()
    }

    /// How many requests were answered so far.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    pub(super) fn saw(&self, response: &Response) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        // An answer of this kind can be a gateway's, with a clock of its own.
        if let Some(date) = response.date.filter(|_| !response.status.is_server_error()) {
            self.theirs.told(date, self.clock.now());
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
            secret_path: false,
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
