//! One property of a draft: its schema, and what it is to become.

use super::expression::Expression;
use super::row::Row;
use crate::model::{DraftValue, Problem, Property, Reference, Value};
use crate::schema::{EMPTY_GUID, Locale, PropertySchema, Rule, is_blank, normalise};

/// A property that is mapped.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) schema: PropertySchema,
    pub(super) wanted: Wanted,
}

/// What a property is to become.
#[derive(Debug)]
pub(super) enum Wanted {
    /// A value.
    Value(Expression),
    /// The row that a record of another job is linked to.
    Link { job: String, key: Expression },
    /// The row of an entity set with a code; `code` is the property that holds it there.
    Lookup { set: String, code: PropertySchema, key: Expression },
}

impl Wanted {
    /// The expression that is evaluated for it.
    pub(super) fn expression(&self) -> &Expression {
        match self {
            Self::Value(expression) | Self::Link { key: expression, .. } | Self::Lookup { key: expression, .. } => {
                expression
            }
        }
    }
}

impl Target {
    /// The property for `row`, or why there is none.
    pub(super) fn property(&self, row: &Row<'_>, locale: &Locale<'_>) -> Result<Property, Problem> {
        let fail = |message: String| Problem::of(&self.schema.name, message);
        let value = self.wanted.expression().evaluate(row).map_err(fail)?;
        let value = match &self.wanted {
            Wanted::Value(_) => DraftValue::Value(normalise(&self.schema, value, locale)?),
            Wanted::Link { job, .. } => match key_text(&value).map_err(fail)? {
                Some(key) => DraftValue::Reference(Reference::Link { job: job.clone(), key }),
                None => self.no_row()?,
            },
            Wanted::Lookup { .. } if is_blank(&value) => self.no_row()?,
            Wanted::Lookup { set, code, .. } => {
                let code = normalise(code, value, locale)
                    .map_err(|problem| fail(format!("the code to look up in {set}: {}", problem.message)))?;
                // A code is a text once it is normal.
                let code = code.as_str().unwrap_or_default().to_owned();
                DraftValue::Reference(Reference::Lookup { set: set.clone(), code })
            }
        };
        Ok(Property { name: self.schema.name.clone(), value })
    }

    /// What stands for "no row".
    fn no_row(&self) -> Result<DraftValue, Problem> {
        if self.schema.rule == Some(Rule::Filled) {
            return Err(Problem::of(
                &self.schema.name,
                "the key of the row it refers to is blank, but a row is needed",
            ));
        }
        Ok(DraftValue::Value(Value::from(EMPTY_GUID)))
    }
}

/// A key as text, as sources give it: a text as it is, a whole number in digits; `None` when it is blank.
pub(super) fn key_text(value: &Value) -> Result<Option<String>, String> {
    match value {
        _ if is_blank(value) => Ok(None),
        Value::Str(text) => Ok(Some(text.clone())),
        Value::Int(whole) => Ok(Some(whole.to_string())),
        Value::Dec(exact) if exact.is_integer() => Ok(Some(exact.normalize().to_string())),
        Value::Big(digits) => Ok(Some(digits.clone())),
        _ => Err(format!("it is {}, but a key is a text or a whole number", value.kind())),
    }
}
