//! One API operation from address to answer, whether it came alone or inside a `$batch`.
//!
//! Each operation is one transaction. It knows nothing of tokens, limits, latency or faults.

use url::form_urlencoded;
use uuid::Uuid;

use super::answer;
use super::body;
use super::call::{Call, Media, Reply, Surroundings};
use super::companies;
use super::documents;
use super::errors::{ApiError, Result};
use super::fields::EntitySet;
use super::filter::{Filter, Operator};
use super::lines;
use super::masterdata;
use super::posting;
use super::query::{self, Options};
use super::record::Record;
use super::route::{self, Address, Rows, Target};
use super::store::{Company, Store};
use super::value::Value;

/// Executes `call` against `store`.
pub(super) fn execute(store: &mut Store, around: &Surroundings, call: &Call) -> Reply {
    resolve_and_run(store, around, call).unwrap_or_else(Reply::from)
}

fn resolve_and_run(store: &mut Store, around: &Surroundings, call: &Call) -> Result<Reply> {
    let from_query = form_urlencoded::parse(call.query.as_bytes()).find(|(name, _)| name == "company");
    let company = from_query.map(|(_, id)| id.into_owned()).or_else(|| call.company.map(str::to_owned));
    match route::resolve(store, call.path, company.as_deref())? {
        Target::Companies if call.method == "GET" => companies::list(store, around, call),
        Target::Company(position) if call.method == "GET" => {
            companies::entity(&store.companies[position], around, call)
        }
        Target::Companies => Err(ApiError::method_not_allowed(call.method, "companies", "Collection")),
        Target::Company(_) => Err(ApiError::method_not_allowed(call.method, "companies", "Entity")),
        Target::Rows(rows) => {
            check_permission(around, call.method, rows.set)?;
            let company = &mut store.companies[rows.company];
            company.now = around.now;
            company.atomically(|company| run(company, around, call, &rows))
        }
    }
}

fn check_permission(around: &Surroundings, method: &str, set: &EntitySet) -> Result<()> {
    let action = match method {
        "GET" => "Read",
        "POST" => "Insert",
        "DELETE" => "Delete",
        _ => "Modify",
    };
    if around.denied.contains(set.name) || (action != "Read" && around.read_only.contains(set.name)) {
        return Err(ApiError::permission(action, &set.caption));
    }
    Ok(())
}

fn run(company: &mut Company, around: &Surroundings, call: &Call, rows: &Rows) -> Result<Reply> {
    let set = rows.set;
    let not_allowed = |kind| Err(ApiError::method_not_allowed(call.method, set.name, kind));
    match (&rows.address, call.method) {
        (Address::Collection, "GET") => list(company, around, call, rows),
        (Address::Count, "GET") => {
            let options = options_of(call, rows)?;
            let count = query::count(company.table(set.name), &options);
            Ok(Reply { media: Media::Text, ..Reply::json(200, count.to_string()) })
        }
        (Address::Collection, "POST") if set.insertable => create(company, around, call, rows),
        (Address::One(id), "GET") => {
            let record = owned(company, rows, *id).ok_or_else(|| ApiError::entity_not_found(set.name))?;
            entity(company, around, call, &record, 200)
        }
        (Address::One(id), "PATCH" | "PUT") if set.updatable => change(company, around, call, rows, *id),
        (Address::One(id), "DELETE") if set.deletable => delete(company, call, rows, *id),
        (Address::Action(id, action), "POST") => {
            let record = company.table(set.name).find(*id).ok_or_else(|| not_found(set, *id))?;
            check_etag(&record, call.if_match, false)?;
            match (set.name, action.as_str()) {
                ("salesOrders", "shipandinvoice") => posting::ship_and_invoice(company, record)?,
                ("salesInvoices", "post") => posting::post_invoice(company, record)?,
                _ => return Err(ApiError::no_such_segment(&format!("Microsoft.NAV.{action}"))),
            }
            Ok(Reply::json(204, String::new()))
        }
        (Address::Collection | Address::Count, _) => not_allowed("Collection"),
        (Address::One(_) | Address::Action(..), _) => not_allowed("Entity"),
    }
}

/// Changes a row as a person would in the client: with all rules, without an etag.
pub(super) fn edit(company: &mut Company, set: &str, id: Uuid, changes: &str) -> Result<Record> {
    let set = company.table(set).set;
    let record = company.table(set.name).find(id).ok_or_else(|| not_found(set, id))?;
    let properties = body::read_changes(set, changes, id)?;
    company.atomically(|company| match documents::kind_of(set.name) {
        None => masterdata::change(company, record, &properties),
        Some(kind) if kind.headers == set.name => documents::change(company, kind, record, &properties),
        Some(kind) => {
            let header = header_of(company, kind, &record)?;
            let line = lines::change(company, &header, record, &properties)?;
            lines::total(company, kind.lines, header)?;
            Ok(reread(company, &line))
        }
    })
}

fn not_found(set: &EntitySet, id: Uuid) -> ApiError {
    ApiError::record_not_found(&set.caption, &format!("Id='{id}'"))
}

/// The row with that id, if it belongs to the document that the path names.
fn owned(company: &Company, rows: &Rows, id: Uuid) -> Option<Record> {
    let record = company.table(rows.set.name).find(id)?;
    rows.document.is_none_or(|document| record.guid("documentId") == document).then_some(record)
}

fn options_of(call: &Call, rows: &Rows) -> Result<Options> {
    let mut options = Options::parse(rows.set, call.query)?;
    if let (Some(document), Some(position)) = (rows.document, rows.set.position("documentId")) {
        let owner = Filter::Compare { position, operator: Operator::Equal, value: Value::Guid(document), fold: false };
        options.filter = Some(match options.filter {
            Some(filter) => Filter::And(Box::new(owner), Box::new(filter)),
            None => owner,
        });
    }
    Ok(options)
}

fn list(company: &Company, around: &Surroundings, call: &Call, rows: &Rows) -> Result<Reply> {
    let set = rows.set;
    let options = options_of(call, rows)?;
    if set.position("documentId").is_some() {
        let names_parent =
            |filter: &Filter| filter.demanded_id(set, "documentId").or_else(|| filter.demanded_id(set, "id")).is_some();
        if !options.filter.as_ref().is_some_and(names_parent) {
            return Err(ApiError::dialog("You must specify an Id or a Document Id to get the lines."));
        }
    }
    let mut page = query::list(company.table(set.name), &options, call.page_size.unwrap_or(query::MAX_PAGE))?;
    if set.position("sequence").is_some() && page.next.is_none() {
        page.rows.sort_by_key(|line| line.int("sequence"));
    }
    let context = answer::context_of(around, Some(company), set.name);
    Ok(answer::collection(company, around, call, &page, &options, &context))
}

fn entity(company: &Company, around: &Surroundings, call: &Call, record: &Record, status: u16) -> Result<Reply> {
    let context = answer::context_of(around, Some(company), record.set.name);
    answer::entity(company, call, record, status, &context)
}

fn create(company: &mut Company, around: &Surroundings, call: &Call, rows: &Rows) -> Result<Reply> {
    let set = rows.set;
    let body = body::read_new(set, call.body)?;
    let record = match documents::kind_of(set.name) {
        None => masterdata::create(company, set.name, &body)?,
        Some(kind) if kind.headers == set.name => documents::create(company, kind, &body)?,
        Some(kind) => {
            let header = header_for_line(company, kind, rows, &body.properties)?;
            documents::refuse_posted(&header)?;
            let line = lines::insert(company, kind.lines, &header, &body.properties)?;
            if documents::is_locked(&header) && line.plain("lineType") != "Comment" {
                return Err(documents::locked(&header));
            }
            lines::total(company, kind.lines, header)?;
            reread(company, &line)
        }
    };
    let location = format!("{}/companies({})/{}({})", around.root, company.id, set.name, record.id);
    Ok(Reply { location: Some(location), ..entity(company, around, call, &record, 201)? })
}

fn header_for_line(
    company: &Company,
    kind: &documents::Kind,
    rows: &Rows,
    properties: &[(usize, Value)],
) -> Result<Record> {
    let named = properties.iter().find_map(|(position, value)| match value {
        Value::Guid(id) if rows.set.fields[*position].name == "documentId" => Some(*id),
        _ => None,
    });
    let id = rows
        .document
        .or(named)
        .ok_or_else(|| ApiError::dialog("You must specify a \"documentId\" to create a line."))?;
    let headers = company.table(kind.headers);
    headers.find(id).ok_or_else(|| not_found(headers.set, id))
}

/// The row as it is after what followed from the write.
fn reread(company: &Company, record: &Record) -> Record {
    company.table(record.set.name).find(record.id).unwrap_or_else(|| record.clone())
}

fn change(company: &mut Company, around: &Surroundings, call: &Call, rows: &Rows, id: Uuid) -> Result<Reply> {
    let set = rows.set;
    check_etag_form(call.if_match)?;
    let record = owned(company, rows, id).ok_or_else(|| not_found(set, id))?;
    check_etag(&record, call.if_match, true)?;
    let properties = body::read_changes(set, call.body, id)?;
    let record = match documents::kind_of(set.name) {
        None => masterdata::change(company, record, &properties)?,
        Some(kind) if kind.headers == set.name => documents::change(company, kind, record, &properties)?,
        Some(kind) => {
            let header = header_of(company, kind, &record)?;
            if documents::is_locked(&header) && lines::touches_lock(&record, &properties) {
                return Err(documents::locked(&header));
            }
            let line = lines::change(company, &header, record, &properties)?;
            lines::total(company, kind.lines, header)?;
            reread(company, &line)
        }
    };
    entity(company, around, call, &record, 200)
}

fn header_of(company: &Company, kind: &documents::Kind, line: &Record) -> Result<Record> {
    let headers = company.table(kind.headers);
    let id = line.guid("documentId");
    let header = headers.find(id).ok_or_else(|| not_found(headers.set, id))?;
    documents::refuse_posted(&header)?;
    Ok(header)
}

fn delete(company: &mut Company, call: &Call, rows: &Rows, id: Uuid) -> Result<Reply> {
    let set = rows.set;
    let record = owned(company, rows, id).ok_or_else(|| not_found(set, id))?;
    check_etag(&record, call.if_match, false)?;
    match documents::kind_of(set.name) {
        None => masterdata::delete(company, &record)?,
        Some(kind) if kind.headers == set.name => documents::delete(company, kind, &record)?,
        Some(kind) => {
            let header = header_of(company, kind, &record)?;
            if documents::is_locked(&header) && record.plain("lineType") != "Comment" {
                return Err(documents::locked(&header));
            }
            company.remove(set.name, id);
            lines::total(company, kind.lines, header)?;
        }
    }
    Ok(Reply::json(204, String::new()))
}

/// `If-Match` must be there and look like an etag.
fn check_etag_form(if_match: Option<&str>) -> Result<()> {
    let looks_right = |tag: &str| tag == "*" || (tag.starts_with("W/\"") && tag.ends_with('"') && tag.len() > 4);
    if if_match.map(str::trim).is_some_and(looks_right) { Ok(()) } else { Err(ApiError::invalid_token()) }
}

/// `If-Match` must name the current version; for anything but a PATCH it may be missing.
fn check_etag(record: &Record, if_match: Option<&str>, needed: bool) -> Result<()> {
    match if_match.map(str::trim) {
        None if needed => Err(ApiError::invalid_token()),
        None | Some("*") => Ok(()),
        Some(tag) if tag == record.etag() => Ok(()),
        Some(tag) => check_etag_form(Some(tag)).and(Err(ApiError::entity_changed())),
    }
}
