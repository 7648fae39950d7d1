//! From rows to a page: which rows are records, and what is wrong with the others. No I/O.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::lines::LinesOfParent;
use super::rows::{Key, Row, inexact_problem};
use crate::model::{Columns, Problem, Record};
use crate::source::error::ShapeError;
use crate::source::page::{Page, Reject};

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

#[cfg(test)]
mod tests {
    use super::super::rows::Layout;
    use super::*;

    fn rows(texts: &[&'static str], layout: Layout) -> Vec<Row<'static>> {
        texts.iter().map(|text| Row::split(text, layout).unwrap()).collect()
    }

    #[test]
    fn the_rows_of_the_last_key_wait_for_the_next_page() {
        let plain = Layout::default();
        for (texts, expected) in [
            (vec!["[1,0]", "[2,0]", "[3,0]"], 2),
            (vec!["[1,0]", "[2,0]", "[2,1]"], 1),
            (vec!["[1,0]", "[1,1]", "[2,0]"], 2),
            (vec!["[1,0]", "[1,1]", "[1,2]"], 3),
            (vec![], 0),
        ] {
            assert_eq!(settled(&rows(&texts, plain)), Ok(expected), "{texts:?}");
        }
        let ranked = Layout { rank: true, ..plain };
        assert_eq!(settled(&rows(&[r#"["a",1,0]"#, r#"["b",2,0]"#, r#"["B",2,0]"#], ranked)), Ok(1));
        let error = settled(&rows(&[r#"["b",1,0]"#, r#"["B",1,0]"#], ranked)).unwrap_err();
        assert!(error.to_string().contains("takes 2 different keys for equal"), "{error}");
    }

    #[test]
    fn a_row_becomes_a_record_or_a_reject() {
        let columns: Columns = ["id".to_owned(), "x".to_owned(), "y".to_owned()].into();
        let layout = Layout { inexact: true, ..Layout::default() };
        let texts = [
            r#"["a",null,"a",1,2]"#,
            r#"["b",[0,1,1],"b",1,2]"#,
            r#"["c",null,"c",1,2]"#,
            r#"["c",null,"c",3,4]"#,
            "[1.5,null,1.5,1,2]",
            "[null,null,null,1,2]",
        ];
        let rows = rows(&texts, layout);
        let mut assembly = Assembly {
            key_name: "id",
            columns: &columns,
            line_columns: &Columns::from([]),
            repeated: repeated(&rows),
            lines: None,
        };
        let mut page = Page::default();
        for row in &rows {
            assembly.add(row, &mut page);
        }
        assert_eq!(page.records.len(), 1);
        assert_eq!((page.records[0].key.as_str(), &*page.records[0].body), ("a", r#"["a",1,2]"#));
        let rejects: Vec<(Option<&str>, Option<&str>)> =
            page.rejects.iter().map(|reject| (reject.key.as_deref(), reject.problem.property.as_deref())).collect();
        assert_eq!(
            rejects,
            [
                (Some("b"), Some("x, y")),
                (Some("c"), Some("id")),
                (Some("c"), Some("id")),
                (Some("1.5"), Some("id")),
                (None, Some("id"))
            ]
        );
        assert_eq!(page.rejects[2].body, r#"["c",3,4]"#);
    }
}
