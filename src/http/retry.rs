//! How long to wait before the next attempt. Delays only: what is repeated, and whether, is decided elsewhere.
//!
//! The delays come from the `backoff` crate, which is no longer maintained; this file is the only one that names it.
//! Used with care: it knows no number of attempts, applies its jitter after its own cap, and its clock is not tokio's.

use std::fmt;
use std::time::Duration;

use backoff::backoff::Backoff;
use backoff::{ExponentialBackoff, ExponentialBackoffBuilder};

use crate::model::RetryPolicy;

/// The longest that a server's `Retry-After` is followed.
pub(super) const LONGEST_RETRY_AFTER: Duration = Duration::from_mins(10);

/// The delays between the attempts at one thing.
pub struct Delays {
    backoff: ExponentialBackoff,
    max: Duration,
    attempts: u32,
    failed: u32,
}

impl Delays {
    /// Delays for the attempts that `policy` allows; its patience is for the caller to watch.
    #[must_use]
    pub fn new(policy: &RetryPolicy) -> Self {
        let backoff = ExponentialBackoffBuilder::new()
            .with_initial_interval(policy.initial)
            .with_multiplier(2.0)
            .with_randomization_factor(0.5)
            .with_max_interval(policy.max)
            .with_max_elapsed_time(None)
            .build();
        Self { backoff, max: policy.max, attempts: policy.attempts, failed: 0 }
    }

    /// The delay after another failed attempt, or `None` when that was the last one.
    ///
    /// `retry_after` is what the server asks for. It is followed for up to ten minutes and never shortens our
    /// own delay: servers are known to ask for zero seconds.
    pub fn next(&mut self, retry_after: Option<Duration>) -> Option<Duration> {
        self.failed = self.failed.saturating_add(1);
        if self.failed >= self.attempts {
            return None;
        }
        let own = self.backoff.next_backoff().unwrap_or(self.max).min(self.max);
        Some(retry_after.map_or(own, |asked| asked.min(LONGEST_RETRY_AFTER).max(own)))
    }

    /// Begins anew, after a success.
    pub fn reset(&mut self) {
        self.failed = 0;
        self.backoff.reset();
    }
}

impl fmt::Debug for Delays {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delays").field("failed", &self.failed).field("attempts", &self.attempts).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delays(attempts: u32) -> Delays {
        Delays::new(&RetryPolicy {
            attempts,
            initial: Duration::from_secs(1),
            max: Duration::from_secs(8),
            patience: Duration::MAX,
        })
    }

    const fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn delays_double_within_their_jitter_and_stay_under_the_cap() {
        for _ in 0..200 {
            let mut delays = delays(u32::MAX);
            for nominal in [1, 2, 4, 8, 8, 8, 8] {
                let delay = delays.next(None).unwrap();
                assert!(delay >= secs(nominal) / 2, "{delay:?} after {nominal} s");
                assert!(
                    delay <= (secs(nominal) * 3 / 2 + Duration::from_millis(1)).min(secs(8)),
                    "{delay:?} after {nominal} s"
                );
            }
        }
    }

    #[test]
    fn jitter_makes_them_differ() {
        let first: std::collections::HashSet<_> = (0..50).map(|_| delays(5).next(None)).collect();
        assert!(first.len() > 25, "{first:?}");
    }

    #[test]
    fn attempts_are_counted_whatever_the_server_asks() {
        for attempts in [0, 1] {
            assert_eq!(delays(attempts).next(Some(secs(1))), None);
        }
        let mut delays = delays(3);
        assert!(delays.next(None).is_some());
        assert!(delays.next(Some(secs(2))).is_some());
        assert_eq!(delays.next(Some(secs(2))), None);
        assert_eq!(delays.next(None), None);
        delays.reset();
        assert!(delays.next(None).unwrap() <= Duration::from_millis(1_501));
    }

    #[test]
    fn what_the_server_asks_for_is_followed_within_bounds() {
        for (asked, least, most) in [
            (secs(0), Duration::from_millis(500), Duration::from_millis(1_501)),
            (secs(1), secs(1), Duration::from_millis(1_501)),
            (secs(45), secs(45), secs(45)),
            (secs(600), secs(600), secs(600)),
            (secs(86_400), secs(600), secs(600)),
            (Duration::MAX, secs(600), secs(600)),
        ] {
            let delay = delays(5).next(Some(asked)).unwrap();
            assert!((least..=most).contains(&delay), "{asked:?} gave {delay:?}");
        }
    }
}
