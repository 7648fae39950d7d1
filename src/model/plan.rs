//! What a run is about to do, as data: how much of each kind, and a hash by which two plans are told apart.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Fingerprint, Fingerprinter};

/// What is to be done with the row of one record. A record of which nothing is to be done is no part of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// A row is made.
    Create,
    /// A row is changed; also one that is adopted by that.
    Update,
    /// A row is deleted or blocked, because the source has lost its record.
    Delete,
    /// A link is closed, because Business Central no longer has its row.
    Close,
}

impl Step {
    fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::Close => "close",
        }
    }
}

/// How many steps of each kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counts {
    /// Rows made.
    pub creates: u64,
    /// Rows changed.
    pub updates: u64,
    /// Rows deleted or blocked.
    pub deletes: u64,
    /// Links closed.
    pub closes: u64,
}

impl Counts {
    /// These and `more`.
    #[must_use]
    pub fn with(self, more: Self) -> Self {
        Self {
            creates: self.creates.saturating_add(more.creates),
            updates: self.updates.saturating_add(more.updates),
            deletes: self.deletes.saturating_add(more.deletes),
            closes: self.closes.saturating_add(more.closes),
        }
    }

    /// What is left of these once `done` is done.
    #[must_use]
    pub fn without(self, done: Self) -> Self {
        Self {
            creates: self.creates.saturating_sub(done.creates),
            updates: self.updates.saturating_sub(done.updates),
            deletes: self.deletes.saturating_sub(done.deletes),
            closes: self.closes.saturating_sub(done.closes),
        }
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { creates, updates, deletes, closes } = self;
        write!(formatter, "{creates} creates, {updates} updates, {deletes} deletes, {closes} closes")
    }
}

/// How many digits of its hash name a plan.
const NAME_DIGITS: usize = 8;

/// All that one run is about to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// How much of each kind.
    pub counts: Counts,
    /// Over key, kind and wanted content of each step.
    pub fingerprint: Fingerprint,
}

impl Plan {
    /// What people call it: the first digits of its hash.
    #[must_use]
    pub fn name(&self) -> String {
        let mut name = self.fingerprint.to_string();
        name.truncate(NAME_DIGITS);
        name
    }

    /// Whether `name` is its name, or more of its hash.
    #[must_use]
    pub fn is_called(&self, name: &str) -> bool {
        name.len() >= NAME_DIGITS && self.fingerprint.to_string().starts_with(&name.to_ascii_lowercase())
    }
}

/// A plan under construction. It does not grow with the number of steps.
#[derive(Debug, Default)]
pub struct Planner {
    counts: Counts,
    hash: Fingerprinter,
}

impl Planner {
    /// Adds the step for the record `key`, of which that content is wanted.
    pub fn add(&mut self, step: Step, key: &str, content: Fingerprint) {
        let count = match step {
            Step::Create => &mut self.counts.creates,
            Step::Update => &mut self.counts.updates,
            Step::Delete => &mut self.counts.deletes,
            Step::Close => &mut self.counts.closes,
        };
        *count += 1;
        self.hash.part(key);
        self.hash.part(step.as_str());
        self.hash.bytes(content.as_bytes());
    }

    /// The plan of all steps so far.
    #[must_use]
    pub fn finish(self) -> Plan {
        Plan { counts: self.counts, fingerprint: self.hash.finish() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(steps: &[(Step, &str, &str)]) -> Plan {
        let mut planner = Planner::default();
        for (step, key, draft) in steps {
            planner.add(*step, key, Fingerprint::of([*draft]));
        }
        planner.finish()
    }

    #[test]
    fn a_plan_counts_its_steps_and_differs_from_any_other() {
        let steps =
            [(Step::Create, "1", "a"), (Step::Update, "2", "b"), (Step::Delete, "3", ""), (Step::Close, "4", "")];
        let whole = plan(&steps);
        assert_eq!(whole.counts, Counts { creates: 1, updates: 1, deletes: 1, closes: 1 });
        assert_eq!(whole, plan(&steps));
        for other in [
            plan(&steps[1..]),
            plan(&[(Step::Create, "2", "a")]),
            plan(&[(Step::Update, "1", "a")]),
            plan(&[(Step::Create, "1", "b")]),
        ] {
            assert_ne!(whole.fingerprint, other.fingerprint);
        }
    }

    #[test]
    fn a_plan_is_called_by_the_beginning_of_its_hash() {
        let plan = plan(&[(Step::Create, "1", "a")]);
        let (name, hash) = (plan.name(), plan.fingerprint.to_string());
        assert_eq!(name, hash[..8]);
        for called in [&name, &hash, &name.to_ascii_uppercase()] {
            assert!(plan.is_called(called), "{called}");
        }
        for other in ["", &name[..7], "00000000", &format!("{hash}0")] {
            assert!(!plan.is_called(other), "{other}");
        }
    }
}
