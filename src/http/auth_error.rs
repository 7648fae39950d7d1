//! Why there is no token, for people and for the callers that decide what happens next.
//!
//! Holds what Microsoft's support asks for. Never holds a secret.

use std::fmt;
use std::time::Duration;

/// Whether asking again can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthErrorKind {
    /// Not before someone has changed something.
    Permanent,
    /// Later, by itself.
    Transient,
}

/// What the trouble is about: which of several people can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// The secret or certificate is wrong, expired or not registered.
    Credentials,
    /// An administrator has not granted the application its permissions.
    Consent,
    /// The application is not known in the tenant, or is disabled there.
    AppUnknown,
    /// Tenant, login address, scope or licence do not fit.
    TenantOrEndpoint,
    /// A policy of the tenant blocks the application.
    ConditionalAccess,
    /// Too many requests for tokens.
    Throttled,
    /// Entra ID could not be reached, or could not answer now.
    Unavailable,
    /// Anything else.
    Other,
}

impl Trouble {
    /// What to do when nothing more precise is known.
    #[must_use]
    pub fn advice(self) -> &'static str {
        match self {
            Self::Credentials => {
                "Check `client_id` and the secret or certificate, and that the credential has not expired."
            }
            Self::Consent => "Have an administrator grant the application's permissions for Business Central.",
            Self::AppUnknown => {
                "Check `client_id` and `tenant`, and that the enterprise application exists and is enabled."
            }
            Self::TenantOrEndpoint => "Check `tenant`, `login_url` and `scope`.",
            Self::ConditionalAccess => {
                "Ask the tenant's administrator which access policy applies to this application and address."
            }
            Self::Throttled => "Nothing to do now; when it recurs, see what else requests tokens for this application.",
            Self::Unavailable => {
                "Nothing to do now; when it persists, check the network and Microsoft's service health."
            }
            Self::Other => "Look the code up at https://login.microsoftonline.com/error, or ask Microsoft's support.",
        }
    }
}

/// A token request that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthError {
    /// Whether asking again can help.
    pub kind: AuthErrorKind,
    /// What the trouble is about.
    pub trouble: Trouble,
    /// The number after `AADSTS`, if Entra ID gave one.
    pub code: Option<u32>,
    /// What happened, in one sentence without a full stop.
    pub summary: String,
    /// What to do about it.
    pub fix: &'static str,
    /// Entra ID's id of the request.
    pub trace_id: Option<String>,
    /// Entra ID's id of the chain of requests.
    pub correlation_id: Option<String>,
    /// Entra ID's time of the failure.
    pub timestamp: Option<String>,
    /// How long Entra ID asks to be left alone.
    pub retry_after: Option<Duration>,
}

impl fmt::Display for AuthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}. {}", self.summary, self.fix)?;
        let support =
            [("trace id", &self.trace_id), ("correlation id", &self.correlation_id), ("timestamp", &self.timestamp)];
        let mut lead = " For Microsoft's support:";
        for (name, value) in support {
            if let Some(value) = value {
                write!(f, "{lead} {name} {value}")?;
                lead = ",";
            }
        }
        Ok(())
    }
}

impl std::error::Error for AuthError {}
