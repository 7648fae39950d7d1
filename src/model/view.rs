//! What people ask of the ledger, and what it answers.

use std::borrow::Cow;

/// A view that answers what people ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// Where each job stands.
    JobStatus,
    /// Every pass.
    SyncHistory,
    /// Records that a person must look at.
    FailedRecords,
    /// Everything that is not in BC yet.
    PendingRecords,
    /// Which property changed.
    FieldChanges,
}

/// One value of a view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cell {
    /// Nothing.
    Null,
    /// A count.
    Integer(i64),
    /// Anything else.
    Text(String),
}

impl Cell {
    /// As it is shown to people; nothing is empty.
    #[must_use]
    pub fn text(&self) -> Cow<'_, str> {
        match self {
            Self::Null => Cow::Borrowed(""),
            Self::Integer(count) => Cow::Owned(count.to_string()),
            Self::Text(text) => Cow::Borrowed(text),
        }
    }
}

/// Rows of a view.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Table {
    /// The names of the columns.
    pub columns: Vec<String>,
    /// The values.
    pub rows: Vec<Vec<Cell>>,
}
