//! A whole year through the store behind the scheduler, ten minutes at a time, against times worked out by hand.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Datelike as _, NaiveDate, NaiveDateTime, TimeDelta, Timelike as _, Utc, Weekday};

use super::made_up::{at, trigger};
use super::scheduler::Scheduler;
use super::ticks::{Ticks, Triggers};
use crate::clock::{Clock as _, ManualClock};

/// A zone: minutes ahead of UTC, and until when. From the published rules of each place, not from the zone data.
const ZONES: [(&str, &[(i64, &str)]); 4] = [
    ("Europe/Berlin", &[(60, "2026-03-29T01:00:00Z"), (120, "2026-10-25T01:00:00Z"), (60, END)]),
    ("America/New_York", &[(-300, "2026-03-08T07:00:00Z"), (-240, "2026-11-01T06:00:00Z"), (-300, END)]),
    ("Australia/Lord_Howe", &[(660, "2026-04-04T15:00:00Z"), (630, "2026-10-03T15:30:00Z"), (660, END)]),
    ("UTC", &[(0, END)]),
];

const START: &str = "2026-01-01T00:00:00Z";
const END: &str = "2027-01-01T00:00:00Z";

/// Everything expected falls on such a step; what is due in between is told as being late.
const STEP: TimeDelta = TimeDelta::minutes(10);

/// An expression, and whether it names a time on the wall clock.
type Expression = (&'static str, fn(NaiveDateTime) -> bool);

const EXPRESSIONS: [Expression; 5] = [
    ("30 2 * * *", |time| (time.hour(), time.minute()) == (2, 30)),
    ("30 6 * * *", |time| (time.hour(), time.minute()) == (6, 30)),
    ("*/10 * * * *", |time| time.minute() % 10 == 0),
    ("0 0 13 * FRI", |time| {
        (time.hour(), time.minute()) == (0, 0) && (time.day() == 13 || time.weekday() == Weekday::Fri)
    }),
    ("0 3 L * *", |time| {
        let tomorrow = time.date().succ_opt().unwrap();
        (time.hour(), time.minute()) == (3, 0) && tomorrow.month() != time.month()
    }),
];

/// Where a day without or with a second 02:30 changes what the wall clock says: due in addition, and not due.
const EXCEPTIONS: [(&str, &str, &[&str], &[&str]); 2] = [
    // At 03:00 on the day without a 02:30; the first 02:30 on the day with two.
    ("Europe/Berlin", "30 2 * * *", &["2026-03-29T01:00:00Z"], &["2026-10-25T01:30:00Z"]),
    // In New York it is 01:00 to 02:00 that comes twice.
    ("America/New_York", "30 2 * * *", &["2026-03-08T07:00:00Z"], &[]),
];

/// All times of the year at which the wall clock of a zone shows what the expression names.
fn by_the_wall_clock(offsets: &[(i64, &str)], names: fn(NaiveDateTime) -> bool) -> BTreeSet<DateTime<Utc>> {
    let mut due = BTreeSet::new();
    let mut time = at(START);
    for (ahead, until) in offsets {
        while time < at(until) {
            if names(time.naive_utc() + TimeDelta::minutes(*ahead)) {
                due.insert(time);
            }
            time += STEP;
        }
    }
    due
}

/// All jobs: each expression in each zone.
fn jobs() -> impl Iterator<Item = (String, Triggers)> {
    ZONES.into_iter().flat_map(|(zone, _)| {
        EXPRESSIONS.into_iter().map(move |(text, _)| {
            (format!("{text} in {zone}"), Triggers { pass: Some(trigger(text, zone)), full: None })
        })
    })
}

/// When each of them is due in the year.
fn expected() -> BTreeSet<(DateTime<Utc>, String)> {
    let mut expected = BTreeSet::new();
    for (zone, offsets) in ZONES {
        for (text, names) in EXPRESSIONS {
            let mut due = by_the_wall_clock(offsets, names);
            for (_, _, more, less) in
                EXCEPTIONS.iter().filter(|(of, expression, ..)| (*of, *expression) == (zone, text))
            {
                due.extend(more.iter().map(|time| at(time)));
                due.retain(|time| !less.iter().any(|other| at(other) == *time));
            }
            expected.extend(due.into_iter().map(|due| (due, format!("{text} in {zone}"))));
        }
    }
    expected
}

/// Nothing is missing in what came, and nothing came besides.
fn compare(came: &BTreeSet<(DateTime<Utc>, String)>, expected: &BTreeSet<(DateTime<Utc>, String)>) {
    let missing: Vec<_> = expected.difference(came).collect();
    let surplus: Vec<_> = came.difference(expected).collect();
    assert!(missing.is_empty() && surplus.is_empty(), "missing: {missing:#?}\nsurplus: {surplus:#?}");
}

#[test]
fn every_time_of_a_year_comes_once_and_no_other() {
    let clock = Arc::new(ManualClock::new(at(START) - STEP));
    let ticks = Ticks::new(clock.clone());
    for (job, triggers) in jobs() {
        ticks.set(&job, &triggers);
    }
    let mut came = BTreeSet::new();
    while clock.now() < at(END) - STEP {
        clock.advance(STEP);
        for tick in ticks.take() {
            assert_eq!(tick.due, clock.now(), "{}", tick.job);
            assert!(came.insert((tick.due, tick.job.clone())), "twice: {} at {}", tick.job, tick.due);
        }
    }
    let expected = expected();
    compare(&came, &expected);
    assert!(expected.len() > 200_000);
}

/// The three days around each change of clocks, through the crate itself: it rings, and what is due then is taken.
#[tokio::test(start_paused = true)]
async fn on_every_day_on_which_clocks_change_the_scheduler_rings_when_it_is_time() {
    let expected = expected();
    let changes: BTreeSet<_> = ZONES.iter().flat_map(|(_, offsets)| *offsets).map(|(_, until)| at(until)).collect();
    for change in changes.into_iter().filter(|change| *change < at(END)) {
        let (start, end) = (change - TimeDelta::hours(36), change + TimeDelta::hours(36));
        let clock = Arc::new(ManualClock::new(start));
        let ticks = Ticks::new(clock.clone());
        let scheduler = Scheduler::start(ticks.clone()).await.unwrap();
        for (job, triggers) in jobs() {
            scheduler.set(&job, &triggers).await.unwrap();
        }
        let mut came = BTreeSet::new();
        while clock.now() < end {
            clock.advance(STEP);
            // Every zone has a job that is due at every step.
            tokio::time::timeout(Duration::from_secs(1), scheduler.due()).await.unwrap();
            for tick in ticks.take() {
                assert_eq!(tick.due, clock.now(), "{}", tick.job);
                assert!(came.insert((tick.due, tick.job.clone())), "twice: {} at {}", tick.job, tick.due);
            }
        }
        compare(&came, &expected.range((start + STEP, String::new())..(end + STEP, String::new())).cloned().collect());
    }
}

#[test]
fn each_day_has_its_daily_run_once() {
    for (zone, _) in ZONES {
        let trigger = trigger("30 2 * * *", zone);
        let mut days = Vec::new();
        for due in trigger.all_after(at("2025-12-31T12:00:00Z")).take_while(|due| *due < at("2026-12-31T12:00:00Z")) {
            days.push(due.with_timezone(&trigger.zone).date_naive());
        }
        let first = days[0];
        let all: Vec<NaiveDate> = first.iter_days().take(365).collect();
        assert_eq!(days, all, "{zone}");
    }
}
