//! The list of companies, which the API can only read.

use super::answer;
use super::call::{Call, Reply, Surroundings};
use super::errors::{ApiError, Result};
use super::fields;
use super::query::{self, Options};
use super::record::Record;
use super::store::{Company, Store};
use super::table::Table;

/// Answers a GET of the list.
pub(super) fn list(store: &Store, around: &Surroundings, call: &Call) -> Result<Reply> {
    let Some(first) = store.companies.first() else { return Err(ApiError::company_not_found("")) };
    let set = &fields::sets()[fields::set_position("companies").unwrap_or_default()];
    let mut table = Table::new(set);
    for company in &store.companies {
        table.insert(company_record(company).pack());
    }
    let options = Options::parse(set, call.query)?;
    let page = query::list(&table, &options, call.page_size.unwrap_or(query::MAX_PAGE))?;
    let context = answer::context_of(around, None, "companies");
    Ok(answer::collection(first, around, call, &page, &options, &context))
}

/// Answers a GET of one company.
pub(super) fn entity(company: &Company, around: &Surroundings, call: &Call) -> Result<Reply> {
    let context = answer::context_of(around, None, "companies");
    answer::entity(company, call, &company_record(company), 200, &context)
}

fn company_record(company: &Company) -> Record {
    let mut record = company.blank("companies");
    record.give_id(company.id);
    record.set_text("name", &company.name);
    record.set_text("displayName", &company.name);
    record.set_text("systemVersion", "28.0.0.0");
    record
}
