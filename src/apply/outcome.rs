//! From BC's answers to what became of each record.

use std::collections::HashMap;
use std::sync::Mutex;

use rust_decimal::Decimal;
use tracing::warn;

use super::Applier;
use super::compare;
use super::error::ApplyError;
use super::operation::{What, Write};
use super::reasons::reason_of;
use super::round::{Again, Round, lock};
use crate::bc::{BcError, Failure, Part, Row, Sent};
use crate::ledger::{FieldChange, History, LinkUpdate, Reason, RunId, SettledLink, Settlement};
use crate::model::{ErrorClass, Fingerprint, LinkedLine, Outcome, RecordState, Snapshot, Value};

/// How often a record is taken up again for a reason that should pass at once (a changed row, a row that exists).
const QUICK_TRIES: u32 = 4;

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
        let mut repeated = Vec::new();
        let mut denied = None;
        for (write, part) in writes.iter().zip(&parts) {
            let row = part.as_ref().filter(|part| part.succeeded()).and_then(|part| Row::parse(&part.body));
            if let Some(row) = row {
                settlements.push(self.success(write, &row));
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
                Next::Settle(settlement) => settlements.push(*settlement),
                Next::Open => {}
                Next::NotDone => not_done.push(write.key.as_str()),
                Next::Repeat => repeated.push(write.key.as_str()),
                Next::Denied => {
                    not_done.push(write.key.as_str());
                    denied.get_or_insert(refusal);
                }
            }
        }
        self.check_totals(&writes, &mut settlements).await?;
        self.settle(run, round, &settlements).await?;
        if !not_done.is_empty() {
            self.ledger.drop_intents(self.job.id, &not_done, false).await?;
        }
        if !repeated.is_empty() {
            self.ledger.drop_intents(self.job.id, &repeated, true).await?;
        }
        match denied {
            None => Ok(()),
            Some(error) => Err(Failure::Denied {
                what: format!("writing {}", self.job.entity),
                error: Box::new(error),
                fix: "The application may not write this entity: give it the permission sets for its page and tables \
                      on Business Central's page `Microsoft Entra applications`"
                    .to_owned(),
            }
            .into()),
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
        let whole = parts.iter().all(|part| part.as_ref().is_some_and(Part::succeeded));
        let row = parts.last().and_then(Option::as_ref).and_then(|part| Row::parse(&part.body));
        if let (true, Some(row)) = (whole, row) {
            let mut settlement = self.success(&write, &row);
            if matches!(write.what, What::Order { partial: true, .. }) {
                lock(round).again(&write.key, Again::Now);
                return self.settle_step(run, settlement).await;
            }
            let mut settlements = vec![settlement.clone()];
            self.check_totals(&[write], &mut settlements).await?;
            settlement = settlements.swap_remove(0);
            return self.settle(run, round, &[settlement]).await;
        }
        // Rolled back, unless the server committed on the way: the row is read before anything is concluded.
        let refusal = parts.iter().flatten().find(|part| !part.succeeded());
        let refusal = refusal.map(|part| BcError::read(Sent::Change, part.status, part.body.as_bytes()));
        let mut round = lock(round);
        round.again(&write.key, Again::Now);
        round.note_mut(&write.key).refusal =
            refusal.filter(|refusal| !matches!(refusal.class, ErrorClass::Open | ErrorClass::Stale));
        Ok(())
    }

    /// Stores a step of a document's change; the outbox row stays for the steps that follow.
    async fn settle_step(&self, run: RunId, mut settlement: Settlement) -> Result<(), ApplyError> {
        if let Some(SettledLink::Current(link)) = &mut settlement.link {
            // Of a draft that was never written: equal to none.
            link.draft = Fingerprint::of([]);
        }
        settlement.outcome = Outcome::Left(RecordState::Pending);
        settlement.reason = Some(Reason::new("part-applied: more steps of this change follow"));
        let entity = self.job.entity.to_string();
        Ok(self.ledger.settle(self.job.target, &entity, self.job.id, run, &[settlement]).await?)
    }

    fn success(&self, write: &Write, row: &Row) -> Settlement {
        Settlement {
            key: write.key.clone(),
            fingerprint: write.fingerprint,
            outcome: write.success(),
            link: Some(SettledLink::Current(self.link_update(
                row,
                &write.snapshot,
                write.draft,
                write.match_value.clone(),
            ))),
            reason: None,
            fields: write.fields.clone(),
            history: History::Always,
            open: false,
        }
    }

    /// The link to `row` after it was made to hold `snapshot`.
    pub(super) fn link_update(
        &self,
        row: &Row,
        snapshot: &Snapshot,
        draft: Fingerprint,
        match_value: Option<String>,
    ) -> LinkUpdate {
        let held: HashMap<i64, Row> =
            compare::document_lines(&self.job, row).into_iter().map(|line| (compare::sequence(&line), line)).collect();
        let line = |line: &LinkedLine| match held.get(&line.sequence) {
            Some(row) => {
                LinkedLine { id: Some(row.id.clone()), answered: compare::answered(&line.sent, row), ..line.clone() }
            }
            None => line.clone(),
        };
        LinkUpdate {
            bc_id: row.id.clone(),
            number: row.text(self.job.number_property()).to_owned(),
            etag: row.etag.clone(),
            draft,
            match_value,
            snapshot: Snapshot {
                sent: snapshot.sent.clone(),
                answered: compare::answered(&snapshot.sent, row),
                lines: snapshot.lines.iter().map(line).collect(),
            },
        }
    }

    /// What follows from BC's refusal of one operation.
    fn refusal(&self, write: &Write, refusal: &BcError, round: &Mutex<Round>) -> Next {
        let mut round = lock(round);
        let settle =
            |state| Next::Settle(Box::new(Settlement::left(&write.key, write.fingerprint, state, reason_of(refusal))));
        match refusal.class {
            ErrorClass::Open => {
                warn!(job = %self.job.name, record = %write.key, status = refusal.status, "the outcome is open");
                round.again(&write.key, Again::Now);
                Next::Open
            }
            ErrorClass::Throttled | ErrorClass::Transient | ErrorClass::TooBig => {
                round.again(&write.key, Again::Later);
                Next::NotDone
            }
            ErrorClass::Stale if round.again(&write.key, Again::Now) <= QUICK_TRIES => {
                round.note_mut(&write.key).refresh = true;
                Next::NotDone
            }
            // A row with our key came into being since we looked; the next look-up finds it.
            ErrorClass::Exists if round.again(&write.key, Again::Now) <= QUICK_TRIES => Next::Repeat,
            ErrorClass::Gone if round.again(&write.key, Again::Now) <= QUICK_TRIES => {
                // Whether it is this row or a related one that is missing, reading the row tells.
                round.note_mut(&write.key).refresh = true;
                Next::NotDone
            }
            ErrorClass::Undiagnosed if round.again(&write.key, Again::Later) < self.retry.attempts => Next::NotDone,
            ErrorClass::Locked => settle(RecordState::Locked),
            ErrorClass::MissingRelation => settle(RecordState::Waiting),
            ErrorClass::Denied => {
                round.again(&write.key, Again::Later);
                Next::Denied
            }
            ErrorClass::Rejected
            | ErrorClass::Stale
            | ErrorClass::Exists
            | ErrorClass::Gone
            | ErrorClass::Undiagnosed => settle(RecordState::Quarantined),
        }
    }

    /// Reads the totals of documents that were just written; one that is not as in the source is a conflict.
    async fn check_totals(&self, writes: &[Write], settlements: &mut [Settlement]) -> Result<(), Failure> {
        let Some(check) = &self.job.check_total else { return Ok(()) };
        let ids: Vec<Value> = settlements.iter().filter_map(linked_id).map(Value::from).collect();
        if ids.is_empty() {
            return Ok(());
        }
        let rows = self.rows_with_ids(&ids).await?;
        for settlement in settlements {
            let Some(row) = linked_id(settlement).and_then(|id| rows.get(id)) else { continue };
            let wanted = writes.iter().find(|write| write.key == settlement.key).and_then(|write| write.total.as_ref());
            let (Some(wanted), Some(held)) =
                (wanted.and_then(Value::decimal), row.get(&check.property).and_then(Value::decimal))
            else {
                continue;
            };
            let difference: Decimal = (wanted - held).abs();
            if difference > check.tolerance {
                settlement.outcome = Outcome::Left(RecordState::Conflict);
                settlement.reason = Some(Reason::new(format!(
                    "{} is off by {difference} from the source's total (tolerance {}); the document stays as written",
                    check.property, check.tolerance
                )));
                settlement.fields.push(FieldChange {
                    property: check.property.clone(),
                    old: Some(Value::Dec(wanted)),
                    new: Some(Value::Dec(held)),
                });
            }
        }
        Ok(())
    }
}

/// What follows from a refusal.
enum Next {
    Settle(Box<Settlement>),
    Open,
    NotDone,
    Repeat,
    Denied,
}

fn linked_id(settlement: &Settlement) -> Option<&str> {
    match &settlement.link {
        Some(SettledLink::Current(link)) => Some(&link.bc_id),
        _ => None,
    }
}
