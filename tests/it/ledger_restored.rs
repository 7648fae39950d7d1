//! Backups, and what comes of a ledger that knows less than Business Central: an old one that was put back, or none at all.
//! Nothing that is there is made a second time.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;

use crate::bed::{TestBed, bed};

/// Writes a backup and gives its place.
async fn backup(bed: &mut TestBed, name: &str) -> std::path::PathBuf {
    let path = bed.folder().join(name);
    bed.output(&["backup", &path.display().to_string()]).await;
    path
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
        fs::copy(&path, &ledger).unwrap();
        assert_eq!(bed.ledger("PRAGMA integrity_check").await, ["ok"]);
        bed.run().await.exits(0).did("customers", "3 unchanged");
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

        fs::rename(&path, bed.folder().join("ledger.db")).unwrap();
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

        fs::rename(&old, bed.folder().join("ledger.db")).unwrap();
        // What was changed since is found to be as wanted; what was made since is adopted, or asked about.
        bed.crm("UPDATE account SET credit = '8' WHERE id = 4").await;
        bed.simulator.reset_stats();
        let pass = bed.run().await.exits(1);
        assert_eq!(pass.count("customers", "adopted"), 2, "{}", pass.details());
        assert_eq!(
            (pass.count("orders", "quarantined"), pass.count("orders", "created")),
            (2, 0),
            "{}",
            pass.details()
        );
        assert_eq!(bed.sent("customers"), (0, 1, 0, 1), "what was changed is refused for its etag, and looked at");
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
