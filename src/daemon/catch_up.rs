//! What the schedule of a job asked for while no daemon was there.
//!
//! Times that were missed are made up for once, however many they were. Under another schedule than before nothing was
//! missed, and neither was by a job that is new.

use chrono::{DateTime, Utc};

use super::ticks::Triggers;
use super::trigger::Trigger;
use crate::ledger::KeptSchedule;

/// Where the schedule of a job goes on.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Resumed {
    /// How far it was kept.
    pub(super) kept: KeptSchedule,
    /// What was missed.
    pub(super) missed: Option<Missed>,
}

/// Times that were missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Missed {
    /// The first of them.
    pub(super) since: DateTime<Utc>,
    /// Whether everything was to be read.
    pub(super) full: bool,
}

/// Goes on with a schedule that was kept as `kept` says, at `now`.
pub(super) fn resume(triggers: &Triggers, kept: Option<&KeptSchedule>, now: DateTime<Utc>) -> Resumed {
    let text = told(triggers);
    let Some(kept) = kept.filter(|kept| kept.triggers == text) else {
        return Resumed { kept: KeptSchedule { triggers: text, pass_until: now, full_until: now }, missed: None };
    };
    // A clock that was wrong then must not keep everything quiet until that time has come.
    let (pass_until, full_until) = (kept.pass_until.min(now), kept.full_until.min(now));
    let first = |trigger: &Option<Trigger>, until| {
        trigger.as_ref().and_then(|trigger| trigger.after(until)).filter(|due| *due <= now)
    };
    let (pass, full) = (first(&triggers.pass, pass_until), first(&triggers.full, full_until));
    let since = pass.into_iter().chain(full).min();
    Resumed {
        kept: KeptSchedule { triggers: text, pass_until, full_until },
        missed: since.map(|since| Missed { since, full: full.is_some() }),
    }
}

/// The schedules of a job as text, to be compared.
fn told(triggers: &Triggers) -> String {
    let told = |trigger: &Option<Trigger>| {
        trigger.as_ref().map_or("never".to_owned(), |trigger| format!("`{}` in {}", trigger.text, trigger.zone))
    };
    format!("{}, everything {}", told(&triggers.pass), told(&triggers.full))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::made_up::{at, trigger};

    #[test]
    fn what_was_missed_is_told_once_and_only_for_the_same_schedule() {
        let triggers = Triggers { pass: Some(trigger("0 6 * * *", "UTC")), full: Some(trigger("0 3 * * SUN", "UTC")) };
        // A Friday.
        let friday = at("2026-06-05T07:00:00Z");
        let fresh = resume(&triggers, None, friday);
        assert_eq!(fresh.missed, None);
        let missed = |triggers: &Triggers, now: &str| resume(triggers, Some(&fresh.kept), at(now)).missed;
        assert_eq!(missed(&triggers, "2026-06-06T05:59:59Z"), None);
        let saturday = at("2026-06-06T06:00:00Z");
        assert_eq!(missed(&triggers, "2026-06-06T06:00:00Z"), Some(Missed { since: saturday, full: false }));
        assert_eq!(missed(&triggers, "2026-06-09T12:00:00Z"), Some(Missed { since: saturday, full: true }));
        let other = Triggers { pass: Some(trigger("0 5 * * *", "UTC")), ..triggers.clone() };
        assert_eq!(missed(&other, "2026-06-09T12:00:00Z"), None);
        // The clock was years ahead when the last pass ended.
        assert_eq!(
            resume(&triggers, Some(&fresh.kept), at("2020-01-01T00:00:00Z")).kept.pass_until,
            at("2020-01-01T00:00:00Z")
        );
    }
}
