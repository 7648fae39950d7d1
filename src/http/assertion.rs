//! Signed assertions: how an application proves itself with a certificate instead of a secret.
//!
//! Builds the JWT of Microsoft's certificate credentials (`PS256`, `x5t#S256`), anew for every token request. Checks
//! when it is made that the key belongs to the certificate, so that a mix-up shows before Entra ID is asked. The
//! private key never leaves it.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use ring::rand::SystemRandom;
use ring::signature::{KeyPair, RSA_PSS_SHA256, RsaKeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use sha2::{Digest, Sha256};
use thiserror::Error;
use url::Url;
use uuid::Uuid;

/// How long an assertion holds; Microsoft recommends five to ten minutes.
const LIFETIME: TimeDelta = TimeDelta::minutes(10);

/// Why a certificate and key cannot be used. Holds nothing of the key.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CertificateError {
    /// The certificate text holds no certificate.
    #[error("no certificate found: PEM text with BEGIN CERTIFICATE is needed")]
    NoCertificate,
    /// The key text holds no private key that can be read.
    #[error(
        "no readable private key found: PEM text with BEGIN PRIVATE KEY or BEGIN RSA PRIVATE KEY is needed; \
         decrypt a protected one with `openssl pkcs8 -in KEY -out NEW`"
    )]
    NoKey,
    /// The private key is not an RSA key.
    #[error("the private key is not an RSA key: Entra ID takes certificates with RSA keys")]
    NotRsa,
    /// The private key is damaged or of a size that is not supported.
    #[error("the private key cannot be used: {0} (an RSA key of 2048 to 4096 bits is needed)")]
    UnusableKey(String),
    /// The key is not the one of any certificate given.
    #[error("the private key does not belong to the certificate: both must come from the same `openssl req` or export")]
    Mismatch,
}

/// A certificate's thumbprint with the key that signs for it.
pub struct Signer {
    thumbprint: String,
    key: RsaKeyPair,
}

impl Signer {
    /// Reads certificate and key; both may be in the same text, and a chain may follow the certificate.
    pub(super) fn new(certificate_pem: &str, key_pem: &SecretString) -> Result<Self, CertificateError> {
        let key = private_key(key_pem.expose_secret().as_bytes())?;
        let mut certificates =
            CertificateDer::pem_slice_iter(certificate_pem.as_bytes()).filter_map(Result::ok).peekable();
        certificates.peek().ok_or(CertificateError::NoCertificate)?;
        let certificate = certificates.find(|der| holds_public_key(der, &key)).ok_or(CertificateError::Mismatch)?;
        Ok(Self { thumbprint: URL_SAFE_NO_PAD.encode(Sha256::digest(&certificate)), key })
    }

    /// A fresh assertion that `client_id` shows to `audience`, the token endpoint, at `now`.
    pub(super) fn sign(&self, audience: &Url, client_id: &str, now: DateTime<Utc>) -> SecretString {
        let header = json!({ "alg": "PS256", "typ": "JWT", "x5t#S256": self.thumbprint });
        let claims = json!({
            "aud": audience.as_str(),
            "iss": client_id,
            "sub": client_id,
            "jti": Uuid::new_v4().to_string(),
            "nbf": now.timestamp(),
            "iat": now.timestamp(),
            "exp": (now + LIFETIME).timestamp(),
        });
        let encode = |part: &serde_json::Value| URL_SAFE_NO_PAD.encode(part.to_string());
        let signed = format!("{}.{}", encode(&header), encode(&claims));
        let mut signature = vec![0; self.key.public().modulus_len()];
        self.key
            .sign(&RSA_PSS_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature)
            .expect("a buffer of the modulus' length holds the signature, and the system's random source works");
        SecretString::from(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer").field("thumbprint", &self.thumbprint).finish_non_exhaustive()
    }
}

fn private_key(pem: &[u8]) -> Result<RsaKeyPair, CertificateError> {
    let der = PrivateKeyDer::from_pem_slice(pem).map_err(|_| CertificateError::NoKey)?;
    let parsed = match &der {
        PrivateKeyDer::Pkcs8(key) => RsaKeyPair::from_pkcs8(key.secret_pkcs8_der()),
        PrivateKeyDer::Pkcs1(key) => RsaKeyPair::from_der(key.secret_pkcs1_der()),
        _ => return Err(CertificateError::NotRsa),
    };
    parsed.map_err(|rejected| match rejected.to_string() {
        reason if reason == WRONG_ALGORITHM => CertificateError::NotRsa,
        reason => CertificateError::UnusableKey(reason),
    })
}

/// How `ring` names a key of another kind.
const WRONG_ALGORITHM: &str = "WrongAlgorithm";

/// A certificate holds its public key as it stands, so that looking for the bytes replaces an X.509 parser.
fn holds_public_key(certificate: &CertificateDer<'_>, key: &RsaKeyPair) -> bool {
    let public = key.public_key().as_ref();
    certificate.windows(public.len()).any(|window| window == public)
}

#[cfg(test)]
mod tests {
    use ring::signature::{RSA_PSS_2048_8192_SHA256, UnparsedPublicKey};
    use serde_json::Value;

    use super::*;

    const CERTIFICATE: &str = include_str!("testdata/certificate.pem");
    const OTHER_CERTIFICATE: &str = include_str!("testdata/other-certificate.pem");
    const PKCS8: &str = include_str!("testdata/rsa-key-pkcs8.pem");
    const PKCS1: &str = include_str!("testdata/rsa-key-pkcs1.pem");
    const EC: &str = include_str!("testdata/ec-key.pem");
    const ENCRYPTED: &str = include_str!("testdata/rsa-key-encrypted.pem");
    /// `openssl x509 -outform DER | openssl dgst -sha256 -binary | base64`, in the URL-safe alphabet.
    const THUMBPRINT: &str = "DaQLpyGnPxK0ZSo3aQ2cqHj3Y7Xqlg2ITit7V5qTips";

    fn signer(certificate: &str, key: &str) -> Result<Signer, CertificateError> {
        Signer::new(certificate, &SecretString::from(key))
    }

    fn part(jwt: &str, index: usize) -> Vec<u8> {
        URL_SAFE_NO_PAD.decode(jwt.split('.').nth(index).unwrap()).unwrap()
    }

    #[test]
    fn the_assertion_is_what_entra_documents_and_its_signature_holds() {
        let endpoint = Url::parse("https://login.example/t/oauth2/v2.0/token").unwrap();
        let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        for key in [PKCS8, PKCS1] {
            let signer = signer(CERTIFICATE, key).unwrap();
            let jwt = signer.sign(&endpoint, "app", now);
            let jwt = jwt.expose_secret();
            let header: Value = serde_json::from_slice(&part(jwt, 0)).unwrap();
            assert_eq!(header, json!({ "alg": "PS256", "typ": "JWT", "x5t#S256": THUMBPRINT }));
            let mut claims: Value = serde_json::from_slice(&part(jwt, 1)).unwrap();
            let jti = claims.as_object_mut().unwrap().remove("jti").unwrap();
            assert!(Uuid::parse_str(jti.as_str().unwrap()).is_ok());
            let expected = json!({
                "aud": endpoint.as_str(), "iss": "app", "sub": "app",
                "nbf": 1_800_000_000, "iat": 1_800_000_000, "exp": 1_800_000_600,
            });
            assert_eq!(claims, expected);

            let public = UnparsedPublicKey::new(&RSA_PSS_2048_8192_SHA256, signer.key.public_key().as_ref());
            let (content, _) = jwt.rsplit_once('.').unwrap();
            let signature = part(jwt, 2);
            assert!(public.verify(content.as_bytes(), &signature).is_ok());
            assert!(public.verify(format!("{content}x").as_bytes(), &signature).is_err());
            assert_ne!(jwt, signer.sign(&endpoint, "app", now).expose_secret(), "each has an id of its own");
        }
    }

    #[test]
    fn certificate_chain_and_key_may_share_one_text_in_any_order() {
        for text in [format!("{PKCS8}{CERTIFICATE}"), format!("{OTHER_CERTIFICATE}{PKCS1}{CERTIFICATE}")] {
            assert_eq!(signer(&text, &text).unwrap().thumbprint, THUMBPRINT);
        }
    }

    #[test]
    fn what_cannot_sign_is_told_apart() {
        for (certificate, key, expected) in [
            ("", PKCS8, CertificateError::NoCertificate),
            (PKCS8, PKCS8, CertificateError::NoCertificate),
            (OTHER_CERTIFICATE, PKCS8, CertificateError::Mismatch),
            (CERTIFICATE, CERTIFICATE, CertificateError::NoKey),
            (CERTIFICATE, ENCRYPTED, CertificateError::NoKey),
            (CERTIFICATE, EC, CertificateError::NotRsa),
        ] {
            assert_eq!(signer(certificate, key).unwrap_err(), expected);
        }
        let damaged = "-----BEGIN RSA PRIVATE KEY-----\nMIIEow==\n-----END RSA PRIVATE KEY-----\n";
        assert!(matches!(signer(CERTIFICATE, damaged), Err(CertificateError::UnusableKey(_))));
    }

    #[test]
    fn debug_shows_the_thumbprint_only() {
        let shown = format!("{:?}", signer(CERTIFICATE, PKCS8).unwrap());
        assert_eq!(shown, format!("Signer {{ thumbprint: \"{THUMBPRINT}\", .. }}"));
    }
}
