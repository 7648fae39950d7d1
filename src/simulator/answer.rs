//! The JSON of successful answers: a page with its links, or one entity.

use super::call::{Call, Reply, Surroundings};
use super::errors::Result;
use super::json;
use super::query::{self, Options, Page};
use super::record::Record;
use super::store::Company;

/// A page of a collection; `context` is the value of `@odata.context`.
pub(super) fn collection(
    company: &Company,
    around: &Surroundings,
    call: &Call,
    page: &Page,
    options: &Options,
    context: &str,
) -> Reply {
    let mut out = String::with_capacity(256 + page.rows.len() * 512);
    out.push('{');
    json::push_name(&mut out, "@odata.context");
    json::push_text(&mut out, context);
    if let Some(count) = page.count {
        json::push_name(&mut out, "@odata.count");
        out.push_str(&count.to_string());
    }
    json::push_name(&mut out, "value");
    out.push('[');
    for (at, record) in page.rows.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        query::push_entity(company, record, &options.projection, None, &mut out);
    }
    out.push(']');
    if let Some(token) = &page.next {
        json::push_name(&mut out, "@odata.nextLink");
        json::push_text(&mut out, &next_link(around, call, token));
    }
    out.push('}');
    Reply::json(200, out)
}

/// The address of the next page: the same request with another skip token.
fn next_link(around: &Surroundings, call: &Call, token: &str) -> String {
    let kept = call
        .query
        .split('&')
        .filter(|part| !part.is_empty() && !part.starts_with("$skiptoken=") && !part.starts_with("%24skiptoken="));
    let mut query: Vec<&str> = kept.collect();
    let token = format!("$skiptoken={token}");
    query.push(&token);
    format!("{}/{}?{}", around.link_root, call.path, query.join("&"))
}

/// The value of `@odata.context` for `set`, which belongs to a company or is `companies` itself.
pub(super) fn context_of(around: &Surroundings, company: Option<&Company>, set: &str) -> String {
    let root = &around.root;
    match company {
        Some(company) => format!("{root}/$metadata#companies({})/{set}", company.id),
        None => format!("{root}/$metadata#{set}"),
    }
}

/// One entity, shaped by the query options of `call`; `context` as for [`collection`].
pub(super) fn entity(company: &Company, call: &Call, record: &Record, status: u16, context: &str) -> Result<Reply> {
    let options = Options::parse(record.set, call.query)?;
    let mut out = String::with_capacity(1_024);
    query::push_entity(company, record, &options.projection, Some(&format!("{context}/$entity")), &mut out);
    Ok(Reply::json(status, out))
}
