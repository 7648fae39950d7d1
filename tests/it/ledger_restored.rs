//! Backups, and what comes of a ledger that knows less than Business Central: an old one that was put back, or none at all.
//! Nothing that is there is made a second time.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bcsync::simulator::FaultKind;
use serde_json::{Value, json};

use crate::bed::{TestBed, bed};
use crate::outbox;
use crate::process::in_time;

/// Writes a backup and gives its place.
async fn backup(bed: &mut TestBed, name: &str) -> PathBuf {
    let path = bed.folder().join(name);
    bed.output(&["backup", &path.display().to_string()]).await;
    path
}

/// Puts a backup into the place of the ledger.
fn restore(bed: &TestBed, backup: &Path) {
    fs::copy(backup, bed.folder().join("ledger.db")).unwrap();
}

/// The same, when no request of the newer ledger can take effect any more.
fn restore_later(bed: &mut TestBed, backup: &Path) {
    restore(bed, backup);
    bed.configure("[targets.main.limits]", "settle_window = \"1ms\"\n\n[targets.main.limits]");
}

/// Lets everything pass that is waited for because the ledger was restored.
async fn let_the_window_pass(bed: &TestBed) {
    bed.write_ledger("UPDATE meta SET value = '2026-01-01T00:00:00.000Z' WHERE name = 'restored_at'").await;
}

/// Tells the ledger which order is which, as the message of a quarantined one asks for.
async fn link_orders(bed: &mut TestBed, ids: &[i64]) {
    let id = |order: i64| bed.order(order)["id"].as_str().unwrap().to_owned();
    let lines: Vec<_> = ids.iter().map(|order| format!("{order},{}", id(*order))).collect();
    let path = bed.folder().join("orders.csv");
    fs::write(&path, format!("key,id\n{}\n", lines.join("\n"))).unwrap();
    bed.output(&["links", "import", "orders", &path.display().to_string()]).await;
}

#[tokio::test]
async fn a_backup_is_whole_private_and_never_written_over_another() {
    bed(async |bed| {
        bed.accounts(1..=3).await;
        bed.run().await.exits(0);
        let path = backup(bed, "copy.db").await;
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
        let before = fs::read(&path).unwrap();
        let told = path.display().to_string();
        let nowhere = bed.folder().join("nowhere/copy.db").display().to_string();
        for (to, said) in [(&told, "there is something of that name already"), (&nowhere, "No such file or directory")]
        {
            let output = bed.bcsync(&["backup", to]).await;
            let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(78), "{stderr}");
            assert!(stderr.contains(&format!("cannot be copied to {to}: {said}")), "{stderr}");
        }
        assert_eq!(fs::read(&path).unwrap(), before);

        // What is damaged is not copied.
        let ledger = bed.folder().join("ledger.db");
        let whole = fs::read(&ledger).unwrap();
        let mut damaged = whole.clone();
        damaged[whole.len() - 4096..].fill(0);
        fs::write(&ledger, &damaged).unwrap();
        let other = bed.folder().join("other.db");
        let output = bed.bcsync(&["backup", &other.display().to_string()]).await;
        assert_eq!(output.status.code(), Some(78), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(!other.exists() && !bed.folder().join("other.db.unfinished").exists());

        // It takes the ledger's place, and is one.
        restore_later(bed, &path);
        assert_eq!(bed.ledger("PRAGMA integrity_check").await, ["ok"]);
        let pass = bed.run().await.exits(0).did("customers", "3 staged, 3 equal");
        assert!(pass.message("customers").starts_with("the ledger was restored from a backup"), "{}", pass.details());
    })
    .await;
}

#[tokio::test]
async fn a_backup_beside_a_process_that_writes_is_of_one_moment() {
    bed(async |bed| {
        bed.configure("batch_size = 100", "batch_size = 1");
        bed.simulator.configure(|settings| settings.operation_ms = 5);
        bed.accounts(1..=60).await;
        let child = bed.command(&["run", "--json"]).spawn().unwrap();
        let since = tokio::time::Instant::now();
        while bed.simulator.count("customers").unwrap() < 5 {
            assert!(since.elapsed().as_secs() < 20, "the pass did not begin");
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
        let path = backup(bed, "copy.db").await;
        let ended = crate::process::ended(child).await;
        crate::bed::pass_of(&ended).exits(0).did("customers", "60 staged, 60 created");
        bed.simulator.configure(|settings| settings.operation_ms = 0);

        restore_later(bed, &path);
        assert_eq!(bed.ledger("PRAGMA integrity_check").await, ["ok"]);
        let (links, outbox) = (bed.ledger("SELECT key FROM link").await, bed.ledger("SELECT key FROM outbox").await);
        assert_eq!(links.len() + outbox.len(), 60, "each record is in one of the two");
        assert!(!outbox.is_empty(), "the backup came too late");
        bed.simulator.reset_stats();
        bed.run().await.exits(0);
        assert_eq!(bed.sent("customers").0, 0, "made a second time");
    })
    .await;
}

#[tokio::test]
async fn an_old_ledger_makes_nothing_a_second_time() {
    bed(async |bed| {
        bed.accounts([1, 2]).await;
        bed.orders([1], 2).await;
        bed.run().await.exits(0);
        let old = backup(bed, "old.db").await;
        bed.accounts([3, 4]).await;
        bed.orders([3, 4], 2).await;
        bed.crm("UPDATE account SET credit = '7' WHERE id = 1; UPDATE account SET city = 'Bergen' WHERE id = 3").await;
        bed.crm("UPDATE order_line SET qty = '9' WHERE order_id = 1 AND line_no = 1").await;
        bed.run().await.exits(0);
        let (customers, orders) = (bed.rows("customers"), bed.rows("salesOrders"));

        restore_later(bed, &old);
        // What was changed since is found to be as wanted; what was made since is adopted, or asked about.
        bed.crm("UPDATE account SET credit = '8' WHERE id = 4").await;
        bed.simulator.reset_stats();
        let pass = bed.run().await.exits(1);
        assert_eq!(pass.counters("customers"), "4 staged, 3 adopted, 1 equal", "{}", pass.details());
        assert_eq!(
            (pass.count("orders", "quarantined"), pass.count("orders", "created")),
            (2, 0),
            "{}",
            pass.details()
        );
        assert_eq!(bed.sent("customers"), (0, 1, 0, 0), "all are looked at first");
        assert_eq!(bed.customer("C4")["creditLimit"], 8);
        assert_eq!((bed.rows("customers").len(), bed.rows("salesOrders").len()), (customers.len(), orders.len()));
        assert_eq!(bed.told_lines(1), ["10000 9 Line 1", "20000 3 Line 2"]);
        for order in [3, 4] {
            let (reason, number) = (bed.reason("orders", &order.to_string()).await, bed.order(order)["number"].clone());
            assert!(reason.contains(&format!("a row that matches ({})", number.as_str().unwrap())), "{reason}");
        }
        link_orders(bed, &[3, 4]).await;
        let pass = bed.run().await.exits(0);
        assert_eq!(pass.count("orders", "adopted"), 2, "{}", pass.details());
    })
    .await;
}

/// SQLite would take the log of the ledger that was replaced for the copy's own.
#[tokio::test]
async fn a_backup_in_the_place_of_a_ledger_that_was_killed_is_not_mixed_with_it() {
    bed(async |bed| {
        bed.configure("batch_size = 100", "batch_size = 1\nconcurrency = 1");
        bed.accounts(1..=3).await;
        bed.run().await.exits(0);
        let old = backup(bed, "old.db").await;
        bed.accounts(4..=60).await;
        bed.simulator.configure(|settings| settings.operation_ms = 5);
        let mut child = bed.command(&["run"]).spawn().unwrap();
        in_time("waiting for rows", async {
            while bed.simulator.count("customers").unwrap() < 12 {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        })
        .await;
        child.kill().unwrap();
        child.wait().unwrap();
        bed.simulator.configure(|settings| settings.operation_ms = 0);
        bed.simulator.settled().await;
        let log = bed.folder().join("ledger.db-wal");
        let left = fs::read(&log).unwrap();
        assert!(!left.is_empty(), "the process had carried everything over");
        let made = bed.rows("customers").len();

        restore_later(bed, &old);
        // Who only looks sees the copy, too.
        assert_eq!(bed.output(&["links", "export"]).await.lines().count(), 4);
        let pass = bed.run().await.exits(0);
        assert!(pass.message("customers").starts_with("the ledger was restored from a backup"), "{}", pass.details());
        assert_eq!(pass.count("customers", "adopted"), made as u64 - 3, "{}", pass.details());
        assert_eq!(bed.rows("customers").len(), 60);
        assert_eq!(fs::read(bed.folder().join("ledger.db-wal.set-aside")).unwrap(), left, "nothing is thrown away");

        // From here on the log is its own.
        bed.accounts([61]).await;
        let mut child = bed.command(&["run"]).spawn().unwrap();
        in_time("waiting for a row", async {
            while bed.simulator.count("customers").unwrap() < 61 {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        })
        .await;
        child.kill().unwrap();
        child.wait().unwrap();
        bed.run().await.exits(0);
        assert_eq!(bed.ledger("SELECT key FROM link").await.len(), 61);
    })
    .await;
}

#[tokio::test]
async fn a_lost_ledger_makes_nothing_a_second_time() {
    bed(async |bed| {
        bed.accounts(1..=5).await;
        bed.orders(1..=3, 2).await;
        bed.run().await.exits(0);
        let ids = |rows: Vec<Value>| rows.iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
        let before = (ids(bed.rows("customers")), ids(bed.rows("salesOrders")), ids(bed.rows("salesOrderLines")));
        bed.forget_everything();
        bed.simulator.reset_stats();
        bed.run().await.exits(1).did("customers", "5 staged, 5 adopted").did("orders", "3 staged, 3 quarantined");
        assert_eq!(bed.simulator.stats().writes(), 0);
        link_orders(bed, &[1, 2, 3]).await;
        let pass = bed.run().await.exits(0);
        assert_eq!(pass.count("orders", "adopted"), 3, "{}", pass.details());
        assert_eq!(bed.simulator.stats().writes(), 0);
        let after = (ids(bed.rows("customers")), ids(bed.rows("salesOrders")), ids(bed.rows("salesOrderLines")));
        assert_eq!(after, before);
    })
    .await;
}

#[tokio::test]
async fn a_line_that_an_old_ledger_does_not_know_is_not_added_again() {
    bed(async |bed| {
        bed.accounts([1, 2]).await;
        bed.orders([1, 2], 2).await;
        bed.run().await.exits(0);
        // Not even the copy itself says that it is one.
        let old = bed.folder().join("old.db");
        fs::copy(bed.folder().join("ledger.db"), &old).unwrap();
        bed.crm("INSERT INTO order_line VALUES (1, 3, 'ITEM-4', '5', '2.25', 'Line 3', 3)").await;
        bed.run().await.exits(0).did("orders", "1 unchanged, 1 staged, 1 updated");

        restore_later(bed, &old);
        bed.simulator.reset_stats();
        bed.run().await.exits(0).did("orders", "2 staged, 1 adopted, 1 equal");
        assert_eq!(bed.simulator.stats().writes(), 0);
        assert_eq!(bed.told_lines(1), ["10000 2 Line 1", "20000 3 Line 2", "30000 5 Line 3"]);
        // From here on it is known again.
        bed.crm("UPDATE order_line SET qty = '6' WHERE order_id = 1 AND line_no = 3").await;
        bed.run().await.exits(0).did("orders", "1 unchanged, 1 staged, 1 updated");
        assert_eq!(bed.told_lines(1)[2], "30000 6 Line 3");
    })
    .await;
}

#[tokio::test]
async fn a_create_that_an_old_ledger_does_not_know_is_waited_for() {
    bed(async |bed| {
        bed.accounts([1, 2]).await;
        bed.run().await.exits(0);
        let old = backup(bed, "old.db").await;
        bed.orders([1], 2).await;
        let late = FaultKind::LateCommit { min_ms: 3_000, max_ms: 3_000, answer: None, silent: false };
        bed.strike("POST", "salesOrders", late);
        bed.run().await.exits(0).did("orders", "1 staged, 1 pending");

        restore(bed, &old);
        bed.orders([2], 1).await;
        bed.accounts([3]).await;
        let pass = bed.run().await.exits(0).did("orders", "2 staged, 2 pending");
        assert_eq!(pass.count("customers", "created"), 1, "of these there is one at most: {}", pass.details());
        let reason = bed.reason("orders", "1").await;
        assert!(reason.contains("may still make this row until 20"), "{reason}");
        in_time("waiting for the lost request", async {
            while bed.rows("salesOrders").is_empty() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
        bed.run().await.exits(1).did("orders", "2 queued, 1 pending, 1 quarantined");
        let_the_window_pass(bed).await;
        bed.run().await.exits(1).did("orders", "2 queued, 1 created");
        link_orders(bed, &[1]).await;
        bed.run().await.exits(0);
        assert_eq!(bed.rows("salesOrders").len(), 2);
    })
    .await;
}

#[tokio::test]
async fn a_change_that_an_old_ledger_does_not_know_is_waited_for() {
    bed(async |bed| {
        bed.accounts([1, 2]).await;
        bed.run().await.exits(0);
        let old = backup(bed, "old.db").await;
        let before = bed.customer("C1")["creditLimit"].clone();
        bed.crm("UPDATE account SET credit = '7'").await;
        let late = FaultKind::LateCommit { min_ms: 3_000, max_ms: 3_000, answer: None, silent: false };
        bed.strike("PATCH", "customers", late);
        outbox::blind(bed, "customers");
        bed.configure("[retry]", "[retry]\nattempts = 1");
        bed.run().await.exits(3);
        bed.simulator.clear_faults();
        assert_eq!(bed.ledger("SELECT kind FROM intent").await, ["update"; 2]);

        // What was to be changed is as before in the source, and one record is other than ever.
        restore(bed, &old);
        bed.crm(&format!(
            "UPDATE account SET credit = '{before}' WHERE id = 1; UPDATE account SET credit = '8' WHERE id = 2"
        ))
        .await;
        bed.run().await.exits(0).did("customers", "2 staged, 1 updated, 1 pending");
        let reason = bed.reason("customers", "1").await;
        assert!(reason.contains("may still change this row until 20"), "{reason}");
        bed.simulator.settled().await;
        assert_eq!((&bed.customer("C1")["creditLimit"], &bed.customer("C2")["creditLimit"]), (&json!(7), &json!(8)));
        let_the_window_pass(bed).await;
        bed.run().await.exits(0).did("customers", "1 unchanged, 1 queued, 1 adopted");
        assert_eq!(bed.customer("C1")["creditLimit"], before);
    })
    .await;
}

#[tokio::test]
async fn what_an_old_ledger_wanted_or_was_allowed_counts_no_more() {
    bed(async |bed| {
        let brake = "[jobs.customers.brake]\ncreates = { max = 1 }\n\n[jobs.customers.fields]";
        bed.configure("[jobs.customers.fields]", brake);
        bed.configure("rename = false", "rename = false\non_delete = \"delete\"");
        bed.accounts(1..=3).await;
        bed.run().await.exits(4);
        bed.output(&["approve", "customers"]).await;
        // Both are in the copy: the approval, and what is to be made.
        let old = backup(bed, "old.db").await;
        bed.run().await.exits(0).did("customers", "3 queued, 3 created");
        bed.crm("DELETE FROM account WHERE id = 3").await;
        bed.run().await.exits(0).did("customers", "2 unchanged, 1 deleted");

        restore_later(bed, &old);
        // Nothing is concluded, and nothing done, before everything was read.
        bed.simulator.reset_stats();
        bed.crm("ALTER TABLE account RENAME TO elsewhere").await;
        bed.run().await.exits(78);
        bed.crm("ALTER TABLE elsewhere RENAME TO account").await;
        assert_eq!(bed.ledger_value("SELECT restored_at > '' FROM job_status WHERE job = 'customers'").await, "1");
        bed.run().await.exits(0).did("customers", "2 queued, 2 adopted");
        assert_eq!(bed.ledger_value("SELECT restored_at FROM job_status WHERE job = 'customers'").await, "");
        assert_eq!((bed.sent("customers"), bed.rows("customers").len()), ((0, 0, 0, 0), 2));
        bed.accounts([4, 5]).await;
        bed.run().await.exits(4);
        bed.crm("DELETE FROM account WHERE id = 5").await;
        bed.run().await.exits(0);
    })
    .await;
}

#[tokio::test]
async fn values_that_an_old_ledger_does_not_know_are_nobodys_until_a_person_says_whose() {
    for policy in ["bc_wins", "hold"] {
        bed(async |bed| {
            bed.configure("on_conflict = \"source_wins\"", &format!("on_conflict = \"{policy}\""));
            bed.accounts(1..=3).await;
            bed.run().await.exits(0);
            let old = backup(bed, "old.db").await;
            bed.crm("UPDATE account SET credit = '7' WHERE id < 3").await;
            bed.run().await.exits(0).did("customers", "1 unchanged, 2 staged, 2 updated");
            bed.edit("customers", &bed.customer("C3"), &json!({ "city": "Bergen" }));

            restore_later(bed, &old);
            bed.crm("UPDATE account SET credit = '8' WHERE id = 1").await;
            bed.simulator.reset_stats();
            // The second is as wanted. Of the others nobody can tell who has changed them.
            bed.run().await.exits(1).did("customers", "3 staged, 1 adopted, 2 conflict");
            assert_eq!(bed.simulator.stats().writes(), 0);
            bed.output(&["resolve", "customers", "1", "--take", "source"]).await;
            bed.output(&["resolve", "customers", "3", "--take", "bc"]).await;
            bed.run().await.exits(0);
            assert_eq!(
                (bed.customer("C1")["creditLimit"].clone(), bed.customer("C3")["city"].clone()),
                (json!(8), json!("Bergen"))
            );
            // Decided is decided.
            bed.crm("UPDATE account SET credit = '9' WHERE id = 3").await;
            bed.run().await.exits(0).did("customers", "2 unchanged, 1 staged, 1 updated");
            assert_eq!(
                (bed.customer("C3")["creditLimit"].clone(), bed.customer("C3")["city"].clone()),
                (json!(9), json!("Bergen"))
            );
        })
        .await;
    }
}
