//! A day of a daemon in fast motion: a tick of the schedule comes every second and stands for one of a schedule of every
//! ten minutes, so that 144 of them are 24 hours. All the while the source is edited, people edit rows in Business
//! Central, answers are throttled, lost and late, tokens expire, and every hour the configuration is reloaded.
//!
//! What the process holds on to is looked at every hour. The first hour, in which the first load is made, warms it up;
//! after that nothing may grow by as much as a percent an hour.

use std::fmt::Write as _;
use std::fs;

use bcsync::simulator::{Fault, FaultKind, FaultMatch};
use serde_json::json;

use super::{Running, until_ledger};
use crate::bed::{TestBed, bed, writes};
use crate::chaos::{Dice, compare, edit};

/// Of a day.
const HOURS: usize = 24;

/// Of a schedule of every ten minutes.
const TICKS_AN_HOUR: usize = 6;

/// Most that anything may grow in an hour, as a part of what it was after the first.
const MOST: f64 = 0.01;

/// What the process holds on to.
#[derive(Debug, Clone, Copy)]
struct Sample {
    /// Memory, in KiB.
    rss: u32,
    files: u32,
    /// Size of the write-ahead log, in KiB.
    wal: u32,
}

impl Sample {
    fn take(bed: &TestBed, daemon: &Running) -> Self {
        let process = format!("/proc/{}", daemon.child.id());
        let status = fs::read_to_string(format!("{process}/status")).unwrap();
        let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        let wal = fs::metadata(bed.folder().join("ledger.db-wal")).unwrap().len();
        Self {
            rss: rss.trim().trim_end_matches(" kB").parse().unwrap(),
            files: u32::try_from(fs::read_dir(format!("{process}/fd")).unwrap().count()).unwrap(),
            wal: u32::try_from(wal / 1024).unwrap(),
        }
    }
}

/// By how much a figure grows an hour, as a part of the first: the slope of the line that fits best.
fn growth(figures: &[u32]) -> f64 {
    let at = |hour: usize| f64::from(u32::try_from(hour).unwrap());
    let count = at(figures.len());
    let middle = (count - 1.0) / 2.0;
    let mean = figures.iter().copied().map(f64::from).sum::<f64>() / count;
    let (mut products, mut squares) = (0.0, 0.0);
    for (hour, figure) in figures.iter().enumerate() {
        let away = at(hour) - middle;
        products += away * (f64::from(*figure) - mean);
        squares += away * away;
    }
    products / squares / f64::from(figures[0])
}

#[test]
fn growth_is_a_part_of_the_first_figure() {
    assert!(growth(&[100, 100, 100]).abs() < 1e-9);
    assert!((growth(&[100, 102, 104]) - 0.02).abs() < 1e-9);
}

/// What goes wrong until the next tick.
fn arm(bed: &TestBed, dice: &mut Dice) {
    for set in ["customers", "salesOrders"] {
        let method = ["POST", "PATCH"][usize::from(dice.roll(2) == 0)];
        bed.simulator.inject(Fault::once(dice.fault(), writes(method, set)));
    }
    let status = |status| FaultKind::Status { status, retry_after: None, committed: false };
    let kind =
        [status(429), status(503), FaultKind::RevokeTokens, FaultKind::Drop { committed: false, after_operations: 0 }];
    let kind = kind[usize::try_from(dice.roll(4)).unwrap()].clone();
    bed.simulator.inject(Fault::once(kind, FaultMatch::default()));
}

/// What happens on both sides until the next tick.
async fn work(bed: &TestBed, dice: &mut Dice) {
    edit(bed, dice).await;
    let (first, value) = (dice.roll(900), dice.roll(1_000));
    for (table, column) in [("account", "email"), ("sales_order", "email")] {
        let some = format!("id BETWEEN {first} AND {}", first + 50);
        bed.crm(&format!("UPDATE {table} SET {column} = 'v{value}@c' || id || '.example' WHERE {some}")).await;
    }
    let rows = bed.rows("customers");
    if !rows.is_empty() {
        let row = &rows[usize::try_from(dice.roll(rows.len() as u64)).unwrap()];
        bed.edit("customers", row, &json!({ "phoneNumber": format!("555 {value}") }));
    }
}

#[tokio::test]
async fn a_day_with_everything_that_goes_wrong_leaves_nothing_behind_in_the_process() {
    bed(async |bed| {
        let mut dice = Dice(3);
        bed.configure("[jobs.customers]\n", "[jobs.customers]\nschedule = \"* * * * * *\"\n");
        bed.configure("[targets.main]\n", "[targets.main]\nsettle_window = \"2s\"\n");
        bed.configure("on_conflict = \"hold\"", "on_conflict = \"source_wins\"");
        bed.accounts(1..=1_000).await;
        bed.orders(1..=200, 2).await;
        let daemon = Running::start(bed).ready().await;
        let mut samples = Vec::new();
        for hour in 1..=HOURS {
            for _ in 0..TICKS_AN_HOUR {
                arm(bed, &mut dice);
                work(bed, &mut dice).await;
                let ended = "SELECT count(*) FROM sync_history WHERE job = 'orders' AND finished_at IS NOT NULL";
                let so_far: u64 = bed.ledger_value(ended).await.parse().unwrap();
                until_ledger(bed, &format!("SELECT ({ended}) > {so_far}"), "1").await;
            }
            daemon.signal("HUP");
            daemon.logs("the configuration was reloaded", hour).await;
            samples.push(Sample::take(bed, &daemon));
        }
        let of = |figure: fn(&Sample) -> u32| samples.iter().map(figure).collect::<Vec<_>>();
        let mut told = format!("{HOURS} hours, {} faults:", bed.simulator.stats().faults);
        let mut most = 0.0_f64;
        for (what, figures) in [
            ("KiB of memory", of(|sample| sample.rss)),
            ("open files", of(|sample| sample.files)),
            ("KiB of log", of(|sample| sample.wal)),
        ] {
            let growth = growth(&figures);
            most = most.max(growth);
            let (first, last) = (figures[0], figures[HOURS - 1]);
            write!(told, " {what} {first} to {last}, {:+.3} % an hour;", growth * 100.0).unwrap();
        }
        eprintln!("{told}");
        assert!(most < MOST, "{told} {samples:#?}");

        bed.simulator.clear_faults();
        bed.simulator.settled().await;
        until_ledger(bed, "SELECT count(*) FROM outbox", "0").await;
        daemon.stops().await;
        compare(bed, 3).await;
    })
    .await;
}
