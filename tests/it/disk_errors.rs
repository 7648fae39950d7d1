//! A disk that fails: writes, and the calls that make them durable, are refused now and then. Nothing is sent that is not
//! noted, whoever calls is told, and when the disk is well again everything goes on, without a restart too.
//!
//! The errors come from `libfiu` (Debian: `fiu-utils`), which stands between the program and its C library.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::bed::{SECRET, TestBed, bed};
use crate::process::{in_time, output_of};

/// What SQLite does to a disk when it writes.
const CALLS: [&str; 2] = ["posix/io/rw/pwrite", "posix/io/sync/fsync"];

/// How often a call fails in each of the passes, as a share.
const SHARES: [f64; 10] = [0.003, 0.01, 0.02, 0.04, 0.06, 0.1, 0.15, 0.2, 0.3, 1.0];

/// Accounts that a pass of the daemon is to make, a few at a time.
const AT_ONCE: i64 = 60;

/// Whether the errors can be made. Where they cannot, it is said, and in CI that is a failure.
#[expect(clippy::print_stderr, reason = "whoever runs the tests is to know what did not run")]
fn can_fail() -> bool {
    let found = Command::new("fiu-run").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    let ci = std::env::var_os("CI").is_some();
    assert!(found || !ci, "fiu-run is not installed");
    if !found {
        eprintln!("not run: a disk that fails (fiu-run is not installed)");
    }
    found
}

/// The executable with these arguments on a disk that `faults` are ordered for; more can be ordered through `control`.
fn on_bad_disk(bed: &TestBed, arguments: &[&str], control: &str, faults: &[String]) -> Command {
    let plain = bed.command(arguments);
    let mut command = Command::new("fiu-run");
    command.args(["-x", "-f", control]);
    for fault in faults {
        command.args(["-c", fault]);
    }
    command.arg(plain.get_program()).args(plain.get_args()).env("BCSYNC_TEST_SECRET", SECRET);
    command
}

#[tokio::test]
async fn nothing_is_sent_that_could_not_be_noted() {
    if !can_fail() {
        return;
    }
    bed(async |bed| {
        bed.configure("batch_size = 100", "batch_size = 2");
        let (mut refused, mut first) = ([0; CALLS.len()], 1);
        for (at, share) in (0..CALLS.len()).flat_map(|at| SHARES.map(|share| (at, share))) {
            let call = CALLS[at];
            bed.accounts(first..first + 6).await;
            bed.orders([first], 2).await;
            bed.crm(&format!("UPDATE account SET credit = '{first}.5' WHERE id = 1")).await;
            let fault = format!("enable_random name={call},probability={share}");
            let output = output_of(on_bad_disk(bed, &["run"], "", &[fault])).await;
            let told = String::from_utf8_lossy(&output.stderr).into_owned();
            match output.status.code() {
                Some(0) if share < 1.0 => {}
                Some(78) => refused[at] += 1,
                code => panic!("{call} {share}: {code:?} {told}"),
            }
            // What Business Central has is linked or noted, if there is a ledger yet.
            if !bed.rows("customers").is_empty() {
                // What the disk cut off is undone, at the latest by the first who looks.
                bed.output(&["status"]).await;
                let known = "SELECT key FROM link WHERE job_id = 1 UNION SELECT key FROM intent WHERE job_id = 1";
                let known: BTreeSet<_> = bed.ledger(known).await.into_iter().collect();
                for number in bed.column("customers", "number") {
                    let key = number.trim_start_matches('C');
                    assert!(known.contains(key), "{call} {share}: {number} was sent and not noted: {told}");
                }
            }
            bed.let_time_pass(21 * 60);
            bed.run().await.exits(0);
            first += 6;
            assert_eq!(bed.rows("customers").len(), usize::try_from(first).unwrap() - 1, "{call} {share}");
        }
        for (call, refused) in CALLS.iter().zip(refused) {
            assert!(refused > 0, "{call}: no pass was refused");
        }
        let (refused, passes) = (refused.iter().sum::<usize>(), CALLS.len() * SHARES.len());
        assert!(refused < passes, "all {passes} passes were refused");
    })
    .await;
}

#[tokio::test]
async fn a_daemon_goes_on_when_the_disk_is_well_again() {
    if !can_fail() {
        return;
    }
    bed(async |bed| {
        bed.configure("batch_size = 100", "batch_size = 2");
        bed.accounts([1]).await;
        bed.run().await.exits(0);
        let control = bed.folder().join("fiu").display().to_string();
        let mut daemon = on_bad_disk(bed, &["daemon"], &control, &[]);
        let mut daemon = daemon.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let order = |fault: &str| {
            let process = daemon.id().to_string();
            let done = Command::new("fiu-ctrl").args(["-f", &control, "-c", fault, &process]).status().unwrap();
            assert!(done.success());
        };
        in_time("waiting for the daemon", async {
            let serves = "SELECT count(DISTINCT value) FROM meta WHERE name IN ('epoch', 'serving')";
            while bed.ledger_value(serves).await != "1" {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
        // Slow enough for a pass to be met in its midst.
        bed.simulator.configure(|settings| settings.request_ms = 200);
        for (pass, call) in (0..).zip(CALLS) {
            let before = 1 + pass * AT_ONCE;
            let all = usize::try_from(before + AT_ONCE).unwrap();
            bed.accounts(before + 1..=before + AT_ONCE).await;
            let run = tokio::spawn(output_of(bed.command(&["run", "customers"])));
            in_time("waiting for the first row of the pass", async {
                while bed.rows("customers").len() <= usize::try_from(before).unwrap() {
                    assert!(!run.is_finished(), "{call}: the pass is over");
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            })
            .await;
            // A request that cannot be noted as taken is withdrawn.
            order(&format!("enable name={call}"));
            let other = bed.bcsync(&["run", "customers"]).await;
            assert_eq!(other.status.code(), Some(75), "{call}: {}", String::from_utf8_lossy(&other.stderr));
            // How the pass ended cannot be noted either, until the disk is well again.
            assert!(!run.is_finished(), "{call}: the disk does not fail");
            order(&format!("disable name={call}"));
            let run = in_time("waiting for the result of the pass", run).await.unwrap();
            let told = String::from_utf8_lossy(&run.stderr).into_owned();
            assert_eq!(run.status.code(), Some(78), "{call}: {told}");
            assert!(bed.rows("customers").len() < all, "{call}: the error came too late");
            let run = bed.bcsync(&["run", "customers"]).await;
            let told = String::from_utf8_lossy(&run.stderr).into_owned();
            assert_eq!(run.status.code(), Some(0), "{call}: {told}");
            assert_eq!(bed.rows("customers").len(), all, "{call}: {told}");
        }
        let process = daemon.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &process]).status().unwrap().success());
        let ended = in_time("stopping the daemon", tokio::task::spawn_blocking(move || daemon.wait())).await;
        assert_eq!(ended.unwrap().unwrap().code(), Some(0));
    })
    .await;
}
