//! `/simulator/...`: the control endpoint, plain JSON without a token.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, State as Shared};
use axum::http::{Response, StatusCode, header};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value as Tree, json};

use super::control::{self, Failure, Person};
use super::faults::Fault;
use super::persist;
use super::settings::Settings;
use super::state::State;
use super::stats;

/// The routes below `/simulator`.
pub(super) fn routes() -> Router<Arc<State>> {
    Router::new()
        .route("/", get(show))
        .route("/stats", get(show_stats).delete(clear_stats))
        .route("/settings", get(show_settings).patch(change_settings))
        .route("/faults", get(show_faults).post(add_faults).delete(clear_faults))
        .route("/tokens", delete(revoke_tokens))
        .route("/rows/{set}", get(show_rows).post(load_rows))
        .route("/duplicates/{set}", get(show_duplicates))
        .route("/total/{set}", get(show_total))
        .route("/person", post(do_deed))
        .route("/save", post(save_rows))
        .route("/settled", get(wait_until_settled))
}

#[derive(Debug, Deserialize)]
struct Which {
    company: Option<String>,
    property: Option<String>,
}

type Answer = Result<Json<Tree>, (StatusCode, String)>;

fn refuse(failure: Failure) -> (StatusCode, String) {
    (StatusCode::BAD_REQUEST, failure)
}

async fn show(Shared(state): Shared<Arc<State>>) -> Json<Tree> {
    let options = &state.options;
    let companies: Vec<Tree> = state
        .store()
        .companies
        .iter()
        .map(|company| json!({ "id": company.id.to_string(), "name": company.name }))
        .collect();
    Json(json!({
        "base_url": state.base_url,
        "login_url": state.base_url,
        "tenant": options.tenant,
        "environment": options.environment,
        "client_id": options.client_id,
        "companies": companies,
    }))
}

async fn show_stats(Shared(state): Shared<Arc<State>>) -> Json<Tree> {
    let mut tree = json!(control::stats(&state));
    tree["cpu_seconds"] = json!(stats::cpu_seconds());
    Json(tree)
}

async fn clear_stats(Shared(state): Shared<Arc<State>>) {
    control::reset_stats(&state);
}

async fn show_settings(Shared(state): Shared<Arc<State>>) -> Json<Settings> {
    Json(state.settings())
}

async fn change_settings(Shared(state): Shared<Arc<State>>, Json(changes): Json<Tree>) -> Answer {
    let mut tree = json!(state.settings());
    merge(&mut tree, changes);
    let settings: Settings = serde_json::from_value(tree.clone()).map_err(|error| refuse(error.to_string()))?;
    state.configure(settings);
    Ok(Json(tree))
}

/// Puts `changes` into `tree`, object by object.
fn merge(tree: &mut Tree, changes: Tree) {
    match (tree, changes) {
        (Tree::Object(into), Tree::Object(changes)) => {
            for (name, change) in changes {
                merge(into.entry(name).or_insert(Tree::Null), change);
            }
        }
        (tree, change) => *tree = change,
    }
}

async fn show_faults(Shared(state): Shared<Arc<State>>) -> Json<Vec<Fault>> {
    Json(state.faults().list())
}

async fn add_faults(Shared(state): Shared<Arc<State>>, Json(rules): Json<Tree>) -> Answer {
    let rules = if rules.is_array() { rules } else { json!([rules]) };
    let rules: Vec<Fault> = serde_json::from_value(rules).map_err(|error| refuse(error.to_string()))?;
    let added = rules.len();
    for rule in rules {
        state.faults().add(rule);
    }
    Ok(Json(json!({ "added": added })))
}

#[derive(Debug, Deserialize)]
struct Seed {
    seed: Option<u64>,
}

async fn clear_faults(Shared(state): Shared<Arc<State>>, Query(seed): Query<Seed>) {
    state.faults().clear(seed.seed);
}

async fn revoke_tokens(Shared(state): Shared<Arc<State>>) {
    state.entra().revoke();
}

async fn show_rows(
    Shared(state): Shared<Arc<State>>,
    Path(set): Path<String>,
    Query(which): Query<Which>,
) -> Result<Response<Body>, (StatusCode, String)> {
    let lines = control::rows(&state, which.company.as_deref(), &set).map_err(refuse)?;
    let mut body = lines.join("\n");
    body.push('\n');
    let response = Response::builder().header(header::CONTENT_TYPE, "application/x-ndjson").body(Body::from(body));
    response.map_err(|error| refuse(error.to_string()))
}

async fn load_rows(
    Shared(state): Shared<Arc<State>>,
    Path(set): Path<String>,
    Query(which): Query<Which>,
    body: Bytes,
) -> Answer {
    let text = std::str::from_utf8(&body).map_err(|error| refuse(error.to_string()))?;
    let loaded = control::load(&state, which.company.as_deref(), &set, text).map_err(refuse)?;
    Ok(Json(json!({ "loaded": loaded })))
}

async fn show_duplicates(
    Shared(state): Shared<Arc<State>>,
    Path(set): Path<String>,
    Query(which): Query<Which>,
) -> Answer {
    let property = which.property.as_deref().unwrap_or("number");
    control::duplicates(&state, which.company.as_deref(), &set, property)
        .map(|found| Json(json!(found)))
        .map_err(refuse)
}

async fn show_total(Shared(state): Shared<Arc<State>>, Path(set): Path<String>, Query(which): Query<Which>) -> Answer {
    let rows = control::count(&state, which.company.as_deref(), &set).map_err(refuse)?;
    let sum = match which.property.as_deref() {
        Some(property) => Some(control::total(&state, which.company.as_deref(), &set, property).map_err(refuse)?),
        None => None,
    };
    // As text: a sum is exact, and a JSON number would tempt readers to make a float of it.
    Ok(Json(json!({ "rows": rows, "sum": sum.map(|sum| sum.to_string()) })))
}

async fn do_deed(Shared(state): Shared<Arc<State>>, Json(request): Json<Tree>) -> Answer {
    let request: Person = serde_json::from_value(request).map_err(|error| refuse(error.to_string()))?;
    control::person(&state, &request).map(|_| Json(json!({ "done": true }))).map_err(refuse)
}

async fn wait_until_settled(Shared(state): Shared<Arc<State>>) {
    state.settled().await;
}

async fn save_rows(Shared(state): Shared<Arc<State>>) -> Answer {
    persist::save(&state).map(|rows| Json(json!({ "rows": rows }))).map_err(|error| refuse(error.to_string()))
}
