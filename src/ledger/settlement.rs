//! What became of a record, as the ledger is told it.

use std::time::Duration;

use super::Reason;
use super::link_write::LinkWrite;
use super::links::{Link, part_applied};
use crate::model::{Fingerprint, Outcome, RecordState, Snapshot, Value};

/// What became of one record.
#[derive(Debug, Clone)]
pub struct Settlement {
    /// The record's key.
    pub key: String,
    /// Of the version that was sent or looked at; a newer one in the outbox stays there.
    pub fingerprint: Fingerprint,
    /// What happened.
    pub outcome: Outcome,
    /// The link as it is now, when there is one.
    pub link: Option<SettledLink>,
    /// Why, for outcomes that are not final.
    pub reason: Option<Reason>,
    /// Which properties changed.
    pub fields: Vec<FieldChange>,
    /// What the history is to say.
    pub history: History,
    /// Whether all intents stay, because the outcome is open. Else those stay that are released, unless the row is known
    /// to have moved on.
    pub open: bool,
    /// What happens next, for outcomes that are not final.
    pub next: Next,
    /// The number of the invoice that a document became.
    pub posted_as: Option<String>,
}

/// What happens next with a record that is left in a state.
#[derive(Debug, Clone, Default)]
pub struct Next {
    /// It is taken up again by itself after so long; `None`: in every run when it is pending or waiting, else never.
    pub retry_after: Option<Duration>,
    /// Something that it refers to is missing: its time of waiting goes on.
    pub waits: bool,
    /// Of a conflict: the row's etag, under which a person may let the source win.
    pub etag: Option<String>,
}

/// Whether a settlement is worth a row of the history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum History {
    /// Yes.
    Always,
    /// Only when state or reason of the record changed by it.
    WhenChanged,
    /// No: it is told of another record, or nothing was concluded.
    Never,
}

/// The new content of a link.
#[derive(Debug, Clone)]
pub struct LinkUpdate {
    /// The row's id in BC.
    pub bc_id: String,
    /// Its number or code.
    pub number: String,
    /// Its etag.
    pub etag: String,
    /// Over the draft that was written.
    pub draft: Fingerprint,
    /// The canonical match value.
    pub match_value: Option<String>,
    /// What we sent, what BC answered.
    pub snapshot: Snapshot,
}

impl From<LinkUpdate> for Link {
    /// The link as it will be, to a row that BC has.
    fn from(update: LinkUpdate) -> Self {
        let LinkUpdate { bc_id, number, etag, draft, match_value, snapshot } = update;
        Self { bc_id, number, etag, closed: false, unexplained: false, doubtful: false, draft, match_value, snapshot }
    }
}

/// What is known of a record's row after the settlement.
#[derive(Debug, Clone)]
pub enum SettledLink {
    /// It is as wanted.
    Current(LinkUpdate),
    /// BC no longer has it by its own doing; it is not written any more.
    Closed(LinkUpdate),
    /// The same, and nobody knows why.
    Unexplained(LinkUpdate),
    /// It was deleted because the source lost its record: what it was. The record is not linked any more.
    Removed(LinkUpdate),
}

/// One property that changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldChange {
    /// Its name; a line's as `lines[KEY].property`.
    pub property: String,
    /// What was there before.
    pub old: Option<Value>,
    /// What was sent.
    pub new: Option<Value>,
}

impl SettledLink {
    /// What the link holds.
    #[must_use]
    pub fn update(&self) -> &LinkUpdate {
        match self {
            Self::Current(update) | Self::Closed(update) | Self::Unexplained(update) | Self::Removed(update) => update,
        }
    }
}

impl Settlement {
    pub(super) fn link_write(&self) -> Option<LinkWrite<'_>> {
        let link = self.link.as_ref()?;
        let state = match link {
            SettledLink::Current(_) => "linked",
            SettledLink::Closed(_) => "closed",
            SettledLink::Unexplained(_) => "unexplained",
            SettledLink::Removed(_) => return None,
        };
        let LinkUpdate { bc_id, number, etag, draft, match_value, snapshot } = link.update();
        // What was not done as a whole equals nothing that will be read: it is looked at again whatever comes.
        let known = |fingerprint: Fingerprint| match self.outcome {
            Outcome::Left(RecordState::Pending) => part_applied(),
            Outcome::Left(_) => Fingerprint::of([]),
            _ => fingerprint,
        };
        Some(LinkWrite {
            key: &self.key,
            fingerprint: known(self.fingerprint).to_string(),
            bc_id,
            number,
            etag,
            state,
            match_value: match_value.as_deref(),
            draft: known(*draft).to_string(),
            snapshot: snapshot.to_json(),
            posted_as: self.posted_as.as_deref(),
            made: self.outcome == Outcome::Created,
        })
    }

    /// The key of a record that is not linked any more.
    pub(super) fn removed(&self) -> Option<&str> {
        matches!(self.link, Some(SettledLink::Removed(_))).then_some(&self.key)
    }

    /// A record whose row is as wanted, or is not written any more; `link` says how it is.
    #[must_use]
    pub fn done(key: &str, fingerprint: Fingerprint, outcome: Outcome, link: SettledLink) -> Self {
        Self {
            key: key.to_owned(),
            fingerprint,
            outcome,
            link: Some(link),
            reason: None,
            fields: Vec::new(),
            history: History::Always,
            open: false,
            next: Next::default(),
            posted_as: None,
        }
    }

    /// A record that is left in a state for `reason`. Its intents go but for released ones, since BC certainly did nothing,
    /// unless the settlement is made `open`.
    #[must_use]
    pub fn left(key: &str, fingerprint: Fingerprint, state: RecordState, reason: Reason) -> Self {
        Self {
            key: key.to_owned(),
            fingerprint,
            outcome: Outcome::Left(state),
            link: None,
            reason: Some(reason),
            fields: Vec::new(),
            history: History::WhenChanged,
            open: false,
            next: Next::default(),
            posted_as: None,
        }
    }
}
