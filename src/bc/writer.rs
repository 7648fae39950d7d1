//! Writing to BC: one envelope, once. What is sent, and what an unclear answer means, is for the caller to decide.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::address::ApiRoute;
use super::batch::{self, MAX_OPERATIONS, Operation, Part};
use super::connection::Connection;
use super::error::{BcError, Failure, Sent};
use super::reader::advice;
use crate::http::{Delays, Effect, ReadyError, Slot};
use crate::model::{ErrorClass, RetryPolicy};

/// How the operations of an envelope hang together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Each for itself; all are tried.
    Independent,
    /// All or none, in one transaction.
    Snapshot,
}

/// What came back for an envelope.
#[derive(Debug)]
pub enum Answer {
    /// BC answered: one part an operation; `None` where it said nothing about it.
    Parts {
        /// The answers, in the order of the operations.
        parts: Vec<Option<Part>>,
        /// How long it took.
        elapsed: Duration,
    },
    /// Nothing was done, and the same may be sent again after a delay.
    NotDone {
        /// Why.
        cause: String,
    },
    /// Nothing was done, and the same may be sent again after the pause that is in force for the whole application.
    Throttled {
        /// Why.
        cause: String,
    },
    /// The envelope is too big for BC; nothing was done.
    TooBig,
    /// Bytes left us and no trustworthy answer came back.
    Open {
        /// What happened.
        cause: String,
    },
    /// BC refuses this application or address; nothing was done.
    Denied(Failure),
}

/// Writes to one environment. Only what applies a plan holds one.
#[derive(Clone)]
pub struct Writer {
    connection: Arc<Connection>,
    cancel: CancellationToken,
}

impl Writer {
    /// A writer that stops waiting for its turn on `cancel`; a request that was sent is seen to its end.
    #[must_use]
    pub fn new(connection: Arc<Connection>, cancel: CancellationToken) -> Self {
        Self { connection, cancel }
    }

    /// Waits for a token and a permit: what has to be in hand before an intent is written.
    pub async fn ready(&self) -> Result<Slot, Failure> {
        self.connection.session.ready(self.connection.batch_cost, &self.cancel).await.map_err(|error| match error {
            ReadyError::Auth(error) => error.into(),
            ReadyError::Cancelled => Failure::Cancelled,
        })
    }

    /// The delays between attempts that `policy` allows.
    #[must_use]
    pub fn delays(&self, policy: &RetryPolicy) -> Delays {
        Delays::new(policy)
    }

    /// By how many milliseconds BC's clock is ahead of ours, at least.
    #[must_use]
    pub fn clock_ahead(&self) -> Option<i64> {
        self.connection.clock_ahead()
    }

    /// Sends `operations`, at most 100, once.
    pub async fn send(&self, slot: Slot, route: &ApiRoute, operations: &[Operation], mode: Mode) -> Answer {
        debug_assert!(operations.len() <= MAX_OPERATIONS, "BC refuses larger envelopes as a whole");
        let mode: &[_] = match mode {
            Mode::Independent => &[("prefer", "odata.continue-on-error")],
            Mode::Snapshot => &[("isolation", "snapshot")],
        };
        let request = self.connection.batch(route, batch::envelope(operations), Effect::Write, mode);
        let response = match self.connection.session.send(slot, request).await {
            Ok(response) => response,
            Err(error) if error.leaves_open(Effect::Write) => return Answer::Open { cause: error.to_string() },
            Err(error) => return Answer::NotDone { cause: error.to_string() },
        };
        self.connection.saw(&response);
        if response.status.is_success() {
            return match batch::parse(&response.body, operations.len()) {
                Ok(parts) => Answer::Parts { parts, elapsed: response.elapsed },
                Err(cause) => Answer::Open { cause: format!("the answer to a batch cannot be understood: {cause}") },
            };
        }
        if response.another_token {
            return Answer::NotDone { cause: "the token was refused; another one is fetched".to_owned() };
        }
        let error = BcError::read(Sent::Create, response.status.as_u16(), &response.body);
        if let Some(answer) = of_the_whole(&error) {
            return answer;
        }
        let fix = advice(&error, &self.connection).await;
        Answer::Denied(Failure::Denied { what: "writing a batch".to_owned(), error: Box::new(error), fix })
    }
}

/// What an error means that was answered to an envelope as a whole; `None`: BC refuses, and somebody has to see to it.
fn of_the_whole(error: &BcError) -> Option<Answer> {
    let cause = error.to_string();
    match error.class {
        ErrorClass::Open if error.status == 503 && crate::mutant!("503 to a write means not done") => {
            Some(Answer::Throttled { cause })
        }
        ErrorClass::Open | ErrorClass::Undiagnosed => Some(Answer::Open { cause }),
        ErrorClass::Throttled => Some(Answer::Throttled { cause }),
        ErrorClass::Transient => Some(Answer::NotDone { cause }),
        ErrorClass::TooBig => Some(Answer::TooBig),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_envelope_that_was_surely_not_done_is_sent_again() {
        let deadlock = br#"{"error":{"code":"Internal_ServerError","message":"Your activity was deadlocked."}}"#;
        let too_many = br#"{"error":{"code":"Application_TooManyRequests","message":""}}"#;
        let rejected = br#"{"error":{"code":"BadRequest","message":""}}"#;
        let page = b"<html>Bad gateway</html>";
        let open = [500, 502, 503, 504, 408, 520, 524, 599, 400, 409].map(|status| (status, &page[..], "open"));
        let denied = [401, 403, 404, 405, 412, 415, 501].map(|status| (status, &page[..], "denied"));
        let others = [
            (429, &page[..], "throttled"),
            (400, too_many, "throttled"),
            (503, too_many, "open"),
            (413, page, "too big"),
            (409, deadlock, "not done"),
            (500, deadlock, "open"),
            (400, rejected, "denied"),
        ];
        for (status, body, wanted) in open.into_iter().chain(denied).chain(others) {
            let told = match of_the_whole(&BcError::read(Sent::Create, status, body)) {
                Some(Answer::Open { .. }) => "open",
                Some(Answer::Throttled { .. }) => "throttled",
                Some(Answer::NotDone { .. }) => "not done",
                Some(Answer::TooBig) => "too big",
                None => "denied",
                Some(answer) => panic!("{status}: {answer:?}"),
            };
            assert_eq!(told, wanted, "{status} {}", String::from_utf8_lossy(body));
        }
    }
}
