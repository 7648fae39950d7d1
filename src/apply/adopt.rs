//! Rows that BC has and that we did not make: linked, brought up to date or left alone, by policy.

use super::Applier;
use super::candidate::Candidate;
use super::compare;
use super::error::ApplyError;
use super::foreign::Foreign;
use super::operation::{Prepared, What, Write, field_changes};
use super::reasons::FOUND;
use crate::bc::Row;
use crate::diff;
use crate::ledger::{Link, Reason, SettledLink, Settlement};
use crate::model::{Action, Adopt, LinkedLine, OrderChange, Outcome, RecordState, ResolvedLine, Snapshot, Value};
use crate::schema::is_blank;

impl Applier<'_> {
    /// A row that BC has and that no link knows: adopted by policy, unless it belongs to another record.
    pub(super) async fn found(&self, candidate: &Candidate, row: &Row) -> Result<Prepared, ApplyError> {
        let owner = self.ledger.owner_of(self.job.target, &self.job.entity.to_string(), &row.id).await?;
        if let Some((job, key)) = owner {
            return Ok(candidate.left(
                RecordState::Quarantined,
                format!("the row that matches is linked to record {key} of job {job}; one row cannot be both"),
            ));
        }
        if let Some(refusal) = &candidate.note.refusal {
            return Ok(Prepared::Settled(Box::new(self.refused(&candidate.row, &candidate.resolved, refusal))));
        }
        if let Some(attempt) = self.attempt_behind(&candidate.row.attempted, row) {
            let link = self.late_link(candidate, attempt, row);
            return Ok(match self.compare(candidate, &link, row) {
                Prepared::Settled(settlement) if settlement.outcome == Outcome::Equal => {
                    let reason = Some(Reason::new(FOUND));
                    Prepared::Settled(Box::new(Settlement { outcome: Outcome::Created, reason, ..*settlement }))
                }
                prepared => prepared,
            });
        }
        Ok(self.adopt(candidate, row, self.job.adopt))
    }

    /// The lost create of ours that has made `row` after all: then the row is ours, whatever the policy says of those that
    /// are not, and where it differs from what was sent, a person was there since.
    fn attempt_behind<'a>(&self, attempted: &'a [Snapshot], row: &Row) -> Option<&'a Snapshot> {
        let exactly = attempted.iter().rfind(|attempt| self.made_with(&attempt.sent, row));
        exactly.or_else(|| attempted.iter().rfind(|attempt| self.descends_from(&attempt.sent, row)))
    }

    /// The link to `row` as it would be, had `attempt` been answered.
    fn late_link(&self, candidate: &Candidate, attempt: &Snapshot, row: &Row) -> Link {
        let foreign = Foreign::unexplained(&self.job, attempt, row);
        let (draft, match_value) = (candidate.row.draft.fingerprint(), candidate.row.match_value.clone());
        let link = self.link_update(row, attempt, draft, match_value, &[], &foreign);
        Link {
            bc_id: link.bc_id,
            number: link.number,
            etag: link.etag,
            closed: false,
            unexplained: false,
            draft: link.draft,
            match_value: link.match_value,
            snapshot: link.snapshot,
        }
    }

    /// Whether BC can have made `row` with the properties `sent`: it holds them, but for those that BC itself overwrites.
    pub(super) fn made_with(&self, sent: &[(String, Value)], row: &Row) -> bool {
        let overwritten = |other: &str| sent.iter().any(|(name, _)| self.job.schema.overwritten(name, other));
        compare::differing(&self.job, sent, row).iter().all(|change| overwritten(&change.name))
    }

    /// Whether `row` is rather the one that was made with the properties `sent` than somebody else's: most of what tells
    /// still holds. The rest a person can have changed since.
    pub(super) fn descends_from(&self, sent: &[(String, Value)], row: &Row) -> bool {
        let overwritten = |other: &str| sent.iter().any(|(name, _)| self.job.schema.overwritten(name, other));
        let tells = |(name, value): &&(String, Value)| {
            !self.job.match_on.contains(name) && !overwritten(name) && !is_blank(value)
        };
        let telling = sent.iter().filter(tells);
        let (holds, differs): (Vec<_>, Vec<_>) =
            telling.partition(|(name, value)| self.job.same(name, value, row.get(name)));
        holds.len() >= differs.len()
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
        let mut held = compare::sorted_lines(&self.job, row);
        let highest_sequence = held.last().map_or(0, compare::sequence);
        let mut lines = Vec::new();
        for line in candidate.resolved.lines.iter().flatten() {
            let is_it = |held: &Row| {
                line.properties.iter().all(|(name, value)| self.job.same_in_line(name, value, held.get(name)))
            };
            if let Some(place) = held.iter().position(is_it) {
                lines.push(Self::adopted_line(line, held.remove(place)));
            }
        }
        let snapshot = Snapshot { lines, ..Snapshot::default() };
        let OrderChange { header, lines } = match diff::update(&candidate.resolved, &snapshot, highest_sequence) {
            Action::UpdateOrder(change) => change,
            Action::Update(header) => OrderChange { header, lines: Vec::new() },
            Action::None => OrderChange { header: Vec::new(), lines: Vec::new() },
        };
        let link = Link {
            bc_id: row.id.clone(),
            number: row.text(self.job.number_property()).to_owned(),
            etag: row.etag.clone(),
            closed: false,
            unexplained: false,
            draft: candidate.row.draft.fingerprint(),
            match_value: candidate.row.match_value.clone(),
            snapshot,
        };
        self.prepare_order(candidate, &link, row, OrderChange { header, lines })
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
