//! What it means that no complete answer came back.
//!
//! The one question every variant answers: may bytes of the request have left? For a write that did, the outcome is
//! open and has to be found out by reading. In doubt the answer is yes. Never holds a query, a header or a body.

use std::error::Error as StdError;
use std::io;

use reqwest::StatusCode;
use thiserror::Error;

use super::origin::{Origin, Refusal};
use super::request::Effect;

/// A request that got no complete answer.
#[derive(Debug, Clone, Error)]
pub enum SendError {
    /// Turned down here: nothing was sent, and it would be turned down again.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// No connection came about: nothing was sent, and it is safe to send again.
    #[error("could not connect to {to}: {text} ({})", cause.advice())]
    NotSent {
        /// Where the request was to go.
        to: Origin,
        /// What stood in the way.
        cause: NotSentCause,
        /// The innermost cause as the libraries tell it.
        text: String,
    },
    /// The request, or a part of it, left; no status came back.
    #[error("no answer from {to}: {text}")]
    NoAnswer {
        /// Where the request went.
        to: Origin,
        /// Whether the time allowed for it ran out.
        timed_out: bool,
        /// The innermost cause as the libraries tell it.
        text: String,
    },
    /// The answer began and did not end.
    #[error("the answer from {to} (status {status}) broke off after {received} bytes: {text}")]
    CutOff {
        /// Where the request went.
        to: Origin,
        /// The status the answer began with; not to be trusted for what was to follow.
        status: StatusCode,
        /// Bytes of the body that came, decompressed.
        received: usize,
        /// Whether the time allowed for it ran out.
        timed_out: bool,
        /// The innermost cause as the libraries tell it.
        text: String,
    },
    /// The answer is longer than the client is willing to hold.
    #[error("the answer from {to} (status {status}) is longer than {limit} bytes: ask for less at a time")]
    TooLong {
        /// Where the request went.
        to: Origin,
        /// The status the answer began with.
        status: StatusCode,
        /// The most bytes that the client holds.
        limit: usize,
    },
}

/// What stood in the way of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotSentCause {
    /// The name could not be resolved.
    Dns,
    /// The host turned the connection down.
    Refused,
    /// Nobody answered in time.
    TimedOut,
    /// The two sides could not agree on a trusted, encrypted connection.
    Tls,
    /// Anything else, a proxy that refuses for instance.
    Other,
}

impl NotSentCause {
    /// What a person can look at.
    #[must_use]
    pub fn advice(self) -> &'static str {
        match self {
            Self::Dns => "check the host name and this machine's name resolution",
            Self::Refused => "check host and port, and that the server runs",
            Self::TimedOut => "check firewall and proxy settings",
            Self::Tls => {
                "if a proxy here inspects TLS, name its certificate in `extra_ca`; also check this machine's clock"
            }
            Self::Other => "check the network and proxy settings",
        }
    }
}

impl SendError {
    /// Whether bytes of the request may have left this machine.
    #[must_use]
    pub fn may_have_left(&self) -> bool {
        match self {
            Self::Refused(_) | Self::NotSent { .. } => false,
            Self::NoAnswer { .. } | Self::CutOff { .. } | Self::TooLong { .. } => true,
        }
    }

    /// Whether a request with this effect may have taken place without our knowing how it ended.
    #[must_use]
    pub fn leaves_open(&self, effect: Effect) -> bool {
        effect == Effect::Write && self.may_have_left()
    }

    /// Sorts the error of a request that got no status.
    pub(super) fn before_status(to: Origin, error: &reqwest::Error) -> Self {
        let timed_out = error.is_timeout();
        let not_sent = error.is_connect() || error.is_builder();
        let cause = if error.is_dns() {
            NotSentCause::Dns
        } else if timed_out {
            NotSentCause::TimedOut
        } else {
            cause_in(error)
        };
        let text = told(error);
        if not_sent { Self::NotSent { to, cause, text } } else { Self::NoAnswer { to, timed_out, text } }
    }

    /// Sorts the error of an answer whose body did not arrive completely.
    pub(super) fn within_body(to: Origin, status: StatusCode, received: usize, error: &reqwest::Error) -> Self {
        Self::CutOff { to, status, received, timed_out: error.is_timeout(), text: told(error) }
    }
}

/// Looks for what stood in the way along the chain of causes.
fn cause_in(error: &reqwest::Error) -> NotSentCause {
    for cause in causes(error) {
        if cause.is::<rustls::Error>() {
            return NotSentCause::Tls;
        }
        if cause.downcast_ref::<io::Error>().is_some_and(|io| io.kind() == io::ErrorKind::ConnectionRefused) {
            return NotSentCause::Refused;
        }
    }
    NotSentCause::Other
}

/// The innermost cause: what lies above it names the layers of the libraries, and the URL, whose query may hold
/// personal data.
pub(super) fn told(error: &reqwest::Error) -> String {
    match causes(error).last() {
        Some(cause) => cause.to_string(),
        None => "the request or the client's settings are invalid".to_owned(),
    }
}

/// What is below an error, from the outside in.
fn causes<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(below(error), |cause| below(*cause))
}

/// The next error of a chain. An `io::Error` does not name the error that it wraps as its source, but the one below.
fn below<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a (dyn StdError + 'static)> {
    match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(wrapped) => Some(wrapped),
        None => error.source(),
    }
}
