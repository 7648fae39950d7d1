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
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use thiserror::Error;
use tokio::time::Instant;
use tracing::debug;
use url::Url;
use uuid::Uuid;

use super::failure::{SendError, told};
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
    /// Whether only plain HTTP to this machine is sent: then nobody has to be trusted, and a machine without any
    /// certificate will do.
    pub plain_only: bool,
    /// A proxy for everything but loopback addresses; without one, the usual environment variables hold.
    pub proxy: Option<Url>,
    /// How long resolving, connecting and the TLS handshake may take together.
    pub connect_timeout: Duration,
    /// The most bytes of one answer, decompressed, that are held in memory.
    pub max_body: usize,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            extra_ca_pem: None,
            plain_only: false,
            proxy: None,
            connect_timeout: Duration::from_secs(10),
            max_body: 512 * 1024 * 1024,
        }
    }
}

/// Why no client could be made.
#[derive(Debug, Error)]
pub enum BuildError {
    /// The extra certificates cannot be used.
    #[error("`extra_ca` holds no usable certificate: {0} (PEM text with BEGIN CERTIFICATE is needed)")]
    ExtraCa(String),
    /// The proxy cannot be used.
    #[error("`proxy` cannot be used: {0}")]
    Proxy(String),
    /// The TLS library could not be set up, most often because the machine has no trusted certificates.
    #[error("the HTTP client could not be set up: {0} (is the package `ca-certificates` installed?)")]
    Client(String),
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
    /// A client for one trust domain; reads the operating system's trusted certificates, if any are needed.
    pub fn new(options: &ClientOptions) -> Result<Self, BuildError> {
        // A second client finds a provider installed, the same one: only the first call can succeed.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let extra = match &options.extra_ca_pem {
            Some(pem) => certificates(pem)?,
            None => Vec::new(),
        };
        let common = || {
            let base = base(options.connect_timeout);
            if options.plain_only { base.tls_certs_only([]) } else { base.tls_certs_merge(extra.clone()) }
        };
        let outward = match &options.proxy {
            Some(url) => common().proxy(Proxy::all(url.clone()).map_err(|e| BuildError::Proxy(told(&e)))?),
            None => common(),
        };
        let this_machine = [SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), SocketAddr::from((Ipv6Addr::LOCALHOST, 0))];
        let loopback = common().no_proxy().resolve_to_addrs(LOCALHOST, &this_machine);
        Ok(Self {
            outward: outward.build().map_err(|e| BuildError::Client(told(&e)))?,
            loopback: loopback.build().map_err(|e| BuildError::Client(told(&e)))?,
            max_body: options.max_body,
        })
    }

    /// Makes one attempt and reads the answer to its end, all within the request's time-out.
    pub async fn send(&self, request: Request) -> Result<Response, SendError> {
        let to = Origin::of(&request.url)?;
        let client_request_id = Uuid::new_v4();
        let (method, path) = (request.method.clone(), request.shown_path().to_owned());
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
        let mut answer = builder.send().await.map_err(|e| SendError::before_status(to.clone(), &e))?;
        let status = answer.status();
        let headers = std::mem::take(answer.headers_mut());
        let body = self.body(to, answer).await?;
        let date = response::date(&headers);
        let elapsed = started.elapsed();
        Ok(Response { status, headers, body, date, elapsed, client_request_id: id, another_token: false })
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
                Err(error) => return Err(SendError::within_body(to.clone(), status, body.len(), &error)),
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

/// The certificates in a PEM text, each checked to be one that can be trusted.
fn certificates(pem: &[u8]) -> Result<Vec<Certificate>, BuildError> {
    let mut store = RootCertStore::empty();
    let mut found = Vec::new();
    for der in CertificateDer::pem_slice_iter(pem) {
        let der = der.map_err(|e| BuildError::ExtraCa(e.to_string()))?;
        store.add(der.clone()).map_err(|e| BuildError::ExtraCa(e.to_string()))?;
        found.push(Certificate::from_der(&der).map_err(|e| BuildError::ExtraCa(told(&e)))?);
    }
    if found.is_empty() {
        return Err(BuildError::ExtraCa("no certificate found".to_owned()));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use reqwest::{Method, StatusCode};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::http::failure::NotSentCause;
    use crate::http::loopback::{Reply, Server, get, header};
    use crate::http::origin::Refusal;
    use crate::http::request::Effect;

    fn client() -> HttpClient {
        HttpClient::new(&ClientOptions::default()).unwrap()
    }

    fn impatient(url: &Url) -> Request {
        Request { timeout: Duration::from_millis(200), ..get(url) }
    }

    #[tokio::test]
    async fn an_answer_comes_with_body_date_and_the_id_that_was_sent() {
        let server = Server::start(|_, _| {
            Reply::status(404, &[("Date", "Sun, 06 Nov 1994 08:49:37 GMT"), ("etag", "x")], "nothing here")
        })
        .await;
        let answer = client().send(get(&server.url)).await.unwrap();
        assert_eq!(answer.status, StatusCode::NOT_FOUND);
        assert_eq!(answer.body, "nothing here");
        assert_eq!(answer.headers["etag"], "x");
        assert_eq!(answer.date.unwrap().timestamp(), 784_111_777);
        let seen = &server.seen()[0];
        assert_eq!(header(seen, "client-request-id"), Some(answer.client_request_id.to_string().as_str()));
        assert_eq!(header(seen, "user-agent"), Some(USER_AGENT));
        assert_eq!(header(seen, "accept-encoding"), Some("gzip"));
        assert_eq!(header(seen, "authorization"), None);
    }

    #[tokio::test]
    async fn method_headers_and_body_arrive() {
        let server = Server::start(|_, _| Reply::ok("")).await;
        let request = Request {
            method: Method::PATCH,
            headers: vec![(HeaderName::from_static("if-match"), "W/\"1\"".parse().unwrap())],
            body: Some(Bytes::from_static(b"{\"a\":1}")),
            effect: Effect::Write,
            ..get(&server.url.join("a?b=c").unwrap())
        };
        client().send(request).await.unwrap();
        let seen = &server.seen()[0];
        assert!(seen.starts_with("PATCH /a?b=c HTTP/1.1\r\n"), "{seen}");
        assert!(seen.ends_with("\r\n\r\n{\"a\":1}"), "{seen}");
        assert_eq!(header(seen, "if-match"), Some("W/\"1\""));
    }

    #[tokio::test]
    async fn redirects_are_answers() {
        let elsewhere = Server::start(|_, _| Reply::ok("")).await;
        let location = elsewhere.url.to_string();
        for status in [301, 302, 303, 307, 308] {
            let location = location.clone();
            let server = Server::start(move |_, _| Reply::status(status, &[("location", &location)], "")).await;
            assert_eq!(client().send(get(&server.url)).await.unwrap().status.as_u16(), status);
        }
        assert_eq!(elsewhere.connections(), 0);
    }

    #[tokio::test]
    async fn plain_http_leaves_this_machine_in_no_form() {
        let url = Url::parse("http://192.0.2.1/?canary").unwrap();
        let error = client().send(get(&url)).await.unwrap_err();
        assert!(matches!(error, SendError::Refused(Refusal::PlainHttp { .. })), "{error}");
        assert!(!error.may_have_left());
    }

    #[tokio::test]
    async fn a_refused_connection_sent_nothing() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = Url::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
        drop(listener);
        let error = client().send(get(&url)).await.unwrap_err();
        assert!(matches!(error, SendError::NotSent { cause: NotSentCause::Refused, .. }), "{error:?}");
        assert!(!error.leaves_open(Effect::Write));
    }

    #[tokio::test]
    async fn a_failed_handshake_sent_nothing() {
        // A server that speaks plain HTTP: what comes back is not TLS.
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = Url::parse(&format!("https://{}/", listener.local_addr().unwrap())).unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.read_exact(&mut [0; 16]).await.unwrap();
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        });
        let error = client().send(get(&url)).await.unwrap_err();
        assert!(matches!(error, SendError::NotSent { cause: NotSentCause::Tls, .. }), "{error:?}");
        assert!(!error.may_have_left());
    }

    #[tokio::test]
    async fn a_closed_connection_without_answer_leaves_a_write_open() {
        let server = Server::start(|_, _| Reply::close()).await;
        let error = client().send(get(&server.url)).await.unwrap_err();
        assert!(matches!(error, SendError::NoAnswer { timed_out: false, .. }), "{error:?}");
        assert!(error.leaves_open(Effect::Write));
        assert!(!error.leaves_open(Effect::Read));
        assert_eq!(server.seen().len(), 1, "it was sent once");
    }

    #[tokio::test]
    async fn silence_times_out_and_leaves_a_write_open() {
        let server = Server::start(|_, _| Reply::Hang(Vec::new())).await;
        let error = client().send(impatient(&server.url)).await.unwrap_err();
        assert!(matches!(error, SendError::NoAnswer { timed_out: true, .. }), "{error:?}");
        assert!(error.leaves_open(Effect::Write));
    }

    #[tokio::test]
    async fn an_answer_that_breaks_off_is_no_answer() {
        const FIXED: &str = "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n0123456789";
        const CHUNKED: &str = "HTTP/1.1 201 Created\r\ntransfer-encoding: chunked\r\n\r\na\r\n0123456789\r\n";
        for (text, status) in [(FIXED, 200), (CHUNKED, 201)] {
            let server = Server::start(|_, _| Reply::Bytes(text.into())).await;
            let error = client().send(get(&server.url)).await.unwrap_err();
            let SendError::CutOff { status: found, received: 10, timed_out: false, .. } = &error else {
                panic!("{error:?}")
            };
            assert_eq!(found.as_u16(), status);
            assert!(error.leaves_open(Effect::Write));
        }
        let server = Server::start(|_, _| Reply::Hang(FIXED.into())).await;
        let error = client().send(impatient(&server.url)).await.unwrap_err();
        assert!(matches!(error, SendError::CutOff { received: 10, timed_out: true, .. }), "{error:?}");
        // Half of a compressed body: `printf %s 'compressed compressed compressed' | gzip -n | head -c 20`.
        let head = "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 20\r\n\r\n".as_bytes();
        let half = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\x4b\xce\xcf\x2d\x28\x4a\x2d\x2e\x4e\x4d";
        let server = Server::start(move |_, _| Reply::Bytes([head, half.as_slice()].concat())).await;
        let error = client().send(get(&server.url)).await.unwrap_err();
        assert!(matches!(error, SendError::CutOff { timed_out: false, .. }), "{error:?}");
    }

    #[tokio::test]
    async fn more_than_the_limit_is_not_held() {
        let options = ClientOptions { max_body: 10, ..ClientOptions::default() };
        let client = HttpClient::new(&options).unwrap();
        let server = Server::start(|n, _| Reply::ok(["0123456789", "0123456789x"][n])).await;
        assert_eq!(client.send(get(&server.url)).await.unwrap().body.len(), 10);
        let error = client.send(get(&server.url)).await.unwrap_err();
        assert!(matches!(error, SendError::TooLong { limit: 10, .. }), "{error:?}");
        assert!(error.leaves_open(Effect::Write));
    }

    #[tokio::test]
    async fn a_proxy_serves_every_host_but_this_machine() {
        let proxy = Server::start(|_, _| Reply::status(407, &[], "")).await;
        let options = ClientOptions { proxy: Some(proxy.url.clone()), ..ClientOptions::default() };
        let client = HttpClient::new(&options).unwrap();

        let server = Server::start(|_, _| Reply::ok("direct")).await;
        let mut localhost = server.url.clone();
        localhost.set_host(Some(LOCALHOST)).unwrap();
        for url in [&server.url, &localhost] {
            assert_eq!(client.send(get(url)).await.unwrap().body, "direct");
        }
        assert_eq!(proxy.connections(), 0);

        let error = client.send(get(&Url::parse("https://api.example/").unwrap())).await.unwrap_err();
        assert!(matches!(error, SendError::NotSent { cause: NotSentCause::Other, .. }), "{error:?}");
        assert!(proxy.seen()[0].starts_with("CONNECT api.example:443 "));
    }

    #[tokio::test]
    async fn errors_hold_neither_query_nor_header_nor_body() {
        let server = Server::start(|n, _| match n {
            0 => Reply::close(),
            1 => Reply::Bytes(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nx".into()),
            _ => Reply::Bytes(b"canary".into()),
        })
        .await;
        let request = Request {
            headers: vec![(HeaderName::from_static("x-key"), "canary".parse().unwrap())],
            body: Some(Bytes::from_static(b"canary")),
            ..get(&server.url.join("?$filter=email eq 'canary'").unwrap())
        };
        assert!(!format!("{request:?}").contains("canary"));
        for _ in 0..3 {
            let error = client().send(request.clone()).await.unwrap_err();
            assert!(!format!("{error} {error:?}").contains("canary"), "{error:?}");
        }
    }

    #[test]
    fn extra_certificates_must_be_certificates() {
        for (pem, usable) in [
            (include_str!("testdata/certificate.pem"), true),
            (include_str!("testdata/rsa-key-pkcs8.pem"), false),
            ("no PEM at all", false),
            ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", false),
        ] {
            let options = ClientOptions { extra_ca_pem: Some(pem.into()), ..ClientOptions::default() };
            match HttpClient::new(&options) {
                Ok(_) => assert!(usable, "{pem}"),
                Err(error) => assert!(!usable && matches!(error, BuildError::ExtraCa(_)), "{pem}: {error}"),
            }
        }
    }
}
