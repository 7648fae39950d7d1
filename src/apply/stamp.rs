//! How old the note of a request may be when the request leaves.
//!
//! The settle window of a request counts from its note. A process that stood still between the two, or a disk that took
//! long, would have the window end too early: then the request is noted again instead of being sent.

use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::Instant;

use crate::bc::Failure;

/// How long after it was noted a request leaves at the latest.
const SENT_WITHIN: Duration = Duration::from_secs(3);

/// How often the requests of one envelope are noted again before it is given up.
const MOST_NOTES: u32 = 3;

/// When requests were about to be noted, by both clocks: of the two one stops while the machine sleeps.
#[derive(Debug)]
pub(super) struct Stamp {
    instant: Instant,
    time: DateTime<Utc>,
}

impl Stamp {
    /// Now, which is `time`.
    pub(super) fn new(time: DateTime<Utc>) -> Self {
        Self { instant: Instant::now(), time }
    }

    /// Whether too much time has passed until `now`, or the clock was set.
    pub(super) fn is_old(&self, now: DateTime<Utc>) -> bool {
        let passed = (now - self.time).abs().to_std().unwrap_or(Duration::MAX);
        passed.max(self.instant.elapsed()) > SENT_WITHIN
    }
}

/// How often the requests of one envelope were noted in vain.
#[derive(Debug, Default)]
pub(super) struct Notes(u32);

impl Notes {
    /// Counts one more; fails when there were too many.
    pub(super) fn took_long(&mut self) -> Result<(), Failure> {
        self.0 += 1;
        if self.0 < MOST_NOTES {
            return Ok(());
        }
        Err(Failure::Unavailable {
            what: "noting requests in the ledger".to_owned(),
            cause: format!(
                "that took longer than {} s, {MOST_NOTES} times; nothing was sent. The disk is too slow or too busy, or \
                 another program keeps the ledger locked",
                SENT_WITHIN.as_secs()
            ),
        })
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_note_is_old_when_either_clock_has_gone_on() {
        let noted = DateTime::UNIX_EPOCH;
        let stamp = Stamp::new(noted);
        let later = |seconds| noted + TimeDelta::seconds(seconds);
        assert!(!stamp.is_old(later(3)));
        // The machine slept, or the clock was set forward or back.
        assert!(stamp.is_old(later(4)) && stamp.is_old(later(-4)));
        tokio::time::advance(Duration::from_secs(4)).await;
        // The process stood still, and the clock was set back meanwhile.
        assert!(stamp.is_old(later(0)));
    }

    #[test]
    fn a_disk_that_is_always_too_slow_ends_the_pass() {
        let mut notes = Notes::default();
        notes.took_long().unwrap();
        notes.took_long().unwrap();
        let given_up = notes.took_long().unwrap_err().to_string();
        assert!(given_up.contains("3 times; nothing was sent"), "{given_up}");
    }
}
