//! What one run over the outbox remembers while it goes: counters, and what to take up again.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use tokio::sync::watch;

use super::closing::Closing;
use crate::bc::BcError;
use crate::ledger::{Intent, OutboxRow};
use crate::model::{Allowed, Counters, Counts, Outcome, RecordState};

/// How often a record is taken up in one run, whatever the reasons.
const MOST_TRIES: u32 = 12;

/// How often a record is taken up again at once for a reason that should be gone by then: a changed row, one that
/// exists, a lost answer.
pub(super) const QUICK_TRIES: u32 = 4;

/// The memory of a run. Its size grows with what goes wrong, never with what goes right.
#[derive(Debug, Default)]
pub(super) struct Round {
    /// When the run began. What becomes due later is for the next one.
    pub(super) as_of: DateTime<Utc>,
    /// What was settled.
    pub(super) counters: Counters,
    /// Whether everything in the outbox is taken up (the first round) or only what is in `current`.
    narrowed: bool,
    current: HashSet<String>,
    next: HashMap<String, Again>,
    /// How often each record was taken up again.
    tries: HashMap<String, u32>,
    /// What is known of records that are taken up again.
    notes: HashMap<String, Note>,
    /// Records whose outcome is open and cannot be told yet.
    pub(super) open: HashSet<String>,
    /// Records that may be sent again under the same etag. Their intents outlive everything but an answer.
    pub(super) released: HashMap<String, Released>,
    /// Creates that have made no row so far, in the order of their sending, by records that may be sent again: BC lets only
    /// one of them all be made.
    pub(super) lost_creates: HashMap<String, Vec<Intent>>,
    /// Records that only a person can tell about, and that were counted and told of.
    pub(super) unclear: HashSet<String>,
    /// How much of each kind the whole run may do.
    pub(super) allowed: Allowed,
    /// Links that are to be closed.
    pub(super) closing: Closing,
    /// Errors that several records may have, with the one record that is tried first.
    probes: HashMap<String, Probe>,
    /// The errors by those records.
    tried_first: HashMap<String, String>,
    /// What records wait for, with how many of them do.
    waited_for: BTreeMap<String, u64>,
    /// Records that were taken up too often; the next run tries them again.
    given_up: HashSet<String>,
    /// Envelopes that hold a permit and are not sent yet.
    noting: watch::Sender<usize>,
}

/// Requests under one etag that BC has not done so far, and of which one may still take effect.
#[derive(Debug, Clone)]
pub(super) struct Released {
    /// The etag. A row that has another one by now has to be found out about again.
    pub(super) etag: String,
    /// How long, in words.
    pub(super) until: String,
}

/// The record that is tried before the others with the same error.
#[derive(Debug)]
struct Probe {
    key: String,
    passed: Passed,
}

/// Whether a probe went through.
#[derive(Debug, PartialEq, Eq)]
enum Passed {
    /// Not so far.
    No,
    /// Just now: the others are taken up in the next round.
    Now,
    /// The others are being taken up.
    TakingUp,
    /// The others were taken up.
    Done,
}

/// Why a record is taken up again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Again {
    /// What stood in the way may have passed.
    Later,
    /// More is known now: at once.
    Now,
}

/// What is known of a linked row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum RowIs {
    /// It was there when last seen.
    #[default]
    There,
    /// It is not there any more.
    Gone,
}

/// What a record's earlier attempt taught.
#[derive(Debug, Clone, Default)]
pub(super) struct Note {
    /// Its row must be read and compared before anything is sent.
    pub(super) refresh: bool,
    /// Whether its row was still there.
    pub(super) row: RowIs,
    /// What a snapshot batch said about the operation that failed.
    pub(super) refusal: Option<BcError>,
    /// Whether BC said that the row had moved on before its last request.
    pub(super) stale: bool,
    /// A step of its change was done in this run.
    pub(super) stepped: bool,
}

/// An envelope that holds a permit and is not sent yet.
pub(super) struct Noting(watch::Sender<usize>);

impl Drop for Noting {
    fn drop(&mut self) {
        self.0.send_modify(|noting| *noting -= 1);
    }
}

impl Round {
    /// Nothing is known yet; the run begins at `as_of`.
    pub(super) fn new(as_of: DateTime<Utc>) -> Self {
        Self { as_of, ..Self::default() }
    }

    /// Marks that an envelope holds a permit, until it is sent.
    pub(super) fn noting(&self) -> Noting {
        self.noting.send_modify(|noting| *noting += 1);
        Noting(self.noting.clone())
    }

    /// Tells how many envelopes hold a permit and are not sent yet.
    pub(super) fn watch_noting(&self) -> watch::Receiver<usize> {
        self.noting.subscribe()
    }

    /// Whether `row` is taken up in this round. Of those with the same error one goes first.
    pub(super) fn takes(&mut self, row: &OutboxRow) -> bool {
        if self.open.contains(&row.key) {
            return false;
        }
        let in_turn = !self.narrowed || self.current.contains(&row.key);
        let shared =
            row.error.as_ref().filter(|_| matches!(row.state, RecordState::Quarantined | RecordState::Waiting));
        let Some(error) = shared else { return in_turn };
        match self.probes.get(error) {
            Some(probe) if probe.passed == Passed::TakingUp => true,
            Some(probe) if probe.passed == Passed::Done => in_turn,
            Some(probe) => in_turn && probe.key == row.key,
            None => {
                if in_turn {
                    self.probes.insert(error.clone(), Probe { key: row.key.clone(), passed: Passed::No });
                    self.tried_first.insert(row.key.clone(), error.clone());
                }
                in_turn
            }
        }
    }

    /// Notes that one more record waits for what `reason` says; whether it is the first one.
    pub(super) fn waits_too(&mut self, reason: &str) -> bool {
        let records = self.waited_for.entry(reason.to_owned()).or_default();
        *records += 1;
        *records == 1
    }

    /// What records wait for, with how many of them do.
    pub(super) fn waited_for(&self) -> impl Iterator<Item = (&str, u64)> {
        self.waited_for.iter().map(|(reason, records)| (reason.as_str(), *records))
    }

    /// The error for which the record is tried first.
    pub(super) fn probed_by(&self, key: &str) -> Option<&str> {
        self.tried_first.get(key).map(String::as_str)
    }

    /// Whether a request that was still open a moment ago may be why the record's row has this etag. Then the record is
    /// taken up again to find that out; that a later request was refused says nothing about the one that is left.
    pub(super) fn has_moved_on(&mut self, key: &str, etag: &str) -> bool {
        let moved = self.released.get(key).is_some_and(|released| released.etag != etag);
        if moved {
            self.note_mut(key).refusal = None;
            self.again(key, Again::Now);
        }
        moved
    }

    /// Whether a request that was still open a moment ago may be why the record's row is gone. Then the record is taken up
    /// again to find that out.
    pub(super) fn is_released(&mut self, key: &str) -> bool {
        let released = self.released.contains_key(key);
        if released {
            self.note_mut(key).refusal = None;
            self.again(key, Again::Now);
        }
        released
    }

    /// What is known of the record.
    pub(super) fn note(&self, key: &str) -> Note {
        self.notes.get(key).cloned().unwrap_or_default()
    }

    /// What is known of the record, to be added to.
    pub(super) fn note_mut(&mut self, key: &str) -> &mut Note {
        self.notes.entry(key.to_owned()).or_default()
    }

    /// Takes the record up again in the next round; how often it has been by then. What does not help twice is worth
    /// waiting for.
    pub(super) fn again(&mut self, key: &str, when: Again) -> u32 {
        let tries = self.tries.entry(key.to_owned()).or_default();
        *tries += 1;
        self.next.insert(key.to_owned(), if *tries > QUICK_TRIES { Again::Later } else { when });
        *tries
    }

    /// Takes the record up in this round too: by now it is known what became of its last request.
    pub(super) fn take_up(&mut self, key: &str) {
        self.current.insert(key.to_owned());
    }

    /// Counts what became of a record.
    pub(super) fn settled(&mut self, key: &str, outcome: Outcome) {
        self.next.remove(key);
        self.current.remove(key);
        self.open.remove(key);
        self.notes.remove(key);
        self.counters.count(outcome);
        let error = self.tried_first.remove(key);
        let probe = error.and_then(|error| self.probes.get_mut(&error));
        if let (Some(probe), false) = (probe, matches!(outcome, Outcome::Left(_))) {
            probe.passed = Passed::Now;
        }
    }

    /// Begins the next round: `None` when there is nothing to take up again, else whether to wait before it.
    pub(super) fn next(&mut self) -> Option<Again> {
        self.narrowed = true;
        let mut next = std::mem::take(&mut self.next);
        let tries = &self.tries;
        let given_up = next.extract_if(|key, _| tries.get(key).is_some_and(|tries| *tries > MOST_TRIES));
        self.given_up.extend(given_up.map(|(key, _)| key));
        let when = if next.values().any(|when| *when == Again::Later) { Again::Later } else { Again::Now };
        self.current = next.into_keys().collect();
        let more_is_due = self.open_the_way();
        (more_is_due || !self.current.is_empty()).then_some(when)
    }

    /// Lets those follow whose probe went through; whether there are any.
    fn open_the_way(&mut self) -> bool {
        let mut any = false;
        for probe in self.probes.values_mut() {
            probe.passed = match probe.passed {
                Passed::No => continue,
                Passed::Now => Passed::TakingUp,
                Passed::TakingUp | Passed::Done => Passed::Done,
            };
            any |= probe.passed == Passed::TakingUp;
        }
        any
    }

    /// The errors of records that follow in this round, because their probe went through.
    pub(super) fn followed(&self) -> Vec<&str> {
        let followed = self.probes.iter().filter(|(_, probe)| probe.passed == Passed::TakingUp);
        followed.map(|(error, _)| error.as_str()).collect()
    }

    /// What was done so far, as the brake counts it.
    pub(super) fn done(&self) -> Counts {
        let Counters { created, adopted, updated, deleted, blocked, closed, .. } = self.counters;
        Counts { creates: created, updates: adopted + updated, deletes: deleted + blocked, closes: closed }
    }

    /// Gives up the run: of the records that are due nothing is sent. They are left in those states.
    pub(super) fn hold(&mut self, left: &[(RecordState, u64)]) {
        self.next.clear();
        self.current.clear();
        self.leave(left);
    }

    /// Counts records that are left in those states.
    pub(super) fn leave(&mut self, left: &[(RecordState, u64)]) {
        for &(state, count) in left {
            for _ in 0..count {
                self.counters.count(Outcome::Left(state));
            }
        }
    }

    /// How many records were taken up and are not settled.
    pub(super) fn unsettled(&self) -> u64 {
        let keys: HashSet<&String> = self
            .next
            .keys()
            .chain(&self.current)
            .chain(&self.open)
            .chain(&self.given_up)
            .chain(self.closing.keys())
            .collect();
        keys.len() as u64
    }
}

/// Locks; a panic elsewhere leaves counters that are still counters.
pub(super) fn lock(round: &Mutex<Round>) -> MutexGuard<'_, Round> {
    round.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bc::Sent;

    #[test]
    fn a_refusal_is_not_taken_for_that_of_the_request_that_is_left() {
        let mut round = Round::new(DateTime::UNIX_EPOCH);
        let refusal = BcError::read(Sent::Change, 400, br#"{"error":{"code":"Application_DialogException"}}"#);
        round.note_mut("1").refusal = Some(refusal);
        let released = Released { etag: "before".to_owned(), until: String::new() };
        round.released.insert("1".to_owned(), released);
        assert!(!round.has_moved_on("1", "before"));
        assert!(round.note("1").refusal.is_some());
        assert_eq!(round.next(), None);

        assert!(round.has_moved_on("1", "after"));
        assert!(round.note("1").refusal.is_none());
        assert_eq!(round.next(), Some(Again::Now));
    }
}
