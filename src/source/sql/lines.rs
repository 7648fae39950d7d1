//! The child collection of a stream: the lines of exactly the parents of one page, read in the same snapshot.
//!
//! Lines are sorted here and not by the database, whose order of texts depends on its collation: their order is a part of
//! the record's fingerprint and must be the same in every read.

use std::collections::HashMap;
use std::sync::Arc;

use super::column::{Column, check_names, find};
use super::connection::{Bind, Connection};
use super::dialect::{Dialect, KeyColumn};
use super::placeholders::Query;
use super::rows::{Key, LineRow, inexact_problem};
use super::spec::LinesSpec;
use super::wrap::Selection;
use crate::model::{Columns, Problem};
use crate::source::error::{ShapeError, SourceError};

/// The lines of one parent in the order of their keys, or what is wrong with them.
pub(super) type LinesOfParent = Result<Vec<Box<str>>, Problem>;

/// A child collection that is ready to be read.
pub(super) struct Lines {
    pub(super) columns: Columns,
    selection: Selection,
    dialect: Dialect,
    parent: KeyColumn,
    key_name: String,
    key_value: String,
}

/// Integers first, by value; then texts, by bytes.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum LineKey {
    Integer(i128),
    Text(String),
}

struct Line {
    key: LineKey,
    body: Box<str>,
    inexact: Option<usize>,
}

impl Lines {
    /// Describes the query of `spec`.
    pub(super) async fn open(connection: &mut Connection, stream: &str, spec: &LinesSpec) -> Result<Self, SourceError> {
        const WHAT: &str = "the query of the lines";
        let dialect = connection.dialect();
        let query = Query::parse(&spec.query, dialect);
        let shape = |problem| SourceError::Shape { stream: stream.to_owned(), problem };
        if query.is_custom() {
            return Err(shape(ShapeError::PlaceholderInLines));
        }
        let described = connection.describe(query.text()).await;
        let columns = described.map_err(|failure| failure.running(stream, WHAT, Some(query.text())))?;
        Self::of_columns(dialect, query, &columns, spec).map_err(shape)
    }

    fn of_columns(dialect: Dialect, query: Query, columns: &[Column], spec: &LinesSpec) -> Result<Self, ShapeError> {
        check_names(columns)?;
        let parent = dialect.key(find(columns, "lines.parent", &spec.parent)?, true)?;
        let key = dialect.key(find(columns, "lines.key", &spec.key)?, true)?;
        Ok(Self {
            columns: columns.iter().map(|column| column.name.clone()).collect(),
            selection: Selection::new(dialect, query, columns)?,
            dialect,
            parent,
            key_name: spec.key.clone(),
            key_value: key.value,
        })
    }

    /// The lines of `parents`, by the key of the parent; a parent without lines is absent.
    pub(super) async fn read(
        &self,
        connection: &mut Connection,
        stream: &str,
        parents: &[&Key<'_>],
    ) -> Result<HashMap<String, LinesOfParent>, SourceError> {
        let sql = self.selection.of_keys(&self.parent, &[&self.parent.value, &self.key_value], parents.len());
        let binds = key_list(self.dialect, parents);
        let texts = connection.fetch(&Arc::from(sql), binds).await;
        let texts = texts.map_err(|failure| failure.running(stream, "the query of the lines", None))?;
        self.collect(&texts).map_err(|problem| SourceError::Shape { stream: stream.to_owned(), problem })
    }

    fn collect(&self, texts: &[String]) -> Result<HashMap<String, LinesOfParent>, ShapeError> {
        let mut by_parent: HashMap<String, Result<Vec<Line>, Problem>> = HashMap::new();
        for text in texts.iter().flat_map(|text| self.dialect.rows(text)) {
            let row = LineRow::split(text, self.selection.has_inexact())?;
            let Some(parent) = row.parent.as_str() else { continue };
            let line = self.line(&row);
            let lines = match by_parent.get_mut(parent) {
                Some(lines) => lines,
                None => by_parent.entry(parent.to_owned()).or_insert_with(|| Ok(Vec::new())),
            };
            match (lines.as_mut(), line) {
                (Ok(lines), Ok(line)) => lines.push(line),
                (Ok(_), Err(problem)) => *lines = Err(problem),
                (Err(_), _) => {}
            }
        }
        Ok(by_parent.into_iter().map(|(parent, lines)| (parent, lines.and_then(|lines| self.sorted(lines)))).collect())
    }

    fn line(&self, row: &LineRow<'_>) -> Result<Line, Problem> {
        let key = match &row.key {
            Key::Integer(digits) => {
                digits.parse().map_or_else(|_| LineKey::Text((*digits).to_owned()), LineKey::Integer)
            }
            Key::Text(text) => LineKey::Text(text.clone().into_owned()),
            Key::Null => {
                return Err(Problem::whole(format!(
                    "a line has no `{}`, by which lines are told apart",
                    self.key_name
                )));
            }
            Key::Unusable(_) => {
                return Err(Problem::whole(format!(
                    "the `{}` of a line is neither an integer nor text",
                    self.key_name
                )));
            }
        };
        Ok(Line { key, body: row.body().into(), inexact: row.inexact().next() })
    }

    fn sorted(&self, mut lines: Vec<Line>) -> LinesOfParent {
        lines.sort_by(|a, b| a.key.cmp(&b.key));
        if let Some(pair) = lines.windows(2).find(|pair| pair[0].key == pair[1].key) {
            let key = pair[0].key.text();
            return Err(Problem::whole(format!("more than one line has the `{}` {key}", self.key_name)));
        }
        if let Some((line, index)) = lines.iter().find_map(|line| Some((line, line.inexact?))) {
            let property = format!("lines[{}].{}", line.key.text(), self.columns[index]);
            return Err(inexact_problem(property));
        }
        Ok(lines.into_iter().map(|line| line.body).collect())
    }
}

impl LineKey {
    fn text(&self) -> String {
        match self {
            Self::Integer(value) => value.to_string(),
            Self::Text(text) => text.clone(),
        }
    }
}

/// The parameters that [`Dialect::one_of`] asks for.
pub(super) fn key_list(dialect: Dialect, keys: &[&Key<'_>]) -> Vec<Bind> {
    let usable = keys.iter().filter_map(|key| Some((key, key.as_str()?)));
    if dialect == Dialect::MySql {
        return usable.map(|(_, text)| Bind::Text(text.to_owned())).collect();
    }
    let mut list = String::from("[");
    for (key, text) in usable {
        if list.len() > 1 {
            list.push(',');
        }
        match key {
            Key::Integer(digits) => list.push_str(digits),
            _ => list.push_str(&serde_json::Value::from(text).to_string()),
        }
    }
    list.push(']');
    vec![Bind::Text(list)]
}
