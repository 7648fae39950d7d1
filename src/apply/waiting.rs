//! Records that refer to something which is not there: another record, a code of Business Central, their own row.
//!
//! A record that waits burns no attempt. What it waits for is looked for in every run, once for all that share it, and
//! the history tells it once. After `waiting_for` a person is asked, and the record still goes as soon as it can.

use std::sync::Mutex;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tracing::info;

use super::Applier;
use super::round::{Round, lock};
use crate::ledger::{History, OutboxRow, Reason, Settlement};
use crate::model::{Fingerprint, Outcome, RecordState};

/// How many reasons for waiting the log names after a run.
const NAMED: usize = 20;

impl Applier<'_> {
    /// What becomes of a record that waits for what `reason` says; `None` when a person was asked already.
    pub(super) fn waits(&self, row: &OutboxRow, reason: Reason) -> Option<Settlement> {
        let asked = row.state == RecordState::Quarantined && row.waiting_since.is_some();
        (!asked).then(|| {
            let mut settlement = self.waiting(&row.key, row.fingerprint, row.waiting_since, reason);
            if settlement.outcome == Outcome::Left(RecordState::Quarantined) {
                // It is looked for as before: that costs no more than for those that wait.
                settlement.next.retry_after = Some(Duration::ZERO);
            }
            settlement
        })
    }

    /// The settlement of a record that has waited `since` then, and goes on.
    pub(super) fn waiting(
        &self,
        key: &str,
        fingerprint: Fingerprint,
        since: Option<DateTime<Utc>>,
        reason: Reason,
    ) -> Settlement {
        let bound = TimeDelta::from_std(self.job.patience.waiting_for).unwrap_or(TimeDelta::MAX);
        let mut settlement = match since.filter(|since| self.ledger.time() - since >= bound) {
            None => Settlement::left(key, fingerprint, RecordState::Waiting, reason),
            Some(since) => {
                let since = since.format("%F");
                let text = format!("{} (since {since}, longer than `waiting_for`)", reason.text);
                Settlement::left(key, fingerprint, RecordState::Quarantined, Reason { text, ..reason })
            }
        };
        settlement.next.waits = true;
        settlement
    }

    /// Logs what records of this run wait for.
    pub(super) fn log_waiting(&self, round: &Round) {
        for (reason, records) in round.waited_for().take(NAMED) {
            info!(job = %self.job.name, records, "{reason}");
        }
        let more = round.waited_for().count().saturating_sub(NAMED);
        if more > 0 {
            info!(job = %self.job.name, reasons = more, "more records wait: `bcsync history --pending` names them");
        }
    }
}

/// Lets the history tell once what several of `settlements` wait for.
pub(super) fn tell_once(round: &Mutex<Round>, settlements: &mut [Settlement]) {
    let mut round = lock(round);
    for settlement in settlements.iter_mut().filter(|settlement| settlement.next.waits) {
        let Some(reason) = &settlement.reason else { continue };
        if !round.waits_too(&reason.text) {
            settlement.history = History::Never;
        }
    }
}
