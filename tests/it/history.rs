//! What the ledger tells people, and who may write it.

use std::process::Child;

use bcsync::simulator::Options;
use serde_json::Value;

use crate::bed::{Pass, TestBed, bed, bed_with, pass_of};

/// Starts a pass and waits until it has made a customer.
async fn begun(bed: &mut TestBed) -> Child {
    begun_with(bed, 5, "customers").await
}

/// Starts a pass over 100 customers and so many orders, and waits until it has made a row of `set`.
async fn begun_with(bed: &mut TestBed, orders: i64, set: &str) -> Child {
    bed.configure("batch_size = 100", "batch_size = 10\nconcurrency = 1");
    bed.simulator.configure(|settings| settings.operation_ms = 10);
    bed.accounts(1..=100).await;
    bed.orders(1..=orders, 2).await;
    let child = bed.command(&["run", "--json"]).spawn().unwrap();
    let since = tokio::time::Instant::now();
    while bed.simulator.count(set).unwrap() == 0 {
        assert!(since.elapsed().as_secs() < 20, "the pass did not begin");
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    child
}

async fn ended(child: Child) -> Pass {
    pass_of(&crate::process::ended(child).await)
}

fn signal(child: &Child, name: &str) {
    let sent = std::process::Command::new("kill").args([name, &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

#[tokio::test]
async fn a_second_process_does_not_write_and_may_look() {
    bed(async |bed| {
        let first = begun(bed).await;
        let second = bed.bcsync(&["run"]).await;
        assert_eq!(second.status.code(), Some(75), "{}", String::from_utf8_lossy(&second.stderr));
        assert!(String::from_utf8_lossy(&second.stderr).contains("another bcsync process works with the ledger"));
        let path = bed.folder().join("none.csv");
        std::fs::write(&path, "key,number\n1,C1\n").unwrap();
        let import = bed.bcsync(&["links", "import", "customers", &path.display().to_string()]).await;
        assert_eq!(import.status.code(), Some(75), "{}", String::from_utf8_lossy(&import.stderr));
        let status = bed.output(&["status", "--json"]).await;
        assert!(status.contains("\"last_result\":\"running\""), "{status}");
        ended(first).await.exits(0).did("customers", "100 staged, 100 created").did("orders", "5 staged, 5 created");
    })
    .await;
}

#[tokio::test]
async fn a_process_that_stands_still_keeps_the_ledger_and_goes_on() {
    bed(async |bed| {
        let first = begun(bed).await;
        signal(&first, "-STOP");
        // What it had sent is done meanwhile, and answered to a process that does not read.
        bed.simulator.settled().await;
        let rows = bed.rows("customers").len();
        for _ in 0..3 {
            let second = bed.bcsync(&["run"]).await;
            assert_eq!(second.status.code(), Some(75), "{}", String::from_utf8_lossy(&second.stderr));
        }
        assert_eq!(bed.rows("customers").len(), rows);
        signal(&first, "-CONT");
        ended(first).await.exits(0);
        assert_eq!((bed.rows("customers").len(), bed.rows("salesOrders").len()), (100, 5));
    })
    .await;
}

/// Stops the process for 3 seconds, or for as many as `BCSYNC_STANDSTILL` says: 300 are more than any of its requests may
/// take. What it had sent is done meanwhile, and answered to a process that does not read; nobody else writes.
async fn stands_still(bed: &mut TestBed, process: &Child) {
    let seconds = std::env::var("BCSYNC_STANDSTILL").map_or(3, |seconds| seconds.parse().unwrap());
    signal(process, "-STOP");
    let since = tokio::time::Instant::now();
    while since.elapsed().as_secs() < seconds {
        let second = bed.bcsync(&["run"]).await;
        assert_eq!(second.status.code(), Some(75), "{}", String::from_utf8_lossy(&second.stderr));
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    }
    bed.simulator.settled().await;
    signal(process, "-CONT");
}

/// Nobody enforces the numbers of orders: one that is sent again is there twice.
#[tokio::test]
async fn a_process_that_stood_still_while_orders_were_made_makes_none_twice() {
    bed(async |bed| {
        let first = begun_with(bed, 100, "salesOrders").await;
        stands_still(bed, &first).await;
        ended(first).await.exits(0);
        bed.simulator.configure(|settings| settings.operation_ms = 0);
        bed.let_time_pass(21 * 60);
        bed.run().await.exits(0);
        assert_eq!((bed.rows("salesOrders").len(), bed.simulator.stats().set("salesOrders").creates), (100, 100));
        assert!(bed.simulator.duplicates("salesOrders", "externalDocumentNumber").unwrap().is_empty());
    })
    .await;
}

/// A person removes the lock of a process that stands still, and another one does its work.
#[tokio::test]
async fn a_process_that_was_overtaken_while_it_stood_still_sends_nothing_more() {
    bed(async |bed| {
        let first = begun_with(bed, 100, "salesOrders").await;
        signal(&first, "-STOP");
        bed.simulator.settled().await;
        std::fs::remove_file(bed.folder().join("ledger.db.lock")).unwrap();
        bed.simulator.configure(|settings| settings.operation_ms = 0);
        bed.let_time_pass(21 * 60);
        bed.run().await.exits(0);
        assert_eq!(bed.rows("salesOrders").len(), 100);
        let done = bed.simulator.stats();
        signal(&first, "-CONT");
        let pass = ended(first).await.exits(75);
        assert!(pass.details().contains("another bcsync process has taken over the ledger"), "{}", pass.details());
        assert_eq!(bed.simulator.stats().writes(), done.writes(), "it went on");
    })
    .await;
}

/// The process stands still for longer than its job may take.
#[tokio::test]
async fn a_process_that_stood_still_past_its_time_outs_ends_and_the_next_one_goes_on() {
    bed(async |bed| {
        bed.configure("[jobs.customers]\n", "[jobs.customers]\ntimeout = \"2s\"\n");
        let first = begun(bed).await;
        stands_still(bed, &first).await;
        let pass = ended(first).await.exits(3);
        assert!(pass.message("customers").contains("the job's `timeout`"), "{}", pass.details());
        assert!(pass.count("customers", "created") < 100, "{}", pass.details());
        bed.simulator.configure(|settings| settings.operation_ms = 0);
        bed.configure("timeout = \"2s\"", "timeout = \"1h\"");
        bed.run().await.exits(0);
        assert_eq!((bed.rows("customers").len(), bed.rows("salesOrders").len()), (100, 5));
    })
    .await;
}

#[tokio::test]
async fn an_interrupted_pass_leaves_what_the_next_one_completes() {
    for (name, code) in [("-INT", 130), ("-TERM", 143)] {
        bed(async |bed| {
            let child = begun(bed).await;
            signal(&child, name);
            let pass = ended(child).await.exits(code);
            assert!(pass.count("customers", "created") < 100, "{}", pass.details());
            assert_eq!(pass.message("customers"), "stopped on request");
            assert_eq!(
                bed.ledger_value("SELECT result FROM sync_history WHERE job = 'customers'").await,
                "interrupted"
            );
            // What was sent was seen to its end.
            assert_eq!(bed.ledger("SELECT * FROM intent").await, [""; 0]);
            let linked = bed.ledger_value("SELECT count(*) FROM link").await;
            assert_eq!(linked, bed.rows("customers").len().to_string());
            bed.simulator.configure(|settings| settings.operation_ms = 0);
            bed.run().await.exits(0);
            assert_eq!((bed.rows("customers").len(), bed.rows("salesOrders").len()), (100, 5));
        })
        .await;
    }
}

#[tokio::test]
async fn a_pass_that_is_killed_is_told_and_completed() {
    bed(async |bed| {
        let child = begun(bed).await;
        signal(&child, "-KILL");
        crate::process::ended(child).await;
        bed.simulator.configure(|settings| settings.operation_ms = 0);
        bed.simulator.settled().await;
        bed.run().await.exits(0);
        assert_eq!((bed.rows("customers").len(), bed.rows("salesOrders").len()), (100, 5));
        let told = "SELECT result || ': ' || message FROM sync_history WHERE run_id = 1";
        assert_eq!(bed.ledger_value(told).await, "interrupted: the process ended during this run");
    })
    .await;
}

#[tokio::test]
async fn status_and_history_tell_the_same_to_people_and_programs() {
    bed(async |bed| {
        bed.accounts(1..=3).await;
        bed.orders([1, 9], 1).await;
        bed.crm("UPDATE account SET email = 'nobody' WHERE id = 3").await;
        bed.run().await.exits(1);
        bed.crm("UPDATE account SET email = 'new@c1.example' WHERE id = 1").await;
        bed.run().await.exits(1);

        let status = bed.output(&["status"]).await;
        assert!(status.contains("CRONUS USA, Inc.") && status.contains("attention"), "{status}");
        let rows: Vec<Value> = json_lines(&bed.output(&["--json", "status"]).await);
        assert_eq!(rows.len(), 2);
        assert_eq!(
            (&rows[0]["job"], &rows[0]["linked"], &rows[0]["quarantined"]),
            (&"customers".into(), &2.into(), &1.into())
        );
        assert_eq!(
            (&rows[1]["job"], &rows[1]["waiting"], &rows[1]["last_result"]),
            (&"orders".into(), &1.into(), &"done".into())
        );
        assert_eq!(json_lines(&bed.output(&["--json", "status", "orders"]).await).len(), 1);

        let runs = json_lines(&bed.output(&["--json", "history", "customers"]).await);
        assert_eq!(runs.len(), 2);
        assert_eq!(
            (&runs[0]["run_id"], &runs[0]["updated"], &runs[0]["cause"]),
            (&3.into(), &1.into(), &"command".into())
        );
        assert_eq!(json_lines(&bed.output(&["--json", "history", "--limit", "1"]).await).len(), 1);

        let fields = bed.output(&["history", "--fields", "customers"]).await;
        assert!(fields.contains(r#""office@c1.example"  "new@c1.example""#), "{fields}");
        let failed = json_lines(&bed.output(&["--json", "history", "--failed"]).await);
        assert_eq!((failed.len(), &failed[0]["key"]), (1, &"3".into()));
        assert!(failed[0]["reason"].as_str().unwrap().contains("it is not an e-mail address"));
        let pending = bed.output(&["history", "--pending"]).await;
        assert!(pending.contains("waits for record 9 of job customers"), "{pending}");
        assert_eq!(bed.output(&["history", "--failed", "orders"]).await, "nothing to show\n");
    })
    .await;
}

fn json_lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn the_summary_for_people_has_sums_that_add_up() {
    bed(async |bed| {
        bed.accounts(1..=3).await;
        bed.crm("UPDATE account SET email = 'nobody' WHERE id = 3").await;
        let output = bed.bcsync(&["run", "customers"]).await;
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.starts_with("customers: attention (full read, "), "{text}");
        assert!(text.contains("  read  3 = 2 staged + 1 refused\n  taken 2 = 2 created\n"), "{text}");
    })
    .await;
}

#[tokio::test]
async fn values_are_left_out_of_the_history_when_that_is_wanted() {
    bed(async |bed| {
        bed.configure("[ledger]", "[ledger]\nredact = [\"email\"]");
        bed.accounts([1]).await;
        bed.run().await.exits(0);
        bed.crm("UPDATE account SET email = 'a@c1.example', credit = '7'").await;
        bed.run().await.exits(0);
        assert_eq!(bed.field_changes("customers").await, ["1|creditLimit|100.5|7", "1|email||"]);
        bed.configure("redact = [\"email\"]", "store_values = false");
        bed.crm("UPDATE account SET credit = '8'").await;
        bed.run().await.exits(0);
        assert_eq!(bed.field_changes("customers").await.pop().unwrap(), "1|creditLimit||");
    })
    .await;
}

#[tokio::test]
async fn history_that_is_old_enough_goes_and_links_stay() {
    bed(async |bed| {
        bed.configure("[ledger]", "[ledger]\nkeep_history = \"1ms\"");
        bed.accounts([1]).await;
        bed.run().await.exits(0);
        bed.crm("UPDATE account SET credit = '7'").await;
        bed.run().await.exits(0);
        bed.run().await.exits(0).did("customers", "1 unchanged");
        assert_eq!(bed.ledger_value("SELECT count(*) FROM run").await, "2");
        assert_eq!(bed.ledger("SELECT number FROM links").await, ["C1"]);
    })
    .await;
}

#[tokio::test]
async fn a_history_that_cannot_be_pruned_takes_nothing_from_the_passes() {
    bed(async |bed| {
        bed.configure("[ledger]", "[ledger]\nkeep_history = \"1ms\"");
        bed.accounts([1]).await;
        bed.run().await.exits(0);
        bed.write_ledger("CREATE TRIGGER kept BEFORE DELETE ON run BEGIN SELECT RAISE(ABORT, 'not now'); END").await;
        bed.crm("UPDATE account SET credit = '7'").await;
        let pass = bed.run().await.exits(0).did("customers", "1 staged, 1 updated");
        assert!(pass.details().contains("the history is not pruned"), "{}", pass.details());
        assert!(!bed.folder().join("ledger.db-wal").exists(), "the ledger was not closed");
        bed.write_ledger("DROP TRIGGER kept").await;
    })
    .await;
}

#[tokio::test]
async fn a_ledger_writes_to_no_other_company() {
    let companies = vec!["CRONUS USA, Inc.".to_owned(), "Other Ltd.".to_owned()];
    bed_with(Options { companies, ..Options::default() }, async |bed| {
        bed.accounts([1]).await;
        bed.run().await.exits(0);
        for (company, said) in [
            ("Other Ltd.", "target `main` of this ledger is bound to company"),
            ("Another", "there is no company `Another`"),
        ] {
            bed.configure("company = \"CRONUS USA, Inc.\"", &format!("company = \"{company}\""));
            bed.crm("UPDATE account SET credit = credit + 1").await;
            bed.simulator.reset_stats();
            let pass = bed.run().await.exits(78);
            assert!(pass.message("customers").contains(said), "{}", pass.details());
            assert_eq!(bed.simulator.stats().writes(), 0);
            bed.configure(&format!("company = \"{company}\""), "company = \"CRONUS USA, Inc.\"");
        }
        bed.run().await.exits(0).did("customers", "1 staged, 1 updated");
    })
    .await;
}
