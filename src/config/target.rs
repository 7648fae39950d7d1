//! Where records go: one company of Business Central, and how to sign in to it.

use std::path::PathBuf;
use std::time::Duration;

use chrono::{NaiveDate, NaiveTime};
use chrono_tz::Tz;
use url::Url;

use super::address;
use super::duration;
use super::name;
use super::reader::{Table, Value};
use super::schedule;
use super::secret::{self, Certificate, SecretRef};
use super::text::Located;

/// How long a single request to Business Central may take before it is given up.
pub const REQUEST_TIMEOUT: Duration = Duration::from_mins(4);

/// How long a request may still take effect after it was sent: 8 minutes in the queue, 8 in execution (Business Central
/// documentation, operational limits).
const SERVER_TIME: Duration = Duration::from_mins(16);

/// One company of Business Central.
#[derive(Debug, Clone)]
pub struct Target {
    /// Its name in the configuration.
    pub name: Located<String>,
    /// The Entra tenant: its id or a verified domain.
    pub tenant: Located<String>,
    /// The environment, such as `production`.
    pub environment: Located<String>,
    /// The company, by name or id.
    pub company: Located<String>,
    /// The id of the app registration.
    pub client_id: Located<String>,
    /// How the app proves who it is.
    pub sign_in: SignIn,
    /// When that proof expires.
    pub secret_expires: Option<NaiveDate>,
    /// The address of Microsoft Entra ID.
    pub login_url: Url,
    /// The address of Business Central.
    pub base_url: Url,
    /// The scope that a token is asked for.
    pub scope: String,
    /// A certificate authority to trust besides those of the system, in PEM.
    pub extra_ca: Option<Located<PathBuf>>,
    /// The proxy to use instead of the one in the environment variables.
    pub proxy: Option<Url>,
    /// When no pass may start.
    pub pause: Option<Pause>,
    /// How long a request whose answer was lost may still take effect.
    pub settle_window: Duration,
    /// How much may be asked of Business Central.
    pub limits: Limits,
}

/// How an app registration proves who it is.
#[derive(Debug, Clone)]
pub enum SignIn {
    /// With a client secret.
    Secret(Located<SecretRef>),
    /// With a certificate.
    Certificate(Located<Certificate>),
}

/// A time of each day, in a time zone; it may go past midnight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pause {
    /// The first moment of it.
    pub from: NaiveTime,
    /// The first moment after it.
    pub to: NaiveTime,
    /// Where these times are read off a clock.
    pub timezone: Tz,
}

/// What one app registration asks of Business Central at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Requests at the same time.
    pub concurrency: u32,
    /// Requests in any 5 minutes.
    pub requests_per_5_minutes: u32,
    /// Operations in one batch.
    pub batch_size: u32,
    /// What one `$batch` counts for among the requests. 1: only the envelope counts, not the operations inside; whether
    /// Business Central counts so is not documented.
    pub batch_cost: u32,
}

/// A target, if it can be used.
pub(super) fn read(value: &Value<'_>) -> Option<Target> {
    let name = name::read(value);
    let mut table = value.table()?;
    let tenant = table.required("tenant", read_tenant);
    let environment = table.required("environment", Value::text);
    let company = table.required("company", Value::text);
    let client_id = table.required("client_id", Value::text);
    let sign_in = read_sign_in(&mut table);
    let secret_expires = table.optional("secret_expires", Value::date).map(Located::into_value);
    let login_url = table.or("login_url", address::read_service, known("https://login.microsoftonline.com"));
    let base_url = table.or("base_url", address::read_service, known("https://api.businesscentral.dynamics.com"));
    let scope = table.or("scope", Value::text, "https://api.businesscentral.dynamics.com/.default".to_owned());
    let extra_ca = table.optional("extra_ca", Value::path);
    let proxy = table.optional("proxy", address::read_proxy).map(Located::into_value);
    let pause = table.optional("pause", read_pause).map(Located::into_value);
    let settle_window = read_settle_window(&mut table, &base_url);
    refuse_example(&mut table, client_id.as_ref(), &login_url);
    let limits = read_limits(&mut table);
    table.finish();
    Some(Target {
        name: name?,
        tenant: tenant?,
        environment: environment?,
        company: company?,
        client_id: client_id?,
        sign_in: sign_in?,
        secret_expires,
        login_url,
        base_url,
        scope,
        extra_ca,
        proxy,
        pause,
        settle_window,
        limits,
    })
}

/// The `client_id` in `config.toml.example`: of no application but the simulator's.
const EXAMPLE_CLIENT_ID: &str = "11111111-2222-3333-4444-555555555555";

/// Whoever installs the package has the example as configuration, and is told what to put in, not what Entra ID answers.
fn refuse_example(table: &mut Table<'_>, client_id: Option<&Located<String>>, login_url: &Url) {
    if let Some(id) = client_id.filter(|id| id.value == EXAMPLE_CLIENT_ID && !address::is_loopback(login_url)) {
        let problem = id.error("this is still the example's");
        table
            .findings()
            .push(problem.hint("fill in tenant, environment, company and the client id of your app registration"));
    }
}

fn known(url: &str) -> Url {
    Url::parse(url).expect("the default address is one")
}

/// A tenant becomes a segment of addresses.
fn read_tenant(value: &Value<'_>) -> Option<String> {
    let text = value.text()?;
    if text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-')) {
        return Some(text);
    }
    let problem = value.problem(format!("`{text}` is not a tenant"));
    value.reject(problem.allowed("a tenant id (a GUID) or a verified domain such as contoso.onmicrosoft.com"))
}

fn read_sign_in(table: &mut Table<'_>) -> Option<SignIn> {
    let both = table.has("client_secret") && table.has("certificate");
    let neither = !table.has("client_secret") && !table.has("certificate");
    let secret = table.optional("client_secret", secret::read);
    let certificate = table.optional("certificate", secret::read_certificate);
    if neither {
        let problem = table.problem("`client_secret` or `certificate` is missing");
        table.findings().push(problem.hint("client_secret = { credential = \"bc-client-secret\" }"));
    }
    if both {
        let problem = table.problem_of("client_secret", "`client_secret` and `certificate` exclude each other");
        table.findings().push(problem.hint("keep the certificate: Microsoft recommends it for production"));
    }
    certificate.map(SignIn::Certificate).or(secret.map(SignIn::Secret))
}

fn read_pause(value: &Value<'_>) -> Option<Pause> {
    let mut table = value.table()?;
    let from = table.required("from", read_time);
    let to = table.required("to", read_time);
    let timezone = table.or("timezone", schedule::read_timezone, Tz::UTC);
    table.finish();
    let (from, to) = (from?.value, to?.value);
    if from == to {
        return value.reject(value.problem("`from` and `to` are the same time"));
    }
    Some(Pause { from, to, timezone })
}

fn read_time(value: &Value<'_>) -> Option<NaiveTime> {
    let text = value.text()?;
    match NaiveTime::parse_from_str(&text, "%H:%M") {
        Ok(time) => Some(time),
        Err(_) => value.reject(value.problem(format!("`{text}` is not a time of day")).allowed("00:00 to 23:59")),
    }
}

/// A window shorter than the longest life of a request would let a create be repeated while the first still commits.
fn read_settle_window(table: &mut Table<'_>, base_url: &Url) -> Duration {
    let shortest = REQUEST_TIMEOUT + SERVER_TIME;
    let Some(window) = table.optional("settle_window", duration::read) else { return shortest };
    if window.value < shortest && !address::is_loopback(base_url) {
        let problem =
            window.error("a request whose answer was lost may take effect later than this, and be sent twice");
        let allowed = format!(
            "{} or more: {} until we give up and {} in Business Central's queue and execution",
            duration::show(shortest),
            duration::show(REQUEST_TIMEOUT),
            duration::show(SERVER_TIME),
        );
        table.findings().push(problem.allowed(allowed).hint("less only with a `base_url` on this machine"));
    }
    window.value
}

/// `[targets.NAME.limits]`. The defaults leave room for others under 5 and 6,000 (Business Central documentation,
/// operational limits).
fn read_limits(target: &mut Table<'_>) -> Limits {
    let mut limits = Limits { concurrency: 4, requests_per_5_minutes: 5_400, batch_size: 100, batch_cost: 1 };
    let Some(mut table) = target.table("limits") else { return limits };
    limits.concurrency = number(&mut table, "concurrency", 1..=100, limits.concurrency);
    limits.requests_per_5_minutes =
        number(&mut table, "requests_per_5_minutes", 1..=1_000_000, limits.requests_per_5_minutes);
    limits.batch_size = number(&mut table, "batch_size", 1..=100, limits.batch_size);
    limits.batch_cost = number(&mut table, "batch_cost", 1..=100, limits.batch_cost);
    table.finish();
    limits
}

fn number(table: &mut Table<'_>, key: &'static str, range: std::ops::RangeInclusive<u32>, default: u32) -> u32 {
    let range = u64::from(*range.start())..=u64::from(*range.end());
    let number = table.or(key, |value| value.integer(range), default.into());
    u32::try_from(number).unwrap_or(default)
}
