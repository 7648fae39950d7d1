//! A time of each day in which no scheduled pass of a target starts: the update window of BC.

use chrono::{DateTime, NaiveTime, Utc};
use chrono_tz::Tz;

/// A time of each day, in a time zone; it may go past midnight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pause {
    /// The first moment of it.
    pub from: NaiveTime,
    /// The first moment after it.
    pub to: NaiveTime,
    /// Where these times are read off a clock.
    pub zone: Tz,
}

impl Pause {
    /// Whether it is on at `time`.
    #[must_use]
    pub fn covers(&self, time: DateTime<Utc>) -> bool {
        let clock = time.with_timezone(&self.zone).time();
        if self.from < self.to { self.from <= clock && clock < self.to } else { self.from <= clock || clock < self.to }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::made_up::at;

    #[test]
    fn a_pause_may_go_past_midnight() {
        let hour = |hour| NaiveTime::from_hms_opt(hour, 0, 0).unwrap();
        let night = Pause { from: hour(22), to: hour(2), zone: chrono_tz::Europe::Berlin };
        for (time, paused) in [
            ("2026-01-05T20:59:59Z", false),
            ("2026-01-05T21:00:00Z", true),
            ("2026-01-05T23:30:00Z", true),
            ("2026-01-06T00:59:59Z", true),
            ("2026-01-06T01:00:00Z", false),
        ] {
            assert_eq!(night.covers(at(time)), paused, "{time}");
        }
        let noon = Pause { from: hour(12), to: hour(13), zone: chrono_tz::UTC };
        assert!(noon.covers(at("2026-01-05T12:00:00Z")));
        assert!(!noon.covers(at("2026-01-05T13:00:00Z")));
    }
}
