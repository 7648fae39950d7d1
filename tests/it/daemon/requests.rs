//! What other processes ask of the daemon.

use bcsync::simulator::FaultKind;

use super::{Running, until, until_ledger};
use crate::bed::{bed, pass_of};

#[tokio::test]
async fn run_lets_the_daemon_make_the_passes_and_tells_what_they_did() {
    bed(async |bed| {
        bed.accounts(1..=3).await;
        bed.orders(1..=2, 1).await;
        let daemon = Running::start(bed).ready().await;
        let pass = bed.run().await.exits(0).did("customers", "3 staged, 3 created");
        assert_eq!(pass.counters("orders"), "2 staged, 2 created");
        assert_eq!(bed.ledger_value("SELECT group_concat(DISTINCT cause) FROM run").await, "request");
        bed.run_with(&["--full", "customers"]).await.exits(0).did("customers", "3 unchanged");
        assert_eq!(bed.ledger_value("SELECT mode FROM run ORDER BY run_id DESC LIMIT 1").await, "full");

        bed.crm("UPDATE account SET name = '' WHERE id = 1; UPDATE account SET no = 'C2' WHERE id = 3").await;
        let pass = bed.run_with(&["customers"]).await.exits(1);
        assert!(pass.jobs["customers"]["failed"].as_u64() > Some(0), "{}", pass.details());
        bed.crm("UPDATE account SET name = 'Customer 1' WHERE id = 1; UPDATE account SET no = 'C3' WHERE id = 3").await;
        bed.run().await.exits(0);
        daemon.stops().await;
        assert_eq!(bed.ledger_value("SELECT count(*) FROM requests WHERE finished_at IS NULL").await, "0");
    })
    .await;
}

#[tokio::test]
async fn what_is_asked_for_during_a_pass_is_done_once_afterwards() {
    bed(async |bed| {
        bed.accounts(1..=20).await;
        bed.configure("batch_size = 100", "batch_size = 1\nconcurrency = 1");
        bed.simulator.configure(|settings| settings.request_ms = 100);
        let daemon = Running::start(bed).ready().await;
        let ask = || bed.command(&["run", "--json", "customers"]).spawn().unwrap();
        let first = ask();
        until_ledger(bed, "SELECT count(*) > 0 FROM links", "1").await;
        let others = [ask(), ask()];
        until_ledger(bed, "SELECT count(*) FROM requests WHERE taken_at IS NOT NULL", "3").await;
        bed.simulator.configure(|settings| settings.request_ms = 0);
        let mut told = Vec::new();
        for child in [first].into_iter().chain(others) {
            let output = crate::process::ended(child).await;
            told.push(pass_of(&output).exits(0).counters("customers"));
        }
        assert_eq!(told, ["20 staged, 20 created", "20 unchanged", "20 unchanged"]);
        assert_eq!(bed.ledger_value("SELECT count(*) FROM run").await, "2");
        daemon.stops().await;
    })
    .await;
}

#[tokio::test]
async fn what_the_daemon_does_not_know_is_refused() {
    bed(async |bed| {
        bed.configure("[jobs.orders]\n", "[jobs.orders]\nenabled = false\n");
        let daemon = Running::start(bed).ready().await;
        bed.configure("[jobs.orders]\nenabled = false\n", "[jobs.orders]\n");
        let pass = bed.run_with(&["orders"]).await.exits(78);
        assert!(pass.message("orders").contains("has to be reloaded"), "{}", pass.details());
        daemon.stops().await;
    })
    .await;
}

#[tokio::test]
async fn a_request_that_nobody_takes_up_is_withdrawn() {
    bed(async |bed| {
        let daemon = Running::start(bed).ready().await;
        daemon.signal("STOP");
        let output = bed.bcsync(&["run"]).await;
        assert_eq!(output.status.code(), Some(75));
        assert_eq!(bed.ledger_value("SELECT count(*) FROM requests").await, "0");
        daemon.signal("CONT");
        daemon.stops().await;
        assert_eq!(bed.ledger_value("SELECT count(*) FROM run").await, "0");
    })
    .await;
}

#[tokio::test]
async fn a_request_that_is_gone_is_told_of_and_not_waited_for() {
    bed(async |bed| {
        let daemon = Running::start(bed).ready().await;
        daemon.signal("STOP");
        let asking = bed.command(&["run"]).spawn().unwrap();
        until_ledger(bed, "SELECT count(*) FROM requests", "2").await;
        // What the next daemon does with what this one left.
        bed.write_ledger("DELETE FROM requests").await;
        let output = crate::process::ended(asking).await;
        assert_eq!(output.status.code(), Some(75));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("stopped before it took that up, and nothing was done; ask again"), "{said}");
        daemon.signal("CONT");
        daemon.stops().await;
    })
    .await;
}

#[tokio::test]
async fn a_daemon_that_stops_takes_no_more_requests() {
    bed(async |bed| {
        bed.accounts([1]).await;
        bed.strike("POST", "customers", FaultKind::Latency { ms: 8_000 });
        let daemon = Running::start(bed).ready().await;
        let asking = bed.command(&["run", "customers"]).spawn().unwrap();
        until(|| bed.simulator.faults().is_empty(), || "nothing came".to_owned()).await;
        daemon.signal("TERM");
        until_ledger(bed, "SELECT value FROM meta WHERE name = 'serving'", "").await;
        let output = bed.bcsync(&["run", "orders"]).await;
        assert_eq!(output.status.code(), Some(75));
        assert_eq!(bed.ledger_value("SELECT group_concat(job) FROM requests").await, "customers");
        assert_eq!(daemon.ends().await, Some(0));
        assert!(crate::process::ended(asking).await.status.success());
    })
    .await;
}

#[tokio::test]
async fn who_asked_a_daemon_that_dies_is_told() {
    bed(async |bed| {
        bed.accounts(1..=20).await;
        bed.configure("batch_size = 100", "batch_size = 1\nconcurrency = 1");
        bed.simulator.configure(|settings| settings.request_ms = 100);
        let daemon = Running::start(bed).ready().await;
        let asking = bed.command(&["run", "customers"]).spawn().unwrap();
        until_ledger(bed, "SELECT count(*) > 0 FROM links", "1").await;
        daemon.signal("KILL");
        daemon.ends().await;
        let output = crate::process::ended(asking).await;
        assert_eq!(output.status.code(), Some(3));
        assert!(String::from_utf8_lossy(&output.stderr).contains("ended before it was done"));
        bed.simulator.configure(|settings| settings.request_ms = 0);
        bed.run().await.exits(0);
    })
    .await;
}

#[tokio::test]
async fn a_second_daemon_is_refused_and_the_first_goes_on() {
    bed(async |bed| {
        bed.accounts([1]).await;
        let daemon = Running::start(bed).ready().await;
        let output = bed.bcsync(&["daemon"]).await;
        assert_eq!(output.status.code(), Some(75));
        bed.run().await.exits(0).did("customers", "1 staged, 1 created");
        daemon.stops().await;
    })
    .await;
}

#[tokio::test]
async fn what_operators_do_works_beside_a_daemon() {
    bed(async |bed| {
        bed.accounts(1..=2).await;
        bed.crm("UPDATE account SET no = 'C1 ' WHERE id = 2").await;
        let daemon = Running::start(bed).ready().await;
        let output = bed.bcsync(&["retry", "customers"]).await;
        assert_eq!(output.status.code(), Some(2), "the job has not run yet");
        assert!(String::from_utf8_lossy(&output.stderr).contains("job customers has not run yet"));
        let output = bed.bcsync(&["retry"]).await;
        assert_eq!(output.status.code(), Some(0), "of all jobs, it is no mistake");
        assert!(String::from_utf8_lossy(&output.stderr).contains("customers: job customers has not run yet"));
        bed.run().await.exits(1);
        let retried = bed.output(&["retry", "--json"]).await;
        assert!(retried.contains(r#"{"due":0,"job":"customers","refused":1}"#), "{retried}");
        let output = bed.bcsync(&["resolve", "customers", "1", "--take", "bc"]).await;
        assert_eq!(output.status.code(), Some(2));
        assert!(String::from_utf8_lossy(&output.stderr).contains("is not in conflict"));
        let output = bed.bcsync(&["approve", "customers"]).await;
        assert_eq!(output.status.code(), Some(2));
        assert!(String::from_utf8_lossy(&output.stderr).contains("the brake holds nothing of job customers"));
        assert_eq!(bed.ledger_value("SELECT count(*) FROM requests WHERE kind = 'operation'").await, "6");

        bed.crm("UPDATE account SET name = 'Else' WHERE id = 1; UPDATE account SET no = 'C2' WHERE id = 2").await;
        bed.configure("on_conflict = \"source_wins\"", "on_conflict = \"hold\"");
        daemon.signal("HUP");
        daemon.logs("was reloaded", 1).await;
        let row = bed.customer("C1");
        bed.edit("customers", &row, &serde_json::json!({ "displayName": "By hand" }));
        bed.run().await.exits(1).did("customers", "2 staged, 1 created, 1 conflict");
        let told = bed.output(&["resolve", "customers", "1", "--take", "source"]).await;
        assert!(told.contains("record 1 is decided"), "{told}");
        bed.run().await.exits(0);
        assert_eq!(bed.customer("C1")["displayName"], "Else");

        bed.configure(
            "[jobs.customers.fields]",
            "[jobs.customers.brake]\ncreates = { max = 0 }\n\n[jobs.customers.fields]",
        );
        daemon.signal("HUP");
        daemon.logs("was reloaded", 2).await;
        bed.accounts([3]).await;
        bed.run().await.exits(4).did("customers", "2 unchanged, 1 staged, 1 held");
        let told = bed.output(&["approve", "customers"]).await;
        assert!(told.contains("approved are 1 creates, 0 updates, 0 deletes, 0 closes"), "{told}");
        let output = bed.bcsync(&["approve", "customers", "--plan", "00000000"]).await;
        assert_eq!(output.status.code(), Some(2));
        assert!(String::from_utf8_lossy(&output.stderr).contains("nothing was approved"));
        bed.run().await.exits(0).did("customers", "2 unchanged, 1 queued, 1 created");
        daemon.stops().await;
    })
    .await;
}
