//! One write for one record, ready to be sent.

use chrono::{DateTime, Utc};
use tokio::time::Instant;

use super::foreign::Foreign;
use crate::bc::Operation;
use crate::ledger::{FieldChange, IntentKind, LinkUpdate, NewIntent, OutboxRow, SettledLink, Settlement};
use crate::model::{Fingerprint, NewLine, Outcome, PropertyChange, Snapshot, Step, Take, Value, Values};

/// What becomes of a row of the outbox.
pub(super) enum Prepared {
    /// It is sent.
    Write(Box<Write>),
    /// It is settled without sending anything.
    Settled(Box<Settlement>),
    /// Business Central no longer has its row: its link is to be closed, unless that is so of too many.
    Gone(Box<Settlement>),
}

impl Prepared {
    /// What becomes of it without sending anything.
    pub(super) fn settlement(&mut self) -> Option<&mut Settlement> {
        match self {
            Self::Settled(settlement) | Self::Gone(settlement) => Some(settlement),
            Self::Write(_) => None,
        }
    }

    /// What it is in a plan, with key and content of the record; `None` when nothing is to be done.
    pub(super) fn step(&self) -> Option<(Step, &str, Fingerprint)> {
        match self {
            Self::Write(write) => Some((write.step(), &write.key, write.draft)),
            Self::Gone(settlement) => Some((Step::Close, &settlement.key, settlement.fingerprint)),
            Self::Settled(_) => None,
        }
    }
}

/// A record of the outbox with what its write needs.
#[derive(Debug, Clone)]
pub(super) struct Write {
    /// The record's key.
    pub(super) key: String,
    /// Of the outbox row.
    pub(super) fingerprint: Fingerprint,
    /// Of the draft.
    pub(super) draft: Fingerprint,
    /// The canonical match value.
    pub(super) match_value: Option<String>,
    /// The total that must come out.
    pub(super) total: Option<Value>,
    /// Who is right, as a person decided.
    pub(super) decided: Option<Take>,
    /// Since when something that the record refers to has been missing.
    pub(super) waiting_since: Option<DateTime<Utc>>,
    /// What is sent.
    pub(super) what: What,
    /// What the link will hold once BC has done it. `answered` comes with the answer; until then it is what BC holds
    /// before, by which a lost request that was done is told from one that was not.
    pub(super) snapshot: Snapshot,
    /// What the history will say of each property.
    pub(super) fields: Vec<FieldChange>,
    /// What BC's answer will show of somebody else's.
    pub(super) foreign: Foreign,
}

/// The kinds of writes.
#[derive(Debug, Clone)]
pub(super) enum What {
    /// Make a row. Sent only while its absence was proven less than a minute ago.
    Create {
        /// The properties.
        properties: Values,
        /// The lines of a deep insert.
        lines: Option<Vec<NewLine>>,
        /// When the look-up that proved the absence was begun.
        absent_since: Instant,
        /// The match properties it was looked up by, and their values.
        matched: Values,
        /// The customer of a document, by which rows are told apart.
        customer: Option<Value>,
    },
    /// Change properties of a row.
    Update {
        /// The row.
        bc_id: String,
        /// Its etag.
        etag: String,
        /// What is sent.
        properties: Values,
        /// Whether the row becomes linked by this.
        adopts: bool,
    },
    /// Delete a row.
    Delete {
        /// The row.
        bc_id: String,
        /// Its number.
        number: String,
        /// Its etag.
        etag: String,
    },
    /// Change a document and its lines in one transaction.
    Order {
        /// The document.
        bc_id: String,
        /// Its etag.
        etag: String,
        /// The operations: the header first, then lines, then a read-back.
        operations: Vec<Operation>,
        /// Whether more steps follow, so that the outbox row stays.
        partial: bool,
        /// Whether the document becomes linked by this.
        adopts: bool,
        /// When BC changes the lines by this, those that there are before, in order: of ours the sequence.
        before: Vec<Option<i64>>,
    },
}

impl Write {
    /// Begins a write for `row`.
    pub(super) fn new(row: &OutboxRow, what: What, snapshot: Snapshot, fields: Vec<FieldChange>) -> Self {
        Self {
            key: row.key.clone(),
            fingerprint: row.fingerprint,
            draft: row.draft.fingerprint(),
            match_value: row.match_value.clone(),
            total: row.total().cloned(),
            decided: row.decision,
            waiting_since: row.waiting_since,
            what,
            snapshot,
            fields,
            foreign: Foreign::default(),
        }
    }

    /// The intent that is noted before it is sent.
    pub(super) fn intent(&self) -> NewIntent {
        let (kind, bc_id, base_etag) = match &self.what {
            What::Create { .. } => (IntentKind::Create, None, None),
            What::Update { bc_id, etag, .. } => (IntentKind::Update, Some(bc_id.clone()), Some(etag.clone())),
            What::Delete { bc_id, etag, .. } => (IntentKind::Delete, Some(bc_id.clone()), Some(etag.clone())),
            What::Order { bc_id, etag, .. } => (IntentKind::UpdateOrder, Some(bc_id.clone()), Some(etag.clone())),
        };
        let matched = match &self.what {
            What::Create { matched, .. } => matched.clone(),
            What::Update { .. } | What::Delete { .. } | What::Order { .. } => Values::new(),
        };
        NewIntent {
            key: self.key.clone(),
            kind,
            bc_id,
            base_etag,
            fingerprint: self.fingerprint,
            draft: self.draft,
            match_value: self.match_value.clone(),
            matched,
            snapshot: self.snapshot.clone(),
            total: self.total.clone(),
            partial: matches!(self.what, What::Order { partial: true, .. }),
        }
    }

    /// What it is in a plan.
    fn step(&self) -> Step {
        match &self.what {
            What::Create { .. } => Step::Create,
            What::Delete { .. } => Step::Delete,
            What::Update { .. } if self.snapshot.is_blocked() => Step::Delete,
            What::Update { .. } | What::Order { .. } => Step::Update,
        }
    }

    /// What the record's outcome is called when it succeeds.
    pub(super) fn success(&self) -> Outcome {
        match &self.what {
            What::Create { .. } => Outcome::Created,
            What::Update { adopts: true, .. } | What::Order { adopts: true, .. } => Outcome::Adopted,
            What::Update { .. } if self.snapshot.is_blocked() => Outcome::Blocked,
            What::Delete { .. } => Outcome::Deleted,
            What::Update { .. } | What::Order { .. } => Outcome::Updated,
        }
    }

    /// The settlement of a row that BC has deleted; `None` for a write of any other kind.
    pub(super) fn deleted(&self) -> Option<Settlement> {
        let What::Delete { bc_id, number, etag } = &self.what else { return None };
        let link = LinkUpdate {
            bc_id: bc_id.clone(),
            number: number.clone(),
            etag: etag.clone(),
            draft: self.draft,
            match_value: self.match_value.clone(),
            snapshot: self.snapshot.clone(),
        };
        let link = SettledLink::Removed(link);
        Some(Settlement::done(&self.key, self.fingerprint, Outcome::Deleted, link))
    }

    /// How much work it is for BC, in rows written.
    pub(super) fn weight(&self) -> usize {
        match &self.what {
            What::Create { lines, .. } => 1 + lines.as_ref().map_or(0, Vec::len),
            What::Update { .. } | What::Delete { .. } => 1,
            What::Order { operations, .. } => operations.len(),
        }
    }
}

/// `values` as a JSON object, in their order.
pub(super) fn object(values: &[(String, Value)]) -> Value {
    Value::Map(values.to_vec())
}

/// `changes` as the history tells them.
pub(super) fn field_changes(changes: &[PropertyChange]) -> Vec<FieldChange> {
    let field = |change: &PropertyChange| FieldChange {
        property: change.name.clone(),
        old: change.old.clone(),
        new: Some(change.new.clone()),
    };
    changes.iter().map(field).collect()
}
