//! A row as BC answers it.

use crate::model::Value;

/// One row of an entity set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its id (GUID).
    pub id: String,
    /// Its etag; empty when BC gave none.
    pub etag: String,
    fields: Value,
}

impl Row {
    /// Reads a row; `None` when `fields` is not an object with an id.
    #[must_use]
    pub fn from_value(fields: Value) -> Option<Self> {
        let text = |name| fields.get(name).and_then(Value::as_str).map(ToOwned::to_owned);
        Some(Self { id: text("id")?, etag: text("@odata.etag").unwrap_or_default(), fields })
    }

    /// Reads a row from JSON text.
    #[must_use]
    pub fn parse(json: &str) -> Option<Self> {
        Self::from_value(Value::parse(json).ok()?)
    }

    /// The property `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.fields.get(name)
    }

    /// The property `name` as text; empty when there is none.
    #[must_use]
    pub fn text(&self, name: &str) -> &str {
        self.fields.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    /// The rows nested under `navigation`, as `$expand` gives them.
    #[must_use]
    pub fn nested(&self, navigation: &str) -> Vec<Self> {
        match self.fields.get(navigation) {
            Some(Value::List(rows)) => rows.iter().cloned().filter_map(Self::from_value).collect(),
            _ => Vec::new(),
        }
    }
}
