//! `/simulator/...`: looking into the simulator and changing how it behaves, without a token.
//!
//! The same functions stand behind the methods of [`Simulator`](super::Simulator). Nothing here exists in the real
//! product.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, State as Shared};
use axum::http::{Response, StatusCode, header};
use axum::routing::{get, post};
use axum::{Json, Router};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value as Tree, json};
use uuid::Uuid;

use super::body;
use super::documents;
use super::faults::Fault;
use super::fields;
use super::masterdata;
use super::persist;
use super::posting;
use super::query::{self, Projection};
use super::record::Record;
use super::service;
use super::settings::Settings;
use super::state::State;
use super::stats::{self, Stats};
use super::store::Company;

/// A person at work in the client of Business Central.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Person {
    /// Company by id or name; the first one when left out.
    #[serde(default)]
    pub company: Option<String>,
    /// Set of the row.
    pub set: String,
    /// Id or natural key of the row.
    pub row: String,
    /// What the person does.
    pub action: Deed,
    /// New values by property, for [`Deed::Edit`].
    #[serde(default)]
    pub changes: serde_json::Map<String, Tree>,
}

/// What a person does to a row.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Deed {
    /// Changes properties.
    Edit,
    /// Deletes the row.
    Delete,
    /// Releases an order.
    Release,
    /// Reopens an order.
    Reopen,
    /// Sends an order for approval.
    RequestApproval,
    /// Ships and invoices an order, or posts an invoice.
    Post,
}

/// Why a control request failed, for people.
pub(super) type Failure = String;

/// The routes below `/simulator`.
pub(super) fn routes() -> Router<Arc<State>> {
    Router::new()
        .route("/", get(show))
        .route("/stats", get(show_stats).delete(clear_stats))
        .route("/settings", get(show_settings).patch(change_settings))
        .route("/faults", get(show_faults).post(add_faults).delete(clear_faults))
        .route("/tokens", axum::routing::delete(revoke_tokens))
        .route("/rows/{set}", get(show_rows).post(load_rows))
        .route("/duplicates/{set}", get(show_duplicates))
        .route("/total/{set}", get(show_total))
        .route("/person", post(do_deed))
        .route("/save", post(save_rows))
        .route("/settled", get(wait_until_settled))
}

/// Counts, with those of the fault rules.
pub(super) fn stats(state: &State) -> Stats {
    Stats { faults: state.faults().struck(), most_running: state.gate.most_running(), ..state.stats().clone() }
}

/// Sets all counts to zero.
pub(super) fn reset_stats(state: &State) {
    *state.stats() = Stats::default();
    state.gate.forget_most_running();
}

/// All rows of a set in page order, each as one line of JSON.
pub(super) fn rows(state: &State, company: Option<&str>, set: &str) -> Result<Vec<String>, Failure> {
    with_company(state, company, |company| {
        known(set)?;
        let lines = company.table(set).records().map(|record| {
            let mut out = String::new();
            query::push_entity(company, &record, &Projection::default(), None, &mut out);
            out
        });
        Ok(lines.collect())
    })
}

/// Number of rows of a set.
pub(super) fn count(state: &State, company: Option<&str>, set: &str) -> Result<usize, Failure> {
    with_company(state, company, |company| {
        known(set)?;
        Ok(company.table(set).len())
    })
}

/// Creates the rows of a JSON array as if each had been posted, all or none, and gives their number.
pub(super) fn load(state: &State, company: Option<&str>, set: &str, json: &str) -> Result<usize, Failure> {
    let rows: Vec<&RawValue> = serde_json::from_str(json).map_err(|error| format!("not a JSON array: {error}"))?;
    let now = state.now();
    with_company(state, company, |company| {
        known(set)?;
        company.now = now;
        let manual = company.setup.manual_numbers.clone();
        company.setup.manual_numbers.insert(set.to_owned());
        let outcome = company.atomically(|company| {
            for row in &rows {
                let body = body::read_new(company.table(set).set, row.get())?;
                match documents::kind_of(set) {
                    Some(kind) if kind.headers == set => documents::create(company, kind, &body)?,
                    Some(_) => return Err(super::errors::ApiError::dialog("load lines with their documents")),
                    None => masterdata::create(company, company.table(set).set.name, &body)?,
                };
            }
            Ok(rows.len())
        });
        company.setup.manual_numbers = manual;
        outcome.map_err(|error| error.message)
    })
}

/// Values of a property that more than one row has, with how many.
pub(super) fn duplicates(
    state: &State,
    company: Option<&str>,
    set: &str,
    property: &str,
) -> Result<BTreeMap<String, usize>, Failure> {
    with_company(state, company, |company| {
        known_property(set, property)?;
        let mut seen = BTreeMap::new();
        for record in company.table(set).records() {
            *seen.entry(record.plain(property)).or_insert(0) += 1;
        }
        seen.retain(|value, count| *count > 1 && !value.is_empty());
        Ok(seen)
    })
}

/// Sum of a decimal property over all rows.
pub(super) fn total(state: &State, company: Option<&str>, set: &str, property: &str) -> Result<Decimal, Failure> {
    with_company(state, company, |company| {
        known_property(set, property)?;
        Ok(company.table(set).records().map(|record| record.decimal(property)).sum())
    })
}

/// Lets a person do something to a row.
pub(super) fn person(state: &State, person: &Person) -> Result<(), Failure> {
    let now = state.now();
    with_company(state, person.company.as_deref(), |company| {
        known(&person.set)?;
        company.now = now;
        let record = find(company, &person.set, &person.row)?;
        company.atomically(|company| act(company, person, record)).map_err(|error| error.message)
    })
}

fn act(company: &mut Company, person: &Person, record: Record) -> super::errors::Result<()> {
    let is_invoice = person.set == "salesInvoices";
    match person.action {
        Deed::Edit => {
            let changes = Tree::Object(person.changes.clone()).to_string();
            service::edit(company, &person.set, record.id, &changes).map(drop)
        }
        Deed::Delete => match documents::kind_of(&person.set) {
            Some(kind) if kind.headers == person.set => documents::delete(company, kind, &record),
            _ => masterdata::delete(company, &record),
        },
        Deed::Release => posting::release(company, record).map(drop),
        Deed::Reopen => posting::reopen(company, record).map(drop),
        Deed::RequestApproval => posting::request_approval(company, record).map(drop),
        Deed::Post if is_invoice => posting::post_invoice(company, record),
        Deed::Post => posting::ship_and_invoice(company, record),
    }
}

fn find(company: &Company, set: &str, row: &str) -> Result<Record, Failure> {
    let table = company.table(set);
    let by_id = Uuid::parse_str(row).ok().and_then(|id| table.find(id));
    by_id.or_else(|| table.find_by_key(row)).ok_or_else(|| format!("{set} has no row {row}"))
}

fn known(set: &str) -> Result<(), Failure> {
    fields::set_position(set).map(drop).ok_or_else(|| format!("no set is named {set}"))
}

fn known_property(set: &str, property: &str) -> Result<(), Failure> {
    let position = fields::set_position(set).ok_or_else(|| format!("no set is named {set}"))?;
    let found = fields::sets()[position].position(property);
    found.map(drop).ok_or_else(|| format!("{set} has no property {property}"))
}

fn with_company<T>(
    state: &State,
    company: Option<&str>,
    work: impl FnOnce(&mut Company) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let mut store = state.store();
    let position = match company {
        None => 0,
        Some(name) => store.company(name).ok_or_else(|| format!("no company is named {name}"))?,
    };
    work(&mut store.companies[position])
}

// ---- HTTP ------------------------------------------------------------------------------------------------------------

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
    let mut tree = json!(stats(&state));
    tree["cpu_seconds"] = json!(stats::cpu_seconds());
    Json(tree)
}

async fn clear_stats(Shared(state): Shared<Arc<State>>) {
    reset_stats(&state);
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
    let lines = rows(&state, which.company.as_deref(), &set).map_err(refuse)?;
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
    let loaded = load(&state, which.company.as_deref(), &set, text).map_err(refuse)?;
    Ok(Json(json!({ "loaded": loaded })))
}

async fn show_duplicates(
    Shared(state): Shared<Arc<State>>,
    Path(set): Path<String>,
    Query(which): Query<Which>,
) -> Answer {
    let property = which.property.as_deref().unwrap_or("number");
    duplicates(&state, which.company.as_deref(), &set, property).map(|found| Json(json!(found))).map_err(refuse)
}

async fn show_total(Shared(state): Shared<Arc<State>>, Path(set): Path<String>, Query(which): Query<Which>) -> Answer {
    let rows = count(&state, which.company.as_deref(), &set).map_err(refuse)?;
    let sum = match which.property.as_deref() {
        Some(property) => Some(total(&state, which.company.as_deref(), &set, property).map_err(refuse)?),
        None => None,
    };
    // As text: a sum is exact, and a JSON number would tempt readers to make a float of it.
    Ok(Json(json!({ "rows": rows, "sum": sum.map(|sum| sum.to_string()) })))
}

async fn do_deed(Shared(state): Shared<Arc<State>>, Json(request): Json<Tree>) -> Answer {
    let request: Person = serde_json::from_value(request).map_err(|error| refuse(error.to_string()))?;
    person(&state, &request).map(|()| Json(json!({ "done": true }))).map_err(refuse)
}

async fn wait_until_settled(Shared(state): Shared<Arc<State>>) {
    state.settled().await;
}

async fn save_rows(Shared(state): Shared<Arc<State>>) -> Answer {
    persist::save(&state).map(|rows| Json(json!({ "rows": rows }))).map_err(|error| refuse(error.to_string()))
}
