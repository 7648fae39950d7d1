//! An access token, and what it says for diagnosis.
//!
//! To the program it is opaque: claims are read only to explain a refusal, never to decide what to send. Its `Debug`
//! shows no part of it.

use std::fmt;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::header::HeaderValue;
use serde::Deserialize;
use tokio::time::Instant;

/// A token in use is renewed this long before its end.
const RENEW_BEFORE: Duration = Duration::from_mins(5);

/// No lifetime is believed beyond this (tokens with continuous access evaluation live up to 28 hours).
const LONGEST_LIFE: Duration = Duration::from_hours(48);

/// A bearer token with the instants that matter to its use.
pub struct Token {
    bearer: HeaderValue,
    renew_at: Instant,
    expires_at: Instant,
}

impl Token {
    /// A token asked for at `asked` that lives `life` from then; `None` when it cannot stand in a header.
    pub(super) fn new(access_token: &str, asked: Instant, life: Duration) -> Option<Self> {
        let mut bearer = HeaderValue::from_str(&format!("{PREFIX}{access_token}")).ok()?;
        bearer.set_sensitive(true);
        let life = life.min(LONGEST_LIFE);
        // Half of a short life: renewing at "five minutes before" would be renewing with every request.
        let renew_before = RENEW_BEFORE.min(life / 2);
        Some(Self { bearer, renew_at: asked + life.saturating_sub(renew_before), expires_at: asked + life })
    }

    /// The value of the `Authorization` header, marked as sensitive.
    #[must_use]
    pub fn bearer(&self) -> HeaderValue {
        self.bearer.clone()
    }

    /// Whether it is time to fetch another one.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        now >= self.renew_at
    }

    /// Whether the server would no longer take it.
    pub(super) fn is_expired(&self, now: Instant) -> bool {
        now >= self.expires_at
    }

    /// What the token says about itself, unverified; `None` when it is not a JWT.
    #[must_use]
    pub fn claims(&self) -> Option<Claims> {
        let text = self.bearer.to_str().ok()?.strip_prefix(PREFIX)?;
        let payload = text.split('.').nth(1)?;
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()
    }
}

const PREFIX: &str = "Bearer ";

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("renew_at", &self.renew_at).finish_non_exhaustive()
    }
}

/// The claims that explain a refusal by Business Central (Microsoft Entra documentation, access tokens).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Claims {
    /// For whom the token is: the API's address or application id.
    #[serde(rename = "aud")]
    pub audience: Option<String>,
    /// The application permissions that an administrator consented to. Empty: consent or permissions are missing, and
    /// BC answers 401 although Entra ID issued the token.
    #[serde(default)]
    pub roles: Vec<String>,
    /// The tenant that issued it.
    #[serde(rename = "tid")]
    pub tenant: Option<String>,
    /// The application it was issued to (`appid`, or `azp` in newer tokens).
    #[serde(rename = "appid", alias = "azp")]
    pub application: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jwt(payload: &str) -> String {
        format!("eyJhbGciOiJub25lIn0.{}.c2ln", URL_SAFE_NO_PAD.encode(payload))
    }

    fn token(access_token: &str, life: u64) -> Token {
        Token::new(access_token, Instant::now(), Duration::from_secs(life)).unwrap()
    }

    #[test]
    fn it_is_due_before_it_expires() {
        for (life, due_after) in [(3_600, 3_300), (600, 300), (599, 300), (60, 30), (1, 1), (0, 0)] {
            let token = token("x", life);
            let start = token.expires_at - Duration::from_secs(life);
            assert!(token.is_due(start + Duration::from_secs(due_after)), "{life}");
            if due_after > 1 {
                assert!(!token.is_due(start + Duration::from_secs(due_after - 1)), "{life}");
            }
            assert!(token.is_expired(start + Duration::from_secs(life)), "{life}");
        }
    }

    #[test]
    fn an_absurd_lifetime_is_cut() {
        let token = token("x", u64::MAX);
        assert_eq!(token.expires_at - token.renew_at, RENEW_BEFORE);
        assert!(token.is_expired(Instant::now() + LONGEST_LIFE));
    }

    #[test]
    fn claims_tell_missing_consent_from_the_rest() {
        let full = token(
            &jwt(r#"{"aud":"https://api.example","roles":["API.ReadWrite.All"],"tid":"t","appid":"a","x":1}"#),
            60,
        );
        let claims = full.claims().unwrap();
        assert_eq!(claims.roles, ["API.ReadWrite.All"]);
        assert_eq!(claims.audience.as_deref(), Some("https://api.example"));
        assert_eq!((claims.tenant.as_deref(), claims.application.as_deref()), (Some("t"), Some("a")));
        assert_eq!(token(&jwt("{}"), 60).claims().unwrap().roles, Vec::<String>::new());
        for opaque in ["opaque", "a.b", "a.!!.c", &jwt("[]"), &jwt("not json")] {
            assert_eq!(token(opaque, 60).claims(), None, "{opaque}");
        }
    }

    #[test]
    fn neither_debug_nor_the_header_shows_it() {
        let token = token("canary", 60);
        assert!(!format!("{token:?} {:?}", token.bearer()).contains("canary"));
        assert_eq!(token.bearer().to_str().unwrap(), "Bearer canary");
    }

    #[test]
    fn what_cannot_stand_in_a_header_is_no_token() {
        assert!(Token::new("a\r\nx-evil: 1", Instant::now(), Duration::from_mins(1)).is_none());
    }
}
