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
