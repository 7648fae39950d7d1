//! From BC's answers to what became of each record.

use std::sync::Mutex;

use tracing::warn;

use super::Applier;
use super::compare;
use super::error::ApplyError;
use super::foreign::Foreign;
use super::operation::{What, Write};
use super::reasons::{PART_APPLIED, decided, reason_of};
use super::recreated::{self, Lines};
use super::round::{Again, Note, QUICK_TRIES, Round, lock};
use super::waiting::tell_once;
use crate::bc::{BcError, Failure, Part, Row, Sent};
use crate::ledger::{FieldChange, LinkUpdate, Reason, RunId, SettledLink, Settlement};
use crate::model::{ErrorClass, Fingerprint, LinkedLine, Outcome, RecordState, Snapshot, Value};

impl Applier<'_> {
    /// Settles the records of an envelope whose operations stand each for itself.
    pub(super) async fn settle_parts(
        &self,
        run: RunId,
        round: &Mutex<Round>,
        writes: Vec<Write>,
        parts: Vec<Option<Part>>,
    ) -> Result<(), ApplyError> {
        let mut settlements = Vec::with_capacity(writes.len());
        let mut not_done = Vec::new();
        let mut denied = None;
        for (write, part) in writes.iter().zip(&parts) {
            let succeeded = part.as_ref().filter(|part| part.succeeded());
            if let Some(settlement) = succeeded.and_then(|part| self.done_by(write, part)) {
                settlements.push(settlement);
                continue;
            }
            let refusal = match part {
                Some(part) if !part.succeeded() => {
                    let sent = if matches!(write.what, What::Create { .. }) { Sent::Create } else { Sent::Change };
                    BcError::read(sent, part.status, part.body.as_bytes())
                }
                // No answer to this operation, or none that tells the row: only reading can tell.
                _ => {
                    lock(round).again(&write.key, Again::Now);
                    continue;
                }
            };
            match self.refusal(write, &refusal, round) {
                Followup::Settle(settlement) => settlements.push(*settlement),
                Followup::Open => {}
                Followup::NotDone => not_done.push(write.key.as_str()),
                Followup::Denied => {
                    not_done.push(write.key.as_str());
                    denied.get_or_insert(refusal);
                }
            }
        }
        let total = |settled: &Settlement| writes.iter().find(|write| write.key == settled.key)?.total.clone();
        self.check_totals(total, &mut settlements).await?;
        tell_once(round, &mut settlements);
        self.settle(run, round, settlements).await?;
        if !not_done.is_empty() {
            self.ledger.drop_refused(self.job.id, &not_done).await?;
        }
        match denied {
            None => Ok(()),
            Some(error) => Err(self.denied(error).into()),
        }
    }

    /// The settlement of a write that BC says it has done; `None` when it does not tell the row.
    fn done_by(&self, write: &Write, part: &Part) -> Option<Settlement> {
        write.deleted().or_else(|| Some(self.success(write, &Row::parse(&part.body)?)))
    }

    fn denied(&self, error: BcError) -> Failure {
        Failure::Denied {
            what: format!("writing {}", self.job.entity),
            error: Box::new(error),
            fix: "The application may not write this entity: give it the permission sets for its page and tables on \
                  Business Central's page `Microsoft Entra applications`"
                .to_owned(),
        }
    }

    /// Settles the record of an envelope that is one transaction. That parts of it say 200 means nothing until all do.
    pub(super) async fn settle_order(
        &self,
        run: RunId,
        round: &Mutex<Round>,
        mut writes: Vec<Write>,
        parts: Vec<Option<Part>>,
    ) -> Result<(), ApplyError> {
        let Some(write) = writes.pop() else { return Ok(()) };
        let mut whole = parts.iter().all(|part| part.as_ref().is_some_and(Part::succeeded));
        let mut row = parts.last().and_then(Option::as_ref).and_then(|part| Row::parse(&part.body));
        if crate::mutant!("parts of a failed transaction count") {
            whole = true;
            row = parts.iter().flatten().find(|part| part.succeeded()).and_then(|part| Row::parse(&part.body));
        }
        if let (true, Some(row)) = (whole, row) {
            let mut settlement = self.success(&write, &row);
            if matches!(write.what, What::Order { partial: true, .. }) {
                lock(round).again(&write.key, Again::Now);
                return self.settle_step(run, round, settlement).await;
            }
            self.check_totals(|_| write.total.clone(), std::slice::from_mut(&mut settlement)).await?;
            return self.settle(run, round, vec![settlement]).await;
        }
        // Rolled back, unless the server committed on the way: the row is read before anything is concluded.
        let refusal = parts.iter().flatten().find(|part| !part.succeeded());
        let Some(refusal) = refusal.map(|part| BcError::read(Sent::Change, part.status, part.body.as_bytes())) else {
            lock(round).again(&write.key, Again::Now);
            return Ok(());
        };
        let mut round = lock(round);
        let may_pass = match refusal.class {
            ErrorClass::Throttled | ErrorClass::Transient | ErrorClass::TooBig => {
                round.again(&write.key, Again::Later);
                true
            }
            ErrorClass::Undiagnosed => round.again(&write.key, Again::Later) < self.retry.attempts,
            ErrorClass::Denied => {
                round.again(&write.key, Again::Later);
                return Err(self.denied(refusal).into());
            }
            class => {
                round.again(&write.key, Again::Now);
                matches!(class, ErrorClass::Open | ErrorClass::Stale)
            }
        };
        let note = round.note_mut(&write.key);
        note.stale = refusal.class == ErrorClass::Stale;
        note.refusal = Some(refusal).filter(|_| !may_pass);
        Ok(())
    }

    /// Stores a step of a document's change; the outbox row stays for the steps that follow.
    pub(super) async fn settle_step(
        &self,
        run: RunId,
        round: &Mutex<Round>,
        mut settlement: Settlement,
    ) -> Result<(), ApplyError> {
        *lock(round).note_mut(&settlement.key) = Note { stepped: true, ..Note::default() };
        settlement.outcome = Outcome::Left(RecordState::Pending);
        settlement.reason = Some(Reason::new(format!("{PART_APPLIED}more steps of this change follow")));
        let entity = self.job.entity.to_string();
        Ok(self.ledger.settle(self.job.target, &entity, self.job.id, run, &[settlement]).await?)
    }

    fn success(&self, write: &Write, row: &Row) -> Settlement {
        let before: &[_] = match &write.what {
            What::Order { before, .. } => before,
            What::Create { .. } | What::Update { .. } | What::Delete { .. } => &[],
        };
        let Write { snapshot, draft, match_value, foreign, .. } = write;
        let link = self.link_update(row, snapshot, *draft, match_value.clone(), before, foreign);
        let link = SettledLink::Current(link);
        let settlement = Settlement::done(&write.key, write.fingerprint, write.success(), link);
        Settlement { reason: write.decided.map(decided), fields: write.fields.clone(), ..settlement }
    }

    /// The link to `row` after it was made to hold `snapshot`. `before` are all lines that it had, as far as they are known
    /// ([`recreated::written`]). What is `foreign` was not made by us.
    pub(super) fn link_update(
        &self,
        row: &Row,
        snapshot: &Snapshot,
        draft: Fingerprint,
        match_value: Option<String>,
        before: &[Option<i64>],
        foreign: &Foreign,
    ) -> LinkUpdate {
        let held = compare::sorted_lines(&self.job, row);
        let line = |line: &LinkedLine| match compare::find_line(&self.job, line, &held) {
            Some(row) => {
                LinkedLine { id: Some(row.id.clone()), answered: compare::answered(&line.sent, row), ..line.clone() }
            }
            None => line.clone(),
        };
        // An answer to a change of the header alone does not show the lines.
        let shows_lines = self.job.schema.lines.is_some_and(|lines| row.get(lines.navigation).is_some());
        let seen_with = if shows_lines { compare::seen_with(&self.job, row) } else { snapshot.seen_with.clone() };
        let (lines, seen_with) = match recreated::written(&self.job, snapshot, before, row) {
            Lines::AsKnown => (snapshot.lines.iter().map(line).collect(), seen_with),
            Lines::Changed(lines) => (lines, seen_with),
            // Where nobody can tell, the next change of the document asks a person.
            Lines::Unclear => (snapshot.lines.clone(), snapshot.seen_with.clone()),
        };
        let mut held_now = Snapshot {
            sent: snapshot.sent.clone(),
            answered: compare::answered(&snapshot.sent, row),
            lines,
            seen_with,
            lines_unclear: snapshot.lines_unclear,
            put_back: snapshot.put_back.clone(),
        };
        foreign.leave_out_of(&mut held_now);
        LinkUpdate {
            bc_id: row.id.clone(),
            number: row.text(self.job.number_property()).to_owned(),
            etag: row.etag.clone(),
            draft,
            match_value,
            snapshot: held_now,
        }
    }

    /// What follows from BC's refusal of one operation.
    fn refusal(&self, write: &Write, refusal: &BcError, round: &Mutex<Round>) -> Followup {
        let mut round = lock(round);
        let reason = || reason_of(refusal, write.snapshot.values());
        let left = |state| Settlement::left(&write.key, write.fingerprint, state, reason());
        match refusal.class {
            ErrorClass::Open => {
                warn!(job = %self.job.name, record = %write.key, status = refusal.status, "the outcome is open");
                round.again(&write.key, Again::Now);
                Followup::Open
            }
            ErrorClass::Throttled | ErrorClass::Transient | ErrorClass::TooBig => {
                round.again(&write.key, Again::Later);
                Followup::NotDone
            }
            // Somebody edits the row all the time: that is no fault of the record's, however often it happens.
            ErrorClass::Stale => {
                round.again(&write.key, Again::Now);
                round.note_mut(&write.key).refresh = true;
                Followup::NotDone
            }
            // A row with our key came into being since we looked; the next look-up finds it.
            ErrorClass::Exists if round.again(&write.key, Again::Now) <= QUICK_TRIES => Followup::NotDone,
            ErrorClass::Gone if round.again(&write.key, Again::Now) <= QUICK_TRIES => {
                // Whether it is this row or a related one that is missing, reading the row tells.
                round.note_mut(&write.key).refresh = true;
                Followup::NotDone
            }
            ErrorClass::Undiagnosed if round.again(&write.key, Again::Later) < self.retry.attempts => Followup::NotDone,
            ErrorClass::Locked => {
                let mut locked = left(RecordState::Locked);
                locked.next.retry_after = Some(self.retry.initial);
                Followup::Settle(Box::new(locked))
            }
            ErrorClass::MissingRelation => {
                let waiting = self.waiting(&write.key, write.fingerprint, write.waiting_since, reason());
                Followup::Settle(Box::new(waiting))
            }
            ErrorClass::Denied => {
                round.again(&write.key, Again::Later);
                Followup::Denied
            }
            ErrorClass::Rejected | ErrorClass::Exists | ErrorClass::Gone | ErrorClass::Undiagnosed => {
                Followup::Settle(Box::new(left(RecordState::Quarantined)))
            }
        }
    }

    /// Reads the documents that are about to be settled as they should be, and compares their totals with those that
    /// `total` gives.
    pub(super) async fn check_totals(
        &self,
        total: impl Fn(&Settlement) -> Option<Value>,
        settlements: &mut [Settlement],
    ) -> Result<(), Failure> {
        if self.job.check_total.is_none() {
            return Ok(());
        }
        let has_total = |settlement: &&Settlement| total(settlement).is_some();
        let ids: Vec<_> = settlements.iter().filter(has_total).filter_map(linked_id).map(Value::from).collect();
        if ids.is_empty() {
            return Ok(());
        }
        let rows = self.rows_with_ids(&ids).await?;
        for settlement in settlements {
            let row = linked_id(settlement).and_then(|id| rows.get(id));
            if let (Some(row), Some(total)) = (row, total(settlement)) {
                self.check_total(&total, row, settlement);
            }
        }
        Ok(())
    }

    /// Makes a conflict of a settlement whose document does not come to `total`, or does not show what it comes to.
    pub(super) fn check_total(&self, total: &Value, row: &Row, settlement: &mut Settlement) {
        let (Some(check), Some(wanted)) = (&self.job.check_total, total.decimal()) else { return };
        let held = row.get(&check.property).and_then(Value::decimal);
        let Some(wrong) = check.find_wrong(wanted, held) else { return };
        settlement.outcome = Outcome::Left(RecordState::Conflict);
        settlement.reason = Some(Reason::new(format!(
            "{wrong}, or accept the total with `bcsync resolve {} {} --take bc`",
            self.job.name, settlement.key
        )));
        settlement.fields.push(FieldChange {
            property: check.property.clone(),
            old: Some(Value::Dec(wanted)),
            new: held.map(Value::Dec),
        });
    }
}

/// What follows from a refusal.
enum Followup {
    Settle(Box<Settlement>),
    Open,
    NotDone,
    Denied,
}

/// The row of a settlement that leaves nothing to do.
fn linked_id(settlement: &Settlement) -> Option<&str> {
    match (&settlement.link, settlement.outcome) {
        (Some(SettledLink::Current(link)), Outcome::Created | Outcome::Adopted | Outcome::Updated | Outcome::Equal) => {
            Some(&link.bc_id)
        }
        _ => None,
    }
}
