//! One record, or one line of it, as expressions see it.

use std::cell::OnceCell;
use std::sync::Arc;

use super::convert::{NullIs, TooPrecise, into_engine};
use super::filters::{SETTINGS, Settings};
use crate::model::Value;

/// The values that expressions read.
pub(super) struct Row<'a> {
    fields: &'a Value,
    /// The columns that computed expressions read; others are never converted.
    computed: &'a Arc<[String]>,
    settings: &'a Arc<Settings>,
    null: NullIs,
    scope: OnceCell<Arc<Scope>>,
}

/// What a path leads to.
pub(super) enum Found<'a> {
    Value(&'a Value),
    Null,
    Missing,
}

impl<'a> Row<'a> {
    pub(super) fn new(
        fields: &'a Value,
        computed: &'a Arc<[String]>,
        settings: &'a Arc<Settings>,
        null: NullIs,
    ) -> Self {
        Self { fields, computed, settings, null, scope: OnceCell::new() }
    }

    /// What `path` leads to; what is inside null is null.
    pub(super) fn find(&self, path: &[String]) -> Found<'a> {
        let mut value = self.fields;
        for name in path {
            value = match value {
                Value::Null => return Found::Null,
                _ => match value.get(name) {
                    Some(value) => value,
                    None => return Found::Missing,
                },
            };
        }
        if matches!(value, Value::Null) { Found::Null } else { Found::Value(value) }
    }

    /// The converted columns, made when the first expression of this row asks for them.
    pub(super) fn scope(&self) -> &Arc<Scope> {
        self.scope.get_or_init(|| {
            let convert = |name: &String| match self.fields.get(name) {
                Some(value) => into_engine(value, self.null),
                None => Ok(minijinja::Value::UNDEFINED),
            };
            Arc::new(Scope {
                names: Arc::clone(self.computed),
                values: self.computed.iter().map(convert).collect(),
                settings: Arc::clone(self.settings),
            })
        })
    }
}

/// The columns of a row inside the engine.
#[derive(Debug)]
pub(super) struct Scope {
    names: Arc<[String]>,
    values: Vec<Result<minijinja::Value, TooPrecise>>,
    settings: Arc<Settings>,
}

impl Scope {
    /// Whether the column `name` has a number with too many digits.
    pub(super) fn is_too_precise(&self, name: &str) -> bool {
        self.value(name).is_some_and(Result::is_err)
    }

    fn value(&self, name: &str) -> Option<&Result<minijinja::Value, TooPrecise>> {
        let index = self.names.iter().position(|column| column == name)?;
        self.values.get(index)
    }
}

impl minijinja::value::Object for Scope {
    fn get_value(self: &Arc<Self>, key: &minijinja::Value) -> Option<minijinja::Value> {
        self.get_value_by_str(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<minijinja::Value> {
        if key == SETTINGS {
            return Some(minijinja::Value::from_dyn_object(Arc::clone(&self.settings)));
        }
        match (self.value(key), key) {
            (Some(value), _) => value.clone().ok(),
            // `record['Account No.']` names a column that cannot be named otherwise.
            (None, "record") => Some(minijinja::Value::from_dyn_object(Arc::clone(self))),
            (None, _) => None,
        }
    }
}
