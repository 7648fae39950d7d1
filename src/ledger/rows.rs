//! Many rows in one statement: as JSON that SQLite takes apart with `json_each`.
//!
//! A statement costs far more than a row, so that whatever is about a page or an envelope is one statement.

use serde::Serialize;

/// `keys` as a JSON list.
pub(super) fn json_list<'a>(keys: impl IntoIterator<Item = &'a str>) -> String {
    keys.into_iter().collect::<serde_json::Value>().to_string()
}

/// `rows` as a JSON list of objects. Binary values stand in them as hexadecimal text.
pub(super) fn json(rows: &[impl Serialize]) -> String {
    serde_json::to_string(rows).expect("rows of texts and numbers are JSON")
}
