//! The HTTP face: routes, tokens, limits, request-level faults, headers.
//!
//! A request is worked on in a task of its own, so that it takes effect even when its client gives up, as in BC.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, DefaultBodyLimit, Path, Request, State as Shared};
use axum::http::{HeaderMap, Response, header};
use axum::routing::{get, post};
use serde_json::json;
use tokio::time::sleep;
use url::form_urlencoded;

use super::batch::{self, Envelope, Mode};
use super::call::{Call, Media, Reply};
use super::connection::Scissors;
use super::control_routes;
use super::engine::{self, Answers};
use super::entra::TokenRequest;
use super::errors::ApiError;
use super::faults::{FaultKind, Subject, TOKENS};
use super::metadata;
use super::response::{Answer, finish, gateway, respond, respond_half};
use super::settings::Settings;
use super::state::{OpenWork, State};

/// Largest request body (BC documentation, operational limits).
const MAX_BODY: usize = 350 * 1024 * 1024;

/// All routes.
pub(super) fn router(state: Arc<State>) -> Router {
    Router::new()
        .route("/{tenant}/oauth2/v2.0/token", post(token))
        .route("/environments/v1.2", get(environments))
        .nest("/simulator", control_routes::routes())
        .fallback(api)
        .layer(DefaultBodyLimit::disable())
        .with_state(state)
}

async fn token(
    Shared(state): Shared<Arc<State>>,
    ConnectInfo(scissors): ConnectInfo<Scissors>,
    Path(tenant): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    state.stats().tokens += 1;
    let subject = Subject { method: "POST", set: TOKENS.to_owned(), in_batch: false, body: "" };
    let fault = state.faults().for_request(std::slice::from_ref(&subject));
    match fault {
        Some(FaultKind::Status { status, retry_after, .. }) => return respond(&state, &gateway(status, retry_after)),
        Some(FaultKind::Drop { .. }) => scissors.cut(),
        Some(FaultKind::Hang) => std::future::pending().await,
        Some(FaultKind::Latency { ms }) => sleep(Duration::from_millis(ms)).await,
        _ => {}
    }
    let form: HashMap<String, String> = form_urlencoded::parse(&body).into_owned().collect();
    let host = text_of(&headers, "host").unwrap_or_default();
    let request = TokenRequest {
        tenant: &tenant,
        form,
        authorization: text_of(&headers, "authorization"),
        endpoint: &format!("http://{host}/{tenant}/oauth2/v2.0/token"),
    };
    let (settings, now) = (state.settings(), state.now());
    let (status, body) = state.entra().answer(&request, &settings, now);
    let builder = Response::builder().status(status).header(header::CONTENT_TYPE, "application/json; charset=utf-8");
    finish(builder.header(header::CACHE_CONTROL, "no-store"), &state, body.into())
}

/// The list of environments, of which there is one.
async fn environments(Shared(state): Shared<Arc<State>>, headers: HeaderMap) -> Response<Body> {
    if let Err(error) = authenticate(&state, text_of(&headers, "authorization")) {
        return respond(&state, &error.into());
    }
    let options = &state.options;
    let body = json!({ "value": [{
        "aadTenantId": options.tenant,
        "name": options.environment,
        "type": "Production",
        "countryCode": "US",
        "webServiceUrl": state.base_url,
    }] });
    respond(&state, &Reply::json(200, body.to_string()).into())
}

/// An API request, read to its end.
#[derive(Debug)]
struct Incoming {
    method: String,
    /// Path relative to the API root.
    path: String,
    query: String,
    headers: HeaderMap,
    body: String,
}

impl Incoming {
    fn header(&self, name: &str) -> Option<&str> {
        text_of(&self.headers, name)
    }

    fn is_batch(&self) -> bool {
        self.path == "$batch" && self.method == "POST"
    }

    fn call(&self) -> Call<'_> {
        Call {
            method: &self.method,
            path: &self.path,
            query: &self.query,
            if_match: self.header("if-match"),
            company: self.header("company"),
            page_size: self.header("prefer").and_then(batch::page_size),
            body: &self.body,
        }
    }

    fn mode(&self) -> Mode {
        let has = |name: &str, wanted: &str| self.header(name).is_some_and(|value| value.contains(wanted));
        if has("isolation", "snapshot") {
            Mode::Snapshot
        } else if has("prefer", "odata.continue-on-error") {
            Mode::ContinueOnError
        } else {
            Mode::StopAtFailure
        }
    }
}

/// What becomes of a request.
#[derive(Debug)]
enum Outcome {
    Answer(Answer),
    /// The answer stops in the middle.
    CutBody(Answer),
    /// The connection is closed without an answer.
    Cut,
    /// No answer, ever.
    Silence,
}

async fn api(
    Shared(state): Shared<Arc<State>>,
    ConnectInfo(scissors): ConnectInfo<Scissors>,
    request: Request,
) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let uri = parts.uri.to_string();
    let Some(route) = ApiRoute::parse(parts.uri.path()) else {
        return respond(&state, &ApiError::no_such_route(&uri).into());
    };
    let Ok(bytes) = axum::body::to_bytes(body, MAX_BODY).await else {
        return respond(&state, &ApiError::new(413, "Unknown", "The request is too large.").into());
    };
    let incoming = Incoming {
        method: parts.method.as_str().to_owned(),
        path: route.rest.to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        headers: parts.headers.clone(),
        body: String::from_utf8_lossy(&bytes).into_owned(),
    };
    state.stats().requests += 1;
    if let Err(error) = admit(&state, &route, &incoming) {
        return respond(&state, &error.into());
    }
    let open = state.begin_work();
    let work = tokio::spawn(work(Arc::clone(&state), incoming, open));
    match work.await.unwrap_or(Outcome::Cut) {
        Outcome::Answer(answer) => respond(&state, &answer),
        Outcome::CutBody(answer) => respond_half(&state, answer),
        Outcome::Cut => {
            scissors.cut();
            respond(&state, &Reply::json(500, String::new()).into())
        }
        Outcome::Silence => std::future::pending().await,
    }
}

/// The parts of `/v2.0/[TENANT/]ENVIRONMENT/api/v2.0/REST`.
struct ApiRoute<'a> {
    tenant: Option<&'a str>,
    environment: &'a str,
    rest: &'a str,
}

impl<'a> ApiRoute<'a> {
    fn parse(path: &'a str) -> Option<Self> {
        let (front, rest) = path.strip_prefix("/v2.0/")?.split_once("/api/v2.0/")?;
        let (tenant, environment) = match front.split_once('/') {
            Some((tenant, environment)) => (Some(tenant), environment),
            None => (None, front),
        };
        Some(Self { tenant, environment, rest })
    }
}

/// The gateway's checks: environment, token, application card.
fn admit(state: &State, route: &ApiRoute, incoming: &Incoming) -> Result<(), ApiError> {
    let options = &state.options;
    let known_tenant = route.tenant.is_none_or(|tenant| tenant.eq_ignore_ascii_case(&options.tenant));
    if !known_tenant || !route.environment.eq_ignore_ascii_case(&options.environment) {
        return Err(ApiError::new(
            404,
            "BadRequest_NotFound",
            format!("Environment '{}' not found.", route.environment),
        ));
    }
    authenticate(state, incoming.header("authorization"))?;
    let read_only = incoming.header("data-access-intent").is_some_and(|intent| intent.eq_ignore_ascii_case("ReadOnly"));
    if read_only && incoming.method != "GET" && !incoming.is_batch() {
        return Err(ApiError::bad_request("The Data-Access-Intent 'ReadOnly' does not allow requests that write."));
    }
    Ok(())
}

fn authenticate(state: &State, authorization: Option<&str>) -> Result<(), ApiError> {
    let now = state.now();
    if state.settings().app_enabled && state.entra().accepts(authorization, now) {
        return Ok(());
    }
    state.stats().unauthorized += 1;
    Err(ApiError::invalid_credentials())
}

/// The fault that strikes this request; an envelope is matched by its operations.
fn draw_fault(state: &State, incoming: &Incoming) -> Option<FaultKind> {
    if !state.faults().is_armed() {
        return None;
    }
    let root = state.surroundings().root;
    let envelope = if incoming.is_batch() { Envelope::parse(&incoming.body).ok() } else { None };
    let subjects: Vec<Subject> = match &envelope {
        Some(envelope) => {
            let calls = envelope.requests.iter().filter_map(|operation| operation.call(&root).ok());
            calls.map(|call| engine::subject(&call, true)).collect()
        }
        None => vec![engine::subject(&incoming.call(), false)],
    };
    state.faults().for_request(&subjects)
}

/// How many requests this one counts for.
fn cost(settings: &Settings, incoming: &Incoming) -> usize {
    if settings.limits.count_operations && incoming.is_batch() {
        Envelope::parse(&incoming.body).map_or(1, |envelope| envelope.requests.len().max(1))
    } else {
        1
    }
}

/// Waits for its turn, takes its time, and does what the request says or the fault wants.
async fn work(state: Arc<State>, incoming: Incoming, open: OpenWork) -> Outcome {
    let settings = state.settings();
    let permit = match state.gate.enter(&settings.limits, cost(&settings, &incoming)).await {
        Ok(permit) => permit,
        Err(error) => {
            state.stats().throttled += 1;
            let retry_after = settings.limits.retry_after;
            return Outcome::Answer(Answer { retry_after, ..error.into() });
        }
    };
    // Only now, so that no fault is spent on a request that would have been refused anyway.
    let fault = draw_fault(&state, &incoming);
    if fault == Some(FaultKind::RevokeTokens) {
        state.entra().revoke();
        state.stats().unauthorized += 1;
        return Outcome::Answer(ApiError::invalid_credentials().into());
    }
    if let Some(FaultKind::LateCommit { min_ms, max_ms, answer, silent }) = fault {
        let delay = state.faults().between(min_ms, max_ms);
        tokio::spawn(async move {
            sleep(Duration::from_millis(delay)).await;
            execute_late(&state, &incoming).await;
            drop(open);
        });
        return match answer {
            _ if silent => Outcome::Silence,
            Some(status) => Outcome::Answer(gateway(status, None)),
            None => Outcome::Cut,
        };
    }
    let extra = if let Some(FaultKind::Latency { ms }) = fault { ms } else { 0 };
    let pause = settings.request_ms + extra;
    if pause > 0 {
        sleep(Duration::from_millis(pause)).await;
    }
    let outcome = carry_out(&state, &incoming, fault).await;
    drop((permit, open));
    outcome
}

async fn carry_out(state: &State, incoming: &Incoming, fault: Option<FaultKind>) -> Outcome {
    match fault {
        Some(FaultKind::Status { status, retry_after, committed }) => {
            if committed {
                execute(state, incoming, usize::MAX).await;
            }
            Outcome::Answer(gateway(status, retry_after))
        }
        Some(FaultKind::Drop { committed, after_operations }) => {
            if committed {
                execute(state, incoming, usize::MAX).await;
            } else if incoming.is_batch() && incoming.mode() != Mode::Snapshot {
                execute(state, incoming, after_operations).await;
            }
            Outcome::Cut
        }
        Some(FaultKind::Hang) => {
            execute(state, incoming, usize::MAX).await;
            Outcome::Silence
        }
        Some(FaultKind::CutBody) => Outcome::CutBody(execute(state, incoming, usize::MAX).await),
        Some(FaultKind::MalformedJson) => {
            let mut answer = execute(state, incoming, usize::MAX).await;
            answer.body = answer.body.replacen(':', "", 1);
            Outcome::Answer(answer)
        }
        Some(FaultKind::MissingEntry) if incoming.is_batch() => {
            Outcome::Answer(execute_batch(state, incoming, usize::MAX, 1).await)
        }
        _ => Outcome::Answer(execute(state, incoming, usize::MAX).await),
    }
}

/// Executes the request; of an envelope at most `limit` operations.
async fn execute(state: &State, incoming: &Incoming, limit: usize) -> Answer {
    if incoming.is_batch() {
        return execute_batch(state, incoming, limit, 0).await;
    }
    if incoming.path == "$metadata" && incoming.method == "GET" {
        state.stats().metadata += 1;
        return Reply { media: Media::Xml, ..Reply::json(200, metadata::document()) }.into();
    }
    engine::run_alone(state, &incoming.call()).into()
}

/// Executes the request for nobody who would hear of it, and counts the rows that it creates all the same.
async fn execute_late(state: &State, incoming: &Incoming) {
    let replies: Vec<Reply> = if incoming.is_batch() {
        let answers = run_batch(state, incoming, usize::MAX).await.unwrap_or_default();
        answers.into_iter().map(|(_, reply)| reply).collect()
    } else {
        vec![engine::run_alone(state, &incoming.call())]
    };
    let undone = incoming.mode() == Mode::Snapshot && replies.iter().any(Reply::failed);
    if !undone {
        state.stats().late_creates += replies.iter().filter(|reply| reply.status == 201).count() as u64;
    }
}

/// The answers to the operations of an envelope, of which at most `limit` are executed.
async fn run_batch(state: &State, incoming: &Incoming, limit: usize) -> Result<Answers, ApiError> {
    state.stats().batches += 1;
    if !incoming.header("content-type").is_some_and(|media| media.starts_with("application/json")) {
        return Err(ApiError::new(415, "BadRequest", "The batch content type is not supported."));
    }
    let envelope = Envelope::parse(&incoming.body)?;
    Ok(engine::run_envelope(state, &envelope, incoming.mode(), limit).await)
}

/// Executes an envelope and leaves the last `missing` entries out of the answer.
async fn execute_batch(state: &State, incoming: &Incoming, limit: usize, missing: usize) -> Answer {
    let mut answers = match run_batch(state, incoming, limit).await {
        Ok(answers) => answers,
        Err(error) => return error.into(),
    };
    answers.truncate(answers.len().saturating_sub(missing));
    if incoming.header("accept").is_some_and(|accept| accept.contains("application/json")) {
        return Reply::json(200, batch::write_json(&answers)).into();
    }
    let (media_type, body) = batch::write_multipart(&answers);
    Answer { media_type, ..Reply::json(200, body).into() }
}

fn text_of<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}
