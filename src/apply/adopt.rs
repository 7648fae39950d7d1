//! Rows that BC has and that we did not make: linked, brought up to date or left alone, by policy.

use std::sync::Mutex;

use super::Applier;
use super::candidate::Candidate;
use super::compare;
use super::error::ApplyError;
use super::operation::{Prepared, What, Write, field_changes};
use super::reasons::NEVER_CHANGED;
use super::round::{Again, Round, lock};
use crate::bc::Row;
use crate::diff;
use crate::ledger::{Link, LinkUpdate, Reason, SettledLink};
use crate::model::{
    Action, Adopt, Fingerprint, LinkedLine, Mode, OrderChange, Outcome, RecordState, ResolvedLine, Snapshot, Value,
    Values,
};

/// Instead of a draft, in the link to a row that holds none of ours.
fn no_draft() -> Fingerprint {
    Fingerprint::of(["none"])
}

impl Applier<'_> {
    /// A row that BC has and that no link knows: adopted by policy, unless it belongs to another record. `None` when a
    /// create of ours that was lost has made it after all: then it is ours, whatever the policy says of rows that are not,
    /// and the next round links it.
    pub(super) async fn found(
        &self,
        candidate: &Candidate,
        row: &Row,
        round: &Mutex<Round>,
    ) -> Result<Option<Prepared>, ApplyError> {
        let owner = self.ledger.owner_of(self.job.target, &self.job.entity.to_string(), &row.id).await?;
        if let Some((job, key)) = owner {
            return Ok(Some(candidate.left(
                RecordState::Quarantined,
                format!("the row that matches is linked to record {key} of job {job}; one row cannot be both"),
            )));
        }
        if let Some(refusal) = &candidate.note.refusal {
            let refused = self.refused(&candidate.row, &candidate.resolved, refusal);
            return Ok(Some(Prepared::Settled(Box::new(refused))));
        }
        let mut round = lock(round);
        let key = &candidate.row.key;
        if round.lost_creates.get(key).is_some_and(|creates| self.maker(creates, row).is_some()) {
            round.again(key, Again::Now);
            return Ok(None);
        }
        Ok(Some(self.adopt(candidate, row, self.job.adopt)))
    }

    pub(super) fn adopt(&self, candidate: &Candidate, row: &Row, policy: Adopt) -> Prepared {
        let number = row.text(self.job.number_property());
        let changes = compare::differing(&self.job, &candidate.resolved.properties, row);
        let same_lines =
            candidate.resolved.lines.as_ref().is_none_or(|lines| compare::same_lines(&self.job, lines, row));
        let names = || changes.iter().map(|change| change.name.as_str()).collect::<Vec<_>>().join(", ");
        if policy == Adopt::Never {
            return candidate.left(
                RecordState::Quarantined,
                format!(
                    "Business Central has a row that matches ({number}) and that bcsync did not make; `adopt` is \
                     \"never\". Link it with `bcsync links import`, or remove it there"
                ),
            );
        }
        if policy == Adopt::Update && self.job.mode == Mode::CreateOnly && !(same_lines && changes.is_empty()) {
            return self.adopt_as_found(candidate, row);
        }
        if !same_lines && policy == Adopt::Update {
            return self.adopt_with_lines(candidate, row);
        }
        if policy == Adopt::IfEqual && !(same_lines && changes.is_empty()) {
            let differ = if same_lines { names() } else { "lines".to_owned() };
            return candidate.left(
                RecordState::Quarantined,
                format!(
                    "Business Central has a row that matches ({number}) and differs in {differ}; make them equal, or \
                     link it with `bcsync links import`"
                ),
            );
        }
        let mut snapshot = Snapshot { sent: candidate.resolved.properties.clone(), ..Snapshot::default() };
        snapshot.lines = self.adopted_lines(candidate, row);
        snapshot.answered = compare::answered(&snapshot.sent, row);
        if changes.is_empty() {
            let update = candidate.link_to(row, number, snapshot);
            return candidate.settled(Outcome::Adopted, SettledLink::Current(update), None);
        }
        let fields = field_changes(&changes);
        let properties = compare::with_overwritten(&self.job.schema, &changes, &snapshot.sent, Some(row));
        let what = What::Update { bc_id: row.id.clone(), etag: row.etag.clone(), properties, adopts: true };
        Prepared::Write(Box::new(Write::new(&candidate.row, what, snapshot, fields)))
    }

    /// Adopts a document whose lines are not those of the record: what it lacks is added. A line that holds what one of
    /// ours is to hold counts as that one; all others are somebody's and stay as they are.
    fn adopt_with_lines(&self, candidate: &Candidate, row: &Row) -> Prepared {
        let held = compare::sorted_lines(&self.job, row);
        let highest_sequence = held.last().map_or(0, compare::sequence);
        let snapshot = Snapshot { lines: self.lines_found(candidate, held), ..Snapshot::default() };
        let OrderChange { header, lines } = match diff::update(&candidate.resolved, &snapshot, highest_sequence) {
            Action::UpdateOrder(change) => change,
            Action::Update(header) => OrderChange { header, lines: Vec::new() },
            Action::None => OrderChange { header: Vec::new(), lines: Vec::new() },
        };
        let link = Link::from(candidate.link_to(row, row.text(self.job.number_property()), snapshot));
        self.prepare_order(candidate, &link, row, OrderChange { header, lines })
    }

    /// Adopts a row that differs, in a job that never changes rows. What the row holds counts as what was sent: with
    /// another `mode` only the difference is found, and what somebody changes until then is theirs.
    fn adopt_as_found(&self, candidate: &Candidate, row: &Row) -> Prepared {
        let as_found = |(name, wanted): &(String, Value)| {
            let held = row.get(name)?;
            let is_equal = self.job.same(name, wanted, Some(held));
            Some((name.clone(), if is_equal { wanted } else { held }.clone()))
        };
        let sent: Values = candidate.resolved.properties.iter().filter_map(as_found).collect();
        let answered = compare::answered(&sent, row);
        let lines = self.lines_found(candidate, compare::sorted_lines(&self.job, row));
        let snapshot = Snapshot { sent, answered, lines, put_back: Vec::new() };
        let link = candidate.link_to(row, row.text(self.job.number_property()), snapshot);
        // It is not this draft that the row holds.
        let link = LinkUpdate { draft: no_draft(), ..link };
        candidate.settled(Outcome::Adopted, SettledLink::Current(link), Some(Reason::new(NEVER_CHANGED)))
    }

    /// Those of the record's lines that are among the lines `held` by a document.
    pub(super) fn lines_found(&self, candidate: &Candidate, mut held: Vec<Row>) -> Vec<LinkedLine> {
        let find = |line: &ResolvedLine| {
            let is_it = |held: &Row| {
                line.properties.iter().all(|(name, value)| self.job.same_in_line(name, value, held.get(name)))
            };
            let place = held.iter().position(is_it)?;
            Some(Self::adopted_line(line, held.remove(place)))
        };
        candidate.resolved.lines.iter().flatten().filter_map(find).collect()
    }

    fn adopted_lines(&self, candidate: &Candidate, row: &Row) -> Vec<LinkedLine> {
        let held = compare::sorted_lines(&self.job, row);
        let lines = candidate.resolved.lines.iter().flatten().zip(held);
        lines.map(|(line, held)| Self::adopted_line(line, held)).collect()
    }

    fn adopted_line(line: &ResolvedLine, held: Row) -> LinkedLine {
        LinkedLine {
            key: line.key.clone(),
            sequence: compare::sequence(&held),
            sent: line.properties.clone(),
            answered: compare::answered(&line.properties, &held),
            id: Some(held.id),
        }
    }
}
