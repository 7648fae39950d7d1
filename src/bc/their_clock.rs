//! BC's clock, as its answers tell it: how far it is ahead of ours, and what it showed last.
//!
//! Our own clock may be set while the program runs, and this machine may sleep. An intent that is stamped too early on
//! BC's clock would let its window pass too early, so that the later of two estimates counts: our clock with the offset
//! it had at the newest answer, and that answer's time plus what has passed since.

use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::Instant;

/// What BC's answers told of its clock; its `Date` headers have whole seconds.
#[derive(Debug, Default)]
pub(super) struct TheirClock(Mutex<Option<Told>>);

#[derive(Debug, Clone, Copy)]
struct Told {
    /// The `Date` of the newest answer.
    date: DateTime<Utc>,
    /// When it came.
    at: Instant,
    /// By how much it was ahead of our clock then.
    ahead: TimeDelta,
}

impl TheirClock {
    /// Notes the `Date` of an answer that came just now; `now` is our time.
    pub(super) fn told(&self, date: DateTime<Utc>, now: DateTime<Utc>) {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *told = Some(Told { date, at: Instant::now(), ahead: date - now });
    }

    /// By how many milliseconds BC's clock is ahead of ours, which shows `now`; `None` before the first answer.
    pub(super) fn ahead(&self, now: DateTime<Utc>) -> Option<i64> {
        let told = (*self.0.lock().unwrap_or_else(PoisonError::into_inner))?;
        let passed = TimeDelta::from_std(told.at.elapsed()).unwrap_or(TimeDelta::MAX);
        let by_what_passed = told.date.checked_add_signed(passed)? - now;
        Some(told.ahead.max(by_what_passed).num_milliseconds())
    }

    /// The time that BC showed last: after it was set back, no later than the stamps of what is sent from then on. `None`
    /// before the first answer.
    pub(super) fn shown(&self) -> Option<DateTime<Utc>> {
        Some((*self.0.lock().unwrap_or_else(PoisonError::into_inner))?.date)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_000_000 + seconds, 0).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn it_follows_ours_at_its_distance() {
        let clock = TheirClock::default();
        assert_eq!((clock.ahead(at(0)), clock.shown()), (None, None));
        clock.told(at(90), at(0));
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!(clock.ahead(at(5)), Some(90_000));
        clock.told(at(80), at(10));
        assert_eq!((clock.ahead(at(10)), clock.shown()), (Some(70_000), Some(at(80))));
    }

    #[tokio::test(start_paused = true)]
    async fn it_never_falls_behind_when_ours_is_set_or_sleeps() {
        let clock = TheirClock::default();
        clock.told(at(0), at(0));
        tokio::time::advance(Duration::from_secs(5)).await;
        // Set back by an hour: ours shows an hour less, theirs is an hour ahead.
        assert_eq!(clock.ahead(at(5 - 3_600)), Some(3_600_000));
        // The machine slept for an hour, in which the instants stood still.
        assert_eq!(clock.ahead(at(5 + 3_600)), Some(0));
    }
}
