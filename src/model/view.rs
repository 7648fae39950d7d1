//! What people ask of the ledger, and what it answers.

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

/// Rows of a view.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Table {
    /// The names of the columns.
    pub columns: Vec<String>,
    /// The values as text; `None` is null.
    pub rows: Vec<Vec<Option<String>>>,
}
