//! From rows of the outbox to writes that can be sent, or to what became of them without one.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;

use tokio::time::Instant;

use super::Applier;
use super::candidate::Candidate;
use super::compare::{self, ThreeWay};
use super::error::ApplyError;
use super::foreign::{Foreign, is_foreign};
use super::matching::{Found, Sought};
use super::operation::{Prepared, What, Write, field_changes};
use super::reasons::{NO_ROW, PART_APPLIED, reason_of, waits_for};
use super::recreated::{self, Lines};
use super::references::Lookups;
use super::round::{Round, RowIs, lock};
use crate::bc::{BcError, Failure, Query, Row};
use crate::diff;
use crate::ledger::{FieldChange, Link, OutboxRow, Reason, SettledLink, Settlement};
use crate::model::{
    Action, Adopt, BrakeLimit, ErrorClass, LinkedLine, Mode, NewLine, NewRow, OnMissing, Outcome, PropertyChange,
    RecordState, Resolved, Snapshot, Take, Value, Values,
};

impl Applier<'_> {
    /// Prepares `rows` of the outbox, in their order.
    pub(super) async fn prepare(
        &self,
        rows: Vec<OutboxRow>,
        round: &Mutex<Round>,
        lookups: &mut Lookups,
    ) -> Result<Vec<Prepared>, ApplyError> {
        let mut links = self.ledger.links(self.job.id, rows.iter().map(|row| row.key.as_str())).await?;
        let found = lookups.resolve(self.ledger, &self.outlet.reader, &self.job.company, &rows).await?;
        let begun: HashSet<_> =
            links.iter().filter(|(_, link)| link.is_part_applied()).map(|(key, _)| key.clone()).collect();
        let mut prepared = Vec::with_capacity(rows.len());
        let mut candidates = Vec::with_capacity(rows.len());
        let mut removals = Vec::new();
        for row in rows {
            match row.draft.resolve(|reference| found.get(reference).cloned()) {
                Ok(resolved) => {
                    let (link, note) = (links.remove(&row.key), lock(round).note(&row.key));
                    if let Some(removal) = row.removal {
                        removals.push((Candidate { row, resolved, link, note }, removal));
                        continue;
                    }
                    candidates.push(Candidate { row, resolved, link, note });
                }
                Err(missing) => {
                    let waits = self.waits(&row, Reason::new(waits_for(&missing)));
                    prepared.extend(waits.map(|waits| Prepared::Settled(Box::new(waits))));
                }
            }
        }
        let (linked, mut unlinked): (Vec<_>, Vec<_>) =
            candidates.into_iter().partition(|candidate| candidate.link.is_some());
        self.prepare_removals(removals, round, &mut prepared).await?;
        unlinked.extend(self.prepare_linked(linked, round, &mut prepared).await?);
        self.prepare_unlinked(unlinked, round, &mut prepared).await?;
        for settlement in prepared.iter_mut().filter_map(Prepared::settlement) {
            let ends_here = matches!(settlement.outcome, Outcome::Left(_) | Outcome::Closed);
            if let (true, Some(reason)) = (ends_here && begun.contains(&settlement.key), &mut settlement.reason) {
                reason.text.insert_str(0, PART_APPLIED);
            }
        }
        Ok(prepared)
    }

    /// Gives those of `linked` whose rows are gone and to be made again.
    async fn prepare_linked(
        &self,
        linked: Vec<Candidate>,
        round: &Mutex<Round>,
        prepared: &mut Vec<Prepared>,
    ) -> Result<Vec<Candidate>, ApplyError> {
        let (mut to_read, mut gone) = (Vec::new(), Vec::new());
        for candidate in linked {
            let Some(link) = &candidate.link else { continue };
            if (link.closed && !link.unexplained) || candidate.note.row == RowIs::Gone {
                gone.push(candidate);
                continue;
            }
            // Nothing is known to have been sent to a row that a person linked, or that was restored.
            let unknown = link.snapshot.sent.is_empty();
            let locked = candidate.row.state == RecordState::Locked;
            let decided = candidate.row.decision.is_some();
            match diff::update(&candidate.resolved, &link.snapshot, 0) {
                // Whether it is still locked, reading tells.
                action
                    if unknown
                        // Nobody knows why it was gone: it can be there again.
                        || link.unexplained
                        || link.doubtful
                        || link.snapshot.lines_unclear
                        || candidate.note.refresh
                        || locked
                        || decided
                        || matches!(action, Action::UpdateOrder(_)) =>
                {
                    to_read.push(candidate);
                }
                Action::Update(_) if self.job.mode == Mode::CreateOnly => {
                    prepared.push(candidate.stays_as_written(link));
                }
                Action::Update(changes) if self.is_read_first() || self.sends_foreign(link, &changes) => {
                    to_read.push(candidate);
                }
                Action::Update(changes) => {
                    let from_answered = |change: PropertyChange| {
                        let held = link.snapshot.answered(&change.name);
                        compare::from_held(&self.job, change, held)
                    };
                    let changes: Vec<_> = changes.into_iter().map(from_answered).collect();
                    prepared.push(self.update(&candidate, link, None, &changes, Vec::new()));
                }
                _ => {
                    let update = candidate.link_as_it_is(link);
                    // The last step of a change in steps can have nothing left to send.
                    let outcome = if candidate.note.stepped { Outcome::Updated } else { Outcome::Equal };
                    prepared.push(candidate.settled(outcome, SettledLink::Current(update), None));
                }
            }
        }
        let rows = self.rows_by_id(to_read.iter().filter_map(|candidate| candidate.link.as_ref())).await?;
        for candidate in to_read {
            let Some(link) = &candidate.link else { continue };
            match rows.get(&link.bc_id) {
                Some(row) if lock(round).has_moved_on(&candidate.row.key, &row.etag) => {}
                Some(row) if link.doubtful => prepared.push(self.compare_doubtful(&candidate, link, row)),
                Some(row) => prepared.push(self.compare(&candidate, link, row)),
                // A deletion of ours that was lost may be why.
                None if lock(round).is_released(&candidate.row.key) => {}
                None => gone.push(candidate),
            }
        }
        self.prepare_gone(gone, prepared).await
    }

    /// Whether a row is read before any change of it is sent: if it is gone it is made again, and of rows that are made
    /// the brake has to know the number beforehand.
    fn is_read_first(&self) -> bool {
        self.job.on_missing == OnMissing::Recreate && self.job.brake.creates != BrakeLimit::UNLIMITED
    }

    /// Whether `changes`, or what has to be sent along with them, are over properties that somebody else has changed.
    fn sends_foreign(&self, link: &Link, changes: &[PropertyChange]) -> bool {
        let touches = |name: &str| {
            changes.iter().any(|change| change.name == name || self.job.schema.overwritten(&change.name, name))
        };
        link.snapshot.sent.iter().any(|(name, _)| is_foreign(&link.snapshot, name) && touches(name))
    }

    /// The rows of `links` in BC, by id; those that are gone are not in the answer.
    pub(super) async fn rows_by_id<'l>(
        &self,
        links: impl Iterator<Item = &'l Link>,
    ) -> Result<HashMap<String, Row>, Failure> {
        let ids: Vec<_> = links.map(|link| Value::Str(link.bc_id.clone())).collect();
        self.rows_with_ids(&ids).await
    }

    /// The rows with these ids in BC, with their lines.
    pub(super) async fn rows_with_ids(&self, ids: &[Value]) -> Result<HashMap<String, Row>, Failure> {
        let expand = self.job.schema.lines.as_ref().map(|lines| lines.navigation);
        let query = Query { company: &self.job.company, entity: &self.job.entity, select: &[], expand };
        let rows = self.outlet.reader.find(query, "id", ids, true).await?;
        let asked = |row: &Row| ids.iter().any(|id| id.as_str() == Some(row.id.as_str()));
        Ok(rows.into_iter().filter(asked).map(|row| (row.id.clone(), row)).collect())
    }

    /// The settlement of a document whose transaction BC refused, once its row was found untouched.
    pub(super) fn refused(&self, row: &OutboxRow, wanted: &Resolved, refusal: &BcError) -> Settlement {
        let reason = reason_of(refusal, wanted.values());
        let state = match refusal.class {
            ErrorClass::Locked => return self.locked(row, reason),
            ErrorClass::MissingRelation => return self.waiting(&row.key, row.fingerprint, row.waiting_since, reason),
            ErrorClass::Throttled | ErrorClass::Transient | ErrorClass::TooBig | ErrorClass::Denied => {
                RecordState::Pending
            }
            _ => RecordState::Quarantined,
        };
        Settlement::left(&row.key, row.fingerprint, state, reason)
    }

    /// A linked row that was read because more must be known than its link says.
    pub(super) fn compare(&self, candidate: &Candidate, link: &Link, row: &Row) -> Prepared {
        if let Some(refusal) = &candidate.note.refusal {
            if let Some(closed) = self.processed(candidate, link, row, Some(refusal)) {
                return closed;
            }
            return Prepared::Settled(Box::new(self.refused(&candidate.row, &candidate.resolved, refusal)));
        }
        let unknown = link.snapshot.sent.is_empty();
        if !unknown
            && self.job.mode == Mode::CreateOnly
            && diff::update(&candidate.resolved, &link.snapshot, 0) != Action::None
        {
            return candidate.stays_as_written(link);
        }
        let held = compare::sorted_lines(&self.job, row);
        let anew;
        let link = match recreated::read(&self.job, &link.snapshot, row) {
            Lines::AsKnown => link,
            Lines::Changed(lines) => {
                anew = Link { snapshot: Snapshot { lines, ..link.snapshot.clone() }, ..link.clone() };
                &anew
            }
            Lines::Unclear if candidate.row.decision == Some(Take::Bc) => {
                let update = SettledLink::Current(candidate.link_as_it_is(link));
                return candidate.settled(Outcome::Equal, update, Some(candidate.kept()));
            }
            Lines::Unclear => {
                let differences = candidate.line_differences(&self.job, &held);
                if !candidate.settles_lines(differences.as_deref(), row) {
                    let closed = self.processed(candidate, link, row, None);
                    let fields = differences.unwrap_or_default();
                    return closed.unwrap_or_else(|| candidate.unclear_lines(&self.job.name, fields, row));
                }
                let snapshot = Snapshot {
                    lines: self.adopted_lines(candidate, row),
                    seen_with: compare::seen_with(&self.job, row),
                    lines_unclear: false,
                    ..link.snapshot.clone()
                };
                anew = Link { snapshot, ..link.clone() };
                &anew
            }
        };
        if unknown {
            return self.adopt(candidate, row, Adopt::Update, &link.snapshot.lines);
        }
        let highest_sequence = held.last().map_or(0, compare::sequence);
        let changes = match diff::update(&candidate.resolved, &link.snapshot, highest_sequence) {
            Action::Update(changes) => changes,
            Action::UpdateOrder(change) => {
                return self.prepare_order(candidate, link, row, change);
            }
            Action::None => Vec::new(),
        };
        let policy = candidate.policy(self.job.on_conflict, row);
        let ThreeWay { send, kept, held } = compare::three_way(&self.job, policy, changes, &link.snapshot, row);
        if !held.is_empty() {
            return candidate.conflict(&self.job.name, held, row);
        }
        if send.is_empty() {
            let mut snapshot = Snapshot { put_back: Vec::new(), ..link.snapshot.clone() };
            snapshot.sent.clone_from(&candidate.resolved.properties);
            snapshot.answered = compare::answered(&snapshot.sent, row);
            snapshot.seen_with = compare::seen_with(&self.job, row);
            let foreign = Foreign::found(&self.job, &link.snapshot, &snapshot, row).and(candidate.not_ours(&kept));
            foreign.leave_out_of(&mut snapshot);
            let update = candidate.link_to(row, row.text(self.job.number_property()), snapshot);
            let outcome = if kept.is_empty() { Outcome::Equal } else { Outcome::Updated };
            let mut settled = candidate.settled(outcome, SettledLink::Current(update), None);
            if let Prepared::Settled(settlement) = &mut settled
                && !kept.is_empty()
            {
                settlement.fields = kept;
                settlement.reason = Some(candidate.kept());
            }
            return settled;
        }
        if let Some(kept) = self.processed(candidate, link, row, None).or_else(|| self.kept_by_lock(candidate, row)) {
            return kept;
        }
        self.update(candidate, link, Some(row), &send, kept)
    }

    /// Sends `changes` to the row of `link`; `row` is how BC holds it when it had to be read.
    fn update(
        &self,
        candidate: &Candidate,
        link: &Link,
        row: Option<&Row>,
        changes: &[PropertyChange],
        kept: Vec<FieldChange>,
    ) -> Prepared {
        let mut snapshot = Snapshot { put_back: Vec::new(), ..link.snapshot.clone() };
        snapshot.sent.clone_from(&candidate.resolved.properties);
        let mut foreign = Foreign::known(&link.snapshot);
        if let Some(row) = row {
            snapshot.answered = compare::answered(&snapshot.sent, row);
            foreign = Foreign::found(&self.job, &link.snapshot, &snapshot, row).and(candidate.not_ours(&kept));
            foreign.leave_out_of(&mut snapshot);
        }
        let mut fields = field_changes(changes);
        fields.extend(kept);
        let properties = compare::with_overwritten(&self.job.schema, changes, &snapshot.sent, row);
        let etag = row.map_or(&link.etag, |row| &row.etag).clone();
        let what = What::Update { bc_id: link.bc_id.clone(), etag, properties, adopts: false };
        Prepared::Write(Box::new(Write { foreign, ..Write::new(&candidate.row, what, snapshot, fields) }))
    }

    /// What to look for to find the row of a record.
    pub(super) fn sought_by(&self, candidate: &Candidate) -> Sought {
        let Candidate { row, resolved, .. } = candidate;
        let value = |name: &String| Some((name.clone(), literal(resolved, name)?.clone()));
        let matched: Option<Values> = self.job.match_on.iter().map(value).collect();
        Sought::new(&row.key, matched.unwrap_or_default(), self.job.schema.document, &resolved.properties)
    }

    async fn prepare_unlinked(
        &self,
        unlinked: Vec<Candidate>,
        round: &Mutex<Round>,
        prepared: &mut Vec<Prepared>,
    ) -> Result<(), ApplyError> {
        let sought: Vec<_> = unlinked.iter().map(|candidate| self.sought_by(candidate)).collect();
        let mut found = self.look_up(&sought).await?;
        for (candidate, sought) in unlinked.into_iter().zip(sought) {
            let next = match found.remove(&candidate.row.key) {
                None => continue,
                Some(Found::Absent(_)) if self.job.mode == Mode::UpdateOnly => {
                    let waits = self.waits(&candidate.row, Reason::new(NO_ROW));
                    prepared.extend(waits.map(|waits| Prepared::Settled(Box::new(waits))));
                    continue;
                }
                Some(Found::Absent(since)) => match self.create_may_be_on_its_way() {
                    Some(reason) => candidate.left(RecordState::Pending, reason),
                    None => create(&candidate, since, sought),
                },
                Some(Found::One(row)) => {
                    let found = self.found(&candidate, &row, round).await?;
                    prepared.extend(found.map(|found| self.unless_it_may_change(&candidate, found)));
                    continue;
                }
                Some(Found::Posted(invoice)) => {
                    let number = invoice.text("number");
                    let link = SettledLink::Closed(candidate.link_to(&invoice, number, Snapshot::default()));
                    let reason =
                        Reason::new("Business Central has it as an invoice already; it is not written any more");
                    candidate.posted(link, reason, number)
                }
                Some(Found::Several(ids)) => candidate.left(
                    RecordState::Quarantined,
                    format!(
                        "Business Central has {} rows that match ({}); leave one, or link the right one with \
                         `bcsync links import`",
                        ids.len(),
                        ids.join(", ")
                    ),
                ),
            };
            prepared.push(next);
        }
        Ok(())
    }
}

/// The write that creates a row of which BC has none. The history tells of changes only: what a row was created with is
/// in its link.
fn create(candidate: &Candidate, absent_since: Instant, sought: Sought) -> Prepared {
    let NewRow { properties, lines } = diff::create(&candidate.resolved);
    let linked = |line: &NewLine| LinkedLine {
        key: line.key.clone(),
        sequence: line.sequence,
        id: None,
        sent: line.properties.clone(),
        answered: Vec::new(),
        put_back: Vec::new(),
    };
    let snapshot = Snapshot {
        sent: candidate.resolved.properties.clone(),
        lines: lines.iter().flatten().map(linked).collect(),
        ..Snapshot::default()
    };
    let Sought { matched, customer, .. } = sought;
    let what = What::Create { properties, lines, absent_since, matched, customer };
    Prepared::Write(Box::new(Write::new(&candidate.row, what, snapshot, Vec::new())))
}

fn literal<'r>(resolved: &'r Resolved, name: &str) -> Option<&'r Value> {
    resolved.properties.iter().chain(&resolved.create_only).find(|(known, _)| known == name).map(|(_, value)| value)
}
