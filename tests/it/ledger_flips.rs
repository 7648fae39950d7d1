//! Flipped bits: copies of a ledger with work left to do, each with one bit that the disk turned over, and a pass of all
//! jobs on each. Either somebody is told, or Business Central ends exactly as it would have without the flip; it never gets
//! what nobody wanted, and nothing panics. `BCSYNC_FLIPS=2000 cargo test ledger_flips` tries more of them.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use bcsync::app::{self, App, RunOptions};
use bcsync::config::{self, Environment};
use bcsync::model::RunResult;
use bcsync::simulator::{Fault, FaultKind, Options, Settings, Simulator};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::bed::{SECRET, TestBed, bed_with, writes};

/// How many flips are tried when nobody asks for more.
const FLIPS: u64 = 300;

const THREADS: u64 = 4;

/// The windows of lost creates have passed on Business Central's clock by then, in seconds.
const LATER: i64 = 21 * 60;

struct Secrets;

impl Environment for Secrets {
    fn variable(&self, name: &str) -> Option<OsString> {
        (name == "BCSYNC_TEST_SECRET").then(|| SECRET.into())
    }

    fn groups(&self) -> Vec<u32> {
        Vec::new()
    }
}

/// What a pass came to for those who called it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Told {
    /// Everything is in Business Central.
    Done,
    /// Some records need a person.
    Attention,
    /// Nothing more was sent; exit code 78.
    Refused,
}

/// What Business Central holds: rows by what they are called there, without what it makes up itself.
type Rows = BTreeMap<String, Value>;

fn rows(simulator: &Simulator) -> Rows {
    let mut rows = Rows::new();
    let mut orders = BTreeMap::new();
    let text = |row: &Value, name: &str| row[name].as_str().unwrap_or_default().to_owned();
    for set in ["customers", "salesOrders", "salesOrderLines"] {
        for mut row in simulator.rows(set).unwrap() {
            let name = match set {
                "customers" => text(&row, "number"),
                "salesOrders" => text(&row, "externalDocumentNumber"),
                _ => format!("{} {}", orders[&text(&row, "documentId")], row["sequence"]),
            };
            if set == "salesOrders" {
                orders.insert(text(&row, "id"), name.clone());
            }
            for made_up in ["@odata.etag", "id", "documentId", "lastModifiedDateTime"] {
                row.as_object_mut().unwrap().remove(made_up);
            }
            assert_eq!(rows.insert(format!("{set} {name}"), row), None, "{set} {name} is there twice");
        }
    }
    rows
}

/// A ledger with work left to do, and what it is about.
struct Case {
    folder: PathBuf,
    config: String,
    ledger: Vec<u8>,
    before: Rows,
    after: Rows,
}

impl Case {
    /// Business Central as it was left, at `place`.
    async fn simulator(&self, place: &Path) -> Simulator {
        let data = place.join("bc.jsonl");
        fs::copy(self.folder.join("bc.jsonl"), &data).unwrap();
        let settings = Settings { clock_offset_seconds: LATER, ..Settings::default() };
        let options =
            Options { client_secret: SECRET.to_owned(), data_file: Some(data), settings, ..Options::default() };
        Simulator::start(options).await.unwrap()
    }

    /// A pass of all jobs with `ledger` on `simulator`.
    async fn pass(&self, place: &Path, ledger: &[u8], simulator: &Simulator) -> Told {
        for ending in ["-wal", "-shm", "-journal", ".lock"] {
            let _ = fs::remove_file(place.join(format!("ledger.db{ending}")));
        }
        fs::write(place.join("ledger.db"), ledger).unwrap();
        let url = simulator.base_url();
        let text = self.config.replace("@BC@", &url).replace("@PLACE@", &place.display().to_string());
        fs::write(place.join("config.toml"), text).unwrap();
        let mut config = config::load(&place.join("config.toml"), &Secrets).unwrap();
        let mappings = app::check(&mut config).unwrap();
        let app = App::new(&config, &Secrets);
        let options = RunOptions {
            jobs: &[],
            full: false,
            cause: "command",
            cancel: CancellationToken::new(),
            progress: &|_, _| {},
        };
        let Ok(finished) = app::run(&app, mappings, options, |_| {}).await else { return Told::Refused };
        let told = finished.iter().map(|finished| match &finished.outcome {
            Ok(report) if report.result == RunResult::Done => Told::Done,
            Ok(report) if report.result == RunResult::Attention => Told::Attention,
            Ok(report) if report.result == RunResult::Refused => Told::Refused,
            Err(failure) if failure.result == RunResult::Refused => Told::Refused,
            Ok(report) => panic!("{report:?}"),
            Err(failure) => panic!("{failure:?}"),
        });
        told.max().unwrap()
    }

    /// Flips a bit of many copies, and gives what came of it and how often.
    async fn flip(&self, first: u64, flips: u64) -> BTreeMap<Told, u64> {
        let place = self.folder.join(format!("flips-{first}"));
        fs::create_dir(&place).unwrap();
        let mut told = BTreeMap::new();
        let mut simulator = self.simulator(&place).await;
        for number in (first..flips).step_by(usize::try_from(THREADS).unwrap()) {
            let (byte, bit) = self.place_of(number);
            let mut ledger = self.ledger.clone();
            ledger[byte] ^= 1 << bit;
            let at = format!("bit {bit} of byte {byte}, in page {} at {}", 1 + byte / 4096, byte % 4096);
            let pass = self.pass(&place, &ledger, &simulator);
            let came = tokio::time::timeout(std::time::Duration::from_mins(1), pass).await;
            let came = came.unwrap_or_else(|_| panic!("{at}: it does not end"));
            *told.entry(came).or_default() += 1;
            let held = rows(&simulator);
            if came == Told::Done {
                assert_eq!(held, self.after, "{at}: nobody was told");
            }
            for (name, row) in &held {
                let wanted = self.before.get(name) == Some(row) || self.after.get(name) == Some(row);
                assert!(wanted, "{at}, {came:?}: nobody wanted {name} as {row:#}");
            }
            if held != self.before {
                simulator.stop().await.unwrap();
                simulator = self.simulator(&place).await;
            }
        }
        simulator.stop().await.unwrap();
        told
    }

    /// Every second bit is one of a row on which hangs what is sent, the others are anywhere but in the void.
    fn place_of(&self, number: u64) -> (usize, u32) {
        let mut dice = number.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(0x94d0_49bb_1331_11eb);
        let mut roll = |sides: usize| {
            dice ^= dice << 13;
            dice ^= dice >> 7;
            dice ^= dice << 17;
            usize::try_from(dice % u64::try_from(sides).unwrap()).unwrap()
        };
        let bit = u32::try_from(roll(8)).unwrap();
        loop {
            let byte = roll(self.ledger.len());
            let around = |reach: usize| &self.ledger[byte.saturating_sub(reach)..self.ledger.len().min(byte + reach)];
            // What is in these rows has such words not far away.
            let decides = || ["customers", "answered", "W/\"JzE5Oz"].iter().any(|word| has(around(150), word));
            if around(8).iter().any(|byte| *byte != 0) && (number % 2 == 1 || decides()) {
                return (byte, bit);
            }
        }
    }
}

fn has(bytes: &[u8], word: &str) -> bool {
    bytes.windows(word.len()).any(|found| found == word.as_bytes())
}

/// Leaves a pass with work of every kind: changes and creates that wait, and requests whose answer was lost.
async fn leave_work(bed: &mut TestBed) {
    bed.configure(
        "key = \"id\"\nmatch_on = \"number\"",
        "key = \"id\"\ncursor = \"updated_at\"\nmatch_on = \"number\"",
    );
    bed.configure("initial = \"5ms\"", "attempts = 1\ninitial = \"5ms\"");
    bed.configure("batch_size = 100", "batch_size = 1");
    bed.accounts(1..=8).await;
    bed.orders(1..=3, 2).await;
    bed.run().await.exits(0);

    bed.crm("UPDATE account SET email = 'new@c1.example' WHERE id = 1; UPDATE account SET credit = '7' WHERE id = 2")
        .await;
    bed.crm("UPDATE order_line SET qty = '5' WHERE order_id = 2 AND line_no = 1").await;
    bed.accounts([9]).await;
    bed.crm("UPDATE account SET updated_at = '2026-01-02 00:00:00' WHERE id IN (1, 2, 9)").await;
    bed.orders([4, 5], 2).await;
    // One of a kind is done without an answer, or lost on the way, and not found out any more; others are refused for
    // the time being.
    for (method, set, committed) in [("PATCH", "customers", true), ("POST", "salesOrders", false)] {
        bed.strike(method, set, FaultKind::Drop { committed, after_operations: 0 });
    }
    for (method, set) in
        [("PATCH", "customers"), ("POST", "customers"), ("PATCH", "salesOrders"), ("POST", "salesOrders")]
    {
        let deadlock = Fault::once(FaultKind::Deadlock, writes(method, set));
        bed.simulator.inject(Fault { every: Some(1), times: None, ..deadlock });
    }
    bed.run().await.exits(0);
    bed.simulator.clear_faults();
    let pending = bed.ledger("SELECT job_id, key FROM outbox WHERE state = 'pending' ORDER BY job_id, key").await;
    assert_eq!(pending, ["1|1", "1|2", "1|9", "2|2", "2|4", "2|5"]);
    let kinds = bed.ledger("SELECT kind, count(*) FROM intent GROUP BY kind").await;
    assert_eq!(kinds, ["create|1", "update|1", "update_order|1"]);
}

#[tokio::test]
async fn a_flipped_bit_is_told_or_does_no_harm() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("bc.jsonl");
    let options = Options { data_file: Some(data), ..Options::default() };
    bed_with(options, async |bed| {
        leave_work(bed).await;
        bed.simulator.save().unwrap();
        let config = bed.config_text().replace(&bed.simulator.base_url(), "@BC@");
        let mut case = Case {
            folder: folder.path().to_owned(),
            config: config.replace(&format!("{}/ledger.db", bed.folder().display()), "@PLACE@/ledger.db"),
            ledger: fs::read(bed.folder().join("ledger.db")).unwrap(),
            before: rows(&bed.simulator),
            after: Rows::new(),
        };
        // What comes of it without a flip.
        let whole = folder.path().join("whole");
        fs::create_dir(&whole).unwrap();
        let simulator = case.simulator(&whole).await;
        assert_eq!(case.pass(&whole, &case.ledger, &simulator).await, Told::Done);
        case.after = rows(&simulator);
        simulator.stop().await.unwrap();
        assert_ne!(case.before, case.after);

        let flips = std::env::var("BCSYNC_FLIPS").map_or(FLIPS, |flips| flips.parse().unwrap());
        let case = std::sync::Arc::new(case);
        let threads: Vec<_> = (0..THREADS)
            .map(|first| {
                let case = case.clone();
                std::thread::spawn(move || {
                    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                    runtime.block_on(case.flip(first, flips))
                })
            })
            .collect();
        let mut told = BTreeMap::<Told, u64>::new();
        for thread in threads {
            for (came, count) in thread.join().unwrap() {
                *told.entry(came).or_default() += count;
            }
        }
        println!("{flips} flipped bits: {told:?}");
        assert!(told[&Told::Refused] > flips / 4 && told[&Told::Done] > 0, "{told:?}");
        bed.let_time_pass(LATER);
        bed.run().await.exits(0);
    })
    .await;
}
