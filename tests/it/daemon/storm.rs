//! A storm of signals: reloads and stops at random instants of passes, while the source is edited and answers go wrong.
//!
//! The instants are drawn; nothing is expected of any of them but what holds for all. Everything random but what the
//! machine does follows from one seed.

use std::fs;
use std::time::Duration;

use bcsync::simulator::Fault;

use super::systemd::Systemd;
use super::{Running, until_ledger};
use crate::bed::{TestBed, bed, writes};
use crate::chaos::{Dice, compare, edit};

/// Signals of each kind.
const EACH: usize = 100;

/// The longest wait before a signal; a pass takes longer.
const LONGEST_MS: u64 = 150;

#[derive(Clone, Copy, PartialEq)]
enum Signal {
    Reload,
    Stop,
}

/// What a configuration is changed into: good ones, and bad ones.
const GOOD: [(&str, &str); 5] = [
    ("city = \"city\"", "city = \"city\""),
    ("city = \"city\"", "city = \"city | upper\""),
    ("batch_size = 5", "batch_size = 7"),
    ("schedule = \"* * * * * *\"", "schedule = \"*/2 * * * * *\""),
    ("[jobs.orders]\n", "[jobs.orders]\nenabled = false\n"),
];
const BAD: [(&str, &str); 3] = [
    ("match_on = \"number\"", "match_on = \"nothing\""),
    ("batch_size = 5", "batch_size = 5\nspeed = 11"),
    ("[jobs.customers.fields]", "[jobs.customers.fields"),
];

/// All signals in a random order.
fn shuffled(dice: &mut Dice) -> Vec<Signal> {
    let mut signals = [[Signal::Reload; EACH], [Signal::Stop; EACH]].concat();
    for last in (1..signals.len()).rev() {
        signals.swap(last, usize::try_from(dice.roll(last as u64 + 1)).unwrap());
    }
    signals
}

/// A daemon and what was heard of it.
struct Daemon {
    running: Running,
    taken_over: usize,
    refused: usize,
}

/// Starts a daemon that tells `systemd` what it does.
async fn start(bed: &TestBed, systemd: &mut Systemd) -> Daemon {
    let running = Running::start_with(bed, |command| {
        command.env("NOTIFY_SOCKET", bed.folder().join("notify"));
    });
    systemd.hears("READY=1").await;
    Daemon { running, taken_over: 0, refused: 0 }
}

impl Daemon {
    /// Reloads another configuration, and waits for the answer. What is in the file afterwards can be used.
    async fn reloads(&mut self, bed: &TestBed, systemd: &mut Systemd, dice: &mut Dice) {
        let file = bed.folder().join("config.toml");
        let before = fs::read_to_string(&file).unwrap();
        let is_bad = dice.roll(3) == 0;
        let changes = if is_bad { &BAD[..] } else { &GOOD[..] };
        let (old, new) = changes[usize::try_from(dice.roll(changes.len() as u64)).unwrap()];
        fs::write(&file, bed.config_text().replacen(old, new, 1)).unwrap();
        self.running.signal("HUP");
        systemd.hears("RELOADING=1").await;
        systemd.hears("MONOTONIC_USEC=").await;
        systemd.hears("READY=1").await;
        if is_bad {
            self.refused += 1;
            fs::write(&file, before).unwrap();
        } else {
            self.taken_over += 1;
        }
    }

    /// Stops as documented: with 0, a line for each reload, a closed ledger, and no run left open.
    async fn stops(self, bed: &TestBed, systemd: &mut Systemd) {
        self.running.signal("TERM");
        systemd.hears("STOPPING=1").await;
        let log = self.running.log.clone();
        assert_eq!(self.running.ends().await, Some(0));
        let log = fs::read_to_string(log).unwrap();
        assert_eq!(log.matches("the configuration was reloaded").count(), self.taken_over, "{log}");
        assert_eq!(log.matches("the one before stays in force").count(), self.refused, "{log}");
        assert!(!bed.folder().join("ledger.db-wal").exists(), "the ledger was not closed: {log}");
        assert_eq!(bed.ledger("SELECT * FROM run WHERE result = 'running'").await, [""; 0], "{log}");
    }
}

#[tokio::test]
async fn a_hundred_reloads_and_a_hundred_stops_lose_nothing_and_do_nothing_twice() {
    bed(async |bed| {
        let mut dice = Dice(7);
        bed.configure("[jobs.customers]\n", "[jobs.customers]\nschedule = \"* * * * * *\"\n");
        bed.configure("batch_size = 100", "batch_size = 5\nconcurrency = 1");
        bed.configure("[targets.main]\n", "[targets.main]\nsettle_window = \"2s\"\n");
        bed.configure("on_conflict = \"hold\"", "on_conflict = \"source_wins\"");
        bed.accounts(1..=30).await;
        bed.orders(1..=30, 2).await;
        // A pass takes more than a second.
        bed.simulator.configure(|settings| settings.request_ms = 40);

        let mut systemd = Systemd::listen(bed.folder());
        let mut daemon = start(bed, &mut systemd).await;
        let (mut in_a_pass, mut new) = (0, 31);
        for signal in shuffled(&mut dice) {
            for set in ["customers", "salesOrders"] {
                let method = ["POST", "PATCH"][usize::from(dice.roll(2) == 0)];
                bed.simulator.inject(Fault::once(dice.fault(), writes(method, set)));
            }
            edit(bed, &mut dice).await;
            edit_all(bed, &mut dice).await;
            if dice.roll(4) == 0 {
                bed.accounts([new]).await;
                bed.orders([new], 1).await;
                new += 1;
            }
            tokio::time::sleep(Duration::from_millis(dice.roll(LONGEST_MS))).await;
            systemd.catch_up();
            in_a_pass += usize::from(!systemd.status.starts_with("idle"));
            match signal {
                Signal::Reload => daemon.reloads(bed, &mut systemd, &mut dice).await,
                Signal::Stop => {
                    daemon.stops(bed, &mut systemd).await;
                    daemon = start(bed, &mut systemd).await;
                }
            }
        }
        bed.simulator.clear_faults();
        bed.simulator.settled().await;
        daemon.stops(bed, &mut systemd).await;
        let interrupted = bed.ledger_value("SELECT count(*) FROM run WHERE result = 'interrupted'").await;
        let told = format!("{in_a_pass} of {} signals came in a pass, {interrupted} passes were interrupted", 2 * EACH);
        eprintln!("{told}");
        assert!(in_a_pass > EACH, "{told}");

        // As it was, and with what is left made up for.
        bed.configure("batch_size = 5\nconcurrency = 1", "batch_size = 100");
        bed.simulator.configure(|settings| settings.request_ms = 0);
        let last = bed.ledger_value("SELECT max(run_id) FROM run").await;
        let daemon = start(bed, &mut systemd).await;
        let all_done = format!(
            "SELECT NOT EXISTS (SELECT * FROM outbox) AND 2 = (SELECT count(DISTINCT job) FROM sync_history \
             WHERE run_id > {last} AND result = 'done')"
        );
        until_ledger(bed, &all_done, "1").await;
        daemon.stops(bed, &mut systemd).await;
        assert_eq!(bed.ledger_value("SELECT count(*) FROM intent").await, "0", "{told}");
        compare(bed, 7).await;
        for set in ["customers", "salesOrders"] {
            let rows = bed.rows(set).len();
            assert_eq!(rows, usize::try_from(new - 1).unwrap(), "{set}: {told}");
            assert_eq!(bed.simulator.stats().set(set).creates, rows as u64, "{set}: {told}");
        }
        fs::remove_file(bed.folder().join("notify")).unwrap();
    })
    .await;
}

/// Gives the next passes something to do for every record of a kind; more often for orders, whose turn comes last.
async fn edit_all(bed: &TestBed, dice: &mut Dice) {
    let table = ["account", "sales_order", "sales_order"][usize::try_from(dice.roll(3)).unwrap()];
    let sql = format!("UPDATE {table} SET email = 'v{}@c' || id || '.example'", dice.roll(1_000));
    bed.crm(&sql).await;
}
