//! What the answers of Entra ID's token endpoint mean.
//!
//! Whether to ask again is decided from the status and the OAuth `error` field. The AADSTS numbers, which Microsoft
//! may renumber, choose the hint for people, and decide only where the other two say nothing. Sources: Microsoft Entra
//! documentation, "Microsoft Entra authentication and authorization error codes", and reports from the field.

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::Value;

use super::auth_error::AuthErrorKind::{Permanent, Transient};
use super::auth_error::{AuthError, AuthErrorKind, Trouble};

/// What one group of AADSTS numbers means to an application without a user.
struct Meaning {
    codes: &'static [u32],
    kind: AuthErrorKind,
    trouble: Trouble,
    fix: &'static str,
}

const fn row(codes: &'static [u32], kind: AuthErrorKind, trouble: Trouble, fix: &'static str) -> Meaning {
    Meaning { codes, kind, trouble, fix }
}

/// The numbers that an integration with Business Central meets.
#[rustfmt::skip]
const MEANINGS: &[Meaning] = &[
    row(&[7_000_215, 70_002], Permanent, Trouble::Credentials,
        "Set the secret's value (not its id) of this very application; look for blanks or line breaks copied along."),
    row(&[7_000_222], Permanent, Trouble::Credentials,
        "Create a new client secret for the application, or change to a certificate, and set it in the configuration."),
    row(&[7_000_218], Permanent, Trouble::Credentials,
        "The request carried no secret and no assertion: check that the configured secret is not empty."),
    row(&[700_027, 50_012], Permanent, Trouble::Credentials,
        "Upload this certificate to the application's registration, or use the key of the one that is there; \
         a fresh upload takes a few minutes to be known."),
    row(&[700_024], Permanent, Trouble::Credentials,
        "The assertion's times do not fit: set this machine's clock right."),
    row(&[700_030], Permanent, Trouble::Credentials,
        "The certificate's subject is not allowed for this application: ask the tenant's administrator."),
    row(&[50_027, 900_384], Permanent, Trouble::Credentials,
        "Entra ID cannot read the signed assertion: check that certificate and key are the application's."),
    row(&[70_021, 700_211, 700_213, 7_002_138], Permanent, Trouble::Credentials,
        "No federated credential of the application matches: compare issuer, subject and audience letter by letter; \
         a new one takes a few minutes to be known."),
    row(&[700_229], Permanent, Trouble::Credentials,
        "A user's token was offered as federated credential: an application's token is needed."),

    row(&[700_016, 700_011], Permanent, Trouble::AppUnknown,
        "Check `client_id` and `tenant`; an application of another tenant needs an administrator's consent in this one first."),
    row(&[7_000_229], Permanent, Trouble::AppUnknown,
        "The tenant has no enterprise application for it yet: have an administrator grant consent."),
    row(&[7_000_112, 70_001], Permanent, Trouble::AppUnknown,
        "Switch the enterprise application on again (\"Enabled for users to sign in\")."),
    row(&[90_099], Permanent, Trouble::AppUnknown,
        "The application is not authorised in the customer's tenant: have it consented there."),

    row(&[90_002], Permanent, Trouble::TenantOrEndpoint,
        "No such tenant: check `tenant`, and `login_url` if the tenant is in a national cloud."),
    row(&[900_023], Permanent, Trouble::TenantOrEndpoint,
        "`tenant` must be the tenant's id or one of its domains; the application's id is a common mix-up."),
    row(&[90_019, 50_059, 50_128], Permanent, Trouble::TenantOrEndpoint,
        "No tenant could be told from the request: set `tenant` to the tenant's id or domain."),
    row(&[50_194, 9_001_023, 90_124, 90_130], Permanent, Trouble::TenantOrEndpoint,
        "Set `tenant` to a tenant's id or domain, not `common`, `organizations` or `consumers`."),
    row(&[500_011], Permanent, Trouble::TenantOrEndpoint,
        "The tenant does not know Business Central under this scope: check `tenant` and `scope`, and that the tenant has Business Central."),
    row(&[50_001], Permanent, Trouble::TenantOrEndpoint,
        "The service that `scope` names is unknown or disabled in the tenant: check `scope`."),
    row(&[650_052], Permanent, Trouble::TenantOrEndpoint,
        "The tenant has no subscription for Business Central: check its licences."),
    row(&[70_011, 28_002, 700_022, 700_023], Permanent, Trouble::TenantOrEndpoint,
        "`scope` must be one resource followed by `/.default`."),
    row(&[90_038, 900_382, 900_432], Permanent, Trouble::TenantOrEndpoint,
        "The tenant is in another national cloud: set `login_url` (and the addresses of Business Central) to that cloud's."),

    row(&[650_056, 650_057, 65_005], Permanent, Trouble::Consent,
        "Add application permissions for Dynamics 365 Business Central (`API.ReadWrite.All`) to the registration and grant admin consent."),
    row(&[65_001, 90_094], Permanent, Trouble::Consent,
        "Have an administrator grant consent to the application's permissions."),

    row(&[53_003, 530_032], Permanent, Trouble::ConditionalAccess,
        "A Conditional Access policy blocks the application: ask the administrator about workload identities and this machine's public address."),
    row(&[500_021, 500_022], Permanent, Trouble::ConditionalAccess,
        "A proxy on the network restricts which tenants may be used: ask the network's administrator."),

    row(&[900_144, 90_014, 9_002_313], Permanent, Trouble::Other,
        "Entra ID found the request malformed or incomplete: check that `client_id`, `scope` and the secret are not empty."),
    row(&[50_000, 90_036], Permanent, Trouble::Other,
        "Entra ID could not issue a token and says that repeating will not help: open a ticket with Microsoft's support."),

    row(&[50_196], Transient, Trouble::Throttled,
        "Entra ID sees a loop of token requests: look for other programs that use this application; wait some minutes."),
    row(&[90_055], Transient, Trouble::Throttled,
        "The tenant as a whole makes too many requests; nothing to do but wait."),
    row(&[90_033, 90_006, 90_012, 90_024, 90_090, 90_091, 50_033, 50_087], Transient, Trouble::Unavailable,
        "Entra ID is busy or briefly out of service; nothing to do but wait."),
];

/// Entra ID asks for this much after too many token requests, and is believed to mean it when it does not say.
const THROTTLED_FOR: Duration = Duration::from_mins(1);

/// What an answer other than 200 means. `asked` completes "Entra ID refused" (for whom the token was); `redact` takes
/// secrets out of Entra ID's own words.
pub(super) fn refusal(
    status: StatusCode,
    retry_after: Option<Duration>,
    body: &[u8],
    asked: &str,
    redact: impl Fn(&str) -> String,
) -> AuthError {
    // A 429 or a proxy's page may be anything but JSON.
    let told: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |field: &str| told[field].as_str().filter(|text| !text.is_empty());
    let line = |field: &str| text(field).map(|text| redact(&one_line(text)));
    let codes = codes(&told);
    let known = codes.iter().find_map(|code| Some((*code, meaning(*code)?)));
    let code = known.map(|(code, _)| code).or_else(|| codes.first().copied());
    let meaning = known.map(|(_, meaning)| meaning);

    let by_protocol = by_protocol(status, text("error"));
    let kind = by_protocol.map(|(kind, _)| kind).or(meaning.map(|m| m.kind)).unwrap_or(Permanent);
    let throttled = status == StatusCode::TOO_MANY_REQUESTS;
    let trouble = match meaning {
        Some(meaning) if !throttled => meaning.trouble,
        _ => by_protocol.map_or_else(|| by_status(status), |(_, trouble)| trouble),
    };
    let fix = meaning.filter(|m| m.trouble == trouble).map_or_else(|| trouble.advice(), |m| m.fix);

    let class = line("error").map(|class| format!(", {class}")).unwrap_or_default();
    let mut summary = format!("Entra ID refused {asked} (HTTP {}{class})", status.as_u16());
    if let Some(description) = line("error_description") {
        summary.push_str(": ");
        summary.push_str(description.trim_end_matches('.'));
    }
    AuthError {
        kind,
        trouble,
        code,
        summary,
        fix,
        trace_id: line("trace_id"),
        correlation_id: line("correlation_id"),
        timestamp: line("timestamp"),
        retry_after: if throttled { retry_after.or(Some(THROTTLED_FOR)) } else { retry_after },
    }
}

fn meaning(code: u32) -> Option<&'static Meaning> {
    MEANINGS.iter().find(|meaning| meaning.codes.contains(&code))
}

/// What status and `error` decide; `None` where they leave it to the codes.
fn by_protocol(status: StatusCode, error: Option<&str>) -> Option<(AuthErrorKind, Trouble)> {
    if status == StatusCode::TOO_MANY_REQUESTS {
        return Some((Transient, Trouble::Throttled));
    }
    if status.is_server_error() || status == StatusCode::REQUEST_TIMEOUT {
        return Some((Transient, Trouble::Unavailable));
    }
    match error? {
        "temporarily_unavailable" => Some((Transient, Trouble::Unavailable)),
        "invalid_client" => Some((Permanent, Trouble::Credentials)),
        "unauthorized_client" => Some((Permanent, Trouble::AppUnknown)),
        "invalid_scope" | "invalid_resource" => Some((Permanent, Trouble::TenantOrEndpoint)),
        "interaction_required" | "invalid_grant" => Some((Permanent, Trouble::ConditionalAccess)),
        "invalid_request" | "unsupported_grant_type" => Some((Permanent, Trouble::Other)),
        _ => None,
    }
}

/// What an answer is about that says nothing in OAuth's terms: most likely it is not Entra ID that answers.
fn by_status(status: StatusCode) -> Trouble {
    if status.is_redirection() || status == StatusCode::NOT_FOUND || status == StatusCode::METHOD_NOT_ALLOWED {
        Trouble::TenantOrEndpoint
    } else {
        Trouble::Other
    }
}

/// The AADSTS numbers of a refusal: its list, or else the one that its description begins with.
fn codes(told: &Value) -> Vec<u32> {
    let listed = told["error_codes"].as_array().into_iter().flatten();
    let listed: Vec<u32> = listed.filter_map(|code| u32::try_from(code.as_u64()?).ok()).collect();
    if !listed.is_empty() {
        return listed;
    }
    let described = told["error_description"].as_str().and_then(|text| text.split_once("AADSTS"));
    let digits = described.map(|(_, rest)| rest.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default());
    digits.and_then(|digits| digits.parse().ok()).into_iter().collect()
}

/// The first line, without control characters and of bounded length; the further lines repeat ids and time.
fn one_line(text: &str) -> String {
    const LONGEST: usize = 600;
    let first = text.lines().next().unwrap_or_default();
    let first = first.split_once(" Trace ID:").map_or(first, |(told, _)| told);
    first.chars().filter(|c| !c.is_control()).take(LONGEST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16, body: &str) -> AuthError {
        let status = StatusCode::from_u16(status).unwrap();
        refusal(status, None, body.as_bytes(), "a token for application a in tenant t", str::to_owned)
    }

    fn with_code(status: u16, error: &str, code: u32) -> AuthError {
        refused(status, &format!(r#"{{"error":"{error}","error_codes":[{code}]}}"#))
    }

    /// Every number that is known, with what it means, where nothing but the number speaks.
    #[test]
    fn each_code_has_its_meaning() {
        use Trouble::{
            AppUnknown, ConditionalAccess, Consent, Credentials, Other, TenantOrEndpoint, Throttled, Unavailable,
        };
        let expected: &[(&[u32], AuthErrorKind, Trouble)] = &[
            (&[70_002, 7_000_215, 7_000_218, 7_000_222], Permanent, Credentials),
            (&[50_012, 50_027, 700_024, 700_027, 700_030, 900_384], Permanent, Credentials),
            (&[70_021, 700_211, 700_213, 700_229, 7_002_138], Permanent, Credentials),
            (&[70_001, 90_099, 700_011, 700_016, 7_000_112, 7_000_229], Permanent, AppUnknown),
            (&[90_002, 90_019, 50_059, 50_128, 50_194, 900_023], Permanent, TenantOrEndpoint),
            (&[90_124, 90_130, 9_001_023, 500_011, 50_001, 650_052], Permanent, TenantOrEndpoint),
            (&[70_011, 28_002, 700_022, 700_023, 90_038, 900_382, 900_432], Permanent, TenantOrEndpoint),
            (&[650_056, 650_057, 65_005, 65_001, 90_094], Permanent, Consent),
            (&[53_003, 530_032, 500_021, 500_022], Permanent, ConditionalAccess),
            (&[900_144, 90_014, 9_002_313, 50_000, 90_036], Permanent, Other),
            (&[50_196, 90_055], Transient, Throttled),
            (&[90_033, 90_006, 90_012, 90_024, 90_090, 90_091, 50_033, 50_087], Transient, Unavailable),
        ];
        let mut codes = Vec::new();
        for (group, kind, trouble) in expected {
            for code in *group {
                let error = with_code(400, "something_new", *code);
                assert_eq!((error.kind, error.trouble, error.code), (*kind, *trouble, Some(*code)), "{code}");
                assert!(error.fix.ends_with('.') && error.fix.len() > 20, "{code}: {}", error.fix);
                codes.push(*code);
            }
        }
        let mut known: Vec<u32> = MEANINGS.iter().flat_map(|meaning| meaning.codes).copied().collect();
        codes.sort_unstable();
        known.sort_unstable();
        assert_eq!(codes, known);
        known.dedup();
        assert_eq!(codes, known, "a number stands in one row only");
    }

    /// Status and `error` go before the numbers: Microsoft asks programs not to rely on those.
    #[test]
    fn status_and_error_decide_whether_to_ask_again() {
        for (status, error, code, kind, trouble) in [
            (401, "invalid_client", 7_000_215, Permanent, Trouble::Credentials),
            (400, "invalid_client", 90_033, Permanent, Trouble::Unavailable),
            (400, "temporarily_unavailable", 90_033, Transient, Trouble::Unavailable),
            (400, "temporarily_unavailable", 1, Transient, Trouble::Unavailable),
            (400, "unauthorized_client", 700_016, Permanent, Trouble::AppUnknown),
            (400, "unauthorized_client", 1, Permanent, Trouble::AppUnknown),
            (400, "invalid_scope", 1, Permanent, Trouble::TenantOrEndpoint),
            (400, "invalid_resource", 500_011, Permanent, Trouble::TenantOrEndpoint),
            (400, "invalid_request", 90_002, Permanent, Trouble::TenantOrEndpoint),
            (400, "invalid_request", 1, Permanent, Trouble::Other),
            (400, "unsupported_grant_type", 1, Permanent, Trouble::Other),
            (400, "invalid_grant", 53_003, Permanent, Trouble::ConditionalAccess),
            (400, "invalid_grant", 50_196, Permanent, Trouble::Throttled),
            (400, "interaction_required", 1, Permanent, Trouble::ConditionalAccess),
            (400, "something_new", 1, Permanent, Trouble::Other),
            (429, "invalid_client", 7_000_215, Transient, Trouble::Throttled),
            (408, "x", 1, Transient, Trouble::Unavailable),
            (500, "invalid_client", 1, Transient, Trouble::Unavailable),
            (503, "x", 90_006, Transient, Trouble::Unavailable),
        ] {
            let found = with_code(status, error, code);
            assert_eq!((found.kind, found.trouble), (kind, trouble), "{status} {error} {code}");
        }
    }

    #[test]
    fn an_answer_that_is_not_entras_is_still_explained() {
        for (status, kind, trouble) in [
            (302, Permanent, Trouble::TenantOrEndpoint),
            (404, Permanent, Trouble::TenantOrEndpoint),
            (403, Permanent, Trouble::Other),
            (407, Permanent, Trouble::Other),
            (429, Transient, Trouble::Throttled),
            (502, Transient, Trouble::Unavailable),
        ] {
            for body in ["", "<html>no</html>", "[]", "null", "{}", r#"{"error":7,"error_codes":"x","trace_id":[]}"#] {
                let error = refused(status, body);
                assert_eq!((error.kind, error.trouble, error.code), (kind, trouble, None), "{status} {body}");
                assert_eq!(
                    error.summary,
                    format!("Entra ID refused a token for application a in tenant t (HTTP {status})")
                );
            }
        }
    }

    #[test]
    fn the_message_reads_alone_and_carries_what_support_asks_for() {
        let error = refused(
            401,
            r#"{"error":"invalid_client","error_description":"AADSTS7000215: Invalid client secret provided. Trace ID: t-1 Correlation ID: c-1 Timestamp: 2026-01-02 03:04:05Z","error_codes":[7000215],"timestamp":"2026-01-02 03:04:05Z","trace_id":"t-1","correlation_id":"c-1"}"#,
        );
        assert_eq!(
            error.to_string(),
            "Entra ID refused a token for application a in tenant t (HTTP 401, invalid_client): \
             AADSTS7000215: Invalid client secret provided. \
             Set the secret's value (not its id) of this very application; look for blanks or line breaks copied along. \
             For Microsoft's support: trace id t-1, correlation id c-1, timestamp 2026-01-02 03:04:05Z"
        );
        assert!(!refused(400, "{}").to_string().contains("support:"));
    }

    #[test]
    fn the_number_is_also_found_in_the_description() {
        for (description, code) in [
            ("AADSTS700016: no such application", Some(700_016)),
            ("Error: AADSTS90002", Some(90_002)),
            ("AADSTS: what", None),
            ("AADSTS99999999999999: what", None),
            ("AADSTS1234567: unknown", Some(1_234_567)),
            ("nothing", None),
        ] {
            let error = refused(400, &format!(r#"{{"error_description":"{description}"}}"#));
            assert_eq!(error.code, code, "{description}");
        }
        let error = refused(400, r#"{"error_codes":[1,700016,90002]}"#);
        assert_eq!(error.code, Some(700_016), "the first that is known");
    }

    #[test]
    fn foreign_text_is_one_bounded_line() {
        let long = "x".repeat(5_000);
        let error = refused(400, &format!(r#"{{"error_description":"a\u001b[31m\tb{long}\r\nTrace ID: 1"}}"#));
        assert!(!error.summary.contains(char::is_control));
        assert!(error.summary.len() < 800, "{}", error.summary.len());
        assert!(!error.summary.contains("Trace"));
    }

    #[test]
    fn throttling_says_how_long() {
        let status = StatusCode::TOO_MANY_REQUESTS;
        let wait = |retry_after| refusal(status, retry_after, b"slow down", "x", str::to_owned).retry_after;
        assert_eq!(wait(None), Some(Duration::from_mins(1)));
        assert_eq!(wait(Some(Duration::from_secs(7))), Some(Duration::from_secs(7)));
        assert_eq!(refused(500, "").retry_after, None);
    }
}
