//! Changing a document together with its lines: one transaction, fenced by the header's etag.
//!
//! Any line write changes the header's etag. A batch that begins with a PATCH of the header under its etag therefore
//! cannot take effect after another one did: of a lost batch and its successor only one can win. Lines that we never
//! wrote are never touched.

use super::Applier;
use super::candidate::Candidate;
use super::compare::{self, ThreeWay};
use super::foreign::{Foreign, in_line};
use super::job::ApplyJob;
use super::operation::{Prepared, What, Write, field_changes, object};
use crate::bc::{Operation, Row};
use crate::diff::SEQUENCE_STEP;
use crate::ledger::{FieldChange, Link, SettledLink, Settlement};
use crate::model::{
    LineChange, LinkedLine, NewLine, OnConflict, OrderChange, Outcome, PropertyChange, Snapshot, Value,
};

/// Lines that one transaction changes at most: with the header and the read-back 99 of BC's 100 operations.
const LINES_AT_ONCE: usize = 97;

/// Of a line, inside the transaction that the header's etag guards. A line's own etag would not last: each line that
/// is written makes BC spread the document's discount anew over the others.
const ANY_ETAG: &str = "*";

impl Applier<'_> {
    /// The write that makes of `row` what `change` asks for, or what keeps it from being made.
    pub(super) fn prepare_order(&self, candidate: &Candidate, link: &Link, row: &Row, change: OrderChange) -> Prepared {
        let Candidate { row: outbox, resolved, .. } = candidate;
        let policy = candidate.policy(self.job.on_conflict, row);
        let ThreeWay { send, kept, held } = compare::three_way(&self.job, policy, change.header, &link.snapshot, row);
        let rows = compare::sorted_lines(&self.job, row);
        // BC changes the lines when such a property changes: ours follow in a step of their own, re-read.
        let changes_lines = self.job.schema.decides_about_lines().any(|name| send.iter().any(|send| send.name == name));
        let ours = |row: &Row| {
            let is_it = |line: &&LinkedLine| line.id.as_deref() == Some(row.id.as_str());
            link.snapshot.lines.iter().find(is_it).map(|line| line.sequence)
        };
        let before: Vec<_> = if changes_lines { rows.iter().map(ours).collect() } else { Vec::new() };
        let at_once = if before.is_empty() { LINES_AT_ONCE } else { 0 };
        let mut snapshot = link.snapshot.clone();
        snapshot.seen_with = compare::seen_with(&self.job, row);
        snapshot.sent.clone_from(&resolved.properties);
        snapshot.answered = compare::answered(&snapshot.sent, row);
        let mut plan = LinePlan {
            job: &self.job,
            policy,
            undecided: outbox.decision.is_none(),
            document: format!("companies({})/{}({})", self.job.company, self.job.entity.set(), row.id),
            link,
            rows: &rows,
            next_sequence: next_sequence(&change.lines, link, &rows),
            snapshot,
            held,
            kept,
            fields: field_changes(&send),
            operations: Vec::new(),
        };
        let mut lines = change.lines.into_iter();
        while plan.operations.len() < at_once
            && let Some(line) = lines.next()
        {
            plan.add(line);
        }
        let later: Vec<_> = lines.collect();
        let partial = !before.is_empty() || !later.is_empty();
        // A change that somebody stands against is not begun, whichever of its steps it is.
        let held = later.into_iter().fold(plan.clone(), LinePlan::with).held;
        if !held.is_empty() {
            return candidate.conflict(&self.job.name, held, row);
        }
        if !before.is_empty() {
            plan.keep_theirs();
        }
        let LinePlan { document, mut snapshot, kept, mut fields, operations: lines, .. } = plan;
        let foreign = Foreign::found(&self.job, &link.snapshot, &snapshot, row).and(candidate.not_ours(&kept));
        foreign.leave_out_of(&mut snapshot);
        fields.extend(kept);
        if send.is_empty() && lines.is_empty() {
            return self.nothing_to_send(candidate, row, &snapshot, &foreign, fields);
        }
        if let Some(kept) = self.processed(candidate, link, row, None).or_else(|| self.kept_by_lock(candidate, row)) {
            return kept;
        }
        let expand = self.job.schema.lines.as_ref().map_or("", |lines| lines.navigation);
        let mut operations =
            vec![Operation::patch(document.clone(), &row.etag, self.fence(&send, &resolved.properties, row))];
        if send.is_empty() && crate::mutant!("line changes without a fence") {
            operations.clear();
        }
        operations.extend(lines);
        operations.push(Operation::read_back(format!("{document}?$expand={expand}")));
        let (bc_id, etag, adopts) = (row.id.clone(), row.etag.clone(), candidate.link.is_none());
        let what = What::Order { bc_id, etag, operations, partial, adopts, before };
        Prepared::Write(Box::new(Write { foreign, ..Write::new(outbox, what, snapshot, fields) }))
    }

    /// BC keeps what it holds, or holds what is wanted already.
    fn nothing_to_send(
        &self,
        candidate: &Candidate,
        row: &Row,
        snapshot: &Snapshot,
        foreign: &Foreign,
        fields: Vec<FieldChange>,
    ) -> Prepared {
        let Candidate { row: outbox, note, .. } = candidate;
        let draft = outbox.draft.fingerprint();
        let update = self.link_update(row, snapshot, draft, outbox.match_value.clone(), &[], foreign);
        let outcome = match &candidate.link {
            None => Outcome::Adopted,
            Some(_) if fields.is_empty() && !note.stepped => Outcome::Equal,
            Some(_) => Outcome::Updated,
        };
        let settlement = Settlement::done(&outbox.key, outbox.fingerprint, outcome, SettledLink::Current(update));
        let reason = (!fields.is_empty()).then(|| candidate.kept());
        Prepared::Settled(Box::new(Settlement { reason, fields, ..settlement }))
    }

    /// The body of the PATCH that the batch begins with: what changes, or the match property as it is.
    fn fence(&self, send: &[PropertyChange], wanted: &[(String, Value)], row: &Row) -> Value {
        if send.is_empty() {
            let name = self.job.match_on.first().map_or("externalDocumentNumber", String::as_str);
            return object(&[(name.to_owned(), row.get(name).cloned().unwrap_or_else(|| Value::from("")))]);
        }
        object(&compare::with_overwritten(&self.job.schema, send, wanted, Some(row)))
    }
}

/// The operations on lines, as they come together.
#[derive(Clone)]
struct LinePlan<'a> {
    job: &'a ApplyJob,
    /// Who wins where somebody changed a line.
    policy: OnConflict,
    /// Whether that is as configured, and no person has decided it.
    undecided: bool,
    /// The document's path.
    document: String,
    link: &'a Link,
    /// Its lines in BC, ours and others.
    rows: &'a [Row],
    /// For a line that must go behind all others.
    next_sequence: i64,
    /// What the link will hold.
    snapshot: Snapshot,
    /// What somebody changed and nobody has decided about.
    held: Vec<FieldChange>,
    /// What BC keeps against us.
    kept: Vec<FieldChange>,
    /// What is sent.
    fields: Vec<FieldChange>,
    operations: Vec<Operation>,
}

impl LinePlan<'_> {
    /// Adds the operation for one line, and what the link will hold of it.
    fn add(&mut self, change: LineChange) {
        match change {
            LineChange::Add(line) => self.insert(line),
            LineChange::Change { key, sequence, changes, properties } => {
                self.change(NewLine { key, sequence, properties }, changes);
            }
            LineChange::Remove { key, sequence } => self.remove(&key, sequence),
        }
    }

    /// The plan with one line more.
    fn with(mut self, change: LineChange) -> Self {
        self.add(change);
        self
    }

    fn insert(&mut self, line: NewLine) {
        for (name, value) in &line.properties {
            self.field(&line.key, name, None, Some(value.clone()));
        }
        let mut body = vec![("sequence".to_owned(), Value::Int(line.sequence))];
        body.extend(line.properties.iter().cloned());
        self.operations.push(Operation::post(self.path(None), object(&body)));
        self.snapshot.lines.retain(|known| known.key != line.key);
        let NewLine { key, sequence, properties } = line;
        self.snapshot.lines.push(LinkedLine {
            key,
            sequence,
            id: None,
            sent: properties,
            answered: Vec::new(),
            put_back: Vec::new(),
        });
    }

    /// Makes `changes` in the line, so that it becomes `wanted`.
    fn change(&mut self, wanted: NewLine, changes: Vec<PropertyChange>) {
        let known = self.link.snapshot.lines.iter().find(|line| line.key == wanted.key);
        let Some(row) = known.and_then(|line| compare::find_line(self.job, line, self.rows)) else {
            // A person deleted the line in BC.
            let deleted = changes.iter().map(|change| FieldChange {
                property: in_line(&wanted.key, &change.name),
                old: None,
                new: Some(change.new.clone()),
            });
            match self.policy {
                OnConflict::Hold => self.held.extend(deleted),
                OnConflict::BcWins => {
                    self.kept.extend(deleted.map(|field| FieldChange { old: field.new, new: None, ..field }));
                    take(&mut self.snapshot, &wanted, None);
                }
                // Beside it the goods might be sent twice.
                OnConflict::SourceWins if self.undecided && self.may_be_in_its_place(&wanted) => {
                    self.held.extend(deleted);
                }
                OnConflict::SourceWins => {
                    let sequence = self.free_sequence(wanted.sequence);
                    self.insert(NewLine { sequence, ..wanted });
                }
            }
            return;
        };
        let mut send = Vec::new();
        for change in changes {
            // What is to be put back was there, and still is as far as we are concerned.
            let theirs = known.and_then(|line| line.put_back(&change.name));
            let held = theirs.or_else(|| row.get(&change.name));
            let is =
                |value: Option<&Value>| value.is_some_and(|value| self.job.same_in_line(&change.name, value, held));
            if theirs.is_none() && is(Some(&change.new)) && self.job.tells_in_line(&change.name) {
                continue;
            }
            let ours = known.and_then(|line| line.answered(&change.name));
            let untouched = is(change.old.as_ref()) || is(ours) || is(Some(&change.new)) || change.old.is_none();
            let property = in_line(&wanted.key, &change.name);
            match self.policy {
                OnConflict::BcWins if !untouched => {
                    self.kept.push(FieldChange { property, old: Some(change.new.clone()), new: held.cloned() });
                    send.extend(theirs.map(|theirs| PropertyChange { new: theirs.clone(), ..change }));
                }
                OnConflict::Hold if !untouched => {
                    self.held.push(FieldChange { property, old: held.cloned(), new: Some(change.new) });
                }
                OnConflict::SourceWins | OnConflict::BcWins | OnConflict::Hold => {
                    let old = match theirs.filter(|_| untouched) {
                        Some(_) => row.get(&change.name),
                        None if is(change.old.as_ref()) => change.old.as_ref(),
                        None => held.or(change.old.as_ref()),
                    };
                    self.fields.push(FieldChange { property, old: old.cloned(), new: Some(change.new.clone()) });
                    send.push(change);
                }
            }
        }
        take(&mut self.snapshot, &wanted, Some(row));
        if send.is_empty() {
            return;
        }
        let schema = self.job.line_schema.as_deref().unwrap_or(&self.job.schema);
        let body = compare::with_overwritten(schema, &send, &wanted.properties, Some(row));
        self.operations.push(Operation::patch(self.path(Some(&row.id)), ANY_ETAG, object(&body)));
    }

    fn remove(&mut self, key: &str, sequence: i64) {
        let known = self.link.snapshot.lines.iter().find(|line| line.key == key);
        if let Some((known, row)) = known.and_then(|line| Some((line, compare::find_line(self.job, line, self.rows)?)))
        {
            let theirs = self.changed_by_others(known, row);
            match self.policy {
                OnConflict::Hold if !theirs.is_empty() => {
                    let changed =
                        |(name, old): (String, _)| FieldChange { property: in_line(key, &name), old, new: None };
                    self.held.extend(theirs.into_iter().map(changed));
                    return;
                }
                // From here on it is somebody else's line.
                OnConflict::BcWins if !theirs.is_empty() => {
                    self.field(key, "sequence", None, Some(Value::Int(sequence)));
                    self.snapshot.lines.retain(|line| line.key != key);
                    return;
                }
                OnConflict::SourceWins | OnConflict::Hold | OnConflict::BcWins => {}
            }
            self.operations.push(Operation::delete(self.path(Some(&row.id)), ANY_ETAG));
            self.field(key, "sequence", Some(Value::Int(sequence)), None);
            for (name, held) in theirs {
                self.field(key, &name, held, None);
            }
        }
        self.snapshot.lines.retain(|line| line.key != key);
    }

    /// Whether a line that is none of ours is of the same item.
    fn may_be_in_its_place(&self, wanted: &NewLine) -> bool {
        let is_ours = |row: &&Row| self.link.snapshot.lines.iter().any(|line| line.id.as_ref() == Some(&row.id));
        let mut others = self.rows.iter().filter(|row| !is_ours(row));
        others.any(|row| compare::is_line(self.job, &wanted.properties, row))
    }

    /// `sequence`, or one behind all others when somebody's line has that place by now.
    fn free_sequence(&mut self, sequence: i64) -> i64 {
        if self.rows.iter().all(|row| compare::sequence(row) != sequence) {
            return sequence;
        }
        let free = self.next_sequence;
        self.next_sequence += SEQUENCE_STEP;
        free
    }

    /// Notes what others have changed in lines that BC is about to change. What was noted before and is not there again
    /// yet stays as it is.
    fn keep_theirs(&mut self) {
        let mut lines = std::mem::take(&mut self.snapshot.lines);
        for line in &mut lines {
            let Some(row) = compare::find_line(self.job, line, self.rows) else { continue };
            for (name, held) in self.changed_by_others(line, row) {
                let can_be_sent = !self.job.line_schema.as_ref().is_some_and(|schema| schema.reads_otherwise(&name));
                if let Some(held) = held.filter(|_| can_be_sent && line.put_back(&name).is_none()) {
                    line.put_back.push((name, held));
                }
            }
        }
        self.snapshot.lines = lines;
    }

    /// What `row` holds otherwise than we left it.
    fn changed_by_others(&self, known: &LinkedLine, row: &Row) -> Vec<(String, Option<Value>)> {
        let differs = |(name, sent): &&(String, Value)| {
            let ours = [Some(sent), known.answered(name)];
            compare::is_theirs(row.get(name), ours, |value, held| self.job.same_in_line(name, value, held))
        };
        known.sent.iter().filter(differs).map(|(name, _)| (name.clone(), row.get(name).cloned())).collect()
    }

    fn field(&mut self, key: &str, name: &str, old: Option<Value>, new: Option<Value>) {
        self.fields.push(FieldChange { property: in_line(key, name), old, new });
    }

    fn path(&self, line: Option<&str>) -> String {
        let navigation = self.job.schema.lines.as_ref().map_or("", |lines| lines.navigation);
        match line {
            Some(id) => format!("{}/{navigation}({id})", self.document),
            None => format!("{}/{navigation}", self.document),
        }
    }
}

/// The sequence behind all lines that the document has, had of ours, or gets.
fn next_sequence(changes: &[LineChange], link: &Link, rows: &[Row]) -> i64 {
    let added = changes.iter().filter_map(|change| match change {
        LineChange::Add(new) => Some(new.sequence),
        LineChange::Change { .. } | LineChange::Remove { .. } => None,
    });
    let known = link.snapshot.lines.iter().map(|line| line.sequence);
    added.chain(known).chain(rows.iter().map(compare::sequence)).fold(0, i64::max) + SEQUENCE_STEP
}

/// What the link holds of a line once it is as `wanted`, or is known not to become so: `row` is the line before.
fn take(snapshot: &mut Snapshot, wanted: &NewLine, row: Option<&Row>) {
    let Some(line) = snapshot.lines.iter_mut().find(|line| line.key == wanted.key) else { return };
    line.sent.clone_from(&wanted.properties);
    line.put_back.clear();
    if let Some(row) = row {
        line.answered = compare::answered(&line.sent, row);
    }
}
