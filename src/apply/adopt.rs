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

/// Instead of a draft, in the link to a row that holds none of ours, as far as anybody can tell.
pub(super) fn no_draft() -> Fingerprint {
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
        Ok(Some(self.adopt(candidate, row, self.job.adopt, &[])))
    }

    /// Links the record to `row`, of which nothing is known but that the lines `known` are ours.
    pub(super) fn adopt(&self, candidate: &Candidate, row: &Row, policy: Adopt, known: &[LinkedLine]) -> Prepared {
        let number = row.text(self.job.number_property());
        let changes = compare::differing(&self.job, &candidate.resolved.properties, row);
        let same_lines = candidate.has_same_lines(&self.job, row);
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
            return self.adopt_as_found(candidate, row, known);
        }
        if !same_lines && policy == Adopt::Update {
            return self.adopt_with_lines(candidate, row, known);
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
        snapshot.seen_with = compare::seen_with(&self.job, row);
        if changes.is_empty() {
            let update = candidate.link_to(row, number, snapshot);
            return candidate.settled(Outcome::Adopted, SettledLink::Current(update), None);
        }
        let fields = field_changes(&changes);
        let properties = compare::with_overwritten(&self.job.schema, &changes, &snapshot.sent, Some(row));
        let what = What::Update { bc_id: row.id.clone(), etag: row.etag.clone(), properties, adopts: true };
        Prepared::Write(Box::new(Write::new(&candidate.row, what, snapshot, fields)))
    }

    /// Adopts a document whose lines are not those of the record: what it lacks is added. Of a line that is known to be
    /// ours the difference is sent: that BC holds something else there is nobody's edit, since the record and its row are
    /// only now brought together, or the company was restored. All others are somebody's and stay as they are.
    fn adopt_with_lines(&self, candidate: &Candidate, row: &Row, known: &[LinkedLine]) -> Prepared {
        let held = compare::sorted_lines(&self.job, row);
        let highest_sequence = held.last().map_or(0, compare::sequence);
        let lines = match self.lines_found(candidate, known, held) {
            Ok(lines) => lines,
            Err(unclear) => return candidate.left(RecordState::Quarantined, unclear),
        };
        let snapshot = Snapshot { lines, ..Snapshot::default() };
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
    fn adopt_as_found(&self, candidate: &Candidate, row: &Row, known: &[LinkedLine]) -> Prepared {
        let is_held = |name: &str, value: &Value| self.job.same(name, value, row.get(name));
        let sent = as_found(&candidate.resolved.properties, row, is_held);
        let answered = compare::answered(&sent, row);
        let lines = match self.lines_found(candidate, known, compare::sorted_lines(&self.job, row)) {
            Ok(lines) => lines,
            Err(unclear) => return candidate.left(RecordState::Quarantined, unclear),
        };
        let seen_with = compare::seen_with(&self.job, row);
        let snapshot = Snapshot { sent, answered, lines, seen_with, ..Snapshot::default() };
        let link = candidate.link_to(row, row.text(self.job.number_property()), snapshot);
        // It is not this draft that the row holds.
        let link = LinkUpdate { draft: no_draft(), ..link };
        candidate.settled(Outcome::Adopted, SettledLink::Current(link), Some(Reason::new(NEVER_CHANGED)))
    }

    /// Which of the lines `held` by a document are the record's: those that are `known`, and those that hold what a line
    /// of the record is to hold. Else why that cannot be told: a line of the same item that holds something else may be
    /// the record's or somebody's, and were one added beside it, the goods might be sent twice.
    pub(super) fn lines_found(
        &self,
        candidate: &Candidate,
        known: &[LinkedLine],
        mut held: Vec<Row>,
    ) -> Result<Vec<LinkedLine>, String> {
        let wanted = candidate.resolved.lines.as_deref().unwrap_or_default();
        let mut found = Vec::with_capacity(wanted.len());
        for line in known {
            let Some(id) = compare::find_line(&self.job, line, &held).map(|row| row.id.clone()) else { continue };
            let properties =
                wanted.iter().find(|wanted| wanted.key == line.key).map_or(&line.sent, |line| &line.properties);
            found
                .extend(held.extract_if(.., |row| row.id == id).map(|row| self.line_found(&line.key, properties, row)));
        }
        let is_found = |found: &[LinkedLine], line: &ResolvedLine| found.iter().any(|known| known.key == line.key);
        for line in wanted {
            if !is_found(&found, line)
                && let Some(place) = held.iter().position(|held| compare::is_as_wanted(&self.job, line, held))
            {
                found.push(self.line_found(&line.key, &line.properties, held.remove(place)));
            }
        }
        for line in wanted.iter().filter(|line| !is_found(&found, line)) {
            if let Some(row) = held.iter().find(|row| compare::is_line(&self.job, &line.properties, row)) {
                return Err(self.unclear_line(line, row));
            }
        }
        Ok(found)
    }

    /// The line `key` of the record as `row` holds it, which is to hold `wanted`.
    fn line_found(&self, key: &str, wanted: &[(String, Value)], row: Row) -> LinkedLine {
        let is_held = |name: &str, value: &Value| self.job.may_be_same_in_line(name, value, row.get(name));
        let sent = as_found(wanted, &row, is_held);
        let answered = compare::answered(&sent, &row);
        let sequence = compare::sequence(&row);
        LinkedLine { key: key.to_owned(), sequence, id: Some(row.id), sent, answered, put_back: Vec::new() }
    }

    /// Why nobody can tell whether `row` is the line `wanted`.
    fn unclear_line(&self, wanted: &ResolvedLine, row: &Row) -> String {
        let differs = |(name, value): &&(String, Value)| !self.job.may_be_same_in_line(name, value, row.get(name));
        let told = |(name, value): &(String, Value)| {
            let held = row.get(name).unwrap_or(&Value::Null);
            format!("{name} is {} there and {} in the source", held.to_json(), value.to_json())
        };
        let differences: Vec<_> = wanted.properties.iter().filter(differs).map(told).collect();
        format!(
            "the document in Business Central has a line of the same item as line {} (sequence {}): {}. Nobody can tell \
             whether it is the same line; make them equal, or remove it there",
            wanted.key,
            compare::sequence(row),
            differences.join(", ")
        )
    }

    /// The lines of `row`, which are those of the record one by one.
    pub(super) fn adopted_lines(&self, candidate: &Candidate, row: &Row) -> Vec<LinkedLine> {
        let held = compare::sorted_lines(&self.job, row);
        let lines = candidate.resolved.lines.iter().flatten().zip(held);
        lines.map(|(line, held)| self.line_found(&line.key, &line.properties, held)).collect()
    }
}

/// `wanted`, with what `row` holds in the place of what it does not hold.
fn as_found(wanted: &[(String, Value)], row: &Row, is_held: impl Fn(&str, &Value) -> bool) -> Values {
    let property = |(name, value): &(String, Value)| {
        let found = if is_held(name, value) { value } else { row.get(name)? };
        Some((name.clone(), found.clone()))
    };
    wanted.iter().filter_map(property).collect()
}
