//! Links that a run is going to close: none of them before it is known how many there are.

use crate::ledger::Settlement;
use crate::model::{Plan, Planner, Step};

/// Links to be closed at the end of the run, as long as there are not too many of them.
#[derive(Debug, Default)]
pub(super) struct Closing {
    allowed: Option<u64>,
    planner: Planner,
    count: u64,
    /// Never more than are allowed, and those of one chunk.
    gathered: Vec<Settlement>,
}

impl Closing {
    /// None yet, of at most so many that are allowed.
    pub(super) fn new(allowed: Option<u64>) -> Self {
        Self { allowed, ..Self::default() }
    }

    /// Keeps those, or, once there are too many, gives back all that were kept.
    pub(super) fn gather(&mut self, closes: Vec<Settlement>) -> Vec<Settlement> {
        for settlement in &closes {
            self.planner.add(Step::Close, &settlement.key, settlement.fingerprint);
            self.count += 1;
        }
        self.gathered.extend(closes);
        let are_too_many = self.allowed.is_some_and(|allowed| self.count > allowed);
        if are_too_many { std::mem::take(&mut self.gathered) } else { Vec::new() }
    }

    /// The keys of those that are kept.
    pub(super) fn keys(&self) -> impl Iterator<Item = &String> {
        self.gathered.iter().map(|settlement| &settlement.key)
    }

    /// How many are allowed, all that there were as a plan, and those that are kept.
    pub(super) fn finish(self) -> (Option<u64>, Plan, Vec<Settlement>) {
        (self.allowed, self.planner.finish(), self.gathered)
    }
}
