//! From the path behind the API root to what it addresses. It reads the companies and, for a navigation, one row.

use uuid::Uuid;

use super::errors::{ApiError, Result};
use super::fields::{self, EntitySet};
use super::store::Store;

/// What a path addresses.
#[derive(Debug)]
pub(super) enum Target {
    /// The list of companies.
    Companies,
    /// One company.
    Company(usize),
    /// Rows of a company.
    Rows(Rows),
}

/// Rows of one set.
#[derive(Debug)]
pub(super) struct Rows {
    /// Position of the company.
    pub(super) company: usize,
    /// The set.
    pub(super) set: &'static EntitySet,
    /// The document that the path names as the owner of the lines.
    pub(super) document: Option<Uuid>,
    /// Which of the rows.
    pub(super) address: Address,
}

/// Which rows of a set.
#[derive(Debug, PartialEq)]
pub(super) enum Address {
    /// All of them.
    Collection,
    /// Their number.
    Count,
    /// The one with this id.
    One(Uuid),
    /// A bound action of the row with this id.
    Action(Uuid, String),
}

/// A path segment: a name with an optional key in brackets.
#[derive(Debug, PartialEq)]
struct Segment {
    name: String,
    key: Option<String>,
}

/// The name of the set that a path works on, for counting and for matching faults: the last that names one.
pub(super) fn set_name(path: &str) -> String {
    let names = segments(path).into_iter().map(|segment| segment.name);
    let names: Vec<String> = names.filter(|name| !name.starts_with('$') && !name.contains('.')).collect();
    names.into_iter().next_back().unwrap_or_default()
}

/// Resolves `path` (relative to the API root, percent-encoded). `company` is the id from the query or the name from the
/// header, used when the path names none.
pub(super) fn resolve(store: &Store, path: &str, company: Option<&str>) -> Result<Target> {
    let mut segments = segments(path).into_iter().peekable();
    let mut company = company.map(str::to_owned);
    if let Some(first) = segments.next_if(|segment| segment.name == "companies") {
        match first.key {
            None => return Ok(Target::Companies),
            Some(key) => company = Some(alternate_key(&key)),
        }
    }
    let Some(name) = company else {
        let segment = segments.next().map(|segment| segment.name).unwrap_or_default();
        return Err(if fields::set_position(&segment).is_some() {
            ApiError::company_not_found("")
        } else {
            ApiError::no_such_segment(&segment)
        });
    };
    let company = store.company(&name).ok_or_else(|| ApiError::company_not_found(&name))?;
    let Some(first) = segments.next() else { return Ok(Target::Company(company)) };
    let set = set_of(&first.name)?;
    let rest: Vec<Segment> = segments.collect();
    rows(store, company, set, first.key.as_deref(), &rest).map(Target::Rows)
}

fn rows(store: &Store, company: usize, set: &'static EntitySet, key: Option<&str>, rest: &[Segment]) -> Result<Rows> {
    let at = |address| Rows { company, set, document: None, address };
    let Some(key) = key else {
        return match rest {
            [] => Ok(at(Address::Collection)),
            [count] if count.name == "$count" => Ok(at(Address::Count)),
            [other, ..] => Err(ApiError::no_such_segment(&other.name)),
        };
    };
    let id = Uuid::parse_str(key).map_err(|_| {
        ApiError::new(400, "BadRequest_NotFound", format!("Bad Request - Error in query syntax: '{key}' is no key."))
    })?;
    let Some((next, rest)) = rest.split_first() else { return Ok(at(Address::One(id))) };
    if let Some(action) = bound_action(&next.name) {
        return Ok(at(Address::Action(id, action)));
    }
    let navigation = set.navigation(&next.name).ok_or_else(|| ApiError::no_such_segment(&next.name))?;
    let owner =
        store.companies[company].table(set.name).find(id).ok_or_else(|| ApiError::entity_not_found(set.name))?;
    let target = set_of(navigation.target)?;
    if navigation.many {
        let lines = rows(store, company, target, next.key.as_deref(), rest)?;
        return Ok(Rows { document: Some(owner.id), ..lines });
    }
    let key = owner.guid(navigation.via).to_string();
    rows(store, company, target, Some(&key), rest)
}

fn set_of(name: &str) -> Result<&'static EntitySet> {
    let position = fields::set_position(name).filter(|_| name != "companies");
    position.map(|position| &fields::sets()[position]).ok_or_else(|| ApiError::no_such_segment(name))
}

/// The action's name in lower case: BC matches it in any case.
fn bound_action(segment: &str) -> Option<String> {
    segment.to_lowercase().strip_prefix("microsoft.nav.").map(str::to_owned)
}

/// `name='CRONUS'`, `id=...` and a bare or quoted value all name a company.
fn alternate_key(key: &str) -> String {
    let value = key.split_once('=').map_or(key, |(_, value)| value);
    value.trim_matches('\'').replace("''", "'")
}

fn segments(path: &str) -> Vec<Segment> {
    let parts = path.split('/').filter(|part| !part.is_empty());
    parts
        .map(|part| {
            let text = percent_decode(part);
            match text.split_once('(') {
                Some((name, key)) => {
                    Segment { name: name.to_owned(), key: Some(key.strip_suffix(')').unwrap_or(key).to_owned()) }
                }
                None => Segment { name: text, key: None },
            }
        })
        .collect()
}

fn percent_decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let hex = tail.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        let byte = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()).filter(|_| *first == b'%');
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_are_decoded_and_split() {
        let found = segments("companies(name%3D%27A%2FB%27)/customers(11)/$count");
        let names: Vec<_> = found.iter().map(|segment| (segment.name.as_str(), segment.key.as_deref())).collect();
        assert_eq!(names, [("companies", Some("name='A/B'")), ("customers", Some("11")), ("$count", None)]);
        assert_eq!(alternate_key("name='O''Neil'"), "O'Neil");
    }

    #[test]
    fn the_set_of_a_path() {
        for (path, set) in [
            ("companies", "companies"),
            ("companies(1)/customers", "customers"),
            ("companies(1)/salesOrders(2)/salesOrderLines", "salesOrderLines"),
            ("companies(1)/salesOrders(2)/Microsoft.NAV.shipAndInvoice", "salesOrders"),
            ("companies(1)/customers/$count", "customers"),
        ] {
            assert_eq!(set_name(path), set, "{path}");
        }
    }
}
