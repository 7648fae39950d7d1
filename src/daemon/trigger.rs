//! When a job is due: cron expressions read off a clock in a time zone.
//!
//! Where daylight saving time skips an hour or repeats one, an expression with one fixed second, minute and hour is due
//! once each day: at the first moment after the hour that is skipped, in the first of the two that are alike. All others
//! go by the wall clock: what they name in the skipped hour is left out, in the repeated one it is due twice.

use chrono::{DateTime, Duration, NaiveDateTime, Offset as _, TimeDelta, TimeZone as _, Utc};
use chrono_tz::Tz;
use croner::Cron;

/// A cron expression in a time zone.
#[derive(Debug, Clone)]
pub struct Trigger {
    /// The expression as it is written.
    pub text: String,
    /// The same, read.
    pub cron: Cron,
    /// Where it is read off a clock.
    pub zone: Tz,
}

impl PartialEq for Trigger {
    fn eq(&self, other: &Self) -> bool {
        (&self.text, self.zone) == (&other.text, other.zone)
    }
}

/// A moment at which the clocks of a zone are put forward or back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClockChange {
    /// When.
    pub at: DateTime<Utc>,
    /// What the clocks would show if they were left alone.
    pub from: NaiveDateTime,
    /// What they show.
    pub to: NaiveDateTime,
    /// What that does to the trigger.
    pub effect: Effect,
}

/// What a change of the clocks does to a trigger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Nothing: it names no time that is skipped or repeated.
    Nothing,
    /// The time it names does not exist that day; it is due at the first moment afterwards.
    Moved,
    /// The times it names do not exist that day, and are left out.
    LeftOut,
    /// The time it names comes twice; it is due at the first.
    Once,
    /// The times it names come twice, and so is it due.
    Twice,
}

impl Trigger {
    /// The first moment after `time` at which it is due.
    #[must_use]
    pub fn after(&self, time: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let next = self.cron.find_next_occurrence(&time.with_timezone(&self.zone), false).ok()?;
        Some(next.with_timezone(&Utc))
    }

    /// All moments after `time` at which it is due.
    pub fn all_after(&self, time: DateTime<Utc>) -> impl Iterator<Item = DateTime<Utc>> {
        std::iter::successors(self.after(time), |due| self.after(*due))
    }

    /// The changes of the zone's clocks within `span` from `start` on, and what they do to the trigger.
    #[must_use]
    pub fn clock_changes(&self, start: DateTime<Utc>, span: Duration) -> Vec<ClockChange> {
        let mut changes = Vec::new();
        let mut from = start;
        while from < start + span {
            // No zone changes its clocks twice within a day.
            let to = from + TimeDelta::days(1);
            if self.offset(from) != self.offset(to) {
                changes.push(self.change(from, to));
            }
            from = to;
        }
        changes
    }

    /// By how much the zone's clocks are ahead of UTC.
    fn offset(&self, at: DateTime<Utc>) -> TimeDelta {
        let offset = self.zone.offset_from_utc_datetime(&at.naive_utc()).fix();
        TimeDelta::seconds(offset.local_minus_utc().into())
    }

    /// The change of clocks between two moments that lie on both sides of it.
    fn change(&self, mut before: DateTime<Utc>, mut after: DateTime<Utc>) -> ClockChange {
        let old = self.offset(before);
        while after - before > TimeDelta::seconds(1) {
            let middle = before + (after - before) / 2;
            if self.offset(middle) == old { before = middle } else { after = middle }
        }
        let at = DateTime::from_timestamp(after.timestamp(), 0).unwrap_or(after);
        let (from, to) = (at.naive_utc() + old, at.naive_utc() + self.offset(at));
        ClockChange { at, from, to, effect: self.effect(at, from, to) }
    }

    fn effect(&self, at: DateTime<Utc>, from: NaiveDateTime, to: NaiveDateTime) -> Effect {
        // What the expression names on a clock that is never put forward or back.
        let named = |start: NaiveDateTime, end: NaiveDateTime| {
            let before = start.and_utc() - TimeDelta::seconds(1);
            self.cron.clone().iter_after(before).take_while(|time| time.naive_utc() < end).count()
        };
        let due = |start: DateTime<Utc>, end: DateTime<Utc>| {
            self.all_after(start - TimeDelta::seconds(1)).take_while(|time| *time < end).count()
        };
        let second = TimeDelta::seconds(1);
        if to > from {
            let moved = || due(at, at + second) > named(to, to + second);
            match named(from, to) {
                0 => Effect::Nothing,
                _ if moved() => Effect::Moved,
                _ => Effect::LeftOut,
            }
        } else {
            let repeated = from - to;
            match named(to, from) {
                0 => Effect::Nothing,
                named if due(at - repeated, at + repeated) > named => Effect::Twice,
                _ => Effect::Once,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::made_up::{at, trigger};

    #[test]
    fn fields_are_those_of_crontab_and_days_are_either_or() {
        // The 13th, or a Friday.
        let days: Vec<_> = trigger("0 0 13 * FRI", "UTC").all_after(at("2026-02-01T00:00:00Z")).take(5).collect();
        let expected = ["2026-02-06", "2026-02-13", "2026-02-20", "2026-02-27", "2026-03-06"];
        assert_eq!(days, expected.map(|day| at(&format!("{day}T00:00:00Z"))));
        assert_eq!(trigger("30 0 0 * * *", "UTC").after(at("2026-02-01T00:00:00Z")), Some(at("2026-02-01T00:00:30Z")));
        assert_eq!(
            trigger("@daily", "Europe/Berlin").after(at("2026-02-01T12:00:00Z")),
            Some(at("2026-02-01T23:00:00Z"))
        );
    }

    #[test]
    fn the_days_on_which_clocks_change_are_told() {
        let effects = |text, zone| {
            let changes = trigger(text, zone).clock_changes(at("2026-01-01T00:00:00Z"), TimeDelta::days(365));
            changes.into_iter().map(|change| (change.at.to_rfc3339(), change.effect)).collect::<Vec<_>>()
        };
        let berlin = ["2026-03-29T01:00:00+00:00", "2026-10-25T01:00:00+00:00"].map(str::to_owned);
        let [forward, back] = berlin;
        let of = |first, second| vec![(forward.clone(), first), (back.clone(), second)];
        assert_eq!(effects("30 2 * * *", "Europe/Berlin"), of(Effect::Moved, Effect::Once));
        assert_eq!(effects("30 6 * * *", "Europe/Berlin"), of(Effect::Nothing, Effect::Nothing));
        assert_eq!(effects("*/10 * * * *", "Europe/Berlin"), of(Effect::LeftOut, Effect::Twice));
        assert_eq!(effects("15,45 2 * * *", "Europe/Berlin"), of(Effect::LeftOut, Effect::Twice));
        assert_eq!(effects("30 2 * * MON", "Europe/Berlin"), of(Effect::Nothing, Effect::Nothing));
        assert_eq!(effects("30 2 * * *", "UTC"), []);
    }
}
