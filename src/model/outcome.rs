//! How it went: per error, per record, per run.

use std::fmt;

/// What happens next after an error. Decided once, where the error is understood; every caller only acts on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorClass {
    /// Too many requests: the whole principal pauses, then the same request again.
    Throttled,
    /// A passing fault before anything was done: again after a while.
    Transient,
    /// A write left us and no trustworthy answer came back: resolved by reading, never by repeating.
    Open,
    /// The request asked for too much at once: halve it.
    TooBig,
    /// The row changed since we read it: read again, compare three ways.
    Stale,
    /// A row with that key exists already: look it up.
    Exists,
    /// The row is not there any more.
    Gone,
    /// The document's state forbids the change.
    Locked,
    /// BC refuses this record for what is in it.
    Rejected,
    /// A row that this one refers to is missing.
    MissingRelation,
    /// Credentials, consent, permission or set-up: nothing of this job can succeed until a person acts.
    Denied,
    /// Not understood: bounded retries, then quarantine.
    Undiagnosed,
}

/// The state of a record that is not simply synced; the word in the ledger's `state` columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RecordState {
    /// In the outbox, to be sent.
    Pending,
    /// For another record or a missing code.
    Waiting,
    /// By the brake.
    Held,
    /// BC refuses because of the document's state.
    Locked,
    /// Someone changed our properties in BC and the policy says to ask.
    Conflict,
    /// Cannot be sent as it is; a person must mend record, mapping or set-up.
    Quarantined,
}

impl RecordState {
    /// All states, in the order in which people are told of them.
    pub const ALL: [Self; 6] =
        [Self::Pending, Self::Waiting, Self::Held, Self::Locked, Self::Conflict, Self::Quarantined];

    /// The word in the ledger.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Waiting => "waiting",
            Self::Held => "held",
            Self::Locked => "locked",
            Self::Conflict => "conflict",
            Self::Quarantined => "quarantined",
        }
    }

    /// Reads the word in the ledger.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }
}

/// What a run did with one record; the word in the ledger's history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// A row was created in BC.
    Created,
    /// A row that BC had already was linked.
    Adopted,
    /// Properties or lines of a linked row were changed.
    Updated,
    /// BC already held what we want.
    Equal,
    /// The document was posted or removed in BC; it is not written any more.
    Closed,
    /// The row was deleted, because the source lost its record.
    Deleted,
    /// The row was blocked, because the source lost its record.
    Blocked,
    /// Left in one of the states that are not final.
    Left(RecordState),
}

impl Outcome {
    /// The word in the ledger.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Adopted => "adopted",
            Self::Updated => "updated",
            Self::Equal => "equal",
            Self::Closed => "closed",
            Self::Deleted => "deleted",
            Self::Blocked => "blocked",
            Self::Left(state) => state.as_str(),
        }
    }
}

/// How a run ended. Of several, a person must hear of the greatest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RunResult {
    /// Everything is in order.
    Done,
    /// Done, but some records need a person.
    Attention,
    /// Source or BC could not be reached or gave up.
    Failed,
    /// The brake held it: it would have changed more than it may.
    Held,
    /// Credentials, consent or permissions.
    Denied,
    /// The source refuses the query, or the configuration does not fit.
    Refused,
    /// Stopped on request.
    Interrupted,
}

impl RunResult {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Done, Self::Attention, Self::Failed, Self::Held, Self::Denied, Self::Refused, Self::Interrupted];

    /// The word in the ledger.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Attention => "attention",
            Self::Held => "held",
            Self::Failed => "failed",
            Self::Denied => "denied",
            Self::Refused => "refused",
            Self::Interrupted => "interrupted",
        }
    }

    /// Whether the job does not do its work: it is to be made right before it goes on.
    #[must_use]
    pub fn is_failure(self) -> bool {
        matches!(self, Self::Failed | Self::Denied | Self::Refused)
    }

    /// Reads the word in the ledger.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|result| result.as_str() == text)
    }
}

/// What asking for a retry came to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Retried {
    /// Records that the next pass takes up.
    pub due: u64,
    /// Records that were refused when they were read: only another record, mapping or configuration helps.
    pub refused: u64,
    /// Those of the keys that were asked for which are in none of the states; then nothing is done.
    pub missing: Vec<String>,
}

/// How far a pass has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// So many records were read.
    Read(u64),
    /// So many records of the outbox are settled, of so many.
    Applied {
        /// Settled so far.
        done: u64,
        /// Were in the outbox when applying began.
        of: u64,
    },
}

/// What a run counted. Two sums hold, and a test adds them up:
/// `read = unchanged + filtered + queued + staged + refused` and
/// `taken = created + adopted + updated + equal + closed + deleted + blocked + waiting + pending + held + locked + conflict + quarantined`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Records read from the source.
    pub read: u64,
    /// Of these, equal to what the ledger remembers.
    pub unchanged: u64,
    /// Of these, left out by `where`.
    pub filtered: u64,
    /// Of these, already in the outbox with the same content.
    pub queued: u64,
    /// Of these, put into the outbox.
    pub staged: u64,
    /// Of these, quarantined before anything could be sent.
    pub refused: u64,
    /// Records of the outbox that this run took up.
    pub taken: u64,
    /// Of these, created in BC.
    pub created: u64,
    /// Of these, linked to a row that BC had already.
    pub adopted: u64,
    /// Of these, changed in BC.
    pub updated: u64,
    /// Of these, found as wanted: nothing was sent.
    pub equal: u64,
    /// Of these, posted or removed in BC.
    pub closed: u64,
    /// Of these, rows deleted.
    pub deleted: u64,
    /// Of these, rows blocked.
    pub blocked: u64,
    /// Of these, left waiting for another record or code.
    pub waiting: u64,
    /// Of these, left for the next run: outcome still open, or BC not reached.
    pub pending: u64,
    /// Of these, held by the brake.
    pub held: u64,
    /// Of these, locked by the document's state.
    pub locked: u64,
    /// Of these, in conflict with an edit in BC.
    pub conflict: u64,
    /// Of these, refused by BC.
    pub quarantined: u64,
}

impl Counters {
    /// Counts one record that the run took up.
    pub fn count(&mut self, outcome: Outcome) {
        self.taken += 1;
        let counter = match outcome {
            Outcome::Created => &mut self.created,
            Outcome::Adopted => &mut self.adopted,
            Outcome::Updated => &mut self.updated,
            Outcome::Equal => &mut self.equal,
            Outcome::Closed => &mut self.closed,
            Outcome::Deleted => &mut self.deleted,
            Outcome::Blocked => &mut self.blocked,
            Outcome::Left(RecordState::Waiting) => &mut self.waiting,
            Outcome::Left(RecordState::Pending) => &mut self.pending,
            Outcome::Left(RecordState::Held) => &mut self.held,
            Outcome::Left(RecordState::Locked) => &mut self.locked,
            Outcome::Left(RecordState::Conflict) => &mut self.conflict,
            Outcome::Left(RecordState::Quarantined) => &mut self.quarantined,
        };
        *counter += 1;
    }

    /// The counters that `count` gives by name.
    #[must_use]
    pub fn of(count: impl Fn(&str) -> u64) -> Self {
        Self {
            read: count("read"),
            unchanged: count("unchanged"),
            filtered: count("filtered"),
            queued: count("queued"),
            staged: count("staged"),
            refused: count("refused"),
            taken: count("taken"),
            created: count("created"),
            adopted: count("adopted"),
            updated: count("updated"),
            equal: count("equal"),
            closed: count("closed"),
            deleted: count("deleted"),
            blocked: count("blocked"),
            waiting: count("waiting"),
            pending: count("pending"),
            held: count("held"),
            locked: count("locked"),
            conflict: count("conflict"),
            quarantined: count("quarantined"),
        }
    }

    /// Every counter with its name, in the order in which it is shown and stored.
    #[must_use]
    pub fn named(&self) -> [(&'static str, u64); 20] {
        [
            ("read", self.read),
            ("unchanged", self.unchanged),
            ("filtered", self.filtered),
            ("queued", self.queued),
            ("staged", self.staged),
            ("refused", self.refused),
            ("taken", self.taken),
            ("created", self.created),
            ("adopted", self.adopted),
            ("updated", self.updated),
            ("equal", self.equal),
            ("closed", self.closed),
            ("deleted", self.deleted),
            ("blocked", self.blocked),
            ("waiting", self.waiting),
            ("pending", self.pending),
            ("held", self.held),
            ("locked", self.locked),
            ("conflict", self.conflict),
            ("quarantined", self.quarantined),
        ]
    }

    /// Whether both sums hold: every record that was read or taken up is in exactly one counter.
    #[must_use]
    pub fn add_up(&self) -> bool {
        let sum = |from: usize, to: usize| self.named()[from..to].iter().map(|(_, count)| count).sum::<u64>();
        self.read == sum(1, 6) && self.taken == sum(7, 20)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_and_result_reads_back() {
        for state in RecordState::ALL {
            assert_eq!(RecordState::parse(state.as_str()), Some(state));
        }
        assert_eq!(RecordState::parse("synced"), None);
        for result in RunResult::ALL {
            assert_eq!(RunResult::parse(result.as_str()), Some(result));
        }
        assert_eq!(RunResult::parse("running"), None);
    }

    #[test]
    fn counters_read_back_by_name() {
        let lengths = Counters::of(|name| name.len() as u64);
        assert!(lengths.named().iter().all(|(name, count)| name.len() as u64 == *count));
    }

    #[test]
    fn each_outcome_is_counted_once() {
        let left = RecordState::ALL.map(Outcome::Left);
        let all = [
            Outcome::Created,
            Outcome::Adopted,
            Outcome::Updated,
            Outcome::Equal,
            Outcome::Closed,
            Outcome::Deleted,
            Outcome::Blocked,
        ]
        .into_iter()
        .chain(left);
        let mut counters = Counters::default();
        for outcome in all {
            counters.count(outcome);
            assert!(counters.add_up(), "{outcome}");
        }
        assert_eq!(counters.taken, 13);
        assert!(counters.named()[7..].iter().all(|(_, count)| *count == 1));
    }
}
