//! From rows to a page: which rows are records, and what is wrong with the others. No I/O.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::super::{Page, Reject, ShapeError};
use super::inexact_problem;
use super::lines::LinesOfParent;
use super::rows::{Key, Row};
use crate::model::{Columns, Problem, Record};

/// How many of `rows`, after which more follow, belong to keys that cannot go on in those that follow.
///
/// The rows of the last key are left for the next page. When there is no other key, they are all taken: that they are
/// repeated is known by then, and the next page begins above them.
pub(super) fn settled(rows: &[Row<'_>]) -> Result<usize, ShapeError> {
    let Some(last) = rows.last() else { return Ok(0) };
    let same = rows.iter().rev().take_while(|row| row.ties_with(last)).count();
    if same < rows.len() {
        return Ok(rows.len() - same);
    }
    if rows.iter().all(|row| row.key == last.key) {
        return Ok(rows.len());
    }
    Err(ShapeError::Paging(format!(
        "the collation of the key column takes {same} different keys for equal; \
         give it a binary collation in the query (… COLLATE utf8mb4_bin)"
    )))
}

/// The keys that more than one of `rows` has.
pub(super) fn repeated(rows: &[Row<'_>]) -> HashSet<String> {
    let mut seen = HashSet::with_capacity(rows.len());
    rows.iter().filter_map(|row| row.key.as_str()).filter(|key| !seen.insert(*key)).map(str::to_owned).collect()
}

/// What a page is made with.
pub(super) struct Assembly<'a> {
    pub(super) key_name: &'a str,
    pub(super) columns: &'a Columns,
    pub(super) line_columns: &'a Columns,
    /// Keys that more than one row has.
    pub(super) repeated: HashSet<String>,
    /// The lines by the key of their parent; `None` without a child collection.
    pub(super) lines: Option<HashMap<String, LinesOfParent>>,
}

impl Assembly<'_> {
    /// Adds `row` to `page`: as a record, or with its problem.
    pub(super) fn add(&mut self, row: &Row<'_>, page: &mut Page) {
        match self.record(row) {
            Ok(record) => page.records.push(record),
            Err(problem) => page.rejects.push(Reject { key: key_of(row), body: row.body(), problem }),
        }
    }

    fn record(&mut self, row: &Row<'_>) -> Result<Record, Problem> {
        let Some(key) = row.key.as_str() else { return Err(self.key_problem(&row.key)) };
        if !self.repeated.is_empty() && self.repeated.contains(key) {
            let message = "more than one row of the query has this key; \
                           a join that gives several rows for one record is the usual reason";
            return Err(Problem::of(self.key_name, message));
        }
        let names: Vec<&str> = row.inexact().map(|index| self.columns[index].as_str()).collect();
        if !names.is_empty() {
            return Err(inexact_problem(names.join(", ")));
        }
        let lines = match self.lines.as_mut().and_then(|lines| lines.remove(key)) {
            Some(lines) => lines?,
            None => Vec::new(),
        };
        Ok(Record {
            key: key.to_owned(),
            columns: Arc::clone(self.columns),
            body: row.body().into_boxed_str(),
            line_columns: Arc::clone(self.line_columns),
            lines,
        })
    }

    fn key_problem(&self, key: &Key<'_>) -> Problem {
        let message = match key {
            Key::Null => "the key is null; a record needs one, by which it is found again",
            _ => "the key is neither an integer nor text",
        };
        Problem::of(self.key_name, message)
    }
}

fn key_of(row: &Row<'_>) -> Option<String> {
    match &row.key {
        Key::Null => None,
        Key::Integer(text) | Key::Unusable(text) => Some((*text).to_owned()),
        Key::Text(text) => Some(text.clone().into_owned()),
    }
}
