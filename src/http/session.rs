//! What readers and writers of Business Central hold: a client with token, budget and origin.
//!
//! A write is sent exactly once per [`Slot`], and a slot is token and permit in hand: nothing has to be waited for
//! between recording what is about to be sent and sending it. A read is repeated here until it is answered, within
//! bounds. The token is added in one place, after the address was checked.

use std::sync::Arc;
use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::AUTHORIZATION;
use thiserror::Error;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::clock::SharedClock;

use super::auth_error::AuthError;
use super::budget::{Budget, Permit};
use super::client::HttpClient;
use super::failure::SendError;
use super::oauth::TokenSource;
use super::origin::{Origin, Refusal};
use super::request::{Effect, Request};
use super::response::Response;
use super::retry::{Delays, RetryPolicy};
use super::token::Token;

/// Access to one API on behalf of one app registration. Clones share everything.
#[derive(Clone)]
pub struct Session {
    client: HttpClient,
    origin: Origin,
    tokens: Arc<TokenSource>,
    budget: Budget,
    clock: SharedClock,
}

/// The right to send one request now: a token and a place in the budget.
#[derive(Debug)]
pub struct Slot {
    token: Arc<Token>,
    permit: Permit,
}

/// Why nothing can be sent.
#[derive(Debug, Error)]
pub enum ReadyError {
    /// There is no token.
    #[error(transparent)]
    Auth(#[from] AuthError),
    /// The caller was told to stop.
    #[error("stopped while waiting for Business Central's turn")]
    Cancelled,
}

/// Why a read came to nothing.
#[derive(Debug, Error)]
pub enum ReadError {
    /// There is no token.
    #[error(transparent)]
    Auth(#[from] AuthError),
    /// The last attempt got no complete answer.
    #[error(transparent)]
    Send(#[from] SendError),
    /// The caller was told to stop.
    #[error("stopped while reading")]
    Cancelled,
}

impl From<ReadyError> for ReadError {
    fn from(error: ReadyError) -> Self {
        match error {
            ReadyError::Auth(error) => Self::Auth(error),
            ReadyError::Cancelled => Self::Cancelled,
        }
    }
}

/// What an answer to a read calls for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// It is the caller's: a success, or something that repeating the same request does not change.
    Return,
    /// Once more with another token.
    RenewToken,
    /// Again as soon as the budget's pause is over; burns no attempt.
    AfterPause,
    /// Again after a delay.
    AfterDelay,
}

/// An answer, and whether a refused token was dropped so that another one can be tried.
struct Answered {
    response: Response,
    token_dropped: bool,
}

impl Session {
    /// A session for requests to `origin`, the only place that ever sees the token.
    #[must_use]
    pub fn new(
        client: HttpClient,
        origin: Origin,
        tokens: Arc<TokenSource>,
        budget: Budget,
        clock: SharedClock,
    ) -> Self {
        Self { client, origin, tokens, budget, clock }
    }

    /// The budget, for status displays.
    #[must_use]
    pub fn budget(&self) -> &Budget {
        &self.budget
    }

    /// A token that is valid now, for diagnosis: [`Token::claims`] tells missing consent from an application that BC
    /// does not know.
    pub async fn token(&self) -> Result<Arc<Token>, AuthError> {
        self.tokens.token().await
    }

    /// Waits until one request that counts as `cost` requests may be sent.
    ///
    /// The token comes second: it is then as fresh as can be, however long the permit took.
    pub async fn ready(&self, cost: u32, cancel: &CancellationToken) -> Result<Slot, ReadyError> {
        let permit = self.budget.acquire(cost, cancel).await.ok_or(ReadyError::Cancelled)?;
        let token = unless(cancel, self.tokens.token()).await.ok_or(ReadyError::Cancelled)??;
        Ok(Slot { token, permit })
    }

    /// Sends one request, once, and returns any answer that is complete.
    ///
    /// A 429 or 503 pauses the budget; a 401 drops the token, so that the next [`ready`](Self::ready) brings another.
    pub async fn send(&self, slot: Slot, request: Request) -> Result<Response, SendError> {
        Ok(self.exchange(slot, request).await?.response)
    }

    /// Sends a read that counts as `cost` requests, again and again until it is answered or `policy` is used up.
    ///
    /// Repeats what got no complete answer and what BC could not serve just then (429, 5xx but not 501, 504, 505), and
    /// once what it refused with 401. Waiting out a throttling burns no attempt. Everything else is an answer, and so
    /// is what the last attempt brought. 408, 413 and 504 call for a smaller request and are never repeated as they are.
    ///
    /// # Errors
    /// Also when `request` is not a read.
    pub async fn read(
        &self,
        request: Request,
        cost: u32,
        policy: &RetryPolicy,
        cancel: &CancellationToken,
    ) -> Result<Response, ReadError> {
        if request.effect != Effect::Read {
            let host = request.url.host_str().unwrap_or_default().to_owned();
            return Err(SendError::Refused(Refusal::WriteAsRead { host }).into());
        }
        let started = Instant::now();
        let mut delays = Delays::new(policy);
        let mut renewed = false;
        loop {
            let slot = self.ready(cost, cancel).await?;
            let outcome = unless(cancel, self.exchange(slot, request.clone())).await.ok_or(ReadError::Cancelled)?;
            let wait = match &outcome {
                Ok(Answered { response, token_dropped }) => match next(response.status) {
                    Next::Return => None,
                    Next::RenewToken => {
                        (*token_dropped && !std::mem::replace(&mut renewed, true)).then_some(Duration::ZERO)
                    }
                    Next::AfterPause => Some(self.budget.status().paused_for.unwrap_or_default()),
                    Next::AfterDelay => delays.next(response.retry_after(self.clock.now())),
                },
                Err(SendError::Refused(_) | SendError::TooLong { .. }) => None,
                Err(_) => delays.next(None),
            };
            let Some(wait) = wait.filter(|wait| started.elapsed().saturating_add(*wait) <= policy.patience) else {
                return Ok(outcome?.response);
            };
            match &outcome {
                Ok(answered) => {
                    let status = answered.response.status.as_u16();
                    info!(path = request.url.path(), status, wait_ms = wait.as_millis(), "reading again");
                }
                Err(error) => info!(path = request.url.path(), %error, wait_ms = wait.as_millis(), "reading again"),
            }
            unless(cancel, sleep(wait)).await.ok_or(ReadError::Cancelled)?;
        }
    }

    async fn exchange(&self, slot: Slot, mut request: Request) -> Result<Answered, SendError> {
        self.origin.allows(&request.url)?;
        request.headers.push((AUTHORIZATION, slot.token.bearer()));
        let response = self.client.send(request).await?;
        let mut token_dropped = false;
        match response.status {
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                slot.permit.throttled(response.retry_after(self.clock.now()));
                let paused_ms = self.budget.status().paused_for.unwrap_or_default().as_millis();
                warn!(status = response.status.as_u16(), paused_ms, "Business Central asks for a pause");
            }
            StatusCode::UNAUTHORIZED => token_dropped = self.tokens.invalidate(&slot.token),
            _ => slot.permit.answered(),
        }
        Ok(Answered { response, token_dropped })
    }
}

/// What each status means for a read (BC documentation, HTTP status codes).
fn next(status: StatusCode) -> Next {
    match status.as_u16() {
        401 => Next::RenewToken,
        429 | 503 => Next::AfterPause,
        501 | 504 | 505 => Next::Return,
        500..=599 => Next::AfterDelay,
        _ => Next::Return,
    }
}

/// What `future` gives, or `None` when cancelled first.
async fn unless<T>(cancel: &CancellationToken, future: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        () = cancel.cancelled() => None,
        value = future => Some(value),
    }
}
