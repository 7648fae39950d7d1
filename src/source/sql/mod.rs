//! SQL databases as a source: SQLite, PostgreSQL, MariaDB and MySQL.
//!
//! The configured query is wrapped so that the server pages it by key ([`wrap`]) and hands each row over as a JSON array,
//! which keeps every digit of a decimal and needs no knowledge of the drivers' types. Parents and lines of a page are read
//! in one snapshot. Connections are read-only.
//!
//! SQLite and MariaDB hand truth values over as 0 and 1, because that is what they store.

mod assemble;
mod connection;
mod cursor;
mod dialect;
mod lines;
mod mysql;
mod placeholders;
mod plan;
mod postgres;
mod rows;
mod sqlite;
mod stream;
mod wrap;

use std::collections::HashSet;
use std::path::PathBuf;

use secrecy::SecretString;

use self::dialect::Column;
use super::ShapeError;
use crate::model::Problem;

pub use cursor::{CursorSpec, Overlap};
pub use dialect::Dialect;
pub use lines::LinesSpec;
pub(super) use placeholders::Query;
pub use stream::SqlStream;

/// A database.
#[derive(Debug, Clone)]
pub enum SqlSource {
    /// A SQLite file.
    Sqlite {
        /// Where the file is.
        path: PathBuf,
    },
    /// A PostgreSQL server.
    Postgres {
        /// `postgres://user:password@host:port/database?sslmode=…`.
        url: SecretString,
    },
    /// A MariaDB or MySQL server.
    MySql {
        /// `mysql://user:password@host:port/database?ssl-mode=…`.
        url: SecretString,
    },
}

/// What is read from a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamSpec {
    /// How messages call the stream.
    pub name: String,
    /// The query. With `:cursor`, `:key` or `:limit` in it, it pages itself: see [`SqlStream::open`].
    pub query: String,
    /// The column that holds the key: an integer or text.
    pub key: String,
    /// The column that tells what changed; `None` makes every read a full one.
    pub cursor: Option<CursorSpec>,
    /// The child collection.
    pub lines: Option<LinesSpec>,
    /// How many records a page has at most; 1,000 is a good number.
    pub page_size: usize,
}

/// Refuses names that occur more than once.
fn check_names(columns: &[Column]) -> Result<(), ShapeError> {
    let mut seen = HashSet::new();
    let mut twice: Vec<String> =
        columns.iter().filter(|column| !seen.insert(&column.name)).map(|column| column.name.clone()).collect();
    twice.dedup();
    if twice.is_empty() { Ok(()) } else { Err(ShapeError::DuplicateColumns(twice)) }
}

/// The column `name`, which the setting `setting` asks for.
fn find<'a>(columns: &'a [Column], setting: &'static str, name: &str) -> Result<&'a Column, ShapeError> {
    columns.iter().find(|column| column.name == name).ok_or_else(|| ShapeError::MissingColumn {
        setting,
        column: name.to_owned(),
        columns: columns.iter().map(|column| column.name.clone()).collect(),
    })
}

/// The problem of a number that the database does not hand over exactly.
fn inexact_problem(property: String) -> Problem {
    Problem::of(
        property,
        "holds a number that needs more than 15 digits, of which SQLite would hand over only 15; \
         round it in the query, or store it as text",
    )
}
