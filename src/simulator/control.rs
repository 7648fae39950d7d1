//! Behind the scenes: looking at rows, loading them, and playing the person at the screen.
//!
//! These functions stand behind the methods of [`Simulator`](super::Simulator) and behind `/simulator/...`. Nothing here
//! exists in the real product.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use uuid::Uuid;

use super::body;
use super::documents;
use super::fields;
use super::masterdata;
use super::posting;
use super::query::{self, Projection};
use super::record::Record;
use super::service;
use super::state::State;
use super::stats::Stats;
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
    pub changes: serde_json::Map<String, serde_json::Value>,
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

/// Counts, with those of the fault rules.
pub(super) fn stats(state: &State) -> Stats {
    let struck = state.faults().struck().clone();
    let most_running = state.gate.most_running();
    Stats { faults: struck.values().sum(), struck, most_running, ..state.stats().clone() }
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

/// Lets a person do something to a row, and gives it as it was before, as JSON.
pub(super) fn person(state: &State, person: &Person) -> Result<String, Failure> {
    let now = state.now();
    with_company(state, person.company.as_deref(), |company| {
        known(&person.set)?;
        company.now = now;
        let record = find(company, &person.set, &person.row)?;
        let mut before = String::new();
        query::push_entity(company, &record, &Projection::default(), None, &mut before);
        company.atomically(|company| act(company, person, record)).map_err(|error| error.message)?;
        Ok(before)
    })
}

fn act(company: &mut Company, person: &Person, record: Record) -> super::errors::Result<()> {
    let is_invoice = person.set == "salesInvoices";
    match person.action {
        Deed::Edit => {
            let changes = serde_json::Value::Object(person.changes.clone()).to_string();
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
