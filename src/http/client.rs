//! The one client factory and the one send.
//!
//! A send is exactly one attempt: no redirects, no repeats (but for requests that the connection handed back
//! untouched, which the HTTP libraries place on another connection). It ends with a complete [`Response`] or with a
//! [`SendError`] that tells whether bytes may have left. Never adds credentials and never judges a status.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::header::HeaderName;
use reqwest::{Certificate, Proxy, redirect, tls};
use thiserror::Error;
use tokio::time::Instant;
use tracing::debug;
use url::Url;
use uuid::Uuid;

use super::failure::SendError;
use super::origin::{LOCALHOST, Origin};
use super::request::Request;
use super::response::{self, Response};

/// Names the program in the customer's telemetry.
const USER_AGENT: &str = concat!("bcsync/", env!("CARGO_PKG_VERSION"));

/// Ties a request to the server's telemetry (BC and Entra ID record it).
const CLIENT_REQUEST_ID: HeaderName = HeaderName::from_static("client-request-id");

/// What may differ from one client to another.
#[derive(Clone)]
pub struct ClientOptions {
    /// Certificates (PEM) that are trusted beside the operating system's.
    pub extra_ca_pem: Option<Vec<u8>>,
    /// A proxy for everything but loopback addresses; without one, the usual environment variables hold.
    pub proxy: Option<Url>,
    /// How long resolving, connecting and the TLS handshake may take together.
    pub connect_timeout: Duration,
    /// The most bytes of one answer, decompressed, that are held in memory.
    pub max_body: usize,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self { extra_ca_pem: None, proxy: None, connect_timeout: Duration::from_secs(10), max_body: 512 * 1024 * 1024 }
    }
}

/// Why no client could be made.
#[derive(Debug, Error)]
pub enum BuildError {
    /// The extra certificates cannot be used.
    #[error("`extra_ca` holds no usable certificate: {0} (PEM text with BEGIN CERTIFICATE is needed)")]
    ExtraCa(String),
    /// The proxy cannot be used.
    #[error("the proxy cannot be used: {0}")]
    Proxy(#[source] reqwest::Error),
    /// The TLS library could not be set up, most often because the machine has no trusted certificates.
    #[error("the HTTP client could not be set up: {0} (is the package `ca-certificates` installed?)")]
    Client(#[source] reqwest::Error),
}

/// Sends requests. Clones share connections.
#[derive(Clone)]
pub struct HttpClient {
    outward: reqwest::Client,
    /// Without any proxy: what is plain HTTP to this machine must not be handed to another one.
    loopback: reqwest::Client,
    max_body: usize,
}

impl HttpClient {
    /// A client for one trust domain; reads the operating system's trusted certificates.
    pub fn new(options: &ClientOptions) -> Result<Self, BuildError> {
        // A second client finds a provider installed, the same one: only the first call can succeed.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let extra = match &options.extra_ca_pem {
            Some(pem) => certificates(pem)?,
            None => Vec::new(),
        };
        let common = || base(options.connect_timeout).tls_certs_merge(extra.clone());
        let outward = match &options.proxy {
            Some(url) => common().proxy(Proxy::all(url.clone()).map_err(|e| BuildError::Proxy(e.without_url()))?),
            None => common(),
        };
        let this_machine = [SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), SocketAddr::from((Ipv6Addr::LOCALHOST, 0))];
        let loopback = common().no_proxy().resolve_to_addrs(LOCALHOST, &this_machine);
        Ok(Self {
            outward: outward.build().map_err(BuildError::Client)?,
            loopback: loopback.build().map_err(BuildError::Client)?,
            max_body: options.max_body,
        })
    }

    /// Makes one attempt and reads the answer to its end, all within the request's time-out.
    pub async fn send(&self, request: Request) -> Result<Response, SendError> {
        let to = Origin::of(&request.url)?;
        let client_request_id = Uuid::new_v4();
        let (method, path) = (request.method.clone(), request.url.path().to_owned());
        let started = Instant::now();
        let outcome = self.exchange(&to, request, client_request_id, started).await;
        let elapsed_ms = started.elapsed().as_millis();
        match &outcome {
            Ok(answer) => {
                let (status, bytes) = (answer.status.as_u16(), answer.body.len());
                debug!(%method, %to, path, status, bytes, elapsed_ms, %client_request_id, "answered");
            }
            Err(error) => debug!(%method, %to, path, %error, elapsed_ms, %client_request_id, "not answered"),
        }
        outcome
    }

    async fn exchange(&self, to: &Origin, request: Request, id: Uuid, started: Instant) -> Result<Response, SendError> {
        let client = if to.is_loopback() { &self.loopback } else { &self.outward };
        let mut builder = client.request(request.method, request.url).timeout(request.timeout);
        for (name, value) in request.headers {
            builder = builder.header(name, value);
        }
        if let Some(body) = request.body {
            builder = builder.body(body);
        }
        builder = builder.header(CLIENT_REQUEST_ID, id.to_string());
        #[expect(clippy::disallowed_methods, reason = "the one send")]
        let mut answer = builder.send().await.map_err(|e| SendError::before_status(to.clone(), e))?;
        let status = answer.status();
        let headers = std::mem::take(answer.headers_mut());
        let body = self.body(to, answer).await?;
        let date = response::date(&headers);
        Ok(Response { status, headers, body, date, elapsed: started.elapsed(), client_request_id: id })
    }

    async fn body(&self, to: &Origin, mut answer: reqwest::Response) -> Result<Bytes, SendError> {
        let status = answer.status();
        let mut body = BytesMut::new();
        loop {
            match answer.chunk().await {
                Ok(Some(chunk)) if chunk.len() > self.max_body - body.len() => {
                    return Err(SendError::TooLong { to: to.clone(), status, limit: self.max_body });
                }
                Ok(Some(chunk)) => body.extend_from_slice(&chunk),
                Ok(None) => return Ok(body.freeze()),
                Err(error) => return Err(SendError::within_body(to.clone(), status, body.len(), error)),
            }
        }
    }
}

/// The settings that are never a choice.
#[expect(clippy::disallowed_methods, reason = "the one client factory")]
fn base(connect_timeout: Duration) -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .user_agent(USER_AGENT)
        .redirect(redirect::Policy::none())
        .tls_version_min(tls::Version::TLS_1_2)
        .connect_timeout(connect_timeout)
        // Shorter than servers and load balancers keep idle connections, or requests meet ones that are closing.
        .pool_idle_timeout(Duration::from_secs(30))
        // BC may work for minutes before it answers: no read time-out, but a dead peer must not go unnoticed.
        .tcp_keepalive(Duration::from_secs(30))
        .http2_keep_alive_interval(Duration::from_secs(30))
        .http2_keep_alive_timeout(Duration::from_secs(20))
}

fn certificates(pem: &[u8]) -> Result<Vec<Certificate>, BuildError> {
    let found = Certificate::from_pem_bundle(pem).map_err(|e| BuildError::ExtraCa(e.to_string()))?;
    if found.is_empty() {
        return Err(BuildError::ExtraCa("no certificate found".to_owned()));
    }
    Ok(found)
}
