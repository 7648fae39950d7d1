//! A row of the outbox whose references are resolved, on its way to a write or a settlement.

use super::operation::Prepared;
use super::round::Note;
use crate::bc::Row;
use crate::ledger::{Link, LinkUpdate, OutboxRow, Reason, SettledLink, Settlement};
use crate::model::{Outcome, RecordState, Resolved, Snapshot};

/// A row whose references are resolved.
pub(super) struct Candidate {
    pub(super) row: OutboxRow,
    pub(super) resolved: Resolved,
    pub(super) link: Option<Link>,
    pub(super) note: Note,
}

impl Candidate {
    pub(super) fn settled(&self, outcome: Outcome, link: SettledLink, reason: Option<Reason>) -> Prepared {
        let settlement = Settlement::done(&self.row.key, self.row.fingerprint, outcome, link);
        Prepared::Settled(Box::new(Settlement { reason, ..settlement }))
    }

    pub(super) fn gone(&self, link: SettledLink, reason: Reason) -> Prepared {
        let settlement = Settlement::done(&self.row.key, self.row.fingerprint, Outcome::Closed, link);
        Prepared::Gone(Box::new(Settlement { reason: Some(reason), ..settlement }))
    }

    pub(super) fn left(&self, state: RecordState, reason: impl Into<String>) -> Prepared {
        let reason = Reason::new(reason);
        Prepared::Settled(Box::new(Settlement::left(&self.row.key, self.row.fingerprint, state, reason)))
    }

    /// The link as it is, for this version of the record.
    pub(super) fn link_as_it_is(&self, link: &Link) -> LinkUpdate {
        LinkUpdate {
            bc_id: link.bc_id.clone(),
            number: link.number.clone(),
            etag: link.etag.clone(),
            draft: self.row.draft.fingerprint(),
            match_value: self.row.match_value.clone(),
            snapshot: link.snapshot.clone(),
        }
    }

    /// The link as it will be when BC holds what is wanted.
    pub(super) fn link_to(&self, row: &Row, number: &str, snapshot: Snapshot) -> LinkUpdate {
        LinkUpdate {
            bc_id: row.id.clone(),
            number: number.to_owned(),
            etag: row.etag.clone(),
            draft: self.row.draft.fingerprint(),
            match_value: self.row.match_value.clone(),
            snapshot,
        }
    }
}
