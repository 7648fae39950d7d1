//! After the ledger was restored from a backup: what it says of a row may be older than what we wrote there, and requests
//! that it knows nothing of may still take effect.
//!
//! A row whose etag is as in its link is as the link says. In any other one nobody can tell our own newer values from
//! those of people: `on_conflict` decides about all that differ, and where Business Central would win, a person is asked.
//! What is sent is guarded by the etag, or by a key that BC enforces. Where nothing is to be sent, and where a row is to be
//! made that BC would make twice, those requests are waited for.

use chrono::{DateTime, TimeDelta, Utc};

use super::Applier;
use super::candidate::Candidate;
use super::compare;
use super::operation::Prepared;
use crate::bc::Row;
use crate::ledger::{FieldChange, Link, SettledLink};
use crate::model::{Mode, OnConflict, Outcome, RecordState, Snapshot, Take};

impl Applier<'_> {
    /// A linked row that was read because its link is doubtful.
    pub(super) fn compare_doubtful(&self, candidate: &Candidate, link: &Link, row: &Row) -> Prepared {
        self.unless_it_may_change(candidate, self.compare_old_link(candidate, link, row))
    }

    /// `prepared`, unless it takes the record's row for what it is now, and that may still be changed by a request that was
    /// lost with the newer ledger.
    pub(super) fn unless_it_may_change(&self, candidate: &Candidate, mut prepared: Prepared) -> Prepared {
        let is_done = prepared.settlement().is_some_and(|settlement| settlement.link.is_some());
        match self.may_be_on_its_way("change").filter(|_| is_done) {
            Some(reason) => candidate.left(RecordState::Pending, reason),
            None => prepared,
        }
    }

    fn compare_old_link(&self, candidate: &Candidate, link: &Link, row: &Row) -> Prepared {
        if row.etag == link.etag {
            return self.compare(candidate, link, row);
        }
        let wanted = &candidate.resolved;
        let changes = compare::differing(&self.job, &wanted.properties, row);
        let same_lines = candidate.has_same_lines(&self.job, row);
        let source_wins =
            self.job.mode == Mode::CreateOnly || candidate.policy(self.job.on_conflict, row) == OnConflict::SourceWins;
        if source_wins || (changes.is_empty() && same_lines) {
            return self.compare(candidate, &link.unknown(), row);
        }
        let mut held: Vec<_> = changes
            .into_iter()
            .map(|change| FieldChange { property: change.name, old: change.old, new: Some(change.new) })
            .collect();
        if !same_lines {
            held.push(FieldChange { property: "lines".to_owned(), old: None, new: None });
        }
        if candidate.row.decision != Some(Take::Bc) {
            return candidate.conflict(&self.job.name, held, row);
        }
        // What differs has no answer of BC to what was sent: it is somebody else's.
        let mut snapshot = Snapshot { sent: wanted.properties.clone(), ..Snapshot::default() };
        snapshot.answered = compare::answered(&snapshot.sent, row);
        snapshot.answered.retain(|(name, _)| held.iter().all(|field| field.property != *name));
        snapshot.seen_with = compare::seen_with(&self.job, row);
        snapshot.lines = match self.lines_found(candidate, &link.snapshot.lines, compare::sorted_lines(&self.job, row))
        {
            Ok(lines) => lines,
            Err(unclear) => return candidate.left(RecordState::Quarantined, unclear),
        };
        let link = candidate.link_to(row, row.text(self.job.number_property()), snapshot);
        candidate.settled(Outcome::Updated, SettledLink::Current(link), Some(candidate.kept()))
    }

    /// Why no row is made whose key BC does not enforce: a create that was lost with the newer ledger may still make it.
    pub(super) fn create_may_be_on_its_way(&self) -> Option<String> {
        if self.job.key_is_enforced() { None } else { self.may_be_on_its_way("make") }
    }

    /// Why nothing is concluded from how a row is now: a request that was lost with the newer ledger may still do this to it.
    fn may_be_on_its_way(&self, does: &str) -> Option<String> {
        let restored_at = self.job.restored_at?;
        let window = TimeDelta::from_std(self.job.settle_window).unwrap_or(TimeDelta::MAX);
        let until = restored_at.checked_add_signed(window).unwrap_or(DateTime::<Utc>::MAX_UTC);
        (self.ledger.time() < until).then(|| {
            format!(
                "the ledger was restored from a backup, and a request that it knows nothing of may still {does} this row \
                 until {}",
                crate::clock::iso(until)
            )
        })
    }
}
