//! One item of a stream, as read: key, cursor, fields as untouched JSON text, child collection.
//!
//! A record that is unchanged is never parsed: its fingerprint is taken over the texts that the source handed over.

use std::sync::Arc;

use super::fingerprint::Fingerprinter;
use super::{Fingerprint, Value};

/// The column names of a stream, shared by all its records.
pub type Columns = Arc<[String]>;

/// One item of a stream.
#[derive(Debug, Clone)]
pub struct Record {
    /// The key, as text; an integer key becomes its digits.
    pub key: String,
    /// The names of the fields.
    pub columns: Columns,
    /// The fields: a JSON array in the order of `columns`, as the source wrote it.
    pub body: Box<str>,
    /// The names of the fields of lines; empty when the stream has no child collection.
    pub line_columns: Columns,
    /// The child records in the order of their keys, each a JSON array in the order of `line_columns`.
    pub lines: Vec<Box<str>>,
}

/// Why the text of a record cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The source wrote something that is not JSON.
    #[error("the source handed over a row that is not valid JSON: {0}")]
    NotJson(String),
    /// The row has another number of fields than the stream has columns.
    #[error("the source handed over {found} fields where the query has {expected} columns")]
    Width {
        /// How many fields the row has.
        found: usize,
        /// How many columns the query has.
        expected: usize,
    },
}

impl Record {
    /// The hash of the fields and lines, and of `mapping`: what decides whether anything has to be done at all.
    #[must_use]
    pub fn fingerprint(&self, mapping: Fingerprint) -> Fingerprint {
        let mut hash = Fingerprinter::new();
        hash.bytes(mapping.as_bytes());
        hash.part(&self.body);
        for line in &self.lines {
            hash.part(line);
        }
        hash.finish()
    }

    /// The fields as an object, the lines under `lines` when the stream has a child collection.
    pub fn fields(&self) -> Result<Value, RecordError> {
        let Value::Map(mut members) = object(&self.columns, &self.body)? else {
            return Err(RecordError::NotJson("not an object".to_owned()));
        };
        if !self.line_columns.is_empty() {
            let lines = self.lines.iter().map(|line| object(&self.line_columns, line)).collect::<Result<_, _>>()?;
            members.push(("lines".to_owned(), Value::List(lines)));
        }
        Ok(Value::Map(members))
    }
}

fn object(columns: &Columns, row: &str) -> Result<Value, RecordError> {
    match Value::parse(row).map_err(|error| RecordError::NotJson(error.to_string()))? {
        Value::List(items) if items.len() == columns.len() => {
            Ok(Value::Map(columns.iter().cloned().zip(items).collect()))
        }
        Value::List(items) => Err(RecordError::Width { found: items.len(), expected: columns.len() }),
        map @ Value::Map(_) => Ok(map),
        other => Err(RecordError::NotJson(format!("expected a row, found {}", other.kind()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(body: &str, lines: &[&str]) -> Record {
        Record {
            key: "7".to_owned(),
            columns: ["id".to_owned(), "total".to_owned()].into(),
            body: body.into(),
            line_columns: ["no".to_owned()].into(),
            lines: lines.iter().map(|&line| line.into()).collect(),
        }
    }

    #[test]
    fn fields_and_lines_become_one_object() {
        let fields = record("[7,10.50]", &["[1]", "[2]"]).fields().unwrap();
        assert_eq!(fields.to_json(), r#"{"id":7,"total":10.5,"lines":[{"no":1},{"no":2}]}"#);
    }

    #[test]
    fn a_row_of_the_wrong_width_is_refused() {
        assert_eq!(record("[7]", &[]).fields(), Err(RecordError::Width { found: 1, expected: 2 }));
        assert!(matches!(record("[7,", &[]).fields(), Err(RecordError::NotJson(_))));
    }

    #[test]
    fn a_changed_line_or_mapping_changes_the_fingerprint() {
        let mapping = Fingerprint::of(["m"]);
        let base = record("[7,1]", &["[1]"]).fingerprint(mapping);
        assert_eq!(base, record("[7,1]", &["[1]"]).fingerprint(mapping));
        assert_ne!(base, record("[7,1]", &["[2]"]).fingerprint(mapping));
        assert_ne!(base, record("[7,1]", &[]).fingerprint(mapping));
        assert_ne!(base, record("[7,1]", &["[1]"]).fingerprint(Fingerprint::of(["n"])));
    }
}
