//! Takes the rows apart that the database handed over as JSON arrays, without parsing more than their first elements.
//!
//! The wrapped query puts what paging needs before the user's columns: the key, then the cursor and others as [`Layout`]
//! says. What follows is passed on as it is, and is read as JSON only when somebody needs its fields.

use std::borrow::Cow;

use crate::model::Problem;
use crate::source::error::ShapeError;

/// Which elements stand between the key and the user's columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Layout {
    /// The cursor.
    pub(super) cursor: bool,
    /// The rank of the key in the database's own order.
    pub(super) rank: bool,
    /// Null, or which numbers are not exact.
    pub(super) inexact: bool,
}

/// A key as the database wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Key<'a> {
    /// No key.
    Null,
    /// The digits of an integer.
    Integer(&'a str),
    /// Text.
    Text(Cow<'a, str>),
    /// The JSON text of something that cannot be a key.
    Unusable(&'a str),
}

impl<'a> Key<'a> {
    /// Reads one JSON value.
    pub(super) fn read(raw: &'a str) -> Result<Self, ShapeError> {
        let digits = raw.strip_prefix('-').unwrap_or(raw);
        Ok(match raw.as_bytes().first() {
            Some(b'n') => Self::Null,
            Some(b'"') if !raw.contains('\\') => Self::Text(Cow::Borrowed(&raw[1..raw.len() - 1])),
            Some(b'"') => {
                Self::Text(Cow::Owned(serde_json::from_str(raw).map_err(|error| ShapeError::Row(error.to_string()))?))
            }
            _ if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) => Self::Integer(raw),
            _ => Self::Unusable(raw),
        })
    }

    /// The key of a record, when it can be one.
    pub(super) fn as_str(&self) -> Option<&str> {
        match self {
            Self::Integer(digits) => Some(digits),
            Self::Text(text) => Some(text),
            Self::Null | Self::Unusable(_) => None,
        }
    }
}

/// One row.
#[derive(Debug, Clone)]
pub(super) struct Row<'a> {
    pub(super) key: Key<'a>,
    /// The cursor as JSON; `null` when there is none.
    pub(super) cursor: &'a str,
    /// What is equal for keys that are equal in the database's own order; empty when only equal keys are.
    pub(super) rank: &'a str,
    fields: Fields<'a>,
}

/// One row of a child collection.
#[derive(Debug, Clone)]
pub(super) struct LineRow<'a> {
    pub(super) parent: Key<'a>,
    pub(super) key: Key<'a>,
    fields: Fields<'a>,
}

/// The user's columns of a row.
#[derive(Debug, Clone)]
struct Fields<'a> {
    /// Null, or an array of 0 and 1: the columns whose numbers are not exact.
    inexact: &'a str,
    /// The columns without the opening bracket.
    rest: &'a str,
}

impl<'a> Fields<'a> {
    /// What is left of the row `text`.
    fn read(text: &str, mut elements: Elements<'a>, has_inexact: bool) -> Result<Self, ShapeError> {
        let inexact = if has_inexact { elements.next()? } else { "" };
        let rest = elements.rest;
        if rest.ends_with(']') { Ok(Self { inexact, rest }) } else { Err(cut_off(text)) }
    }

    fn body(&self) -> String {
        let mut body = String::with_capacity(self.rest.len() + 1);
        body.push('[');
        body.push_str(self.rest);
        body
    }

    fn inexact(&self) -> impl Iterator<Item = usize> {
        let flags = self.inexact.bytes().filter(|byte| matches!(byte, b'0' | b'1'));
        flags.enumerate().filter(|(_, flag)| *flag == b'1').map(|(index, _)| index)
    }
}

impl<'a> Row<'a> {
    /// Takes the JSON array `text` apart.
    pub(super) fn split(text: &'a str, layout: Layout) -> Result<Self, ShapeError> {
        let mut elements = Elements::of(text)?;
        let key = Key::read(elements.next()?)?;
        let cursor = if layout.cursor { elements.next()? } else { "null" };
        let rank = if layout.rank { elements.next()? } else { "" };
        Ok(Self { key, cursor, rank, fields: Fields::read(text, elements, layout.inexact)? })
    }

    /// The user's columns: a JSON array.
    pub(super) fn body(&self) -> String {
        self.fields.body()
    }

    /// The indices of the columns whose numbers are not exact.
    pub(super) fn inexact(&self) -> impl Iterator<Item = usize> {
        self.fields.inexact()
    }

    /// Whether this row and `other` have equal keys in the database's own order.
    pub(super) fn ties_with(&self, other: &Row<'_>) -> bool {
        if self.rank.is_empty() { self.key == other.key } else { self.rank == other.rank }
    }
}

impl<'a> LineRow<'a> {
    /// Takes the JSON array `text` apart: parent, key, what is not exact, columns.
    pub(super) fn split(text: &'a str, has_inexact: bool) -> Result<Self, ShapeError> {
        let mut elements = Elements::of(text)?;
        let parent = Key::read(elements.next()?)?;
        let key = Key::read(elements.next()?)?;
        Ok(Self { parent, key, fields: Fields::read(text, elements, has_inexact)? })
    }

    /// The user's columns: a JSON array.
    pub(super) fn body(&self) -> String {
        self.fields.body()
    }

    /// The indices of the columns whose numbers are not exact.
    pub(super) fn inexact(&self) -> impl Iterator<Item = usize> {
        self.fields.inexact()
    }
}

/// The problem of a number that the database does not hand over exactly.
pub(super) fn inexact_problem(property: String) -> Problem {
    Problem::of(
        property,
        "holds a number that needs more than 15 digits, of which SQLite would hand over only 15; \
         round it in the query, or store it as text",
    )
}

fn cut_off(text: &str) -> ShapeError {
    ShapeError::Row(format!("it is not a complete JSON array of {} bytes", text.len()))
}

/// The elements of a JSON array, one after the other.
struct Elements<'a> {
    rest: &'a str,
}

impl<'a> Elements<'a> {
    fn of(text: &'a str) -> Result<Self, ShapeError> {
        Ok(Self { rest: text.strip_prefix('[').ok_or_else(|| cut_off(text))? })
    }

    /// The JSON text of the next element; the comma after it is consumed.
    fn next(&mut self) -> Result<&'a str, ShapeError> {
        let text = self.rest.trim_ascii_start();
        let end = element_end(text.as_bytes()).ok_or_else(|| cut_off(text))?;
        let after = text[end..].trim_ascii_start();
        self.rest = after.strip_prefix(',').unwrap_or(after).trim_ascii_start();
        Ok(text[..end].trim_ascii_end())
    }
}

/// Where the JSON value at the start of `bytes`, a scalar or a list of numbers, ends.
fn element_end(bytes: &[u8]) -> Option<usize> {
    match bytes.first()? {
        b'"' => {
            let mut at = 1;
            loop {
                match bytes.get(at)? {
                    b'"' => return Some(at + 1),
                    b'\\' => at += 2,
                    _ => at += 1,
                }
            }
        }
        b'[' => bytes.iter().position(|byte| *byte == b']').map(|at| at + 1),
        _ => bytes.iter().position(|byte| matches!(byte, b',' | b']')),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn split(text: &str) -> Row<'_> {
        Row::split(text, Layout { cursor: true, rank: false, inexact: true }).unwrap()
    }

    #[test]
    fn a_row_is_taken_apart_without_its_columns_being_read() {
        let row = split(r#"[7,"2026-01-02",null,7,"a,]\"",[1,{"x":2}]]"#);
        assert_eq!(row.key, Key::Integer("7"));
        assert_eq!(row.cursor, r#""2026-01-02""#);
        assert_eq!(row.body(), r#"[7,"a,]\"",[1,{"x":2}]]"#);
        assert_eq!(row.inexact().count(), 0);
    }

    #[test]
    fn white_space_between_elements_is_no_part_of_them() {
        let row = split(r#"["k" , 12 , null , "a" , 1]"#);
        assert_eq!((row.key.as_str(), row.cursor), (Some("k"), "12"));
        assert_eq!(row.body(), r#"["a" , 1]"#);
    }

    #[test]
    fn keys_are_integers_or_text() {
        for (raw, expected) in [
            ("7", Key::Integer("7")),
            ("-7", Key::Integer("-7")),
            ("18446744073709551615", Key::Integer("18446744073709551615")),
            (r#""a, ]b""#, Key::Text("a, ]b".into())),
            (r#""a\"\\b\u00e9""#, Key::Text("a\"\\bé".into())),
            ("null", Key::Null),
            ("1.0", Key::Unusable("1.0")),
            ("1e3", Key::Unusable("1e3")),
            ("true", Key::Unusable("true")),
            ("-", Key::Unusable("-")),
        ] {
            let text = format!("[{raw},1]");
            assert_eq!(Row::split(&text, Layout::default()).unwrap().key, expected, "{raw}");
        }
    }

    #[test]
    fn inexact_numbers_are_named_by_their_index() {
        let row = split("[1,null,[0,1,0,1],1,2.5,3,4.5]");
        assert_eq!(row.inexact().collect::<Vec<_>>(), [1, 3]);
        assert_eq!(row.body(), "[1,2.5,3,4.5]");
    }

    #[test]
    fn a_row_that_was_cut_off_is_refused() {
        for text in ["", "[", "[1", "[1,2", r#"["a"#, r#"["a\"#, "{}"] {
            assert!(Row::split(text, Layout { cursor: true, ..Layout::default() }).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_a_database_writes_is_taken_apart(key in "\\PC*", cursor in "\\PC*", fields in proptest::collection::vec("\\PC*", 1..4)) {
            let body = serde_json::to_string(&fields).unwrap();
            let text = format!("[{},{},{}", serde_json::Value::from(&*key), serde_json::Value::from(&*cursor), &body[1..]);
            let row = Row::split(&text, Layout { cursor: true, ..Layout::default() }).unwrap();
            prop_assert_eq!(row.key.as_str(), Some(&*key));
            prop_assert_eq!(row.body(), body);
        }

        #[test]
        fn no_text_makes_it_panic(text in "[\\[\\]\",\\\\a01n ]*") {
            let _ = Row::split(&text, Layout { cursor: true, rank: true, inexact: true });
        }
    }
}
