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
use tracing::{debug, warn};

use crate::clock::SharedClock;

use super::auth_error::AuthError;
use super::budget::{Budget, Permit};
use super::client::HttpClient;
use super::failure::SendError;
use super::oauth::TokenSource;
use super::origin::{Origin, Refusal};
use super::request::{Effect, Request};
use super::response::Response;
use super::retry::Delays;
use super::token::Token;
use crate::model::RetryPolicy;

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
    /// Again if there is another token to try.
    RenewToken,
    /// Again as soon as the budget's pause is over; burns no attempt.
    AfterPause,
    /// Again after a delay.
    AfterDelay,
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
    /// A 429 or 503 pauses the budget. A 401 drops the token, and [`Response::another_token`] tells whether the next
    /// [`ready`](Self::ready) brings another.
    pub async fn send(&self, slot: Slot, mut request: Request) -> Result<Response, SendError> {
        self.origin.allows(&request.url)?;
        request.headers.push((AUTHORIZATION, slot.token.bearer()));
        let mut response = self.client.send(request).await?;
        match response.status {
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                slot.permit.throttled(response.retry_after(self.clock.now()));
                let paused_ms = self.budget.status().paused_for.unwrap_or_default().as_millis();
                warn!(status = response.status.as_u16(), paused_ms, "Business Central asks for a pause");
            }
            StatusCode::UNAUTHORIZED => response.another_token = self.tokens.invalidate(&slot.token),
            _ => slot.permit.answered(),
        }
        Ok(response)
    }

    /// Sends a read that counts as `cost` requests, again and again until it is answered or `policy` is used up.
    ///
    /// Repeats what got no complete answer, what BC could not serve just then (429, 5xx but not 501, 504, 505), and
    /// what it refused with 401 while there is another token to try. Waiting out a throttling burns no attempt.
    /// Everything else is an answer, and so is what the last attempt brought. 408, 413 and 504 call for a smaller
    /// request and are never repeated as they are.
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
        loop {
            let slot = self.ready(cost, cancel).await?;
            let outcome = unless(cancel, self.send(slot, request.clone())).await.ok_or(ReadError::Cancelled)?;
            let wait = match &outcome {
                Ok(response) => match next(response.status) {
                    Next::Return => None,
                    Next::RenewToken => response.another_token.then_some(Duration::ZERO),
                    Next::AfterPause => Some(self.budget.status().paused_for.unwrap_or_default()),
                    Next::AfterDelay => delays.next(response.retry_after(self.clock.now())),
                },
                Err(SendError::Refused(_) | SendError::TooLong { .. }) => None,
                Err(_) => delays.next(None),
            };
            let Some(wait) = wait.filter(|wait| started.elapsed().saturating_add(*wait) <= policy.patience) else {
                return Ok(outcome?);
            };
            debug!(path = request.url.path(), wait_ms = wait.as_millis(), "reading again");
            unless(cancel, sleep(wait)).await.ok_or(ReadError::Cancelled)?;
        }
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

#[cfg(test)]
mod tests {
    use reqwest::Method;
    use secrecy::SecretString;
    use url::Url;

    use super::*;
    use crate::clock::SystemClock;
    use crate::http::auth_error::Trouble;
    use crate::http::client::ClientOptions;
    use crate::http::credential::Credential;
    use crate::http::loopback::{Reply, Server, get, header};
    use crate::http::oauth::AppRegistration;

    const QUICK: RetryPolicy = RetryPolicy {
        attempts: 3,
        initial: Duration::from_millis(1),
        max: Duration::from_millis(2),
        patience: Duration::from_mins(1),
    };

    /// A session for `api`, with an Entra ID that numbers its tokens.
    async fn session(api: &Server) -> (Session, Server) {
        let login = Server::start(|n, _| {
            Reply::ok(&format!(r#"{{"token_type":"Bearer","expires_in":3599,"access_token":"t{n}"}}"#))
        })
        .await;
        (session_with(api, &login), login)
    }

    fn session_with(api: &Server, login: &Server) -> Session {
        let app = AppRegistration {
            login_url: login.url.clone(),
            tenant: "t".to_owned(),
            client_id: "app".to_owned(),
            scope: "s/.default".to_owned(),
            credential: Credential::Secret(SecretString::from("secret")),
        };
        let clock: SharedClock = Arc::new(SystemClock);
        let client = HttpClient::new(&ClientOptions::default()).unwrap();
        let tokens = TokenSource::new(client.clone(), app, Arc::clone(&clock)).unwrap();
        let origin = Origin::of(&api.url).unwrap();
        Session::new(client, origin, Arc::new(tokens), Budget::new(4, 1_000), clock)
    }

    fn write(url: &Url) -> Request {
        Request { method: Method::POST, effect: Effect::Write, ..get(url) }
    }

    async fn read(session: &Session, url: &Url) -> Result<Response, ReadError> {
        session.read(get(url), 1, &QUICK, &CancellationToken::new()).await
    }

    async fn slot(session: &Session) -> Slot {
        session.ready(1, &CancellationToken::new()).await.unwrap()
    }

    fn bearers(api: &Server) -> Vec<String> {
        api.seen().iter().map(|request| header(request, "authorization").unwrap().to_owned()).collect()
    }

    #[test]
    fn each_status_calls_for_something() {
        let mut repeated = Vec::new();
        for code in 100..=599 {
            match next(StatusCode::from_u16(code).unwrap()) {
                Next::Return => {}
                next if code > 509 => assert_eq!(next, Next::AfterDelay, "{code}"),
                next => repeated.push((code, next)),
            }
        }
        let expected = [
            (401, Next::RenewToken),
            (429, Next::AfterPause),
            (500, Next::AfterDelay),
            (502, Next::AfterDelay),
            (503, Next::AfterPause),
            (506, Next::AfterDelay),
            (507, Next::AfterDelay),
            (508, Next::AfterDelay),
            (509, Next::AfterDelay),
        ];
        assert_eq!(repeated, expected);
    }

    #[tokio::test]
    async fn the_token_stays_with_its_origin() {
        let api = Server::start(|_, _| Reply::ok("")).await;
        let foreign = Server::start(|_, _| Reply::ok("")).await;
        let (session, _login) = session(&api).await;
        let error = session.send(slot(&session).await, write(&foreign.url)).await.unwrap_err();
        assert!(matches!(error, SendError::Refused(Refusal::ForeignOrigin { .. })), "{error:?}");
        assert!(!error.leaves_open(Effect::Write));
        let error = read(&session, &foreign.url).await.unwrap_err();
        assert!(matches!(error, ReadError::Send(SendError::Refused(Refusal::ForeignOrigin { .. }))), "{error:?}");
        assert_eq!(foreign.connections(), 0);

        session.send(slot(&session).await, write(&api.url)).await.unwrap();
        assert_eq!(bearers(&api), ["Bearer t0"]);
    }

    #[tokio::test]
    async fn a_write_is_sent_once_whatever_comes_back() {
        for reply in [
            || Reply::close(),
            || Reply::status(500, &[], ""),
            || Reply::status(503, &[], ""),
            || Reply::status(401, &[], ""),
        ] {
            let api = Server::start(move |_, _| reply()).await;
            let (session, _login) = session(&api).await;
            let _ = session.send(slot(&session).await, write(&api.url)).await;
            assert_eq!(api.seen().len(), 1);
            assert_eq!(session.budget().status().running, 0);
        }
    }

    #[tokio::test]
    async fn a_write_is_never_handed_to_what_repeats() {
        let api = Server::start(|_, _| Reply::ok("")).await;
        let (session, _login) = session(&api).await;
        let error = session.read(write(&api.url), 1, &QUICK, &CancellationToken::new()).await.unwrap_err();
        assert!(matches!(error, ReadError::Send(SendError::Refused(Refusal::WriteAsRead { .. }))), "{error:?}");
        assert_eq!(api.connections(), 0);
    }

    #[tokio::test]
    async fn throttling_pauses_the_whole_budget() {
        for (status, headers) in
            [(429, &[("retry-after", "120")][..]), (503, &[("retry-after", "120")]), (429, &[]), (503, &[])]
        {
            let api = Server::start(move |_, _| Reply::status(status, headers, "")).await;
            let (session, _login) = session(&api).await;
            session.send(slot(&session).await, write(&api.url)).await.unwrap();
            let budget = session.budget().status();
            assert_eq!((budget.throttled, budget.places), (1, 2));
            let paused = budget.paused_for.unwrap();
            assert_eq!(paused > Duration::from_secs(100), !headers.is_empty(), "{status} {paused:?}");
        }
    }

    #[tokio::test]
    async fn a_read_is_repeated_until_it_is_answered() {
        let api = Server::start(|n, _| match n {
            0 => Reply::close(),
            1 => Reply::Bytes(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nx".into()),
            _ => Reply::ok("done"),
        })
        .await;
        let (session, _login) = session(&api).await;
        assert_eq!(read(&session, &api.url).await.unwrap().body, "done");
        assert_eq!(session.budget().status().granted, 3, "each attempt has its own permit");
    }

    #[tokio::test]
    async fn attempts_end_with_what_the_last_one_brought() {
        let api = Server::start(|n, _| Reply::status(502, &[], &n.to_string())).await;
        let (session, _login) = session(&api).await;
        let last = read(&session, &api.url).await.unwrap();
        assert_eq!((last.status.as_u16(), last.body.as_ref()), (502, b"2".as_slice()));

        let api = Server::start(|_, _| Reply::close()).await;
        let (session, _login) = self::session(&api).await;
        let error = read(&session, &api.url).await.unwrap_err();
        assert!(matches!(error, ReadError::Send(SendError::NoAnswer { .. })), "{error:?}");
        assert_eq!(api.seen().len(), 3);
    }

    #[tokio::test]
    async fn other_statuses_are_answers() {
        for status in [200, 302, 400, 403, 404, 408, 409, 412, 413, 501, 504] {
            let api = Server::start(move |_, _| Reply::status(status, &[], "")).await;
            let (session, _login) = session(&api).await;
            assert_eq!(read(&session, &api.url).await.unwrap().status.as_u16(), status);
            assert_eq!(api.seen().len(), 1, "{status}");
        }
    }

    #[tokio::test]
    async fn waiting_out_a_throttling_burns_no_attempt_but_patience() {
        let api = Server::start(|n, _| match n {
            0 => Reply::status(429, &[("retry-after", "0")], ""),
            _ => Reply::ok("done"),
        })
        .await;
        let (session, _login) = session(&api).await;
        let once = RetryPolicy { attempts: 1, ..QUICK };
        let started = Instant::now();
        let answer = session.read(get(&api.url), 1, &once, &CancellationToken::new()).await.unwrap();
        assert_eq!(answer.body, "done");
        assert!(started.elapsed() >= Duration::from_millis(400), "zero seconds are not believed");

        let api = Server::start(|_, _| Reply::status(429, &[], "")).await;
        let (session, _login) = self::session(&api).await;
        let impatient = RetryPolicy { patience: Duration::from_millis(100), ..QUICK };
        let answer = session.read(get(&api.url), 1, &impatient, &CancellationToken::new()).await.unwrap();
        assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(api.seen().len(), 1);
    }

    #[tokio::test]
    async fn a_refused_token_is_replaced_once() {
        let api = Server::start(|n, _| if n == 0 { Reply::status(401, &[], "") } else { Reply::ok("") }).await;
        let (session, login) = session(&api).await;
        assert_eq!(read(&session, &api.url).await.unwrap().status, StatusCode::OK);
        assert_eq!(bearers(&api), ["Bearer t0", "Bearer t1"]);
        assert_eq!(login.seen().len(), 2);
    }

    #[tokio::test]
    async fn a_refused_application_makes_no_storm_of_token_requests() {
        let api = Server::start(|_, _| Reply::status(401, &[], "")).await;
        let (session, login) = session(&api).await;
        for expected in [2, 3, 4] {
            let answer = read(&session, &api.url).await.unwrap();
            assert_eq!((answer.status, answer.another_token), (StatusCode::UNAUTHORIZED, false));
            assert_eq!(api.seen().len(), expected);
        }
        assert_eq!(login.seen().len(), 2);
    }

    #[tokio::test]
    async fn after_a_refused_write_the_next_slot_has_another_token() {
        let api = Server::start(|n, _| if n == 0 { Reply::status(401, &[], "") } else { Reply::ok("") }).await;
        let (session, _login) = session(&api).await;
        for expected in [401, 200] {
            let answer = session.send(slot(&session).await, write(&api.url)).await.unwrap();
            assert_eq!((answer.status.as_u16(), answer.another_token), (expected, expected == 401));
        }
        assert_eq!(bearers(&api), ["Bearer t0", "Bearer t1"]);
    }

    #[tokio::test]
    async fn without_a_token_nothing_is_sent() {
        let api = Server::start(|_, _| Reply::ok("")).await;
        let login = Server::start(|_, _| Reply::status(401, &[], r#"{"error":"invalid_client"}"#)).await;
        let session = session_with(&api, &login);
        let error = session.ready(1, &CancellationToken::new()).await.unwrap_err();
        assert!(matches!(error, ReadyError::Auth(AuthError { trouble: Trouble::Credentials, .. })), "{error:?}");
        assert!(matches!(read(&session, &api.url).await.unwrap_err(), ReadError::Auth(_)));
        assert_eq!(session.budget().status().running, 0, "the permit went back");
        assert_eq!((api.connections(), login.seen().len()), (0, 1));
    }

    #[tokio::test]
    async fn every_wait_ends_when_cancelled() {
        let api = Server::start(|_, _| Reply::Hang(Vec::new())).await;
        let (hanging, _login) = session(&api).await;
        let (paused, _login) = session(&api).await;
        paused.budget().pause(Duration::from_mins(10));
        let deaf = Server::start(|_, _| Reply::Hang(Vec::new())).await;
        let without_token = session_with(&api, &deaf);
        for session in [hanging, paused, without_token] {
            let cancel = CancellationToken::new();
            let stop = async {
                tokio::time::timeout(Duration::from_millis(50), std::future::pending::<()>()).await.unwrap_err();
                cancel.cancel();
            };
            let (outcome, ()) = tokio::join!(session.read(get(&api.url), 1, &QUICK, &cancel), stop);
            assert!(matches!(outcome, Err(ReadError::Cancelled)), "{outcome:?}");
            assert!(matches!(session.ready(1, &cancel).await, Err(ReadyError::Cancelled)));
            assert_eq!(session.budget().status().running, 0);
        }
    }
}
