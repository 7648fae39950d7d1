//! The token endpoint: client credentials in, a bearer token or an AADSTS refusal out.
//!
//! Tokens look like JWTs so that a client may decode them for diagnosis, but the API accepts them because they are known
//! here, not for their signature.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use chrono::{DateTime, Duration, Utc};
use serde::Deserialize;
use serde_json::json;
use uuid::Uuid;

use super::certificate::Certificate;
use super::options::Options;
use super::settings::Settings;

/// The only scope that leads to Business Central.
const SCOPE: &str = "https://api.businesscentral.dynamics.com/.default";
const AUDIENCE: &str = "https://api.businesscentral.dynamics.com";
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// The registered app and the tokens that were issued to it.
#[derive(Debug)]
pub(super) struct Entra {
    tenant: String,
    client_id: String,
    client_secret: String,
    certificate: Option<Certificate>,
    tokens: HashMap<String, Token>,
}

#[derive(Debug)]
struct Token {
    expires: DateTime<Utc>,
    with_roles: bool,
}

/// A request to the token endpoint.
#[derive(Debug)]
pub(super) struct TokenRequest<'a> {
    /// Tenant from the path.
    pub(super) tenant: &'a str,
    /// Fields of the form.
    pub(super) form: HashMap<String, String>,
    /// `Authorization` header.
    pub(super) authorization: Option<&'a str>,
    /// The endpoint's own URL, which an assertion must be meant for.
    pub(super) endpoint: &'a str,
}

/// Why no token was issued.
#[derive(Debug, PartialEq)]
struct Refusal {
    status: u16,
    error: &'static str,
    code: u32,
    text: String,
}

fn refuse(status: u16, error: &'static str, code: u32, text: impl Into<String>) -> Refusal {
    Refusal { status, error, code, text: text.into() }
}

impl Entra {
    /// The directory with the app of `options`. A certificate that cannot be read is not registered.
    pub(super) fn new(options: &Options) -> Self {
        Self {
            tenant: options.tenant.clone(),
            client_id: options.client_id.clone(),
            client_secret: options.client_secret.clone(),
            certificate: options.certificate_pem.as_deref().and_then(Certificate::from_pem),
            tokens: HashMap::new(),
        }
    }

    /// Answers a token request with status and JSON body.
    pub(super) fn answer(&mut self, request: &TokenRequest, settings: &Settings, now: DateTime<Utc>) -> (u16, String) {
        match self.check(request, now) {
            Ok(()) => {
                let token = self.issue(settings, now);
                let body = json!({
                    "token_type": "Bearer",
                    "expires_in": settings.token_seconds,
                    "ext_expires_in": settings.token_seconds,
                    "access_token": token,
                });
                (200, body.to_string())
            }
            Err(refusal) => {
                let (trace, correlation) = (Uuid::new_v4(), Uuid::new_v4());
                let timestamp = now.format("%Y-%m-%d %H:%M:%SZ").to_string();
                let body = json!({
                    "error": refusal.error,
                    "error_description": format!(
                        "AADSTS{}: {} Trace ID: {trace} Correlation ID: {correlation} Timestamp: {timestamp}",
                        refusal.code, refusal.text
                    ),
                    "error_codes": [refusal.code],
                    "timestamp": timestamp,
                    "trace_id": trace.to_string(),
                    "correlation_id": correlation.to_string(),
                    "error_uri": format!("https://login.microsoftonline.com/error?code={}", refusal.code),
                });
                (refusal.status, body.to_string())
            }
        }
    }

    /// Whether the `Authorization` header carries a token that the API accepts at `now`.
    pub(super) fn accepts(&self, authorization: Option<&str>, now: DateTime<Utc>) -> bool {
        let bearer = authorization.and_then(|header| header.strip_prefix("Bearer "));
        let token = bearer.and_then(|token| self.tokens.get(token.trim()));
        token.is_some_and(|token| token.with_roles && token.expires > now)
    }

    /// Makes every token worthless.
    pub(super) fn revoke(&mut self) {
        self.tokens.clear();
    }

    fn check(&self, request: &TokenRequest, now: DateTime<Utc>) -> Result<(), Refusal> {
        let basic = request.authorization.and_then(basic_credentials);
        let field = |name: &str| request.form.get(name).map(String::as_str).filter(|value| !value.is_empty());
        let missing = |name: &str| {
            let text = format!("The request body must contain the following parameter: '{name}'.");
            refuse(400, "invalid_request", 900_144, text)
        };
        match field("grant_type") {
            None => return Err(missing("grant_type")),
            Some("client_credentials") => {}
            Some(other) => {
                let text = format!("The app requested an unsupported grant type '{other}'.");
                return Err(refuse(400, "unsupported_grant_type", 70_003, text));
            }
        }
        if !request.tenant.eq_ignore_ascii_case(&self.tenant) {
            let text =
                format!("Tenant '{}' not found. Check to make sure you have the correct tenant ID.", request.tenant);
            return Err(refuse(400, "invalid_request", 90_002, text));
        }
        let client_id = basic.as_ref().map(|(id, _)| id.as_str()).or(field("client_id"));
        let client_id = client_id.ok_or_else(|| missing("client_id"))?;
        if !client_id.eq_ignore_ascii_case(&self.client_id) {
            let text =
                format!("Application with identifier '{client_id}' was not found in the directory '{}'.", self.tenant);
            return Err(refuse(400, "unauthorized_client", 700_016, text));
        }
        check_scope(field("scope").ok_or_else(|| missing("scope"))?)?;
        match (basic.as_ref().map(|(_, secret)| secret.as_str()).or(field("client_secret")), field("client_assertion"))
        {
            (Some(secret), _) if secret == self.client_secret => Ok(()),
            (Some(_), _) => {
                let text = format!(
                    "Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not the client secret ID, for a secret added to app '{client_id}'."
                );
                Err(refuse(401, "invalid_client", 7_000_215, text))
            }
            (None, Some(assertion)) if field("client_assertion_type") == Some(ASSERTION_TYPE) => {
                self.check_assertion(assertion, request.endpoint, now)
            }
            _ => {
                let text =
                    "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.";
                Err(refuse(401, "invalid_client", 7_000_218, text))
            }
        }
    }

    fn check_assertion(&self, assertion: &str, endpoint: &str, now: DateTime<Utc>) -> Result<(), Refusal> {
        let malformed = || refuse(401, "invalid_client", 50_027, "JWT token is invalid or malformed.");
        let (signed, signature) = assertion.rsplit_once('.').ok_or_else(malformed)?;
        let (header, claims) = signed.split_once('.').ok_or_else(malformed)?;
        let header: AssertionHeader = decode_part(header).ok_or_else(malformed)?;
        let claims: AssertionClaims = decode_part(claims).ok_or_else(malformed)?;
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| malformed())?;

        let trusted = self.certificate.as_ref().is_some_and(|certificate| {
            header.alg == "PS256"
                && header.x5t_s256.as_deref() == Some(certificate.thumbprint.as_str())
                && certificate.verifies(signed.as_bytes(), &signature)
        });
        if !trusted {
            let text = "The certificate with identifier used to sign the client assertion is not registered on application, or the signature is not valid.";
            return Err(refuse(401, "invalid_client", 700_027, text));
        }
        if claims.iss != self.client_id || claims.sub != self.client_id {
            let text = "Client assertion contains an invalid issuer or subject.";
            return Err(refuse(401, "invalid_client", 700_021, text));
        }
        if claims.aud != endpoint {
            let text = format!("Client assertion audience '{}' does not match the token endpoint.", claims.aud);
            return Err(refuse(401, "invalid_client", 700_023, text));
        }
        // Entra allows five minutes between the two clocks.
        if claims.exp + 300 < now.timestamp() || claims.nbf.is_some_and(|nbf| nbf - 300 > now.timestamp()) {
            let text = "Client assertion is not within its valid time range.";
            return Err(refuse(401, "invalid_client", 700_024, text));
        }
        Ok(())
    }

    fn issue(&mut self, settings: &Settings, now: DateTime<Utc>) -> String {
        let expires = now + Duration::seconds(settings.token_seconds);
        let mut claims = json!({
            "aud": AUDIENCE,
            "iss": format!("https://sts.windows.net/{}/", self.tenant),
            "iat": now.timestamp(),
            "nbf": now.timestamp(),
            "exp": expires.timestamp(),
            "appid": self.client_id,
            "tid": self.tenant,
            "uti": Uuid::new_v4().to_string(),
            "ver": "1.0",
        });
        if settings.consent {
            claims["roles"] = json!(["API.ReadWrite.All"]);
        }
        let header = URL_SAFE_NO_PAD.encode(r#"{"typ":"JWT","alg":"RS256","kid":"simulator"}"#);
        let signature = URL_SAFE_NO_PAD.encode(Uuid::new_v4().as_bytes());
        let token = format!("{header}.{}.{signature}", URL_SAFE_NO_PAD.encode(claims.to_string()));
        self.tokens.retain(|_, token| token.expires > now);
        self.tokens.insert(token.clone(), Token { expires, with_roles: settings.consent });
        token
    }
}

#[derive(Debug, Deserialize)]
struct AssertionHeader {
    alg: String,
    #[serde(rename = "x5t#S256")]
    x5t_s256: Option<String>,
}

#[derive(Debug, Deserialize)]
struct AssertionClaims {
    aud: String,
    iss: String,
    sub: String,
    exp: i64,
    nbf: Option<i64>,
}

fn decode_part<T: for<'de> Deserialize<'de>>(part: &str) -> Option<T> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}

fn check_scope(scope: &str) -> Result<(), Refusal> {
    if scope == SCOPE {
        Ok(())
    } else if scope.ends_with("/.default") && !scope.contains(' ') {
        let text = format!(
            "The resource principal named {} was not found in the tenant.",
            scope.trim_end_matches("/.default")
        );
        Err(refuse(400, "invalid_resource", 500_011, text))
    } else {
        let text = format!(
            "The provided request must include a 'scope' input parameter. The provided value for the input parameter 'scope' is not valid. The scope {scope} is not valid."
        );
        Err(refuse(400, "invalid_scope", 70_011, text))
    }
}

fn basic_credentials(header: &str) -> Option<(String, String)> {
    let bytes = STANDARD.decode(header.strip_prefix("Basic ")?.trim()).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    text.split_once(':').map(|(id, secret)| (id.to_owned(), secret.to_owned()))
}
