//! What an answer of BC means.
//!
//! The decision table of the program: keyed by what was sent, then BC's code, then the status, then the text where one
//! code carries opposite meanings (`Internal_ServerError` is a missing permission as well as a deadlock).
//! Codes: BC documentation, "`OData` error codes"; statuses: the pages on operational limits and error handling.

use serde::Deserialize;

use crate::http::{AuthError, AuthErrorKind, ReadError};
use crate::model::ErrorClass;

/// What kind of request was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// A GET, alone or in a batch of GETs.
    Read,
    /// A POST of a new row.
    Create,
    /// A PATCH or DELETE of a row.
    Change,
}

/// An error that BC answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BcError {
    /// What happens next.
    pub class: ErrorClass,
    /// The HTTP status.
    pub status: u16,
    /// BC's code; empty when the answer was not in BC's form.
    pub code: String,
    /// BC's words without the correlation id; empty when there were none.
    pub message: String,
    /// BC's correlation id, for its support.
    pub correlation_id: Option<String>,
}

impl std::fmt::Display for BcError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.message.is_empty() {
            write!(formatter, "Business Central answered with status {}", self.status)
        } else {
            // Most of its sentences end in a full stop; what follows ours is for the caller to say.
            write!(formatter, "Business Central answered: {}", self.message.trim_end_matches('.'))
        }
    }
}

/// Why something could not be read from BC.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Failure {
    /// Signing in to Entra ID failed.
    #[error(transparent)]
    Auth(Box<AuthError>),
    /// BC refuses: set-up, permission, address.
    #[error("{what}: {error}. {fix}{}", support(error))]
    Denied {
        /// What was asked for.
        what: String,
        /// What BC answered.
        error: Box<BcError>,
        /// What a person can do.
        fix: String,
    },
    /// BC could not be reached or gave up, in spite of retries.
    #[error("{what}: {cause}")]
    Unavailable {
        /// What was asked for.
        what: String,
        /// Why there is no answer.
        cause: String,
    },
    /// BC's answer cannot be understood.
    #[error(
        "{what}: the answer cannot be understood ({cause}). When this recurs, check that `base_url` is Business Central's \
         and that no proxy changes what it answers"
    )]
    Malformed {
        /// What was asked for.
        what: String,
        /// What is wrong with it.
        cause: String,
    },
    /// The company is not in this environment.
    #[error(
        "there is no company `{wanted}` in {api}; the application sees {found}. Put `company` of the target right, or \
         let the application into that company"
    )]
    NoCompany {
        /// As configured.
        wanted: String,
        /// Where it was looked for.
        api: String,
        /// The companies there.
        found: String,
    },
    /// The run was asked to stop.
    #[error("stopped on request")]
    Cancelled,
}

impl From<AuthError> for Failure {
    fn from(error: AuthError) -> Self {
        Self::Auth(Box::new(error))
    }
}

impl Failure {
    /// Whether credentials, consent, permissions or addresses are not what Business Central or Entra ID want.
    #[must_use]
    pub fn is_denied(&self) -> bool {
        match self {
            Self::Denied { .. } => true,
            Self::Auth(error) => error.kind == AuthErrorKind::Permanent,
            Self::Unavailable { .. } | Self::Malformed { .. } | Self::NoCompany { .. } | Self::Cancelled => false,
        }
    }

    /// What a [`ReadError`] about `what` means.
    pub(super) fn from_read(error: ReadError, what: &str) -> Self {
        match error {
            ReadError::Auth(error) => error.into(),
            ReadError::Cancelled => Self::Cancelled,
            ReadError::Send(error) => Self::Unavailable { what: what.to_owned(), cause: error.to_string() },
        }
    }
}

/// What Microsoft's support asks for, when BC said it.
fn support(error: &BcError) -> String {
    let known = [("code", Some(error.code.as_str())), ("correlation id", error.correlation_id.as_deref())];
    let known = known.into_iter().filter_map(|(name, value)| Some((name, value.filter(|value| !value.is_empty())?)));
    let known: Vec<_> = known.map(|(name, value)| format!("{name} {value}")).collect();
    if known.is_empty() { String::new() } else { format!(". For Microsoft's support: {}", known.join(", ")) }
}

#[derive(Deserialize)]
struct Envelope {
    error: Body,
}

#[derive(Deserialize)]
struct Body {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

impl BcError {
    /// Reads the answer `body` with `status` to a request of the kind `sent`. A gateway may have answered instead of
    /// BC, so that the body need not be JSON.
    #[must_use]
    pub fn read(sent: Sent, status: u16, body: &[u8]) -> Self {
        let (code, text) = serde_json::from_slice::<Envelope>(body)
            .map_or_else(|_| (String::new(), String::new()), |envelope| (envelope.error.code, envelope.error.message));
        let (message, correlation_id) = split_correlation(&text);
        Self {
            class: classify(sent, status, &code, message),
            status,
            code,
            message: message.to_owned(),
            correlation_id,
        }
    }
}

/// BC appends `CorrelationId:  GUID.` to its message.
fn split_correlation(text: &str) -> (&str, Option<String>) {
    let Some((message, id)) = text.rsplit_once("CorrelationId:") else { return (text.trim(), None) };
    let id = id.trim().trim_end_matches('.');
    if uuid::Uuid::parse_str(id).is_ok() { (message.trim(), Some(id.to_owned())) } else { (text.trim(), None) }
}

/// What happens next after this answer. For a write whose outcome the answer does not tell, *open* beats everything.
#[must_use]
pub fn classify(sent: Sent, status: u16, code: &str, message: &str) -> ErrorClass {
    let write = sent != Sent::Read;
    let says = |words: &[&str]| words.iter().any(|word| message.to_ascii_lowercase().contains(word));
    if status == 429 {
        return ErrorClass::Throttled;
    }
    // Of all these 501 alone says that nothing was even tried. What only gateways say tells what they saw of the request, not
    // what BC did with it.
    if write && (status == 408 || (500..=599).contains(&status) && status != 501) {
        return ErrorClass::Open;
    }
    // Before the codes, since it comes under several of them; its transaction was rolled back.
    if says(&["deadlock", "being updated in a transaction done by another session", "locked by another user"]) {
        return ErrorClass::Transient;
    }
    match code {
        "Application_TooManyRequests" => ErrorClass::Throttled,
        "Request_EntityChanged" | "BadRequest_InvalidToken" => ErrorClass::Stale,
        "Internal_EntityWithSameKeyExists" => ErrorClass::Exists,
        "Internal_InvalidTableRelation" => ErrorClass::MissingRelation,
        "Internal_RecordNotFound" | "Internal_DataNotFoundFilter" if sent == Sent::Create => {
            ErrorClass::MissingRelation
        }
        "Internal_RecordNotFound" | "Internal_DataNotFoundFilter" => ErrorClass::Gone,
        "BadRequest_ResourceNotFound" | "BadRequest_NotFound" if status == 404 && sent == Sent::Change => {
            ErrorClass::Gone
        }
        "BadRequest_ResourceNotFound"
        | "BadRequest_NotFound"
        | "Internal_CompanyNotFound"
        | "BadRequest_InvalidRequestUrl"
        | "BadRequest_MethodNotAllowed"
        | "BadRequest_MethodNotImplemented" => ErrorClass::Denied,
        "Internal_TenantUnavailable" | "Internal_MetadataSyncError" | "Application_ServiceUnavailable" => {
            if write {
                ErrorClass::Open
            } else {
                ErrorClass::Transient
            }
        }
        "Internal_ServerError" if says(&["permission"]) => ErrorClass::Denied,
        "Application_FieldValidationException" if says(&["status must be equal to 'open'"]) => ErrorClass::Locked,
        _ if code.starts_with("Authentication_") || code.starts_with("Authorization_") => ErrorClass::Denied,
        _ => by_status(sent, status, code),
    }
}

fn by_status(sent: Sent, status: u16, code: &str) -> ErrorClass {
    let rejected = code == "Unknown" || code.starts_with("BadRequest") || code.starts_with("Application_");
    match status {
        404 if sent == Sent::Change => ErrorClass::Gone,
        401 | 403 | 404 | 405 | 415 | 501 => ErrorClass::Denied,
        412 => ErrorClass::Stale,
        408 | 413 | 504 => ErrorClass::TooBig,
        503 => ErrorClass::Throttled,
        500..=599 => ErrorClass::Transient,
        400..=499 if rejected => ErrorClass::Rejected,
        _ => ErrorClass::Undiagnosed,
    }
}

#[cfg(test)]
mod tests {
    use super::ErrorClass::*;
    use super::Sent::{Change, Create, Read};
    use super::*;

    /// Where a fact comes from.
    #[derive(Debug, Clone, Copy)]
    enum Source {
        /// BC documentation, its pages on error codes and on HTTP statuses.
        Doc,
        /// Reported by those who met it on a tenant.
        Seen,
        /// A code that is documented with a status that is not: the careful reading.
        Unverified,
    }

    use Source::{Doc, Seen, Unverified};

    #[test]
    fn every_documented_code_has_a_class() {
        // source, code, status, text, class for a read, for a create, for a change
        let table = [
            (Doc, "BadRequest", 400, "Unable to convert value to Date", Rejected, Rejected, Rejected),
            (
                Seen,
                "BadRequest",
                400,
                "The property 'x' does not exist on type 'Microsoft.NAV.y'.",
                Rejected,
                Rejected,
                Rejected,
            ),
            (Doc, "BadRequest_InvalidRequestUrl", 400, "", Denied, Denied, Denied),
            (Doc, "BadRequest_NotFound", 404, "", Denied, Denied, Gone),
            (Doc, "BadRequest_NotFound", 400, "", Denied, Denied, Denied),
            (Doc, "BadRequest_ResourceNotFound", 404, "", Denied, Denied, Gone),
            (Doc, "BadRequest_InvalidOperation", 400, "Control 'x' is read-only.", Rejected, Rejected, Rejected),
            (
                Seen,
                "BadRequest_InvalidToken",
                400,
                "Could not validate the client concurrency token",
                Stale,
                Stale,
                Stale,
            ),
            (
                Doc,
                "BadRequest_RequiredParamNotProvided",
                400,
                "Field 'x' must not be blank or empty.",
                Rejected,
                Rejected,
                Rejected,
            ),
            (Doc, "BadRequest_MethodNotAllowed", 405, "", Denied, Denied, Denied),
            (Doc, "BadRequest_MethodNotImplemented", 501, "", Denied, Denied, Denied),
            (Seen, "BadRequest_MethodNotImplemented", 400, "", Denied, Denied, Denied),
            (Doc, "Request_EntityChanged", 409, "Another user has already changed the record.", Stale, Stale, Stale),
            (
                Seen,
                "Internal_EntityWithSameKeyExists",
                400,
                "The record in table Customer already exists.",
                Exists,
                Exists,
                Exists,
            ),
            (Doc, "Internal_EntityWithSameKeyExists", 409, "", Exists, Exists, Exists),
            (Seen, "Internal_RecordNotFound", 404, "The Tax Area does not exist.", Gone, MissingRelation, Gone),
            (Unverified, "Internal_DataNotFoundFilter", 404, "", Gone, MissingRelation, Gone),
            (Unverified, "Internal_DataNotFoundFilter", 400, "", Gone, MissingRelation, Gone),
            (
                Unverified,
                "Internal_InvalidTableRelation",
                400,
                "contains a value (X) that cannot be found",
                MissingRelation,
                MissingRelation,
                MissingRelation,
            ),
            (Unverified, "Internal_CompanyNotFound", 404, "", Denied, Denied, Denied),
            (Unverified, "Internal_CompanyNotFound", 400, "", Denied, Denied, Denied),
            (Unverified, "Internal_RecordNotFound", 400, "", Gone, MissingRelation, Gone),
            (Unverified, "Internal_TenantUnavailable", 500, "", Transient, Open, Open),
            (Unverified, "Internal_TenantUnavailable", 502, "", Transient, Open, Open),
            (Unverified, "Internal_TenantUnavailable", 503, "", Transient, Open, Open),
            (Unverified, "Internal_MetadataSyncError", 400, "", Transient, Open, Open),
            (Unverified, "Internal_MetadataSyncError", 500, "", Transient, Open, Open),
            (Unverified, "Internal_MetadataSyncError", 503, "", Transient, Open, Open),
            (Seen, "Internal_ServerError", 400, "You do not have the following permissions", Denied, Denied, Denied),
            (
                Seen,
                "Internal_ServerError",
                403,
                "Your current permissions prevented the action.",
                Denied,
                Denied,
                Denied,
            ),
            (
                Seen,
                "Internal_ServerError",
                409,
                "Your activity was deadlocked with another user",
                Transient,
                Transient,
                Transient,
            ),
            (
                Seen,
                "Internal_ServerError",
                409,
                "is being updated in a transaction done by another session",
                Transient,
                Transient,
                Transient,
            ),
            (
                Seen,
                "Internal_ServerError",
                409,
                "The record is locked by another user.",
                Transient,
                Transient,
                Transient,
            ),
            (Seen, "Internal_ServerError", 500, "SQL connection", Transient, Open, Open),
            (Unverified, "Internal_ServerError", 500, "was deadlocked with another user", Transient, Open, Open),
            (Unverified, "Internal_ServerError", 503, "was deadlocked with another user", Transient, Open, Open),
            (Unverified, "Internal_ServerError", 500, "was locked by another user", Transient, Open, Open),
            (Unverified, "Internal_ServerError", 503, "was locked by another user", Transient, Open, Open),
            (Unverified, "Internal_ServerError", 500, "the following permissions", Denied, Open, Open),
            (Unverified, "Internal_ServerError", 503, "the following permissions", Denied, Open, Open),
            (Doc, "Internal_ServerError", 400, "something", Undiagnosed, Undiagnosed, Undiagnosed),
            (Unverified, "Internal_ServerError", 403, "something", Denied, Denied, Denied),
            (Unverified, "Internal_ServerError", 404, "something", Denied, Denied, Gone),
            (Unverified, "Internal_ServerError", 409, "something", Undiagnosed, Undiagnosed, Undiagnosed),
            (Unverified, "Internal_ServerError", 500, "something", Transient, Open, Open),
            (
                Seen,
                "Application_DialogException",
                400,
                "You may not enter numbers manually.",
                Rejected,
                Rejected,
                Rejected,
            ),
            (Seen, "Application_DialogException", 400, "was deadlocked", Transient, Transient, Transient),
            (Unverified, "Application_DialogException", 400, "locked by another user", Transient, Transient, Transient),
            (
                Doc,
                "Application_FieldValidationException",
                400,
                "Gen. Bus. Posting Group must have a value",
                Rejected,
                Rejected,
                Rejected,
            ),
            (
                Seen,
                "Application_FieldValidationException",
                400,
                "Status must be equal to 'Open'  in Sales Header",
                Locked,
                Locked,
                Locked,
            ),
            (Doc, "Application_EvaluateException", 400, "", Rejected, Rejected, Rejected),
            (Doc, "Application_StringExceededLength", 400, "", Rejected, Rejected, Rejected),
            (Doc, "Application_InvalidGUID", 400, "", Rejected, Rejected, Rejected),
            (Doc, "Application_FilterErrorException", 400, "", Rejected, Rejected, Rejected),
            (Doc, "Application_CallbackNotAllowed", 400, "", Rejected, Rejected, Rejected),
            (Doc, "Application_TooManyRequests", 429, "", Throttled, Throttled, Throttled),
            (Unverified, "Application_TooManyRequests", 400, "", Throttled, Throttled, Throttled),
            (Unverified, "Application_TooManyRequests", 503, "", Throttled, Open, Open),
            (Seen, "Application_ServiceUnavailable", 503, "", Transient, Open, Open),
            (Doc, "Authentication_InvalidCredentials", 401, "", Denied, Denied, Denied),
            (Doc, "Authentication_TokenExpired", 401, "", Denied, Denied, Denied),
            (Doc, "Authentication_MissingOrMalformedToken", 401, "", Denied, Denied, Denied),
            (Doc, "Authorization_InsufficientPermissions", 403, "", Denied, Denied, Denied),
            (Doc, "Unknown", 400, "'x' is not an option.", Rejected, Rejected, Rejected),
            (Unverified, "Unknown", 404, "", Denied, Denied, Gone),
            (Unverified, "Unknown", 409, "", Rejected, Rejected, Rejected),
            (Seen, "Unknown", 500, "too many parts", Transient, Open, Open),
        ];
        for (source, code, status, text, read, create, change) in table {
            for (sent, class) in [(Read, read), (Create, create), (Change, change)] {
                assert_eq!(classify(sent, status, code, text), class, "{sent:?} {status} {code} {text} ({source:?})");
            }
        }
    }

    /// An answer without BC's form, as from a gateway: the documentation on HTTP statuses, and for what a write did the
    /// practice of clients that never repeat one after a 5xx.
    #[test]
    fn every_documented_status_has_a_class() {
        // status, class for a read, for a create, for a change
        let table = [
            (400, Undiagnosed, Undiagnosed, Undiagnosed),
            (401, Denied, Denied, Denied),
            (403, Denied, Denied, Denied),
            (404, Denied, Denied, Gone),
            (405, Denied, Denied, Denied),
            (408, TooBig, Open, Open),
            (409, Undiagnosed, Undiagnosed, Undiagnosed),
            (412, Stale, Stale, Stale),
            (413, TooBig, TooBig, TooBig),
            (415, Denied, Denied, Denied),
            (429, Throttled, Throttled, Throttled),
            (500, Transient, Open, Open),
            (501, Denied, Denied, Denied),
            (502, Transient, Open, Open),
            (503, Throttled, Open, Open),
            (504, TooBig, Open, Open),
            // Of gateways and networks in between.
            (520, Transient, Open, Open),
            (524, Transient, Open, Open),
            (599, Transient, Open, Open),
        ];
        for (status, read, create, change) in table {
            for (sent, class) in [(Read, read), (Create, create), (Change, change)] {
                assert_eq!(classify(sent, status, "", ""), class, "{sent:?} {status}");
            }
        }
    }

    #[test]
    fn the_correlation_id_is_split_from_the_message() {
        let body =
            br#"{"error":{"code":"Unknown","message":"No.  CorrelationId:  e5c26ced-b671-4b46-a2a5-2e1a4aff2bfd."}}"#;
        let error = BcError::read(Create, 400, body);
        assert_eq!(error.message, "No.");
        assert_eq!(error.correlation_id.as_deref(), Some("e5c26ced-b671-4b46-a2a5-2e1a4aff2bfd"));
        let gateway = BcError::read(Read, 502, b"<html>Bad gateway</html>");
        assert_eq!((gateway.code.as_str(), gateway.class), ("", Transient));
        assert_eq!(gateway.to_string(), "Business Central answered with status 502");
    }

    #[test]
    fn a_body_that_is_not_in_the_form_of_bc_is_read_by_its_status() {
        for body in [&b""[..], br#"{"Message":"No HTTP resource was found."}"#, b"[]", br#"{"error":"denied"}"#] {
            let error = BcError::read(Change, 404, body);
            assert_eq!((error.code.as_str(), error.message.as_str(), error.class), ("", "", Gone));
            assert_eq!(BcError::read(Create, 404, body).class, Denied);
            assert_eq!(BcError::read(Create, 500, body).class, Open);
        }
    }
}
