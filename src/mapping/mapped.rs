//! The compiled mapping, and what it makes of a record.

use std::sync::Arc;

use super::convert::NullIs;
use super::expression::Expression;
use super::filters::Settings;
use super::lines::Lines;
use super::row::Row;
use super::spec::{ColumnUse, CompileError, NameUse};
use super::target::Target;
use crate::model::{Draft, Fingerprint, Problem, Property, Value};
use crate::schema::{Locale, PropertySchema, closest, is_blank, normalise};

/// A compiled mapping. Cheap to use, meant to be shared by all records of a job.
#[derive(Debug)]
pub struct Mapping {
    pub(super) properties: Vec<Target>,
    pub(super) create_only: Vec<Target>,
    pub(super) condition: Option<Expression>,
    pub(super) lines: Option<Lines>,
    /// The total, and the normal form that it is brought into.
    pub(super) total: Option<(PropertySchema, Expression)>,
    pub(super) match_on: Vec<String>,
    /// The columns that computed expressions read; those of the condition apart, where null is something else.
    pub(super) computed: Arc<[String]>,
    pub(super) condition_computed: Arc<[String]>,
    pub(super) settings: Arc<Settings>,
    pub(super) fingerprint: Fingerprint,
    pub(super) columns: Vec<ColumnUse>,
    pub(super) line_columns: Vec<ColumnUse>,
    pub(super) jobs: Vec<NameUse>,
    pub(super) lookups: Vec<NameUse>,
}

/// What mapping depends on beside the record.
#[derive(Debug, Clone, Default)]
pub struct MapContext {
    /// The code of the company's local currency, which BC stores as blank.
    pub local_currency: Option<String>,
}

/// What became of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mapped {
    /// What BC is to hold.
    Draft(Draft),
    /// The record does not take part: its `where` is false.
    Filtered,
    /// Everything that keeps the record from BC.
    Problems(Vec<Problem>),
}

impl Mapping {
    /// The hash of the mapping: another one means that every record has to be mapped again. It covers the expressions,
    /// the tables that they use, the time zone, and the version of the normal forms.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// The columns that the mapping reads, with their places, in the order of the configuration.
    #[must_use]
    pub fn columns(&self) -> &[ColumnUse] {
        &self.columns
    }

    /// The columns of lines that the mapping reads.
    #[must_use]
    pub fn line_columns(&self) -> &[ColumnUse] {
        &self.line_columns
    }

    /// The jobs that `link(...)` names.
    #[must_use]
    pub fn jobs(&self) -> &[NameUse] {
        &self.jobs
    }

    /// The entity sets that `lookup(...)` names.
    #[must_use]
    pub fn lookups(&self) -> &[NameUse] {
        &self.lookups
    }

    /// Compares with the columns that a source really has.
    #[must_use]
    pub fn check_columns(&self, columns: &[String], line_columns: &[String]) -> Vec<CompileError> {
        let unknown = |used: &[ColumnUse], known: &[String], what: &str| {
            let missing = used.iter().filter(|column| !known.contains(&column.name));
            let error = |column: &ColumnUse| {
                let meant = closest(&column.name, known.iter().map(String::as_str));
                CompileError {
                    place: column.place.clone(),
                    range: Some(column.range.clone()),
                    message: format!("{what} no column `{}`", column.name),
                    hint: Some(match meant {
                        Some(name) => format!("did you mean `{name}`?"),
                        None => format!("there are {}", known.join(", ")),
                    }),
                }
            };
            missing.map(error).collect::<Vec<_>>()
        };
        let mut errors = unknown(&self.columns, columns, "the source has");
        errors.extend(unknown(&self.line_columns, line_columns, "the lines have"));
        errors
    }

    /// Maps the fields of one record.
    #[must_use]
    pub fn map(&self, fields: &Value, context: &MapContext) -> Mapped {
        match self.takes_part(fields) {
            Ok(true) => {}
            Ok(false) => return Mapped::Filtered,
            Err(message) => return Mapped::Problems(vec![Problem::of("where", message)]),
        }
        let row = Row::new(fields, &self.computed, &self.settings, NullIs::Undefined);
        let locale = Locale { local_currency: context.local_currency.as_deref(), timezone: self.settings.timezone };
        let mut problems = Vec::new();
        let mut properties = |targets: &[Target]| -> Vec<Property> {
            let mapped = targets.iter().map(|target| target.property(&row, &locale));
            mapped.filter_map(|property| property.map_err(|problem| problems.push(problem)).ok()).collect()
        };
        let mut draft = Draft {
            properties: properties(&self.properties),
            create_only: properties(&self.create_only),
            ..Draft::default()
        };
        if let Some(lines) = &self.lines {
            match lines.map(&row, &self.settings, &locale) {
                Ok(lines) => draft.lines = Some(lines),
                Err(found) => problems.extend(found),
            }
        }
        if let Some((schema, expression)) = &self.total {
            let total = expression.evaluate(&row).map_err(|message| Problem::of(&schema.name, message));
            match total.and_then(|value| normalise(schema, value, &locale)) {
                Ok(total) => draft.total = Some(total),
                Err(problem) => problems.push(problem),
            }
        }
        for name in &self.match_on {
            if draft.literal(name).is_some_and(is_blank) {
                problems.push(Problem::of(name, "it is blank, but rows are matched on it"));
            }
        }
        if problems.is_empty() { Mapped::Draft(draft) } else { Mapped::Problems(problems) }
    }

    fn takes_part(&self, fields: &Value) -> Result<bool, String> {
        let Some(condition) = &self.condition else { return Ok(true) };
        let row = Row::new(fields, &self.condition_computed, &self.settings, NullIs::None);
        match condition.evaluate(&row)? {
            Value::Bool(truth) => Ok(truth),
            // As in SQL, a condition on something unknown does not hold. Some databases have 0 and 1 for booleans.
            Value::Null | Value::Int(0) => Ok(false),
            Value::Int(1) => Ok(true),
            other => Err(format!("it is {}, but true or false is needed", other.kind())),
        }
    }
}

/// The value by which a draft's row is found in BC: the canonical text of its `match_on` properties, of several as a
/// JSON array. `None` when one of them is blank or not in the draft.
#[must_use]
pub fn match_value(draft: &Draft, match_on: &[String]) -> Option<String> {
    let value = |name: &String| draft.literal(name).filter(|value| !is_blank(value)).cloned();
    let mut values: Vec<Value> = match_on.iter().map(value).collect::<Option<_>>()?;
    match values.len() {
        0 => None,
        1 => values.pop().map(|value| match value {
            Value::Str(text) => text,
            other => other.to_json(),
        }),
        _ => Some(Value::List(values).to_json()),
    }
}
