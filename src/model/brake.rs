//! How much of a mass change one run may make before it asks a person.

use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive as _;

use super::plan::Counts;

/// With fewer linked rows than this a percentage says nothing.
const PERCENT_FROM: u64 = 100;

/// How many rows one run may create, update, delete and close.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Brake {
    /// Rows made.
    pub creates: BrakeLimit,
    /// Rows changed, adoptions that change something included.
    pub updates: BrakeLimit,
    /// Rows deleted, or blocked because the source has lost their records.
    pub deletes: BrakeLimit,
    /// Links whose row Business Central no longer has.
    pub closes: BrakeLimit,
}

/// One limit of a [`Brake`]. What is `None` does not limit; zero allows none at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BrakeLimit {
    /// Rows.
    pub max: Option<u64>,
    /// Percent of the linked rows, 0 to 100.
    pub percent: Option<Decimal>,
}

/// What one run may do of each kind; `None`: as much as there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Allowed {
    /// Rows made.
    pub creates: Option<u64>,
    /// Rows changed.
    pub updates: Option<u64>,
    /// Rows deleted or blocked.
    pub deletes: Option<u64>,
    /// Links closed.
    pub closes: Option<u64>,
}

impl BrakeLimit {
    /// No limit.
    pub const UNLIMITED: Self = Self { max: None, percent: None };
    /// What is allowed of a thing that nobody expects many of.
    pub const FEW: Self = Self { max: Some(25), percent: None };

    fn allowed(self, linked: u64) -> Option<u64> {
        let percent = self.percent.filter(|_| linked >= PERCENT_FROM);
        let share = percent.map(|percent| (percent * Decimal::from(linked) / Decimal::ONE_HUNDRED).floor());
        // More than a `u64` holds is no limit.
        [self.max, share.and_then(|share| share.to_u64())].into_iter().flatten().min()
    }
}

impl Default for Brake {
    fn default() -> Self {
        Self {
            creates: BrakeLimit::UNLIMITED,
            updates: BrakeLimit::UNLIMITED,
            deletes: BrakeLimit::FEW,
            closes: BrakeLimit::FEW,
        }
    }
}

impl Brake {
    /// Whether it depends on how many rows are linked.
    #[must_use]
    pub fn is_relative(&self) -> bool {
        [self.creates, self.updates, self.deletes, self.closes].iter().any(|limit| limit.percent.is_some())
    }

    /// What a run may do in a job with `linked` rows.
    #[must_use]
    pub fn allowed(&self, linked: u64) -> Allowed {
        Allowed {
            creates: self.creates.allowed(linked),
            updates: self.updates.allowed(linked),
            deletes: self.deletes.allowed(linked),
            closes: self.closes.allowed(linked),
        }
    }
}

impl Allowed {
    /// The same where a person approved `ceiling`: of each kind what is more.
    #[must_use]
    pub fn or(self, ceiling: &Counts) -> Self {
        let more = |allowed: Option<u64>, ceiling: u64| allowed.map(|allowed| allowed.max(ceiling));
        Self {
            creates: more(self.creates, ceiling.creates),
            updates: more(self.updates, ceiling.updates),
            deletes: more(self.deletes, ceiling.deletes),
            closes: more(self.closes, ceiling.closes),
        }
    }

    /// What of `counts` is too much, in words; empty when all of it is allowed.
    #[must_use]
    pub fn exceeded_by(&self, counts: &Counts) -> Vec<String> {
        let pairs = [
            ("creates", counts.creates, self.creates),
            ("updates", counts.updates, self.updates),
            ("deletes", counts.deletes, self.deletes),
            ("closes", counts.closes, self.closes),
        ];
        let words = |(name, count, allowed): (&str, u64, Option<u64>)| {
            let allowed = allowed.filter(|allowed| count > *allowed)?;
            Some(format!("{count} {name}, allowed are {allowed}"))
        };
        pairs.into_iter().filter_map(words).collect()
    }

    /// Whether a run over so many records could be too much; `removals` are those that the source has lost.
    #[must_use]
    pub fn may_be_exceeded(&self, wanted: u64, removals: u64) -> bool {
        let over = |allowed: Option<u64>, most: u64| allowed.is_some_and(|allowed| most > allowed);
        over(self.creates, wanted) || over(self.updates, wanted) || over(self.deletes, removals)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(max: Option<u64>, percent: Option<&str>) -> BrakeLimit {
        BrakeLimit { max, percent: percent.map(|percent| percent.parse().unwrap()) }
    }

    #[test]
    fn the_smaller_of_both_limits_counts_and_a_percentage_only_from_a_hundred_rows() {
        for (max, percent, linked, allowed) in [
            (None, None, 1_000, None),
            (Some(25), None, 0, Some(25)),
            (Some(0), None, 1_000, Some(0)),
            (None, Some("10"), 99, None),
            (None, Some("10"), 100, Some(10)),
            (None, Some("2.5"), 199, Some(4)),
            (None, Some("0"), 100, Some(0)),
            (Some(25), Some("10"), 99, Some(25)),
            (Some(25), Some("10"), 100, Some(10)),
            (Some(25), Some("10"), 1_000, Some(25)),
        ] {
            assert_eq!(limit(max, percent).allowed(linked), allowed, "{max:?} {percent:?} of {linked}");
        }
    }

    #[test]
    fn what_is_too_much_is_told_with_what_is_allowed() {
        let brake = Brake { creates: limit(Some(2), None), updates: limit(Some(0), None), ..Brake::default() };
        let allowed = brake.allowed(10);
        let counts = Counts { creates: 3, updates: 1, deletes: 25, closes: 26 };
        assert_eq!(
            allowed.exceeded_by(&counts),
            ["3 creates, allowed are 2", "1 updates, allowed are 0", "26 closes, allowed are 25"]
        );
        assert_eq!(allowed.or(&counts).exceeded_by(&counts), [""; 0]);
        let one_more = Counts { creates: 4, ..counts };
        assert_eq!(allowed.or(&counts).exceeded_by(&one_more), ["4 creates, allowed are 3"]);
    }

    #[test]
    fn only_what_could_be_too_much_is_worth_a_plan() {
        let allowed = Brake::default().allowed(0);
        assert!(!allowed.may_be_exceeded(1_000_000, 25));
        assert!(allowed.may_be_exceeded(0, 26));
        assert!(Allowed { creates: Some(9), ..allowed }.may_be_exceeded(10, 0));
        assert!(!Allowed { updates: Some(9), ..allowed }.may_be_exceeded(9, 0));
    }
}
