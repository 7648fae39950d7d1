//! Documents that BC lets nobody change for now: released, in review, or already shipped or invoiced in part.
//!
//! Nothing of such a change is sent. A locked document is read again after a while, at most once a run and all of them
//! in one look-up; the while grows with the time that it has been locked.

use std::time::Duration;

use super::Applier;
use crate::bc::Row;
use crate::ledger::{OutboxRow, Reason, Settlement};
use crate::model::RecordState;

/// The longest time between two looks at a locked document.
const LONGEST: Duration = Duration::from_hours(1);

/// The state in which BC lets a document be changed; the API calls it so although BC itself says "Open".
const CHANGEABLE: &str = "Draft";

impl Applier<'_> {
    /// What keeps the document `row` from being changed, if something does.
    pub(super) fn lock_of(&self, outbox: &OutboxRow, row: &Row) -> Option<Settlement> {
        let status = row.text("status");
        if !self.job.schema.document || status.is_empty() || status == CHANGEABLE {
            return None;
        }
        let status = status.replace("_x0020_", " ");
        let reason = format!(
            "the document is released or in review in Business Central (status {status}); it is written when it is \
             reopened"
        );
        Some(self.locked(outbox, Reason::new(reason)))
    }

    /// The settlement of a record that BC locks: it has been for as long as its row in the outbox says.
    pub(super) fn locked(&self, outbox: &OutboxRow, reason: Reason) -> Settlement {
        let so_far = match outbox.state {
            RecordState::Locked => (self.ledger.time() - outbox.changed_at).to_std().unwrap_or_default(),
            _ => Duration::ZERO,
        };
        let mut settlement = Settlement::left(&outbox.key, outbox.fingerprint, RecordState::Locked, reason);
        settlement.next.retry_after = Some(so_far.clamp(self.retry.initial.min(LONGEST), LONGEST));
        settlement
    }
}
