//! What a read hands over: pages of records, rows that cannot be records, and how far the read came.

use crate::model::{Problem, Record};

/// Where a read begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// Read everything.
    Full,
    /// Read what changed since this cursor, which an earlier read handed out. For a stream without a cursor column this
    /// is the same as [`Start::Full`].
    Since(String),
}

/// A row that cannot be a record. It is to be quarantined, not skipped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reject {
    /// The key as text; `None` when the row has none.
    pub key: Option<String>,
    /// The fields: a JSON array in the order of the stream's columns.
    pub body: String,
    /// Why it cannot be a record, and what to do.
    pub problem: Problem,
}

/// Some hundred records, as read together.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// The records, each key at most once.
    pub records: Vec<Record>,
    /// Rows that cannot be records. No key occurs both here and in `records`.
    pub rejects: Vec<Reject>,
    /// The cursor that may be stored together with this page; `None` when the cursor must stay where it is.
    pub checkpoint: Option<String>,
}

/// How far a read came.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReadSummary {
    /// Rows whose cursor is null, or does not sort with that of the others. Only full reads are sure to see them, so only
    /// theirs is the whole number.
    pub null_cursors: u64,
    /// The greatest cursor value seen so far, as the source wrote it; at least the one that the read began with.
    pub max_cursor: Option<String>,
    /// Whether the source was read to its end. Deletes may be concluded from a complete full read only.
    pub complete: bool,
    /// Where the next incremental read begins; `None` until this read is complete, or without a cursor.
    pub next_cursor: Option<String>,
}
