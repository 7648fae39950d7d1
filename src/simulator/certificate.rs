//! Just enough X.509 to check an assertion: a certificate's thumbprint and its RSA public key.
//!
//! It verifies no chain and no validity period: the certificate is the one that was registered.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::digest;
use ring::signature::{RSA_PSS_2048_8192_SHA256, UnparsedPublicKey};

/// A registered certificate.
#[derive(Debug, Clone)]
pub(super) struct Certificate {
    /// base64url of the SHA-256 of the DER bytes, as `x5t#S256` carries it.
    pub(super) thumbprint: String,
    /// PKCS#1 bytes of the public key.
    public_key: Vec<u8>,
}

impl Certificate {
    /// Reads the first certificate of a PEM text; `None` when there is none with an RSA key.
    pub(super) fn from_pem(pem: &str) -> Option<Self> {
        let body = pem.split("-----BEGIN CERTIFICATE-----").nth(1)?.split("-----END").next()?;
        let der = STANDARD.decode(body.split_whitespace().collect::<String>()).ok()?;
        let thumbprint = URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, &der));
        Some(Self { thumbprint, public_key: public_key(&der)? })
    }

    /// Whether `signature` is a PS256 signature of `message` by the certificate's key.
    pub(super) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&RSA_PSS_2048_8192_SHA256, &self.public_key).verify(message, signature).is_ok()
    }
}

/// The content of `subjectPublicKey`.
fn public_key(der: &[u8]) -> Option<Vec<u8>> {
    let (certificate, _) = content(der)?;
    let (mut to_be_signed, _) = content(certificate)?;
    // An explicit version comes first in every certificate since version 2.
    if to_be_signed.first() == Some(&0xa0) {
        (_, to_be_signed) = content(to_be_signed)?;
    }
    // Serial number, signature algorithm, issuer, validity, subject.
    for _ in 0..5 {
        (_, to_be_signed) = content(to_be_signed)?;
    }
    let (key_info, _) = content(to_be_signed)?;
    let (_algorithm, rest) = content(key_info)?;
    let (bits, _) = content(rest)?;
    // The first byte of a bit string counts its unused bits.
    bits.split_first().map(|(_, key)| key.to_vec())
}

/// The content of the DER element that `der` begins with, and what follows it.
fn content(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = usize::from(*der.get(1)?);
    let (start, length) = if length < 0x80 {
        (2, length)
    } else {
        let bytes = der.get(2..2 + (length & 0x7f))?;
        (2 + bytes.len(), bytes.iter().try_fold(0_usize, |sum, byte| Some(sum.checked_mul(256)? + usize::from(*byte)))?)
    };
    let end = start.checked_add(length)?;
    Some((der.get(start..end)?, der.get(end..)?))
}
