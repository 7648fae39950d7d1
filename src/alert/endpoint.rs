//! Telling by HTTP: the address of a webhook or a heartbeat.
//!
//! Whoever knows such an address can use it: it is a secret as a whole, and only scheme, host and port of it are ever
//! shown. Redirects are not followed.

use std::time::Duration;

use bytes::Bytes;
use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use crate::http::{BuildError, ClientOptions, Effect, HttpClient, Origin, Refusal, Request, SendError};

/// How long a call may take, from connecting to the last byte of the answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Why an address cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// It is none.
    #[error("what is there is not an address: https://... is needed")]
    NoAddress,
    /// It leads where nothing is sent.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// No client can be made.
    #[error(transparent)]
    Client(#[from] BuildError),
}

/// Why a call reached nobody.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    /// No answer.
    #[error(transparent)]
    Send(#[from] SendError),
    /// An answer that is no success.
    #[error("{to} answered with status {status}")]
    Status {
        /// Scheme, host and port.
        to: Origin,
        /// The status.
        status: u16,
    },
}

/// An address that can be called.
#[derive(Clone)]
pub struct Endpoint {
    url: Url,
    origin: Origin,
    client: HttpClient,
}

impl Endpoint {
    /// The endpoint at `address`: `https`, or plain `http` to this machine.
    ///
    /// # Errors
    /// When it is no such address, or the machine has no trusted certificates.
    pub fn new(address: &SecretString) -> Result<Self, EndpointError> {
        // The error of the parser would not repeat the address; it does not help either.
        let url = Url::parse(address.expose_secret()).map_err(|_| EndpointError::NoAddress)?;
        let origin = Origin::of(&url)?;
        let options =
            ClientOptions { plain_only: url.scheme() == "http", max_body: 1 << 20, ..ClientOptions::default() };
        Ok(Self { origin, client: HttpClient::new(&options)?, url })
    }

    /// Posts `json`.
    pub(super) async fn post(&self, json: &str) -> Result<(), CallError> {
        self.call(Request {
            method: Method::POST,
            headers: vec![(CONTENT_TYPE, HeaderValue::from_static("application/json"))],
            body: Some(Bytes::copy_from_slice(json.as_bytes())),
            effect: Effect::Write,
            ..self.request()
        })
        .await
    }

    /// Calls it, without anything to say.
    pub(super) async fn get(&self) -> Result<(), CallError> {
        self.call(self.request()).await
    }

    fn request(&self) -> Request {
        Request { secret_path: true, ..Request::get(self.url.clone(), TIMEOUT) }
    }

    async fn call(&self, request: Request) -> Result<(), CallError> {
        let answer = self.client.send(request).await?;
        if answer.status.is_success() {
            return Ok(());
        }
        Err(CallError::Status { to: self.origin.clone(), status: answer.status.as_u16() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_that_keep_a_secret_are_taken_and_none_is_repeated() {
        for address in ["https://example.com/canary", "http://127.0.0.1:9/canary"] {
            Endpoint::new(&SecretString::from(address)).map(|_| ()).unwrap();
        }
        for address in
            ["canary", "http://example.com/canary", "ftp://example.com/canary", "https://u:canary@example.com"]
        {
            let refused = Endpoint::new(&SecretString::from(address)).map(|_| ()).unwrap_err();
            assert!(!format!("{refused} {refused:?}").contains("canary"), "{refused:?}");
        }
    }
}
