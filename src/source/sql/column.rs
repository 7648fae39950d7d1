//! The columns of a query, as the database describes them.

use std::collections::HashSet;

use crate::source::error::ShapeError;

/// A column of a query, as the database describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Column {
    /// The name.
    pub(super) name: String,
    /// The database's name of the type; in SQLite that of the declared type, which binds nothing.
    pub(super) type_name: String,
}

/// Refuses names that occur more than once.
pub(super) fn check_names(columns: &[Column]) -> Result<(), ShapeError> {
    let mut seen = HashSet::new();
    let mut twice: Vec<String> =
        columns.iter().filter(|column| !seen.insert(&column.name)).map(|column| column.name.clone()).collect();
    twice.dedup();
    if twice.is_empty() { Ok(()) } else { Err(ShapeError::DuplicateColumns(twice)) }
}

/// The column `name`, which the setting `setting` asks for.
pub(super) fn find<'a>(columns: &'a [Column], setting: &'static str, name: &str) -> Result<&'a Column, ShapeError> {
    columns.iter().find(|column| column.name == name).ok_or_else(|| ShapeError::MissingColumn {
        setting,
        column: name.to_owned(),
        columns: columns.iter().map(|column| column.name.clone()).collect(),
    })
}
