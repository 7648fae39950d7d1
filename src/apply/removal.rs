//! Rows whose records the source has lost: deleted or blocked, as the job says.
//!
//! Such a row is read before anything is sent: it may be gone or blocked already, a person may have worked on it, and a
//! document may be locked.

use std::sync::Mutex;

use super::Applier;
use super::candidate::Candidate;
use super::compare;
use super::error::ApplyError;
use super::operation::{Prepared, What, Write, field_changes};
use super::round::{Round, lock};
use crate::bc::Row;
use crate::ledger::{Link, Reason, SettledLink};
use crate::model::{OnConflict, Outcome, PropertyChange, RecordState, Removal, Take, Value};

impl Applier<'_> {
    /// Prepares the removal of the rows of `lost`.
    pub(super) async fn prepare_removals(
        &self,
        lost: Vec<(Candidate, Removal)>,
        round: &Mutex<Round>,
        prepared: &mut Vec<Prepared>,
    ) -> Result<(), ApplyError> {
        let rows = self.rows_by_id(lost.iter().filter_map(|(candidate, _)| candidate.link.as_ref())).await?;
        for (candidate, removal) in &lost {
            let Some(link) = &candidate.link else { continue };
            let next = match (removal, rows.get(&link.bc_id)) {
                (_, Some(row)) if lock(round).has_moved_on(&candidate.row.key, &row.etag) => continue,
                (Removal::Delete, Some(row)) => self.delete(candidate, link, row),
                (Removal::Block, Some(row)) => self.block(candidate, link, row),
                (Removal::Delete, None) => {
                    let link = SettledLink::Removed(candidate.link_as_it_is(link));
                    candidate.gone(Outcome::Deleted, link, Reason::new("Business Central no longer had the row"), None)
                }
                (Removal::Block, None) => {
                    let link = SettledLink::Closed(candidate.link_as_it_is(link));
                    let reason = "neither the source nor Business Central has it any more";
                    candidate.gone(Outcome::Closed, link, Reason::new(reason), None)
                }
            };
            prepared.push(next);
        }
        Ok(())
    }

    fn delete(&self, candidate: &Candidate, link: &Link, row: &Row) -> Prepared {
        let touched = compare::touched(&self.job, &link.snapshot, row);
        let policy = candidate.policy(self.job.on_conflict, row);
        let is_to_stay = candidate.row.decision == Some(Take::Bc);
        if is_to_stay || (policy == OnConflict::BcWins && !touched.is_empty()) {
            let link = SettledLink::Current(candidate.link_as_it_is(link));
            return candidate.settled(Outcome::Updated, link, Some(candidate.kept()));
        }
        if let Some(locked) = self.lock_of(&candidate.row, row) {
            return Prepared::Settled(Box::new(locked));
        }
        if policy == OnConflict::Hold && !touched.is_empty() {
            return candidate.conflict(&self.job.name, touched, row);
        }
        let what = What::Delete { bc_id: row.id.clone(), number: link.number.clone(), etag: row.etag.clone() };
        Prepared::Write(Box::new(Write::new(&candidate.row, what, link.snapshot.clone(), Vec::new())))
    }

    /// Blocks the row; what it held before is kept, to be put back when the source has the record again.
    fn block(&self, candidate: &Candidate, link: &Link, row: &Row) -> Prepared {
        let Some((name, value)) = &self.job.schema.block else {
            return candidate.left(RecordState::Quarantined, "rows of this entity cannot be blocked");
        };
        let held = row.get(name);
        if self.job.same(name, value, held) {
            let link = SettledLink::Current(candidate.link_as_it_is(link));
            return self.unless_it_may_change(candidate, candidate.settled(Outcome::Equal, link, None));
        }
        let blocked = ((*name).to_owned(), value.clone());
        let mut snapshot = link.snapshot.clone();
        snapshot.sent.retain(|(known, _)| known != name);
        snapshot.sent.push(blocked.clone());
        snapshot.answered = compare::answered(&snapshot.sent, row);
        snapshot.put_back = vec![((*name).to_owned(), held.cloned().unwrap_or(Value::Null))];
        let change = PropertyChange { name: (*name).to_owned(), old: held.cloned(), new: value.clone() };
        let what =
            What::Update { bc_id: row.id.clone(), etag: row.etag.clone(), properties: vec![blocked], adopts: false };
        Prepared::Write(Box::new(Write::new(&candidate.row, what, snapshot, field_changes(&[change]))))
    }
}
