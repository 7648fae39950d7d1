//! Tokens by client credentials: fetched once for all who need one, and before the old one ends.
//!
//! One request at a time, whoever asks. While a renewal fails, the old token serves as long as it is valid. A failure
//! is remembered for a while, so that a wrong secret does not make every record ask Entra ID again. The secret goes
//! into the body of the token request and nowhere else.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use tokio::time::{Instant, sleep};
use tracing::{debug, warn};
use url::Url;
use url::form_urlencoded::Serializer;

use crate::clock::SharedClock;

use super::auth_error::{AuthError, AuthErrorKind, Trouble};
use super::client::HttpClient;
use super::credential::Credential;
use super::entra_errors;
use super::failure::SendError;
use super::origin::{Origin, Refusal};
use super::request::{Effect, Request};
use super::response::Response;
use super::retry::{Delays, RetryPolicy};
use super::token::Token;

/// A token endpoint answers within a second or so; much longer means it will not.
const TIMEOUT: Duration = Duration::from_secs(30);

/// How long a permanent failure stands for all who ask, and a failed renewal is left alone.
const FAILURE_STANDS: Duration = Duration::from_mins(1);

/// How long a transient failure, itself the end of several attempts, stands for those who waited for it.
const TRANSIENT_FAILURE_STANDS: Duration = Duration::from_secs(5);

/// A token that a server turned down is replaced at most this often: a second refusal is not the token's fault.
const BETWEEN_INVALIDATIONS: Duration = Duration::from_mins(1);

/// Which application asks where, for what.
#[derive(Debug)]
pub struct AppRegistration {
    /// The login host, `https://login.microsoftonline.com` for the global cloud.
    pub login_url: Url,
    /// The tenant's id or one of its verified domains.
    pub tenant: String,
    /// The application (client) id.
    pub client_id: String,
    /// The resource followed by `/.default`.
    pub scope: String,
    /// How the application proves itself.
    pub credential: Credential,
}

/// Fetches, keeps and renews the token of one app registration. Shared by all that use it.
pub struct TokenSource {
    client: HttpClient,
    app: AppRegistration,
    endpoint: Url,
    retry: RetryPolicy,
    clock: SharedClock,
    /// Held by the one that asks Entra ID.
    flight: tokio::sync::Mutex<()>,
    held: Mutex<Held>,
    requests: AtomicU64,
}

#[derive(Default)]
struct Held {
    token: Option<Arc<Token>>,
    failure: Option<Failure>,
    renewal_rests_until: Option<Instant>,
    invalidated_at: Option<Instant>,
}

struct Failure {
    error: AuthError,
    stands_until: Instant,
}

impl TokenSource {
    /// A source that has asked nothing yet. `retry` holds for requests made while there is no valid token.
    ///
    /// # Errors
    /// When the login address is not `https`, nor `http` to a loopback address.
    pub fn new(
        client: HttpClient,
        app: AppRegistration,
        retry: RetryPolicy,
        clock: SharedClock,
    ) -> Result<Self, Refusal> {
        let endpoint = token_endpoint(&app.login_url, &app.tenant)?;
        let (flight, held, requests) = Default::default();
        Ok(Self { client, app, endpoint, retry, clock, flight, held, requests })
    }

    /// A token that is valid now.
    ///
    /// Waits while one is fetched, including the repeats after transient failures; dropping the future gives up.
    pub async fn token(&self) -> Result<Arc<Token>, AuthError> {
        match self.valid() {
            Some(token) if !token.is_due(Instant::now()) => Ok(token),
            Some(token) => Ok(self.renewed(token).await),
            None => self.first().await,
        }
    }

    /// Drops a token that a server turned down with 401, so that the next [`token`](Self::token) fetches another.
    ///
    /// Returns whether there will be another one to try: not when one was replaced for this reason a short while ago.
    pub fn invalidate(&self, token: &Arc<Token>) -> bool {
        let now = Instant::now();
        let mut held = self.held();
        if held.token.as_ref().is_some_and(|current| !Arc::ptr_eq(current, token)) || held.token.is_none() {
            return true;
        }
        if held.invalidated_at.is_some_and(|at| now < at + BETWEEN_INVALIDATIONS) {
            return false;
        }
        held.invalidated_at = Some(now);
        held.token = None;
        true
    }

    /// How many token requests were sent.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Renews a token that is still valid. Nobody waits for that but the one who does it, and its failure hurts nobody.
    async fn renewed(&self, old: Arc<Token>) -> Arc<Token> {
        let Ok(_flight) = self.flight.try_lock() else { return old };
        match self.valid() {
            Some(token) if !token.is_due(Instant::now()) => return token,
            _ if self.held().renewal_rests_until.is_some_and(|until| Instant::now() < until) => return old,
            _ => {}
        }
        match self.fetch().await {
            Ok(token) => self.keep(token),
            Err(error) => {
                warn!(%error, "the token could not be renewed; the old one serves on");
                self.held().renewal_rests_until = Some(Instant::now() + FAILURE_STANDS);
                old
            }
        }
    }

    /// Fetches a token because there is none, once for all who wait for it.
    async fn first(&self) -> Result<Arc<Token>, AuthError> {
        let _flight = self.flight.lock().await;
        if let Some(token) = self.valid() {
            return Ok(token);
        }
        if let Some(error) = self.standing_failure() {
            return Err(error);
        }
        let started = Instant::now();
        let mut delays = Delays::new(&self.retry);
        loop {
            let error = match self.fetch().await {
                Ok(token) => return Ok(self.keep(token)),
                Err(error) => error,
            };
            if error.kind == AuthErrorKind::Permanent {
                self.remember(error.clone(), FAILURE_STANDS);
                return Err(error);
            }
            match delays.next(error.retry_after) {
                Some(wait) if started.elapsed() + wait <= self.retry.patience => {
                    debug!(%error, wait_ms = wait.as_millis(), "no token yet");
                    sleep(wait).await;
                }
                _ => {
                    self.remember(error.clone(), TRANSIENT_FAILURE_STANDS);
                    return Err(error);
                }
            }
        }
    }

    /// One token request.
    async fn fetch(&self) -> Result<Token, AuthError> {
        let asked = Instant::now();
        self.requests.fetch_add(1, Ordering::Relaxed);
        let answer = self.client.send(self.request()).await.map_err(|error| self.unreachable(&error))?;
        if answer.status == StatusCode::OK {
            return self.granted(&answer, asked).ok_or_else(|| self.unexpected());
        }
        let retry_after = answer.retry_after(self.clock.now());
        let redact = |text: &str| self.app.credential.redact(text);
        Err(entra_errors::refusal(answer.status, retry_after, &answer.body, &self.asked(), redact))
    }

    fn request(&self) -> Request {
        let mut form = Serializer::new(String::new());
        form.append_pair("grant_type", "client_credentials")
            .append_pair("client_id", &self.app.client_id)
            .append_pair("scope", &self.app.scope);
        self.app.credential.add_to(&mut form, &self.endpoint, &self.app.client_id, self.clock.now());
        Request {
            method: Method::POST,
            url: self.endpoint.clone(),
            headers: vec![
                (CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded")),
                (ACCEPT, HeaderValue::from_static("application/json")),
            ],
            body: Some(Bytes::from(form.finish())),
            timeout: TIMEOUT,
            effect: Effect::Read,
        }
    }

    /// Reads a success; `None` when it is not one after all.
    fn granted(&self, answer: &Response, asked: Instant) -> Option<Token> {
        let granted: Granted = serde_json::from_slice(&answer.body).ok()?;
        if !granted.token_type.eq_ignore_ascii_case("Bearer") {
            return None;
        }
        debug!(client_id = self.app.client_id, expires_in_s = granted.expires_in, "token received");
        Token::new(&granted.access_token, asked, Duration::from_secs(granted.expires_in))
    }

    fn unreachable(&self, error: &SendError) -> AuthError {
        let (kind, trouble) = match error {
            SendError::Refused(_) => (AuthErrorKind::Permanent, Trouble::TenantOrEndpoint),
            _ => (AuthErrorKind::Transient, Trouble::Unavailable),
        };
        self.error(kind, trouble, &error.to_string())
    }

    /// Says nothing of the body: it may hold a token.
    fn unexpected(&self) -> AuthError {
        let text = "the answer with status 200 holds no usable token: is a proxy or login page in between?";
        self.error(AuthErrorKind::Transient, Trouble::TenantOrEndpoint, text)
    }

    fn error(&self, kind: AuthErrorKind, trouble: Trouble, text: &str) -> AuthError {
        AuthError {
            kind,
            trouble,
            code: None,
            summary: format!("There is no {}: {text}", self.asked()),
            fix: trouble.advice(),
            trace_id: None,
            correlation_id: None,
            timestamp: None,
            retry_after: None,
        }
    }

    /// What was asked for, in words.
    fn asked(&self) -> String {
        format!("token for application {} in tenant {}", self.app.client_id, self.app.tenant)
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn valid(&self) -> Option<Arc<Token>> {
        self.held().token.clone().filter(|token| !token.is_expired(Instant::now()))
    }

    fn standing_failure(&self) -> Option<AuthError> {
        let held = self.held();
        held.failure
            .as_ref()
            .filter(|failure| Instant::now() < failure.stands_until)
            .map(|failure| failure.error.clone())
    }

    fn keep(&self, token: Token) -> Arc<Token> {
        let token = Arc::new(token);
        let mut held = self.held();
        held.failure = None;
        held.renewal_rests_until = None;
        held.token = Some(Arc::clone(&token));
        token
    }

    fn remember(&self, error: AuthError, stands: Duration) {
        self.held().failure = Some(Failure { error, stands_until: Instant::now() + stands });
    }
}

/// Where the tenant's tokens are to be had.
fn token_endpoint(login_url: &Url, tenant: &str) -> Result<Url, Refusal> {
    Origin::of(login_url)?;
    let mut endpoint = login_url.clone();
    endpoint.set_query(None);
    endpoint.set_fragment(None);
    endpoint
        .path_segments_mut()
        .map_err(|()| Refusal::NotHttp { scheme: login_url.scheme().to_owned() })?
        .pop_if_empty()
        .extend([tenant, "oauth2", "v2.0", "token"]);
    Ok(endpoint)
}

impl fmt::Debug for TokenSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenSource")
            .field("endpoint", &self.endpoint.as_str())
            .field("client_id", &self.app.client_id)
            .field("requests", &self.requests())
            .finish_non_exhaustive()
    }
}

/// The body of a success (Microsoft Entra documentation, client credentials grant); other fields are ignored.
#[derive(Deserialize)]
struct Granted {
    token_type: String,
    expires_in: u64,
    access_token: String,
}
