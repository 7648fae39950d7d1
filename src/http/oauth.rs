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
use super::retry::Delays;
use super::token::Token;
use crate::model::RetryPolicy;

/// A token endpoint answers within a second or so; much longer means it will not.
const TIMEOUT: Duration = Duration::from_secs(30);

/// How long a permanent failure stands for all who ask, and a failed renewal is left alone.
const FAILURE_STANDS: Duration = Duration::from_mins(1);

/// How long a transient failure, itself the end of several attempts, stands for those who waited for it.
const TRANSIENT_FAILURE_STANDS: Duration = Duration::from_secs(5);

/// A token that a server turned down is replaced at most this often: a second refusal is not the token's fault.
const BETWEEN_INVALIDATIONS: Duration = Duration::from_mins(1);

/// How a token is asked for while there is none: long enough for Entra ID's usual minute after throttling.
const RETRY: RetryPolicy = RetryPolicy {
    attempts: 4,
    initial: Duration::from_secs(1),
    max: Duration::from_secs(10),
    patience: Duration::from_mins(5),
};

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
    /// A source that has asked nothing yet.
    ///
    /// # Errors
    /// When the login address is not `https`, nor `http` to a loopback address.
    pub fn new(client: HttpClient, app: AppRegistration, clock: SharedClock) -> Result<Self, Refusal> {
        let endpoint = token_endpoint(&app.login_url, &app.tenant)?;
        let (flight, held, requests) = Default::default();
        Ok(Self { client, app, endpoint, retry: RETRY, clock, flight, held, requests })
    }

    /// The same with another policy for the requests made while there is no valid token.
    #[must_use]
    pub fn with_retry(self, retry: RetryPolicy) -> Self {
        Self { retry, ..self }
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
            crate::fault!("K17: token received, not kept");
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
            secret_path: false,
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
            summary: format!("Could not get {}: {text}", self.asked()),
            fix: trouble.advice(),
            trace_id: None,
            correlation_id: None,
            timestamp: None,
            retry_after: None,
        }
    }

    /// What was asked for, in words.
    fn asked(&self) -> String {
        format!("a token for application {} in tenant {}", self.app.client_id, self.app.tenant)
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

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;
    use secrecy::SecretString;

    use super::*;
    use crate::clock::SystemClock;
    use crate::http::client::ClientOptions;
    use crate::http::loopback::{self, Reply, Server};

    const QUICK: RetryPolicy =
        RetryPolicy { attempts: 3, initial: Duration::from_millis(1), max: Duration::from_millis(2), ..RETRY };

    fn source(login_url: &Url) -> TokenSource {
        let app = AppRegistration {
            login_url: login_url.clone(),
            tenant: "contoso.example".to_owned(),
            client_id: "app".to_owned(),
            scope: "https://api.example/.default".to_owned(),
            credential: Credential::Secret(SecretString::from("canary/1+2")),
        };
        let client = HttpClient::new(&ClientOptions::default()).unwrap();
        TokenSource::new(client, app, Arc::new(SystemClock)).unwrap().with_retry(QUICK)
    }

    fn grant(token: &str) -> Reply {
        Reply::ok(&format!(
            r#"{{"token_type":"Bearer","expires_in":3599,"ext_expires_in":9,"access_token":"{token}"}}"#
        ))
    }

    fn refusal(status: u16, error: &str) -> Reply {
        Reply::status(status, &[], &format!(r#"{{"error":"{error}"}}"#))
    }

    fn shown(token: &Token) -> String {
        token.bearer().to_str().unwrap().to_owned()
    }

    /// A token `age` seconds into a life of an hour.
    fn token_aged(age: u64) -> Token {
        Token::new("old", Instant::now() - Duration::from_secs(age), Duration::from_hours(1)).unwrap()
    }

    #[tokio::test]
    async fn the_request_is_what_entra_documents() {
        let server = Server::start(|_, _| grant("t")).await;
        let source = source(&server.url.join("login/?x=1#y").unwrap());
        assert_eq!(shown(&source.token().await.unwrap()), "Bearer t");
        let seen = &server.seen()[0];
        assert!(seen.starts_with("POST /login/contoso.example/oauth2/v2.0/token HTTP/1.1\r\n"), "{seen}");
        assert_eq!(loopback::header(seen, "content-type"), Some("application/x-www-form-urlencoded"));
        let body = seen.split_once("\r\n\r\n").unwrap().1;
        assert_eq!(
            body,
            "grant_type=client_credentials&client_id=app&scope=https%3A%2F%2Fapi.example%2F.default\
             &client_secret=canary%2F1%2B2"
        );
    }

    #[tokio::test]
    async fn a_hundred_callers_make_one_request() {
        let server = Server::start(|n, _| grant(&format!("t{n}"))).await;
        let source = source(&server.url);
        let tokens = join_all((0..100).map(|_| source.token())).await;
        assert!(tokens.into_iter().all(|token| shown(&token.unwrap()) == "Bearer t0"));
        assert_eq!((source.requests(), server.seen().len()), (1, 1));
    }

    #[tokio::test]
    async fn callers_that_waited_share_a_failure_too() {
        let server = Server::start(|_, _| refusal(503, "x")).await;
        let source = source(&server.url);
        let errors = join_all((0..100).map(|_| source.token())).await;
        assert!(errors.into_iter().all(|error| error.unwrap_err().kind == AuthErrorKind::Transient));
        assert_eq!(source.requests(), u64::from(QUICK.attempts));
    }

    #[tokio::test]
    async fn whoever_gives_up_leaves_the_request_to_the_next() {
        let server = Server::start(|n, _| if n == 0 { Reply::Hang(Vec::new()) } else { grant("t") }).await;
        let source = source(&server.url);
        let impatient = tokio::time::timeout(Duration::from_millis(50), source.token());
        let (given_up, token) = tokio::join!(impatient, source.token());
        assert!(given_up.is_err());
        assert_eq!(shown(&token.unwrap()), "Bearer t");
    }

    #[tokio::test]
    async fn transient_failures_are_repeated_until_there_is_a_token() {
        let server = Server::start(|n, _| match n {
            0 => Reply::close(),
            1 => Reply::status(500, &[], "<html>"),
            _ => grant("t"),
        })
        .await;
        let source = source(&server.url);
        assert_eq!(shown(&source.token().await.unwrap()), "Bearer t");
        assert_eq!(source.requests(), 3);
    }

    #[tokio::test]
    async fn a_permanent_failure_is_not_asked_for_twice() {
        let server = Server::start(|n, _| if n == 0 { refusal(401, "invalid_client") } else { grant("t") }).await;
        let source = source(&server.url);
        for _ in 0..3 {
            let error = source.token().await.unwrap_err();
            assert_eq!((error.kind, error.trouble), (AuthErrorKind::Permanent, Trouble::Credentials));
        }
        assert_eq!(source.requests(), 1);
        let stands = source.held().failure.as_ref().unwrap().stands_until - Instant::now();
        assert!(stands > FAILURE_STANDS / 2 && stands <= FAILURE_STANDS);

        source.held().failure.as_mut().unwrap().stands_until = Instant::now();
        assert_eq!(shown(&source.token().await.unwrap()), "Bearer t");
        assert_eq!(source.requests(), 2);
    }

    #[tokio::test]
    async fn a_token_is_renewed_before_it_ends() {
        let server = Server::start(|_, _| grant("new")).await;
        let source = source(&server.url);
        source.keep(token_aged(3_200));
        assert_eq!(shown(&source.token().await.unwrap()), "Bearer old");
        assert_eq!(source.requests(), 0);
        source.keep(token_aged(3_310));
        assert_eq!(shown(&source.token().await.unwrap()), "Bearer new");
        assert_eq!(shown(&source.token().await.unwrap()), "Bearer new");
        assert_eq!(source.requests(), 1);
    }

    #[tokio::test]
    async fn nobody_else_waits_for_a_renewal() {
        let server = Server::start(|_, _| grant("new")).await;
        let source = source(&server.url);
        source.keep(token_aged(3_400));
        let _somebody_is_asking = source.flight.lock().await;
        assert_eq!(shown(&source.token().await.unwrap()), "Bearer old");
        assert_eq!(source.requests(), 0);
    }

    #[tokio::test]
    async fn the_old_token_serves_while_a_renewal_fails() {
        for status in [401, 503] {
            let server = Server::start(move |_, _| refusal(status, "invalid_client")).await;
            let source = source(&server.url);
            source.keep(token_aged(3_400));
            for _ in 0..3 {
                assert_eq!(shown(&source.token().await.unwrap()), "Bearer old");
            }
            assert_eq!(source.requests(), 1, "and it is not asked for again at once");

            source.held().token = Some(Arc::new(token_aged(3_601)));
            assert!(source.token().await.is_err(), "but not when it has ended");
            assert!(source.requests() > 1);
        }
    }

    #[tokio::test]
    async fn a_token_turned_down_is_replaced_once_a_minute_at_most() {
        let server = Server::start(|n, _| grant(&format!("t{n}"))).await;
        let source = source(&server.url);
        let first = source.token().await.unwrap();
        assert!(source.invalidate(&first));
        assert!(source.invalidate(&first), "the others that held it are told to try another one, too");
        let second = source.token().await.unwrap();
        assert_eq!(shown(&second), "Bearer t1");
        assert!(source.invalidate(&first), "there is another one by now");
        assert!(!source.invalidate(&second));
        assert!(Arc::ptr_eq(&source.token().await.unwrap(), &second));

        source.held().invalidated_at = Some(Instant::now() - BETWEEN_INVALIDATIONS);
        assert!(source.invalidate(&second));
        assert_eq!(shown(&source.token().await.unwrap()), "Bearer t2");
        assert_eq!(source.requests(), 3);
    }

    #[tokio::test]
    async fn a_success_without_a_usable_token_is_a_failure() {
        for body in [
            "",
            "<html>Please log in</html>",
            r#"{"token_type":"Bearer","expires_in":3599}"#,
            r#"{"token_type":"Bearer","access_token":"canary"}"#,
            r#"{"token_type":"mac","expires_in":3599,"access_token":"canary"}"#,
            r#"{"token_type":"Bearer","expires_in":3599,"access_token":"canary\n"}"#,
        ] {
            let server = Server::start(move |_, _| Reply::ok(body)).await;
            let error = source(&server.url).token().await.unwrap_err();
            assert_eq!((error.kind, error.trouble), (AuthErrorKind::Transient, Trouble::TenantOrEndpoint), "{body}");
            assert!(!format!("{error} {error:?}").contains("canary"), "{body}");
        }
    }

    #[tokio::test]
    async fn no_error_and_no_debug_shows_the_secret() {
        // An Entra ID that repeats everything it was sent.
        let echo = |_: usize, request: &str| {
            let told = request.lines().last().unwrap_or_default();
            let body =
                format!(r#"{{"error":"{told}","error_description":"canary/1+2 {told}","trace_id":"canary/1+2"}}"#);
            Reply::status(400, &[], &body)
        };
        let server = Server::start(echo).await;
        let source = source(&server.url);
        let error = source.token().await.unwrap_err();
        assert!(error.summary.contains("client_id=app"), "the echo arrived: {error}");
        assert!(!format!("{error} {error:?} {source:?} {:?} {:?}", source.app, source.request()).contains("canary"));

        let gone = Server::start(|_, _| Reply::close()).await;
        let error = self::source(&gone.url).token().await.unwrap_err();
        assert!(!format!("{error} {error:?}").contains("canary"));
    }

    #[tokio::test]
    async fn nothing_but_https_and_loopback_is_asked_for_a_token() {
        for (login_url, refused) in [
            ("https://login.example", false),
            ("http://127.0.0.1:1/", false),
            ("http://login.example", true),
            ("ftp://login.example", true),
            ("data:,x", true),
        ] {
            let found = token_endpoint(&Url::parse(login_url).unwrap(), "t");
            assert_eq!(found.is_err(), refused, "{login_url}");
        }
        let endpoint = token_endpoint(&Url::parse("https://login.example").unwrap(), "../evil?x#y").unwrap();
        assert_eq!(endpoint.as_str(), "https://login.example/..%2Fevil%3Fx%23y/oauth2/v2.0/token");
    }
}
