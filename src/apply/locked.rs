//! Documents that BC lets nobody change for now: released, in review, or already shipped or invoiced in part.
//!
//! Nothing of such a change is sent. A document that is shipped or invoiced in part is closed: people work on it. A
//! locked document is read again after a while, at most once a run and all of them in one look-up; the while grows with
//! the time that it has been locked.

use std::time::Duration;

use rust_decimal::Decimal;

use super::Applier;
use super::candidate::Candidate;
use super::compare;
use super::operation::Prepared;
use crate::bc::{BcError, Row};
use crate::ledger::{Link, OutboxRow, Reason, SettledLink, Settlement};
use crate::model::{ErrorClass, Outcome, RecordState, Value};

/// The longest time between two looks at a locked document.
const LONGEST: Duration = Duration::from_hours(1);

/// The state in which BC lets a document be changed; the API calls it so although BC itself says "Open".
const CHANGEABLE: &str = "Draft";

/// Quantities of a line that are above 0 once it is shipped or invoiced.
const PROCESSED: [&str; 2] = ["shippedQuantity", "invoicedQuantity"];

/// Words of refusals for what is shipped or invoiced ("Quantity must not be less than 5" of a line of which 5 are).
const ABOUT_PROCESSING: [&str; 3] = ["shipped", "invoiced", "must not be less than"];

impl Applier<'_> {
    /// The end of a document that BC has shipped or invoiced in part, and that it locks or whose change it refused for
    /// that.
    pub(super) fn processed(
        &self,
        candidate: &Candidate,
        link: &Link,
        row: &Row,
        refusal: Option<&BcError>,
    ) -> Option<Prepared> {
        let is_above_zero = |value: &Value| value.decimal().is_some_and(|quantity| quantity > Decimal::ZERO);
        let is_begun = |line: &Row| PROCESSED.iter().any(|name| line.get(name).is_some_and(is_above_zero));
        let stands_in_the_way = match refusal {
            Some(refusal) => {
                let words = refusal.message.to_ascii_lowercase();
                refusal.class == ErrorClass::Locked || ABOUT_PROCESSING.iter().any(|about| words.contains(about))
            }
            None => self.lock_of(&candidate.row, row).is_some(),
        };
        let is_over = stands_in_the_way && compare::document_lines(&self.job, row).iter().any(is_begun);
        is_over.then(|| {
            let reason =
                "Business Central has shipped or invoiced a part of it; the change in the source is not written";
            let link = SettledLink::Closed(candidate.link_as_it_is(link));
            candidate.settled(Outcome::Closed, link, Some(Reason::new(reason)))
        })
    }

    /// What keeps the document `row` from being changed, as what becomes of its record.
    pub(super) fn kept_by_lock(&self, candidate: &Candidate, row: &Row) -> Option<Prepared> {
        self.lock_of(&candidate.row, row).map(|locked| Prepared::Settled(Box::new(locked)))
    }

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
