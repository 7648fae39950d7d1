//! A disk without room for the ledger, at whatever write: nothing is sent that is not noted, and when there is room again
//! the next pass completes what is left.

use std::collections::BTreeSet;
use std::process::Command;

use crate::bed::{SECRET, TestBed, bed};
use crate::process::output_of;

/// How many limits are tried.
const LEVELS: u64 = 50;

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
            let known = "SELECT key FROM link WHERE job_id = 1 UNION SELECT key FROM intent WHERE job_id = 1";
            let known: BTreeSet<_> = bed.ledger(known).await.into_iter().collect();
            for customer in bed.rows("customers") {
                let key = customer["number"].as_str().unwrap().trim_start_matches('C');
                assert!(known.contains(key), "level {level}: customer {key} was sent and not noted: {said}");
            }
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
