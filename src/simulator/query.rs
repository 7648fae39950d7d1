//! Query options: `$select` and `$expand` as a [`Projection`], and the pages of a list.
//!
//! Paging is server-driven: a page has at most the size that the request prefers, never more than 20,000 rows, and its
//! link continues behind the last row whatever was written in between.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use url::form_urlencoded;

use super::errors::{ApiError, Result};
use super::fields::{self, EntitySet, Navigation};
use super::filter::Filter;
use super::json;
use super::record::{Record, Row};
use super::store::Company;
use super::table::{Bookmark, Slot, Table};
use super::value::Value;

/// Rows on a page when the request prefers nothing smaller (BC documentation, operational limits).
pub(super) const MAX_PAGE: usize = 20_000;

/// Which properties an answer shows.
#[derive(Debug, Default)]
pub(super) struct Projection {
    select: Option<Vec<usize>>,
    expand: Vec<Expansion>,
}

#[derive(Debug)]
struct Expansion {
    navigation: &'static Navigation,
    projection: Projection,
    filter: Option<Filter>,
    top: Option<usize>,
}

/// The query options of a request.
#[derive(Debug, Default)]
pub(super) struct Options {
    /// `$select` and `$expand`.
    pub(super) projection: Projection,
    /// `$filter`.
    pub(super) filter: Option<Filter>,
    top: Option<usize>,
    skip: usize,
    count: bool,
    order_by: Vec<(usize, bool)>,
    skip_token: Option<String>,
}

impl Options {
    /// Reads the query string of a request for `set`.
    pub(super) fn parse(set: &'static EntitySet, query: &str) -> Result<Self> {
        let mut options = Options::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            options.take(set, &name, &value)?;
        }
        Ok(options)
    }

    fn take(&mut self, set: &'static EntitySet, name: &str, value: &str) -> Result<()> {
        match name {
            "$select" => self.projection.select = Some(select(set, value)?),
            "$expand" => self.projection.expand = expand(set, value)?,
            "$filter" => self.filter = Some(Filter::parse(set, value)?),
            "$top" => self.top = Some(number(name, value)?),
            "$skip" => self.skip = number(name, value)?,
            "$count" => self.count = value == "true",
            "$orderby" => self.order_by = order_by(set, value)?,
            "$skiptoken" => self.skip_token = Some(value.to_owned()),
            // `company`, `$schemaversion`, `tenant` and what clients add for themselves.
            _ => {}
        }
        Ok(())
    }
}

fn number(name: &str, value: &str) -> Result<usize> {
    value.parse().map_err(|_| ApiError::bad_request(format!("Invalid value '{value}' for {name} query option found.")))
}

fn select(set: &EntitySet, list: &str) -> Result<Vec<usize>> {
    let names = list.split(',').map(str::trim).filter(|name| *name != "*");
    names.map(|name| set.visible(name).ok_or_else(|| ApiError::no_such_property(name, set.type_name))).collect()
}

fn order_by(set: &EntitySet, list: &str) -> Result<Vec<(usize, bool)>> {
    let mut order = Vec::new();
    for part in list.split(',').map(str::trim) {
        let (name, descending) = match part.rsplit_once(' ') {
            Some((name, "desc")) => (name, true),
            Some((name, "asc")) => (name, false),
            _ => (part, false),
        };
        order.push((set.visible(name).ok_or_else(|| ApiError::no_such_property(name, set.type_name))?, descending));
    }
    Ok(order)
}

fn expand(set: &'static EntitySet, list: &str) -> Result<Vec<Expansion>> {
    split_outside_brackets(list, ',').into_iter().map(|item| expansion(set, item.trim())).collect()
}

fn expansion(set: &'static EntitySet, item: &str) -> Result<Expansion> {
    let (name, inner) = match item.split_once('(') {
        Some((name, rest)) => (name, rest.strip_suffix(')').unwrap_or(rest)),
        None => (item, ""),
    };
    let navigation = set.navigation(name).ok_or_else(|| ApiError::no_such_property(name, set.type_name))?;
    let target = target_of(navigation);
    let mut options = Options::default();
    for option in split_outside_brackets(inner, ';') {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        options.take(target, name.trim(), value)?;
    }
    Ok(Expansion { navigation, projection: options.projection, filter: options.filter, top: options.top })
}

fn target_of(navigation: &Navigation) -> &'static EntitySet {
    let position = fields::set_position(navigation.target).expect("the table leads somewhere");
    &fields::sets()[position]
}

/// Splits at `separator`, but not inside brackets or quotes.
fn split_outside_brackets(text: &str, separator: char) -> Vec<&str> {
    let (mut depth, mut quoted, mut from, mut parts) = (0, false, 0, Vec::new());
    for (at, char) in text.char_indices() {
        match char {
            '\'' => quoted = !quoted,
            '(' if !quoted => depth += 1,
            ')' if !quoted => depth -= 1,
            _ if char == separator && depth == 0 && !quoted => {
                parts.push(&text[from..at]);
                from = at + char.len_utf8();
            }
            _ => {}
        }
    }
    parts.push(&text[from..]);
    parts.retain(|part| !part.trim().is_empty());
    parts
}

/// One page of a list.
#[derive(Debug)]
pub(super) struct Page {
    /// The rows, unpacked.
    pub(super) rows: Vec<Record>,
    /// Number of rows on all pages, when asked for.
    pub(super) count: Option<usize>,
    /// Skip token of the next page.
    pub(super) next: Option<String>,
}

/// Number of rows that fulfil the filter.
pub(super) fn count(table: &Table, options: &Options) -> usize {
    match &options.filter {
        None => table.len(),
        Some(filter) => matching(table, Some(filter), None).count(),
    }
}

/// Reads a page of at most `page_size` rows of `table`.
pub(super) fn list(table: &Table, options: &Options, page_size: usize) -> Result<Page> {
    let count = options.count.then(|| count(table, options));
    let limit = options.top.map_or(page_size.min(MAX_PAGE), |top| top.min(MAX_PAGE));
    let (rows, next) = if options.order_by.is_empty() {
        let after = options.skip_token.as_deref().map(read_bookmark).transpose()?;
        let mut slots = matching(table, options.filter.as_ref(), after.as_ref()).skip(options.skip);
        let page: Vec<Slot> = slots.by_ref().take(limit).collect();
        let more = options.top.is_none() && slots.next().is_some();
        let next = page.last().filter(|_| more).map(|last| write_bookmark(&table.bookmark(*last)));
        (page, next)
    } else {
        let offset = options.skip_token.as_deref().map_or(Ok(options.skip), |token| number("$skiptoken", token))?;
        let mut slots: Vec<Slot> = matching(table, options.filter.as_ref(), None).collect();
        sort(table, &mut slots, &options.order_by);
        let more = options.top.is_none() && slots.len() > offset + limit;
        let page = slots.into_iter().skip(offset).take(limit).collect();
        (page, more.then(|| (offset + limit).to_string()))
    };
    let rows = rows.into_iter().filter_map(|slot| table.row(slot)).map(|row| Record::unpack(table.set, row)).collect();
    Ok(Page { rows, count, next })
}

/// The slots of the rows that fulfil `filter`, in page order, behind `after`.
fn matching<'a>(
    table: &'a Table,
    filter: Option<&'a Filter>,
    after: Option<&Bookmark>,
) -> Box<dyn Iterator<Item = Slot> + 'a> {
    let accepted = move |slot: &Slot| {
        table.row(*slot).is_some_and(|row: &Row| filter.is_none_or(|filter| filter.accepts(table.set, row)))
    };
    match filter.and_then(|filter| filter.candidates(table)) {
        None => Box::new(table.walk(after).filter(accepted)),
        Some(slots) => {
            let mut found: Vec<Bookmark> = slots.into_iter().map(|slot| table.bookmark(slot)).collect();
            let place = |bookmark: &Bookmark| (bookmark.key.clone(), bookmark.slot);
            found.sort_by_key(place);
            found.dedup();
            if let Some(after) = after {
                found.retain(|bookmark| place(bookmark) > place(after));
            }
            Box::new(found.into_iter().map(|bookmark| bookmark.slot).filter(accepted))
        }
    }
}

fn sort(table: &Table, slots: &mut [Slot], order_by: &[(usize, bool)]) {
    let value = |slot: Slot, position: usize| table.row(slot).map(|row| row.value(table.set, position));
    slots.sort_by(|a, b| {
        let mut order = std::cmp::Ordering::Equal;
        for (position, descending) in order_by {
            let (Some(left), Some(right)) = (value(*a, *position), value(*b, *position)) else { continue };
            let step = left.compare(&right);
            order = order.then(if *descending { step.reverse() } else { step });
        }
        order.then(a.cmp(b))
    });
}

fn write_bookmark(bookmark: &Bookmark) -> String {
    URL_SAFE_NO_PAD.encode(format!("{};{}", bookmark.slot, bookmark.key))
}

fn read_bookmark(token: &str) -> Result<Bookmark> {
    let invalid = || ApiError::bad_request("The skip token is no longer valid.");
    let text = URL_SAFE_NO_PAD.decode(token).map_err(|_| invalid())?;
    let text = String::from_utf8(text).map_err(|_| invalid())?;
    let (slot, key) = text.split_once(';').ok_or_else(invalid)?;
    Ok(Bookmark { key: key.to_owned(), slot: slot.parse().map_err(|_| invalid())? })
}

/// Appends `record` to `out` as an entity; `context` is the value of `@odata.context`, at the top level only.
pub(super) fn push_entity(
    company: &Company,
    record: &Record,
    projection: &Projection,
    context: Option<&str>,
    out: &mut String,
) {
    out.push('{');
    if let Some(context) = context {
        json::push_name(out, "@odata.context");
        json::push_text(out, context);
    }
    json::push_name(out, "@odata.etag");
    json::push_text(out, &record.etag());
    for (position, field) in record.set.fields.iter().enumerate() {
        let selected = projection.select.as_ref().is_none_or(|select| select.contains(&position));
        if selected && record.set.visible(field.name).is_some() {
            json::push_name(out, field.name);
            shown(company, record, position).push_json(field.kind, out);
        }
    }
    for expansion in &projection.expand {
        json::push_name(out, expansion.navigation.name);
        push_expansion(company, record, expansion, out);
    }
    out.push('}');
}

/// The value as BC shows it: the local currency has its code, though it is stored as blank.
fn shown<'a>(company: &Company, record: &'a Record, position: usize) -> Cow<'a, Value> {
    let (field, value) = (&record.set.fields[position], record.at(position));
    if field.relation == Some("currencies") && value.is_blank() {
        Cow::Owned(Value::Text(company.setup.local_currency.clone()))
    } else {
        Cow::Borrowed(value)
    }
}

fn push_expansion(company: &Company, record: &Record, expansion: &Expansion, out: &mut String) {
    let navigation = expansion.navigation;
    if !navigation.many {
        match company.table(navigation.target).find(record.guid(navigation.via)) {
            Some(target) => push_entity(company, &target, &expansion.projection, None, out),
            None => out.push_str("null"),
        }
        return;
    }
    let accepted =
        |line: &Record| expansion.filter.as_ref().is_none_or(|filter| filter.accepts(line.set, &line.pack()));
    let lines = company.lines(navigation.target, record.id).into_iter().filter(accepted);
    out.push('[');
    for (at, line) in lines.take(expansion.top.unwrap_or(usize::MAX)).enumerate() {
        if at > 0 {
            out.push(',');
        }
        push_entity(company, &line, &expansion.projection, None, out);
    }
    out.push(']');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(name: &str) -> &'static EntitySet {
        &fields::sets()[fields::set_position(name).unwrap()]
    }

    fn table(numbers: &[&str]) -> Table {
        let mut table = Table::new(set("customers"));
        for number in numbers {
            let mut record = Record::new(set("customers"));
            record.set_text("number", number);
            table.insert(record.pack());
        }
        table
    }

    fn numbers(page: &Page) -> Vec<&str> {
        page.rows.iter().map(|row| row.text("number")).collect()
    }

    #[test]
    fn pages_join_without_gap_or_repeat() {
        let table = table(&["C", "A", "E", "B", "D"]);
        let mut seen = Vec::new();
        let mut query = String::new();
        loop {
            let page = list(&table, &Options::parse(set("customers"), &query).unwrap(), 2).unwrap();
            seen.extend(numbers(&page).into_iter().map(str::to_owned));
            let Some(next) = page.next else { break };
            query = format!("$skiptoken={next}");
        }
        assert_eq!(seen, ["A", "B", "C", "D", "E"]);
    }

    #[test]
    fn top_suppresses_the_next_link_and_count_ignores_it() {
        let table = table(&["A", "B", "C"]);
        let options = Options::parse(set("customers"), "$top=2&$count=true&$orderby=number desc").unwrap();
        let page = list(&table, &options, 1).unwrap();
        assert_eq!((numbers(&page), page.count, page.next.clone()), (vec!["C", "B"], Some(3), None));
    }

    #[test]
    fn filtered_pages_keep_their_order_and_drop_repeats() {
        let table = table(&["C", "A", "B"]);
        let query = "$filter=number eq 'C' or number eq 'A' or number eq 'C'";
        let page = list(&table, &Options::parse(set("customers"), query).unwrap(), 100).unwrap();
        assert_eq!(numbers(&page), ["A", "C"]);
    }

    #[test]
    fn nested_options_are_read() {
        let parts =
            split_outside_brackets("salesOrderLines($select=id,sequence;$filter=description eq 'a;b'),customer", ',');
        assert_eq!(parts.len(), 2);
        let lines = expand(set("salesOrders"), parts[0]).unwrap().remove(0);
        assert_eq!(lines.projection.select.as_ref().map(Vec::len), Some(2));
        assert!(lines.filter.is_some());
        assert!(expand(set("salesOrders"), "lines").is_err());
    }
}
