//! The lines of a document, each with the source's key.

use std::collections::HashSet;
use std::sync::Arc;

use super::convert::NullIs;
use super::filters::Settings;
use super::row::{Found, Row};
use super::target::{Target, key_text};
use crate::model::{DraftLine, Problem, Value};
use crate::schema::Locale;

/// How the lines of a record are mapped.
#[derive(Debug)]
pub(super) struct Lines {
    /// Where the record holds them.
    pub(super) path: Vec<String>,
    /// The column of a line that is its key.
    pub(super) key: String,
    /// The properties in sending order.
    pub(super) targets: Vec<Target>,
    /// The columns of a line that computed expressions read.
    pub(super) computed: Arc<[String]>,
}

impl Lines {
    /// The lines of `record`, or all that is wrong with them.
    pub(super) fn map(
        &self,
        record: &Row<'_>,
        settings: &Arc<Settings>,
        locale: &Locale<'_>,
    ) -> Result<Vec<DraftLine>, Vec<Problem>> {
        let place = self.path.join(".");
        let items = match record.find(&self.path) {
            Found::Value(Value::List(items)) => items.as_slice(),
            Found::Null => &[],
            Found::Missing => return Err(vec![Problem::of(place, "the record has no such list of lines")]),
            Found::Value(other) => {
                return Err(vec![Problem::of(place, format!("it is {}, but a list of lines is needed", other.kind()))]);
            }
        };
        let mut lines = Vec::with_capacity(items.len());
        let mut problems = Vec::new();
        let mut keys = HashSet::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let key = match self.key(item) {
                Ok(key) => key,
                Err(message) => {
                    problems.push(Problem::of(&place, format!("line {} of the record: {message}", index + 1)));
                    continue;
                }
            };
            if !keys.insert(key.clone()) {
                problems.push(Problem::of(format!("lines[{key}]"), "two lines of the record have this key"));
                continue;
            }
            let row = Row::new(item, &self.computed, settings, NullIs::Undefined);
            let mut properties = Vec::with_capacity(self.targets.len());
            for target in &self.targets {
                match target.property(&row, locale) {
                    Ok(property) => properties.push(property),
                    Err(problem) => problems.push(in_line(&key, problem)),
                }
            }
            lines.push(DraftLine { key, properties });
        }
        if problems.is_empty() { Ok(lines) } else { Err(problems) }
    }

    fn key(&self, line: &Value) -> Result<String, String> {
        if !matches!(line, Value::Map(_)) {
            return Err(format!("it is {}, but an object is needed", line.kind()));
        }
        match line.get(&self.key) {
            None => Err(format!("its key `{}` is missing", self.key)),
            Some(value) => key_text(value)
                .map_err(|message| format!("its key `{}`: {message}", self.key))?
                .ok_or_else(|| format!("its key `{}` is blank", self.key)),
        }
    }
}

fn in_line(key: &str, problem: Problem) -> Problem {
    let property = problem.property.map_or_else(|| format!("lines[{key}]"), |name| format!("lines[{key}].{name}"));
    Problem::of(property, problem.message)
}
