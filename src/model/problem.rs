//! Something about one record that keeps it from Business Central, in words for the person who must mend it.

use std::fmt;

/// One problem of one record. Names the property, the limit and the length of a value, never the value itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The BC property or source column concerned, when there is one; a line's as `lines[3].quantity`.
    pub property: Option<String>,
    /// What is wrong, and what would be right.
    pub message: String,
}

impl Problem {
    /// A problem of the property or column `property`.
    pub fn of(property: impl Into<String>, message: impl Into<String>) -> Self {
        Self { property: Some(property.into()), message: message.into() }
    }

    /// A problem of the record as a whole.
    pub fn whole(message: impl Into<String>) -> Self {
        Self { property: None, message: message.into() }
    }

    /// All `problems` in one line.
    #[must_use]
    pub fn join(problems: &[Self]) -> String {
        problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.property {
            Some(property) => write!(formatter, "{property}: {}", self.message),
            None => formatter.write_str(&self.message),
        }
    }
}
