//! A disk without room for the ledger, at whatever write: nothing is sent that is not noted, and when there is room again
//! the next pass completes what is left.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use crate::bed::{SECRET, TestBed, bed};
use crate::process::output_of;

/// How many limits are tried.
pub(crate) const LEVELS: u64 = 50;

/// How far files of the process may grow, in blocks of 512 bytes: a limit of the process stands in for a full disk, since
/// it works on every machine and for every user. SQLite sees a write that fails either way.
async fn run_limited(bed: &TestBed, blocks: u64) -> (Option<i32>, String) {
    let plain = bed.command(&["run"]);
    let mut command = Command::new("sh");
    // Ignored, the signal turns into an error of the write.
    command.args(["-c", "trap '' XFSZ; ulimit -f \"$1\"; shift; exec \"$@\"", "sh", &blocks.to_string()]);
    command.arg(plain.get_program()).args(plain.get_args()).env("BCSYNC_TEST_SECRET", SECRET);
    let output = output_of(command).await;
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&text).into_owned())
}

#[tokio::test]
async fn nothing_is_sent_that_is_not_noted() {
    bed(async |bed| {
        bed.configure("batch_size = 100", "batch_size = 2");
        bed.accounts([1]).await;
        bed.run().await.exits(0);
        let mut refused = 0;
        for level in 0..LEVELS {
            let first = i64::try_from(level).unwrap() * 4 + 2;
            bed.accounts(first..first + 4).await;
            bed.orders([first], 2).await;
            bed.crm(&format!("UPDATE account SET credit = '{level}.5' WHERE id = 1")).await;
            // From less than the file itself to enough for everything.
            let (code, said) = run_limited(bed, 8 + level * level * 2).await;
            match code {
                Some(78) => {
                    refused += 1;
                    assert!(said.contains("ledger"), "{said}");
                }
                Some(0) => {}
                _ => panic!("level {level}: {code:?} {said}"),
            }
            // What Business Central has is linked or noted.
            for (job, set, property, prefix) in
                [(1, "customers", "number", "C"), (2, "salesOrders", "externalDocumentNumber", "WEB-")]
            {
                let known = format!(
                    "SELECT key FROM link WHERE job_id = {job} UNION SELECT key FROM intent WHERE job_id = {job}"
                );
                let known: BTreeSet<_> = bed.ledger(&known).await.into_iter().collect();
                for row in bed.rows(set) {
                    let key = row[property].as_str().unwrap().trim_start_matches(prefix);
                    assert!(known.contains(key), "level {level}: {key} of {set} was sent and not noted: {said}");
                }
            }
            // So is the change of the first one, by the etag that it has led to, or by what was to lead to it.
            let etag = bed.customer("C1")["@odata.etag"].as_str().unwrap().to_owned();
            let known = "SELECT etag FROM link JOIN link_detail USING (link_id) WHERE job_id = 1 AND key = '1'";
            let noted = "SELECT key FROM intent WHERE job_id = 1 AND key = '1'";
            let is_noted = bed.ledger(known).await == [etag] || bed.ledger(noted).await == ["1"];
            assert!(is_noted, "level {level}: a change was sent and not noted: {said}");
            // There is room again. A create that was sent and not settled is found out about.
            bed.let_time_pass(21 * 60);
            bed.run().await.exits(0);
            let (customers, orders) = (usize::try_from(first).unwrap() + 3, usize::try_from(level).unwrap() + 1);
            assert_eq!(
                (bed.rows("customers").len(), bed.rows("salesOrders").len()),
                (customers, orders),
                "level {level}"
            );
        }
        assert!((8..LEVELS).contains(&refused), "{refused} of {LEVELS} were refused");
    })
    .await;
}

/// A file system of so many MiB at `place`, which is gone with this.
struct Disk<'a>(&'a Path);

impl<'a> Disk<'a> {
    /// `None` where this user may not mount one.
    fn mount(place: &'a Path, size: u32) -> Option<Self> {
        std::fs::create_dir(place).unwrap();
        let disk = Self(place);
        mount(place, &format!("size={size}m")).then_some(disk)
    }
}

impl Drop for Disk<'_> {
    fn drop(&mut self) {
        // Not mounted, where that was not allowed.
        let _ = Command::new("umount").arg(self.0).output();
        let _ = std::fs::remove_dir(self.0);
    }
}

/// Mounts a file system in memory, or mounts it anew; whether that was allowed.
fn mount(place: &Path, options: &str) -> bool {
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(place).output();
    mounted.is_ok_and(|output| output.status.success())
}

#[tokio::test]
async fn nothing_is_begun_where_there_is_little_room() {
    bed(async |bed| {
        let place = bed.folder().join("disk");
        let Some(_disk) = Disk::mount(&place, 48) else {
            assert!(std::env::var_os("CI").is_none(), "no file system can be mounted: run this as root");
            println!("not run: no file system can be mounted");
            return;
        };
        bed.configure("/ledger.db", "/disk/ledger.db");
        bed.accounts(1..=3).await;
        let output = bed.bcsync(&["run"]).await;
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert_eq!(output.status.code(), Some(78), "{said}");
        assert!(said.contains("and 64 MiB are needed before anything is sent"), "{said}");
        assert_eq!(bed.simulator.stats().writes(), 0);
        assert!(mount(&place, "remount,size=256m"));
        let output = bed.bcsync(&["run"]).await;
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(bed.rows("customers").len(), 3);
        // The rest is looked for where the ledger of a bed is.
        std::fs::copy(place.join("ledger.db"), bed.folder().join("ledger.db")).unwrap();
        bed.configure("/disk/ledger.db", "/ledger.db");
    })
    .await;
}
