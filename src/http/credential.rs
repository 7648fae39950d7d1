//! How the application proves to Entra ID who it is.
//!
//! Adds its fields to a token request. Its `Debug` shows no secret.

use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret, SecretString};
use url::Url;
use url::form_urlencoded::Serializer;

use super::assertion::{CertificateError, Signer};

/// A client secret, or a certificate with its key.
#[derive(Debug)]
pub enum Credential {
    /// The value of a client secret.
    Secret(SecretString),
    /// A certificate, by what signs for it.
    Certificate(Box<Signer>),
}

impl Credential {
    /// A certificate credential from PEM texts, which may be one and the same text. Takes PKCS#8 and PKCS#1 RSA keys.
    pub fn certificate(certificate_pem: &str, key_pem: &SecretString) -> Result<Self, CertificateError> {
        Ok(Self::Certificate(Box::new(Signer::new(certificate_pem, key_pem)?)))
    }

    /// Adds the fields that prove possession, for `client_id` at `endpoint`.
    pub(super) fn add_to(
        &self,
        form: &mut Serializer<'_, String>,
        endpoint: &Url,
        client_id: &str,
        now: DateTime<Utc>,
    ) {
        match self {
            Self::Secret(secret) => {
                form.append_pair("client_secret", secret.expose_secret());
            }
            Self::Certificate(signer) => {
                form.append_pair("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
                form.append_pair("client_assertion", signer.sign(endpoint, client_id, now).expose_secret());
            }
        }
    }

    /// Removes the secret from a text that came from outside.
    pub(super) fn redact(&self, text: &str) -> String {
        match self {
            Self::Secret(secret) if !secret.expose_secret().is_empty() => {
                text.replace(secret.expose_secret(), "[secret]")
            }
            _ => text.to_owned(),
        }
    }
}
