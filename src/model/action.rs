//! What has to be done in Business Central for one record, as data.

use super::{Value, Values};

/// One property that is to change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PropertyChange {
    /// The name in BC's API.
    pub name: String,
    /// What we sent last; `None` when we never sent it.
    pub old: Option<Value>,
    /// What is sent now.
    pub new: Value,
}

/// One line of a document that is to be created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewLine {
    /// The source's key of the line.
    pub key: String,
    /// The sequence allocated for it.
    pub sequence: i64,
    /// All its properties.
    pub properties: Values,
}

/// One line of a document that is to change. Lines that we never wrote do not occur here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LineChange {
    /// A line that BC does not have yet.
    Add(NewLine),
    /// A line of ours whose properties differ from what we sent.
    Change {
        /// The source's key of the line.
        key: String,
        /// Its sequence in BC.
        sequence: i64,
        /// What differs.
        changes: Vec<PropertyChange>,
        /// All that it is to hold.
        properties: Values,
    },
    /// A line of ours that the source no longer has.
    Remove {
        /// The source's key of the line.
        key: String,
        /// Its sequence in BC.
        sequence: i64,
    },
}

/// A change of an existing document together with its lines.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OrderChange {
    /// Properties of the header.
    pub header: Vec<PropertyChange>,
    /// Lines, in the order of their sequences.
    pub lines: Vec<LineChange>,
}

/// A row that is to be created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRow {
    /// The properties, in the order in which they are sent.
    pub properties: Values,
    /// The lines of a deep insert.
    pub lines: Option<Vec<NewLine>>,
}

/// What has to be done for one record that is linked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Change these properties.
    Update(Vec<PropertyChange>),
    /// Change a document and its lines as one unit.
    UpdateOrder(OrderChange),
    /// BC holds what we want.
    None,
}
