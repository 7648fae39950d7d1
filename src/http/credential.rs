//! How the application proves to Entra ID who it is.
//!
//! Adds its fields to a token request. Its `Debug` shows no secret.

use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret, SecretString};
use url::Url;
use url::form_urlencoded::{Serializer, byte_serialize};

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

    /// Takes the secret out of a text that came from outside, plain or as it stood in the form.
    pub(super) fn redact(&self, text: &str) -> String {
        match self {
            Self::Secret(secret) if !secret.expose_secret().is_empty() => {
                let encoded: String = byte_serialize(secret.expose_secret().as_bytes()).collect();
                text.replace(secret.expose_secret(), REDACTED).replace(&encoded, REDACTED)
            }
            _ => text.to_owned(),
        }
    }
}

const REDACTED: &str = "[secret]";

#[cfg(test)]
mod tests {
    use super::*;

    const ENDPOINT: &str = "https://login.example/t/oauth2/v2.0/token";

    fn fields(credential: &Credential) -> Vec<(String, String)> {
        let mut form = Serializer::new(String::new());
        credential.add_to(&mut form, &Url::parse(ENDPOINT).unwrap(), "app", DateTime::UNIX_EPOCH);
        url::form_urlencoded::parse(form.finish().as_bytes()).into_owned().collect()
    }

    #[test]
    fn a_secret_survives_the_form_encoding() {
        let secret = "a~b+c/d=e&f g%20h\u{e4}";
        let fields = fields(&Credential::Secret(SecretString::from(secret)));
        assert_eq!(fields, [("client_secret".to_owned(), secret.to_owned())]);
    }

    #[test]
    fn a_certificate_gives_an_assertion() {
        let key = SecretString::from(include_str!("testdata/rsa-key-pkcs8.pem"));
        let credential = Credential::certificate(include_str!("testdata/certificate.pem"), &key).unwrap();
        let fields = fields(&credential);
        let expected = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
        assert_eq!(fields[0], ("client_assertion_type".to_owned(), expected.to_owned()));
        assert_eq!(fields[1].0, "client_assertion");
        assert_eq!(fields[1].1.split('.').count(), 3);
        assert_eq!(fields.len(), 2);
    }

    #[test]
    fn the_secret_is_taken_out_of_foreign_texts() {
        let credential = Credential::Secret(SecretString::from("can/ary"));
        assert_eq!(
            credential.redact("app 1: can/ary, client_secret=can%2Fary."),
            "app 1: [secret], client_secret=[secret]."
        );
        assert_eq!(Credential::Secret(SecretString::from("")).redact("as it is"), "as it is");
        assert!(!format!("{credential:?}").contains("ary"));
    }
}
