//! Flipped bits: copies of a ledger with work left to do, each with one bit that the disk turned over, and a pass of all
//! jobs on each. Either somebody is told, or Business Central ends exactly as it would have without the flip, by the same
//! requests; it never gets what nobody wanted, and nothing panics. Each part of the ledger gets its share of the flips.
//! `BCSYNC_FLIPS=2000 cargo test ledger_flips` tries more of them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use bcsync::app::{self, App, RunOptions};
use bcsync::config;
use bcsync::model::RunResult;
use bcsync::simulator::{Fault, FaultKind, Operations, Options, Settings, Simulator};
use serde_json::Value;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Row as _};
use tokio_util::sync::CancellationToken;

use crate::bed::{SECRET, Secrets, TestBed, bed_with, writes};

/// How many flips are tried when nobody asks for more.
const FLIPS: u64 = 300;

const THREADS: u64 = 4;

/// The parts of the ledger, each a table with its indexes, that flips are dealt out to in turn; all else is the last.
const PARTS: [&str; 5] = ["link", "link_detail", "outbox", "intent", "others"];

const PAGE: usize = 4096;

/// Values of columns as a flip may leave them, and that a checksum is over. None of these may go unnoticed, although
/// SQLite finds nothing wrong with them.
pub(crate) const VALUES: [(&str, &str, &str); 9] = [
    ("link_detail", "bc_id", "'x' || substr(bc_id, 2)"),
    ("link_detail", "etag", "replace(etag, 'J', 'K')"),
    ("link_detail", "snapshot", "replace(snapshot, '0150', '0151')"),
    ("outbox", "draft", "replace(draft, 'c1.example', 'c1.axample')"),
    ("outbox", "match_value", "match_value || '0'"),
    ("outbox", "removal", "'delete'"),
    ("intent", "matched", "replace(matched, 'WEB', 'WEC')"),
    ("intent", "base_etag", "replace(base_etag, 'J', 'K')"),
    ("intent", "sent_at", "replace(sent_at, '20', '00')"),
];

/// The windows of lost creates have passed on Business Central's clock by then, in seconds.
const LATER: i64 = 21 * 60;

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
                // Given out in the order of arrival.
                row.as_object_mut().unwrap().remove("number");
            }
            for made_up in ["@odata.etag", "id", "documentId", "lastModifiedDateTime"] {
                row.as_object_mut().unwrap().remove(made_up);
            }
            assert_eq!(rows.insert(format!("{set} {name}"), row), None, "{set} {name} is there twice");
        }
    }
    rows
}

/// What was written to each set, and what of it was refused.
type Requests = BTreeMap<String, Operations>;

fn requests(simulator: &Simulator) -> Requests {
    let written = |(set, counts): (&String, &Operations)| (set.clone(), Operations { reads: 0, ..counts.clone() });
    let mut requests: Requests = simulator.stats().sets.iter().map(written).collect();
    requests.retain(|_, counts| *counts != Operations::default());
    requests
}

/// A ledger with work left to do, and what it is about.
struct Case {
    folder: PathBuf,
    config: String,
    ledger: Vec<u8>,
    /// The pages of each part, counted from 0.
    pages: BTreeMap<&'static str, Vec<usize>>,
    before: Rows,
    after: Rows,
    /// The requests that lead from one to the other.
    requests: Requests,
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
        simulator.reset_stats();
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

    /// A pass with `ledger`, which is damaged as `what` says: it must be told or do no harm.
    async fn damaged(&self, place: &Path, ledger: &[u8], simulator: &Simulator, what: &str) -> Told {
        let pass = tokio::time::timeout(std::time::Duration::from_mins(1), self.pass(place, ledger, simulator));
        let came = pass.await.unwrap_or_else(|_| panic!("{what}: it does not end"));
        let held = rows(simulator);
        for (name, row) in &held {
            let wanted = self.before.get(name) == Some(row) || self.after.get(name) == Some(row);
            assert!(wanted, "{what}, {came:?}: nobody wanted {name} as {row:#}");
        }
        if came == Told::Done {
            assert_eq!(held, self.after, "{what}: nobody was told");
            assert_eq!(requests(simulator), self.requests, "{what}: nobody was told what it cost");
        }
        if came == Told::Attention {
            let told = left_records(&place.join("ledger.db")).await;
            let names = || self.after.keys().chain(held.keys());
            for name in names().filter(|name| held.get(*name) != self.after.get(*name)) {
                assert!(
                    told.iter().any(|record| is_of(name, record)),
                    "{what}: of {name} nobody was told, but {told:?}"
                );
            }
        }
        came
    }

    /// Flips a bit of many copies, and gives what came of it in each part and how often.
    async fn flip(&self, first: u64, flips: u64) -> BTreeMap<(&'static str, Told), u64> {
        let place = self.folder.join(format!("flips-{first}"));
        fs::create_dir(&place).unwrap();
        let mut told = BTreeMap::new();
        let mut simulator = self.simulator(&place).await;
        for number in (first..flips).step_by(usize::try_from(THREADS).unwrap()) {
            let part = PARTS[usize::try_from(number).unwrap() % PARTS.len()];
            let (byte, bit) = self.place_in(part, number);
            let mut ledger = self.ledger.clone();
            ledger[byte] ^= 1 << bit;
            let at = format!("bit {bit} of byte {byte}, of {part}, in page {} at {}", 1 + byte / PAGE, byte % PAGE);
            let came = self.damaged(&place, &ledger, &simulator, &at).await;
            *told.entry((part, came)).or_default() += 1;
            if rows(&simulator) != self.before {
                simulator.stop().await.unwrap();
                simulator = self.simulator(&place).await;
            }
        }
        simulator.stop().await.unwrap();
        told
    }

    /// A bit of `part` anywhere but in the void.
    fn place_in(&self, part: &str, number: u64) -> (usize, u32) {
        let mut dice = number.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(0x94d0_49bb_1331_11eb);
        let mut roll = |sides: usize| {
            dice ^= dice << 13;
            dice ^= dice >> 7;
            dice ^= dice << 17;
            usize::try_from(dice % u64::try_from(sides).unwrap()).unwrap()
        };
        let bit = u32::try_from(roll(8)).unwrap();
        let pages = &self.pages[part];
        loop {
            let byte = pages[roll(pages.len())] * PAGE + roll(PAGE);
            let around = &self.ledger[byte.saturating_sub(8)..self.ledger.len().min(byte + 8)];
            if around.iter().any(|byte| *byte != 0) {
                return (byte, bit);
            }
        }
    }
}

/// The pages of each part of a ledger, counted from 0.
async fn pages(bed: &TestBed) -> BTreeMap<&'static str, Vec<usize>> {
    let mut pages = BTreeMap::<_, Vec<_>>::new();
    let all = "SELECT coalesce(tbl_name, 'others'), pageno FROM dbstat LEFT JOIN sqlite_schema USING (name)";
    for row in bed.ledger(all).await {
        let (table, page) = row.split_once('|').unwrap();
        let part = PARTS.iter().find(|part| **part == table).unwrap_or(&"others");
        pages.entry(*part).or_default().push(page.parse::<usize>().unwrap() - 1);
    }
    pages
}

/// The records that people can see to be left, each as job and key: they wait for another, or for a person.
async fn left_records(ledger: &Path) -> Vec<(String, String)> {
    let mut connection = SqliteConnectOptions::new().filename(ledger).read_only(true).connect().await.unwrap();
    let rows = sqlx::query("SELECT job, key FROM failed_records UNION SELECT job, key FROM pending_records")
        .fetch_all(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
    rows.iter().map(|row| (row.get("job"), row.get("key"))).collect()
}

/// Whether a row in Business Central, or a line, is of the record with this job and key.
fn is_of(name: &str, (job, key): &(String, String)) -> bool {
    let (set, number) = name.split_once(' ').unwrap();
    let number = number.split(' ').next().unwrap();
    (set == "customers") == (job == "customers") && number.trim_start_matches("WEB-").trim_start_matches('C') == key
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
    // The others are changed since, so that every link counts.
    bed.crm("UPDATE account SET credit = '8', updated_at = '2026-01-03 00:00:00' WHERE id BETWEEN 3 AND 8").await;
    bed.crm("UPDATE order_line SET qty = '7' WHERE order_id IN (1, 3) AND line_no = 1").await;
}

/// Hands a ledger with work left to do to `story`, and finishes its bed.
async fn case(story: impl AsyncFnOnce(Case)) {
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
            pages: pages(bed).await,
            before: rows(&bed.simulator),
            after: Rows::new(),
            requests: Requests::new(),
        };
        // What comes of it without a flip.
        let whole = folder.path().join("whole");
        fs::create_dir(&whole).unwrap();
        let simulator = case.simulator(&whole).await;
        assert_eq!(case.pass(&whole, &case.ledger, &simulator).await, Told::Done);
        case.after = rows(&simulator);
        case.requests = requests(&simulator);
        simulator.stop().await.unwrap();
        let same: Vec<_> = case.before.iter().filter(|(name, row)| case.after.get(*name) == Some(row)).collect();
        assert!(same.iter().all(|(name, _)| name.starts_with("salesOrder")), "nothing is to be done with {same:?}");
        story(case).await;
        bed.let_time_pass(LATER);
        bed.run().await.exits(0);
    })
    .await;
}

#[tokio::test]
async fn a_flipped_bit_is_told_or_does_no_harm() {
    case(async |case| {
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
        let mut told = BTreeMap::<_, u64>::new();
        for thread in threads {
            for (came, count) in thread.join().unwrap() {
                *told.entry(came).or_default() += count;
            }
        }
        println!("{flips} flipped bits: {told:?}");
        for part in PARTS {
            let [done, refused] = [Told::Done, Told::Refused].map(|came| told.get(&(part, came)).copied().unwrap_or(0));
            let all: u64 = told.iter().filter(|((of, _), _)| *of == part).map(|(_, count)| count).sum();
            assert!(all >= flips / PARTS.len() as u64, "{part} got {all} of {flips} flips");
            assert!(
                part == "others" || refused > all / 4,
                "of {all} flips in {part} {refused} were refused, {done} done"
            );
        }
        assert!(told.keys().any(|(_, came)| *came == Told::Done), "{told:?}");
    })
    .await;
}

#[tokio::test]
async fn a_changed_value_is_told_or_does_no_harm() {
    case(async |case| {
        let place = case.folder.join("values");
        fs::create_dir(&place).unwrap();
        for (table, column, value) in VALUES {
            let changed = place.join("changed.db");
            fs::write(&changed, &case.ledger).unwrap();
            let mut connection = SqliteConnectOptions::new().filename(&changed).connect().await.unwrap();
            let change = format!("UPDATE {table} SET {column} = {value} WHERE {column} IS NOT {value}");
            let rows = sqlx::query(AssertSqlSafe(change)).execute(&mut connection).await.unwrap().rows_affected();
            connection.close().await.unwrap();
            assert!(rows > 0, "no {column} of {table} was changed");
            let simulator = case.simulator(&place).await;
            let ledger = fs::read(&changed).unwrap();
            let came = case.damaged(&place, &ledger, &simulator, &format!("{column} of {table}")).await;
            assert_eq!(came, Told::Refused, "{column} of {table}");
            simulator.stop().await.unwrap();
        }
    })
    .await;
}
