//! What people are told by a daemon: once for each change, also across its end, and never in the way of a pass.

use std::time::{Duration, Instant};

use super::{Running, until, until_ledger};
use crate::alerts::{alerts, in_short, secret_file, told};
use crate::bed::bed;
use crate::listener::Listener;

#[tokio::test]
async fn a_change_is_told_once_across_restarts_and_the_heartbeat_stops_when_nothing_works() {
    bed(async |bed| {
        let listener = Listener::start();
        let beat = secret_file(bed, "beat", &listener.url("/beat"));
        alerts(bed, &format!("heartbeat = {{ file = \"{beat}\" }}"));
        let beats = || listener.calls("/beat").len();
        bed.configure("[jobs.customers]\n", "[jobs.customers]\nschedule = \"* * * * * *\"\n");
        bed.configure("[jobs.orders]\n", "[jobs.orders]\nenabled = false\n");
        bed.accounts(1..=2).await;
        let daemon = Running::start(bed).ready().await;
        until(|| beats() >= 2, || format!("no heartbeat: {}", daemon.log())).await;

        bed.crm("ALTER TABLE account RENAME TO elsewhere").await;
        until_ledger(bed, "SELECT count(*) FROM failing WHERE passes >= 3", "1").await;
        let stopped = beats();
        until_ledger(bed, "SELECT count(*) FROM failing WHERE passes >= 5", "1").await;
        assert_eq!(beats(), stopped);
        daemon.stops().await;

        let daemon = Running::start(bed).ready().await;
        until_ledger(bed, "SELECT count(*) FROM failing WHERE passes >= 7", "1").await;
        assert_eq!(in_short(&told(bed)), ["failing failing customers"]);
        daemon.signal("KILL");
        daemon.ends().await;

        bed.crm("ALTER TABLE elsewhere RENAME TO account").await;
        let daemon = Running::start(bed).ready().await;
        until(|| told(bed).len() == 2, || format!("nothing is told: {}", daemon.log())).await;
        assert_eq!(in_short(&told(bed))[1..], ["recovered failing customers"]);
        until(|| beats() > stopped, || format!("no heartbeat: {}", daemon.log())).await;
        daemon.stops().await;
        bed.configure("enabled = false\n", "");
    })
    .await;
}

#[tokio::test]
async fn a_command_that_hangs_holds_up_neither_passes_nor_the_end() {
    bed(async |bed| {
        alerts(bed, "");
        let pids = bed.folder().join("pids");
        let script = format!("sleep 1000 & echo $$ $! > {}; wait", pids.display());
        std::fs::write(bed.folder().join("tell.sh"), script).unwrap();
        bed.configure("login_url", "secret_expires = 2020-02-01\nlogin_url");
        bed.configure("[jobs.customers]\n", "[jobs.customers]\nschedule = \"* * * * * *\"\n");
        let daemon = Running::start(bed).ready().await;
        until(|| pids.exists(), || format!("nobody is told: {}", daemon.log())).await;
        bed.accounts(1..=2).await;
        until_ledger(bed, "SELECT count(*) FROM links", "2").await;
        let pids: Vec<_> = std::fs::read_to_string(&pids).unwrap().split_whitespace().map(str::to_owned).collect();
        let alive = |pid: &String| {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            !stat.is_empty() && !stat.contains(") Z ")
        };
        assert!(pids.len() == 2 && pids.iter().all(alive), "{pids:?}");
        let asked = Instant::now();
        daemon.stops().await;
        assert!(asked.elapsed() < Duration::from_secs(20), "{:?}", asked.elapsed());
        until(|| !pids.iter().any(alive), || format!("one of {pids:?} goes on")).await;
        // The bed's own passes have nobody to tell.
        bed.configure("secret_expires = 2020-02-01\n", "");
    })
    .await;
}

/// Who is told, and about what, follows the configuration.
#[tokio::test]
async fn a_reload_changes_who_is_told() {
    bed(async |bed| {
        bed.configure("login_url", "secret_expires = 2020-02-01\nlogin_url");
        bed.configure("[jobs.customers]\n", "[jobs.customers]\nschedule = \"@yearly\"\n");
        let daemon = Running::start(bed).ready().await;
        alerts(bed, "");
        daemon.signal("HUP");
        until(|| told(bed).len() == 1, || format!("nothing is told: {}", daemon.log())).await;
        assert_eq!(in_short(&told(bed)), ["secret_expires secret_expires main"]);
        bed.configure("2020-02-01", "2999-02-01");
        daemon.signal("HUP");
        until(|| told(bed).len() == 2, || format!("nothing is told: {}", daemon.log())).await;
        daemon.stops().await;
    })
    .await;
}
