//! From rows of the outbox to writes that can be sent, or to what became of them without one.

use std::collections::HashMap;
use std::sync::Mutex;

use super::compare::{self, ThreeWay};
use super::matching::{Found, Sought};
use super::operation::{What, Write};
use super::references::{Lookups, waits_for};
use super::round::{Again, Note, Round, lock};
use super::{Applier, ApplyError};
use crate::bc::{Failure, Query, Row};
use crate::diff;
use crate::ledger::{FieldChange, History, Link, LinkUpdate, OutboxRow, Reason, SettledLink, Settlement};
use crate::model::{
    Action, Adopt, LinkedLine, Mode, OnMissing, Outcome, PropertyChange, RecordState, Resolved, Snapshot, Value,
};

/// What becomes of a row of the outbox.
pub(super) enum Prepared {
    /// It is sent.
    Write(Box<Write>),
    /// It is settled without sending anything.
    Settled(Box<Settlement>),
}

/// Why nothing was sent although BC does not hold what the source has.
pub(super) const KEPT: &str = "Business Central keeps what someone changed there: `on_conflict` is \"bc_wins\"";

/// A row whose references are resolved.
struct Ready {
    row: OutboxRow,
    resolved: Resolved,
    link: Option<Link>,
    note: Note,
}

impl Ready {
    fn settled(&self, outcome: Outcome, link: Option<SettledLink>, reason: Option<Reason>) -> Prepared {
        Prepared::Settled(Box::new(Settlement {
            key: self.row.key.clone(),
            fingerprint: self.row.fingerprint,
            outcome,
            link,
            reason,
            fields: Vec::new(),
            history: History::Always,
            open: false,
        }))
    }

    fn left(&self, state: RecordState, reason: impl Into<String>) -> Prepared {
        let reason = Reason::new(reason);
        Prepared::Settled(Box::new(Settlement::left(&self.row.key, self.row.fingerprint, state, reason)))
    }

    /// The link as it will be when BC holds what is wanted.
    fn link_to(&self, row: &Row, number: &str, snapshot: Snapshot) -> LinkUpdate {
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

impl Applier<'_> {
    /// Prepares `rows` of the outbox, in their order.
    pub(super) async fn prepare(
        &self,
        rows: Vec<OutboxRow>,
        round: &Mutex<Round>,
        lookups: &mut Lookups,
    ) -> Result<Vec<Prepared>, ApplyError> {
        let mut links = self.ledger.links(self.job.id, rows.iter().map(|row| row.key.as_str())).await?;
        let found = lookups.resolve(self.ledger, &self.reader, &self.job.company, &rows).await?;
        let mut prepared = Vec::with_capacity(rows.len());
        let mut ready = Vec::with_capacity(rows.len());
        for row in rows {
            match row.draft.resolve(|reference| found.get(reference).cloned()) {
                Ok(resolved) => {
                    let (link, note) = (links.remove(&row.key), lock(round).note(&row.key));
                    // A row that BC no longer has, and that is to be made again, is no link any more.
                    let link = link.filter(|_| !(note.gone && self.job.on_missing == OnMissing::Recreate));
                    ready.push(Ready { row, resolved, link, note });
                }
                Err(missing) => {
                    let reason = Reason::new(waits_for(&missing));
                    let waiting = Settlement::left(&row.key, row.fingerprint, RecordState::Waiting, reason);
                    prepared.push(Prepared::Settled(Box::new(waiting)));
                }
            }
        }
        let (linked, unlinked): (Vec<_>, Vec<_>) = ready.into_iter().partition(|ready| ready.link.is_some());
        self.prepare_linked(linked, round, &mut prepared).await?;
        self.prepare_unlinked(unlinked, &mut prepared).await?;
        Ok(prepared)
    }

    async fn prepare_linked(
        &self,
        linked: Vec<Ready>,
        round: &Mutex<Round>,
        prepared: &mut Vec<Prepared>,
    ) -> Result<(), ApplyError> {
        let mut to_read = Vec::new();
        for ready in linked {
            let Some(link) = &ready.link else { continue };
            if link.closed || ready.note.gone {
                prepared.push(self.gone(&ready, link));
                continue;
            }
            // Nothing is known to have been sent to a row that a person linked.
            let unknown = link.snapshot.sent.is_empty();
            match diff::update(&ready.resolved, &link.snapshot, 0) {
                action if unknown || ready.note.refresh || matches!(action, Action::UpdateOrder(_)) => {
                    to_read.push(ready);
                }
                Action::Update(changes) => prepared.push(self.update(&ready, link, None, &changes, Vec::new())),
                _ => {
                    let update = LinkUpdate {
                        bc_id: link.bc_id.clone(),
                        number: link.number.clone(),
                        etag: link.etag.clone(),
                        draft: ready.row.draft.fingerprint(),
                        match_value: ready.row.match_value.clone(),
                        snapshot: link.snapshot.clone(),
                    };
                    // The last step of a change in steps can have nothing left to send.
                    let outcome = if ready.note.stepped { Outcome::Updated } else { Outcome::Equal };
                    prepared.push(ready.settled(outcome, Some(SettledLink::Current(update)), None));
                }
            }
        }
        let rows = self.rows_by_id(to_read.iter().filter_map(|ready| ready.link.as_ref())).await?;
        for ready in to_read {
            let Some(link) = &ready.link else { continue };
            match rows.get(&link.bc_id) {
                Some(row) => prepared.push(self.compare(&ready, link, row)),
                None if self.job.on_missing == OnMissing::Recreate => {
                    let mut round = lock(round);
                    round.note_mut(&ready.row.key).gone = true;
                    round.again(&ready.row.key, Again::Now);
                }
                None => prepared.push(self.gone(&ready, link)),
            }
        }
        Ok(())
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
        let rows = self.reader.find(query, "id", ids, true).await?;
        let asked = |row: &Row| ids.iter().any(|id| id.as_str() == Some(row.id.as_str()));
        Ok(rows.into_iter().filter(asked).map(|row| (row.id.clone(), row)).collect())
    }

    /// A linked row that BC no longer has.
    fn gone(&self, ready: &Ready, link: &Link) -> Prepared {
        let update = LinkUpdate {
            bc_id: link.bc_id.clone(),
            number: link.number.clone(),
            etag: link.etag.clone(),
            draft: ready.row.draft.fingerprint(),
            match_value: ready.row.match_value.clone(),
            snapshot: link.snapshot.clone(),
        };
        let reason = if self.job.schema.document {
            "the document was posted or deleted in Business Central; the change in the source is not written"
        } else {
            "Business Central no longer has this row; set `on_missing = \"recreate\"` to have it made again"
        };
        ready.settled(Outcome::Closed, Some(SettledLink::Closed(update)), Some(Reason::new(reason)))
    }

    /// A linked row that was read because more must be known than its link says.
    fn compare(&self, ready: &Ready, link: &Link, row: &Row) -> Prepared {
        if let Some(refusal) = &ready.note.refusal {
            return super::outcome::refused(&ready.row.key, ready.row.fingerprint, refusal);
        }
        if link.snapshot.sent.is_empty() {
            return self.adopt(ready, row, Adopt::Update);
        }
        let changes = match diff::update(&ready.resolved, &link.snapshot, self.highest_sequence(row)) {
            Action::Update(changes) => changes,
            Action::UpdateOrder(change) => {
                return self.prepare_order(&ready.row, link, row, change, &ready.note, &ready.resolved);
            }
            Action::Create { .. } | Action::None => Vec::new(),
        };
        let ThreeWay { send, kept, held } =
            compare::three_way(&self.job, changes, &link.snapshot, ready.note.sent.as_ref(), row);
        if !held.is_empty() {
            let names = held.join(", ");
            return ready.left(
                RecordState::Conflict,
                format!("someone changed {names} in Business Central, and `on_conflict` is \"hold\""),
            );
        }
        if send.is_empty() {
            let mut snapshot = link.snapshot.clone();
            snapshot.sent.clone_from(&ready.resolved.properties);
            snapshot.answered = compare::answered(&snapshot.sent, row);
            let update = ready.link_to(row, row.text(self.job.number_property()), snapshot);
            let outcome = if kept.is_empty() { Outcome::Equal } else { Outcome::Updated };
            let mut settled = ready.settled(outcome, Some(SettledLink::Current(update)), None);
            if let Prepared::Settled(settlement) = &mut settled
                && !kept.is_empty()
            {
                settlement.fields = kept;
                settlement.reason = Some(Reason::new(KEPT));
            }
            return settled;
        }
        self.update(ready, link, Some(row), &send, kept)
    }

    /// Sends `changes` to the row of `link`; `row` is how BC holds it when it had to be read.
    fn update(
        &self,
        ready: &Ready,
        link: &Link,
        row: Option<&Row>,
        changes: &[PropertyChange],
        kept: Vec<FieldChange>,
    ) -> Prepared {
        if self.job.mode == Mode::CreateOnly {
            // The row stays as it was written; with another `mode` the difference is found again.
            let unchanged = LinkUpdate {
                bc_id: link.bc_id.clone(),
                number: link.number.clone(),
                etag: link.etag.clone(),
                draft: link.draft,
                match_value: link.match_value.clone(),
                snapshot: link.snapshot.clone(),
            };
            let reason = Reason::new("the job never changes rows: `mode` is \"create_only\"");
            return ready.settled(Outcome::Equal, Some(SettledLink::Current(unchanged)), Some(reason));
        }
        let mut snapshot = link.snapshot.clone();
        snapshot.sent.clone_from(&ready.resolved.properties);
        if let Some(row) = row {
            snapshot.answered = compare::answered(&snapshot.sent, row);
        }
        let mut fields = field_changes(changes);
        fields.extend(kept);
        let properties = compare::with_overwritten(&self.job.schema, changes, &snapshot.sent, row);
        let etag = row.map_or(&link.etag, |row| &row.etag).clone();
        let what = What::Update { bc_id: link.bc_id.clone(), etag, properties, adopts: false };
        Prepared::Write(Box::new(Write::new(&ready.row, what, snapshot, fields)))
    }

    async fn prepare_unlinked(&self, unlinked: Vec<Ready>, prepared: &mut Vec<Prepared>) -> Result<(), ApplyError> {
        let mut sought = Vec::with_capacity(unlinked.len());
        for ready in &unlinked {
            let values: Vec<_> =
                self.job.match_on.iter().filter_map(|name| literal(&ready.resolved, name).cloned()).collect();
            let properties = &ready.resolved.properties;
            sought.push(Sought::new(&ready.row.key, values, self.job.schema.document, properties));
        }
        let mut found = self.look_up(&sought).await?;
        for (ready, sought) in unlinked.into_iter().zip(sought) {
            let next = match found.remove(&ready.row.key) {
                None => continue,
                Some(Found::Absent(_)) if self.job.mode == Mode::UpdateOnly => ready.left(
                    RecordState::Waiting,
                    "waits for its row in Business Central: `mode` is \"update_only\", and there is none that matches",
                ),
                Some(Found::Absent(since)) => Self::create(
                    &ready,
                    What::Create {
                        properties: Vec::new(),
                        lines: None,
                        absent_since: since,
                        match_values: sought.values,
                        customer: sought.customer,
                    },
                ),
                Some(Found::One(row)) => self.found(&ready, &row).await?,
                Some(Found::Posted(invoice)) => {
                    let update = ready.link_to(&invoice, invoice.text("number"), Snapshot::default());
                    let reason = "Business Central has it as an invoice already; it is not written any more";
                    ready.settled(Outcome::Closed, Some(SettledLink::Closed(update)), Some(Reason::new(reason)))
                }
                Some(Found::Several(ids)) => ready.left(
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

    fn create(ready: &Ready, proof: What) -> Prepared {
        let Action::Create { properties: all, lines: new_lines } = diff::create(&ready.resolved) else {
            return ready.left(RecordState::Pending, "nothing to create");
        };
        let linked = |lines: &Vec<crate::model::NewLine>| {
            let line = |line: &crate::model::NewLine| LinkedLine {
                key: line.key.clone(),
                sequence: line.sequence,
                id: None,
                sent: line.properties.clone(),
                answered: Vec::new(),
            };
            lines.iter().map(line).collect()
        };
        let snapshot = Snapshot {
            sent: ready.resolved.properties.clone(),
            answered: Vec::new(),
            lines: new_lines.as_ref().map(linked).unwrap_or_default(),
        };
        let new = |(name, value): &(String, Value)| FieldChange {
            property: name.clone(),
            old: None,
            new: Some(value.clone()),
        };
        let fields = all.iter().map(new).collect();
        let what = match proof {
            What::Create { absent_since, match_values, customer, .. } => {
                What::Create { properties: all, lines: new_lines, absent_since, match_values, customer }
            }
            other => other,
        };
        Prepared::Write(Box::new(Write::new(&ready.row, what, snapshot, fields)))
    }

    /// A row that BC has and that no link knows: adopted by policy, unless it belongs to another record.
    async fn found(&self, ready: &Ready, row: &Row) -> Result<Prepared, ApplyError> {
        let owner = self.ledger.owner_of(self.job.target, &self.job.entity.to_string(), &row.id).await?;
        if let Some((job, key)) = owner {
            return Ok(ready.left(
                RecordState::Quarantined,
                format!("the row that matches is linked to record {key} of job {job}; one row cannot be both"),
            ));
        }
        // The first attempt at creating it may have taken effect after all: then it is ours, whatever the policy.
        let ours = ready.row.repeated && compare::differing(&self.job, &ready.resolved.properties, row).is_empty();
        Ok(self.adopt(ready, row, if ours { Adopt::IfEqual } else { self.job.adopt }))
    }

    fn adopt(&self, ready: &Ready, row: &Row, policy: Adopt) -> Prepared {
        let number = row.text(self.job.number_property());
        let changes = compare::differing(&self.job, &ready.resolved.properties, row);
        let same_lines = ready.resolved.lines.as_ref().is_none_or(|lines| compare::same_lines(&self.job, lines, row));
        let names = || changes.iter().map(|change| change.name.as_str()).collect::<Vec<_>>().join(", ");
        if policy == Adopt::Never {
            return ready.left(
                RecordState::Quarantined,
                format!(
                    "Business Central has a row that matches ({number}) and that bcsync did not make; `adopt` is \
                     \"never\". Link it with `bcsync links import`, or remove it there"
                ),
            );
        }
        if !same_lines || (policy == Adopt::IfEqual && !changes.is_empty()) {
            let differ = if same_lines { names() } else { "lines".to_owned() };
            return ready.left(
                RecordState::Quarantined,
                format!(
                    "Business Central has a row that matches ({number}) and differs in {differ}; make them equal, or \
                     link it with `bcsync links import`"
                ),
            );
        }
        let mut snapshot = Snapshot { sent: ready.resolved.properties.clone(), ..Snapshot::default() };
        snapshot.lines = self.adopted_lines(ready, row);
        snapshot.answered = compare::answered(&snapshot.sent, row);
        if changes.is_empty() {
            let update = ready.link_to(row, number, snapshot);
            return ready.settled(Outcome::Adopted, Some(SettledLink::Current(update)), None);
        }
        let fields = field_changes(&changes);
        let properties = compare::with_overwritten(&self.job.schema, &changes, &snapshot.sent, Some(row));
        let what = What::Update { bc_id: row.id.clone(), etag: row.etag.clone(), properties, adopts: true };
        Prepared::Write(Box::new(Write::new(&ready.row, what, snapshot, fields)))
    }

    fn adopted_lines(&self, ready: &Ready, row: &Row) -> Vec<LinkedLine> {
        let mut held = compare::document_lines(&self.job, row);
        held.sort_by_key(compare::sequence);
        let line = |(line, held): (&crate::model::ResolvedLine, Row)| LinkedLine {
            key: line.key.clone(),
            sequence: compare::sequence(&held),
            sent: line.properties.clone(),
            answered: compare::answered(&line.properties, &held),
            id: Some(held.id),
        };
        ready.resolved.lines.iter().flatten().zip(held).map(line).collect()
    }

    fn highest_sequence(&self, row: &Row) -> i64 {
        compare::document_lines(&self.job, row).iter().map(compare::sequence).max().unwrap_or(0)
    }
}

fn literal<'r>(resolved: &'r Resolved, name: &str) -> Option<&'r Value> {
    resolved.properties.iter().chain(&resolved.create_only).find(|(known, _)| known == name).map(|(_, value)| value)
}

/// `changes` as the history tells them.
pub(super) fn field_changes(changes: &[PropertyChange]) -> Vec<FieldChange> {
    let field = |change: &PropertyChange| FieldChange {
        property: change.name.clone(),
        old: change.old.clone(),
        new: Some(change.new.clone()),
    };
    changes.iter().map(field).collect()
}
