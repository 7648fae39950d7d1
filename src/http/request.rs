//! One request, as a value that can be sent again.
//!
//! Its `Debug` shows method, host and path, never the query, headers or body: those hold personal data and secrets.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use reqwest::Method;
use reqwest::header::{HeaderName, HeaderValue};
use url::Url;

/// What a request may have done when its answer is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Nothing: it may be sent again.
    Read,
    /// It may have changed something: it is never sent again without looking.
    Write,
}

/// A request without credentials and without the headers that every request gets.
#[derive(Clone)]
pub struct Request {
    /// The verb. A `POST` may be a read, as a batch of GETs is.
    pub method: Method,
    /// The full address.
    pub url: Url,
    /// Headers beside `User-Agent`, `client-request-id`, `Accept-Encoding` and `Authorization`.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The body, if any.
    pub body: Option<Bytes>,
    /// How long the whole exchange may take, from connecting to the last byte of the answer.
    pub timeout: Duration,
    /// What the request may have done when its answer is lost.
    pub effect: Effect,
    /// Whether the path lets in whoever knows it. Then it is not shown either.
    pub secret_path: bool,
}

impl Request {
    /// A GET without headers of its own.
    #[must_use]
    pub fn get(url: Url, timeout: Duration) -> Self {
        Self {
            method: Method::GET,
            url,
            headers: Vec::new(),
            body: None,
            timeout,
            effect: Effect::Read,
            secret_path: false,
        }
    }

    /// The path, as it may be shown.
    pub(super) fn shown_path(&self) -> &str {
        if self.secret_path { "(secret)" } else { self.url.path() }
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("method", &self.method)
            .field("host", &self.url.host_str())
            .field("path", &self.shown_path())
            .field("effect", &self.effect)
            .finish_non_exhaustive()
    }
}
