//! Power cuts: what a process had written and the disk had not is gone.
//!
//! The ledger lies on a file system of its own in a file. The process is stopped at a random instant, mostly after
//! something has reached Business Central, the file copied,
//! and the copy put in its place: it holds exactly what had been handed to the disk. Every request that has reached
//! Business Central until then must be in it, as an intent or as a link; and the next process must be able to go on. One
//! half of the cuts comes while rows are made, the other while rows and lines are changed.
//!
//! Needs root, loop devices and `mkfs.ext4`; where these are missing it says that it was not run, and fails in CI.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use sqlx::sqlite::SqliteConnectOptions;

use crate::dice::Dice;
use crate::judge::judge;
use crate::world::{World, rows_of};

/// Cuts.
const CUTS: u64 = 60;

/// Records of each kind that each ledger begins with; small enough that a pass is cut in the middle of its writes.
const RECORDS: i64 = 120;

/// Bytes of the file system; a pass is not begun on one that is nearly full.
const SIZE: u64 = 96 << 20;

/// Bytes that are written at once.
const BLOCK: usize = 4_096;

/// A file system in a file, and where it is mounted.
struct Disk {
    image: PathBuf,
    mounted_at: PathBuf,
}

/// Runs a command to its end; what it said when it fails.
fn command(program: &str, arguments: &[&str]) -> Result<(), String> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("{program} cannot be run: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{program} {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim()))
}

impl Disk {
    fn new(folder: &Path) -> Result<Self, String> {
        let disk = Self { image: folder.join("image"), mounted_at: folder.join("disk") };
        fs::create_dir(&disk.mounted_at).unwrap();
        fs::File::create(&disk.image).unwrap().set_len(SIZE).unwrap();
        command("mkfs.ext4", &["-q", disk.image.to_str().unwrap()])?;
        disk.mount()?;
        Ok(disk)
    }

    fn mount(&self) -> Result<(), String> {
        command("mount", &["-o", "loop", self.image.to_str().unwrap(), self.mounted_at.to_str().unwrap()])
    }

    fn unmount(&self) -> Result<(), String> {
        command("umount", &[self.mounted_at.to_str().unwrap()])
    }

    /// What has been handed to the disk; `None` when the system was just handing it something.
    fn copy(&self) -> Option<Vec<u8>> {
        let copy = fs::read(&self.image).unwrap();
        (copy == fs::read(&self.image).unwrap()).then_some(copy)
    }

    /// Puts `image` in the place of what is there.
    fn replace(&self, image: &[u8]) {
        self.unmount().unwrap();
        let file = fs::File::create(&self.image).unwrap();
        file.set_len(SIZE).unwrap();
        for (block, at) in image.chunks(BLOCK).zip((0..).step_by(BLOCK)) {
            // Most of it is a hole.
            if block.iter().any(|byte| *byte != 0) {
                file.write_all_at(block, at).unwrap();
            }
        }
        self.mount().unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Not mounted any more, or never.
        let _ = self.unmount();
    }
}

/// Stops the process where it is.
fn stop(process: u32) {
    kill_process(Pid::from_raw(i32::try_from(process).unwrap()).unwrap(), Signal::STOP).unwrap();
    let stat = || fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let state = || stat().rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
    // A process with several threads is stopped when the last of them is; a dead one is `Z`.
    while !matches!(state(), Some('T' | 'Z')) {
        std::thread::yield_now();
    }
}

/// Rows of a query on a copy of the ledger on the disk, so that the next process finds exactly what the cut left.
async fn on_disk(disk: &Disk, sql: &str) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(&disk.mounted_at).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_file() {
            fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
        }
    }
    rows_of(SqliteConnectOptions::new().filename(folder.path().join("ledger.db")), sql).await
}

/// The customers and orders in Business Central of which the ledger on the disk knows nothing.
async fn unknown(world: &World, disk: &Disk) -> Vec<String> {
    let known = on_disk(
        disk,
        "SELECT number FROM links WHERE entity = 'customers'
             UNION SELECT match_value FROM intent
             UNION SELECT json_extract(link_detail.snapshot, '$.sent.externalDocumentNumber') FROM link_detail",
    )
    .await;
    let names = [("customers", "number"), ("salesOrders", "externalDocumentNumber")].map(|(set, property)| {
        let rows = world.rows(set).into_iter();
        rows.map(|row| row[property].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    });
    names.into_iter().flatten().filter(|name| !known.contains(name)).collect()
}

/// The etags of customers, orders and lines by their ids, each with the id of the customer or order that it is of.
fn etags(world: &World) -> BTreeMap<String, (String, String)> {
    let mut etags = BTreeMap::new();
    for (set, of) in [("customers", "id"), ("salesOrders", "id"), ("salesOrderLines", "documentId")] {
        for row in world.rows(set) {
            let text = |property: &str| row[property].as_str().unwrap().to_owned();
            etags.insert(text("id"), (text("@odata.etag"), text(of)));
        }
    }
    etags
}

/// How many customers and orders were changed since they and their lines had the etags `before`, and those of them of
/// whose change the ledger on the disk knows nothing.
async fn changed(world: &World, disk: &Disk, before: &BTreeMap<String, (String, String)>) -> (usize, Vec<String>) {
    let now = etags(world);
    let known = on_disk(disk, "SELECT bc_id FROM intent UNION SELECT bc_id || ' ' || etag FROM link_detail").await;
    let changed = now.iter().filter(|(id, row)| before.get(*id).is_some_and(|before| before != *row));
    let mut changed: Vec<_> = changed.map(|(_, (_, of))| of.clone()).collect();
    changed.sort();
    changed.dedup();
    let count = changed.len();
    changed.retain(|id| !known.contains(id) && !known.contains(&format!("{id} {}", now[id].0)));
    (count, changed)
}

/// When the power is cut: so long after the start of the process, or after the first row is made or changed.
#[derive(Debug, Clone, Copy)]
enum Instant {
    AfterStart(Duration),
    AfterFirstWrite(Duration),
}

impl Instant {
    /// One cut in four may come before there is anything that could be forgotten.
    fn draw(dice: &mut Dice) -> Self {
        match dice.roll(4) {
            0 => Self::AfterStart(Duration::from_millis(dice.roll(500))),
            _ => Self::AfterFirstWrite(Duration::from_millis(dice.roll(500))),
        }
    }
}

/// The customers and orders that are in Business Central.
fn rows(world: &World) -> usize {
    ["customers", "salesOrders"].iter().map(|set| world.simulator.count(set).unwrap()).sum()
}

/// Makes a pass, and changes all customers and the lines of all orders in the source.
async fn change_everything(world: &World) {
    world.pass().await;
    world.source("UPDATE account SET email = 'new@c' || id || '.example', version = @VERSION").await;
    let lines = "UPDATE order_line SET qty = 7 WHERE line_no = 1; DELETE FROM order_line WHERE line_no = 2";
    world.source(&format!("{lines}; UPDATE sales_order SET version = @VERSION")).await;
    world.simulator.reset_stats();
}

/// One ledger and one cut. Gives how many rows were made or changed by then; `None` when it came to nothing.
async fn cut(world: &World, disk: &Disk, instant: Instant) -> Option<usize> {
    let (before, there) = (etags(world), rows(world));
    let mut process = world.start(&[], &[]);
    let after = match instant {
        Instant::AfterStart(after) => after,
        Instant::AfterFirstWrite(after) => {
            while world.simulator.stats().writes() == 0 {
                assert!(process.try_wait().unwrap().is_none(), "nothing was made: {}", world.said());
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            after
        }
    };
    // The cut comes at an instant of its own choice.
    tokio::time::sleep(after).await;
    stop(process.id());
    let image = disk.copy();
    // What had left the process arrives all the same.
    process.kill().unwrap();
    process.wait().unwrap();
    world.simulator.settled().await;
    disk.replace(&image?);
    let made = rows(world) - there;
    if made > 0 {
        let unknown = unknown(world, disk).await;
        assert!(unknown.is_empty(), "the cut {instant:?} lost what the ledger knew of {unknown:?}");
    }
    if before.is_empty() {
        return Some(made);
    }
    let (changed, unknown) = changed(world, disk, &before).await;
    assert!(unknown.is_empty(), "the cut {instant:?} lost what the ledger knew of the change of {unknown:?}");
    Some(changed)
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_was_sent_is_forgotten_in_a_power_cut() {
    let mut say = std::io::stderr();
    let mut dice = Dice::new(60);
    let (mut cuts, mut with_rows, mut written) = (0, [0, 0], [0, 0]);
    while cuts < CUTS {
        // Made, or changed.
        let kind = usize::from(cuts % 2 == 1);
        let folder = tempfile::tempdir().unwrap();
        let disk = match Disk::new(folder.path()) {
            Ok(disk) => disk,
            Err(reason) => {
                let reason = format!("not run: power cuts need root, loop devices and mkfs.ext4 ({reason})");
                assert!(std::env::var_os("CI").is_none(), "{reason}");
                let _ = writeln!(say, "{reason}");
                return;
            }
        };
        let mut world = World::new(RECORDS, RECORDS).await;
        world.keep_ledger_in(&disk.mounted_at);
        if kind == 1 {
            change_everything(&world).await;
        }
        let instant = Instant::draw(&mut dice);
        let Some(rows) = cut(&world, &disk, instant).await else { continue };
        cuts += 1;
        with_rows[kind] += u64::from(rows > 0);
        written[kind] += rows;
        let verdict = judge(&world).await;
        assert!(verdict.is_clean(), "after the cut {instant:?}:\n{verdict}\n{}", world.said());
    }
    let _ = writeln!(
        say,
        "power cuts: {cuts}, {} of them after {} rows were made, {} after {} were changed, 0 forgotten",
        with_rows[0], written[0], with_rows[1], written[1]
    );
    let enough = with_rows.iter().all(|cuts| cuts * 4 > CUTS);
    assert!(enough, "of {CUTS} cuts, half of each kind, {with_rows:?} came when there was anything to forget");
}
