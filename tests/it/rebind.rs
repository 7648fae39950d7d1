//! Targets that are not what they were: another company, the same one under another name, or one that was restored from a
//! backup. Nothing is written until a person has said what it is.

use bcsync::simulator::{Deed, Options, Simulator};
use serde_json::json;

use crate::bed::{SECRET, TestBed, bed, bed_with};

/// Runs `rebind` and gives what it said, which nobody may have been asked about.
async fn rebind(bed: &mut TestBed, arguments: &[&str], code: i32) -> String {
    let arguments: Vec<_> = ["rebind", "main"].iter().chain(arguments).copied().collect();
    let output = bed.bcsync(&arguments).await;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{said}");
    said
}

fn delete_customers(bed: &TestBed, numbers: impl IntoIterator<Item = i64>) {
    for number in numbers {
        bed.person("customers", &bed.customer(&format!("C{number}")), Deed::Delete);
    }
}

#[tokio::test]
async fn a_company_that_was_restored_is_not_written_until_a_person_says_so() {
    bed(async |bed| {
        bed.accounts(1..=5).await;
        bed.orders(1..=3, 2).await;
        bed.run().await.exits(0);
        bed.accounts(6..=9).await;
        bed.orders(6..=8, 2).await;
        bed.crm("UPDATE account SET credit = '7' WHERE id = 1").await;
        bed.run().await.exits(0);
        // Two that are missing are two that somebody deleted.
        delete_customers(bed, [4]);
        for order in 6..=8 {
            bed.person("salesOrders", &bed.order(order), Deed::Delete);
        }
        delete_customers(bed, [8, 9]);
        let pass = bed.run_with(&["customers", "--full"]).await.exits(0);
        assert_eq!(pass.jobs["customers"]["vanished"], 3);

        // The backup: the newest rows are not in it, and an old one is as it was before.
        delete_customers(bed, [6, 7]);
        bed.edit("customers", &bed.customer("C1"), &json!({ "creditLimit": 100.5 }));
        bed.crm("UPDATE account SET credit = '9' WHERE id = 2").await;
        bed.simulator.reset_stats();
        let pass = bed.run_with(&["--full"]).await.exits(78);
        let said = pass.message("customers");
        assert!(said.contains("no longer has 4 rows of customers that were made one after another"), "{said}");
        let told = bed.ledger("SELECT max(linked_at) FROM links WHERE job = 'customers' AND key < 6").await;
        assert!(said.contains(&format!("was restored to a moment between {} and ", told[0])), "{said}");
        assert!(said.contains("`bcsync rebind main --restored`"), "{said}");
        // Nor does any other job write to it, now or later.
        assert_eq!(pass.message("orders"), said);
        let pass = bed.run().await.exits(78);
        assert_eq!((pass.message("customers"), pass.message("orders")), (said.clone(), said));
        assert_eq!(bed.simulator.stats().writes(), 0);

        let told = rebind(bed, &["--restored"], 2).await;
        assert!(told.contains("customers: 4 records whose rows are missing are matched, and made again"), "{told}");
        assert!(told.contains("orders: 3 records") && told.contains("nothing was changed"), "{told}");
        bed.run().await.exits(78);
        let told = rebind(bed, &["--restored", "--yes"], 0).await;
        assert!(told.contains("the ledger as it was is kept in"), "{told}");
        assert_eq!(bed.simulator.stats().writes(), 0);
        let kept = std::fs::read_dir(bed.folder()).unwrap().filter(|entry| {
            entry.as_ref().unwrap().file_name().to_string_lossy().starts_with("ledger.db.before-rebind-")
        });
        assert_eq!(kept.count(), 1);

        let pass = bed.run().await.exits(0);
        assert_eq!((pass.count("customers", "created"), pass.count("orders", "created")), (4, 3), "{}", pass.details());
        assert_eq!(
            (bed.customer("C1")["creditLimit"].clone(), bed.customer("C2")["creditLimit"].clone()),
            (json!(7), json!(9))
        );
        assert_eq!(bed.lines(6).len(), 2);
        // The one that somebody had deleted long before is left to `on_missing`.
        bed.configure("on_conflict = \"source_wins\"", "on_conflict = \"source_wins\"\non_missing = \"recreate\"");
        bed.crm("UPDATE account SET credit = '4' WHERE id = 4").await;
        bed.run().await.exits(0);
        assert_eq!((bed.rows("customers").len(), bed.rows("salesOrders").len()), (9, 6));
    })
    .await;
}

#[tokio::test]
async fn an_order_that_was_restored_gets_its_lines_back_and_none_twice() {
    bed(async |bed| {
        bed.accounts(1..=5).await;
        bed.orders([1], 3).await;
        bed.run().await.exits(0);
        bed.accounts(6..=9).await;
        bed.crm(
            "UPDATE order_line SET qty = '9' WHERE line_no = 1;
             INSERT INTO order_line VALUES (1, 4, 'ITEM-9', '4', '2.50', 'Line 4', 4);",
        )
        .await;
        bed.run().await.exits(0);
        // The backup is from before all this.
        delete_customers(bed, 6..=9);
        bed.edit("salesOrderLines", &bed.lines(1)[0], &json!({ "quantity": 2 }));
        bed.person("salesOrderLines", &bed.lines(1)[3], Deed::Delete);
        bed.run_with(&["--full"]).await.exits(78);
        rebind(bed, &["--restored", "--yes"], 0).await;
        // In the meantime the source lost a line that the backup has.
        bed.crm("DELETE FROM order_line WHERE line_no = 2").await;
        bed.run().await.exits(0).did("orders", "1 staged, 1 updated");
        assert_eq!(bed.told_lines(1), ["10000 9 Line 1", "30000 1 Line 3", "40000 4 Line 4"]);
        assert_eq!(
            bed.ledger("SELECT old, new FROM field_changes WHERE property = 'lines[1].quantity' ORDER BY run_id").await,
            ["2|9", "2|9"]
        );
    })
    .await;
}

#[tokio::test]
async fn a_company_that_was_restored_is_noticed_before_anything_is_sent() {
    bed(async |bed| {
        bed.accounts(1..=9).await;
        bed.run().await.exits(0);
        // As many as somebody may have deleted: the next one is made.
        delete_customers(bed, [8, 9]);
        bed.accounts([10]).await;
        bed.run().await.exits(0).did("customers", "9 unchanged, 1 staged, 1 created");
        delete_customers(bed, [6, 7]);
        bed.crm("UPDATE account SET credit = '7' WHERE id = 1").await;
        bed.simulator.reset_stats();
        let pass = bed.run().await.exits(78);
        let said = pass.message("customers");
        assert!(said.contains("no longer has 4 rows of customers that were made one after another"), "{said}");
        assert_eq!(bed.simulator.stats().writes(), 0);
        rebind(bed, &["--restored", "--yes"], 0).await;
        let pass = bed.run().await.exits(0);
        assert_eq!(pass.count("customers", "created"), 4, "{}", pass.details());
        assert_eq!(bed.customer("C1")["creditLimit"], 7);
    })
    .await;
}

#[tokio::test]
async fn a_company_that_was_restored_to_its_beginning_is_noticed() {
    bed(async |bed| {
        bed.accounts(1..=3).await;
        bed.run().await.exits(0);
        delete_customers(bed, 1..=3);
        bed.accounts([4]).await;
        let pass = bed.run().await.exits(78);
        let made = bed.ledger_value("SELECT min(made_at) FROM link_detail").await;
        let said = pass.message("customers");
        assert!(said.contains(&format!("was restored to a moment before {made}")), "{said}");
        rebind(bed, &["--restored", "--yes"], 0).await;
        bed.run().await.exits(0).did("customers", "1 queued, 3 staged, 4 created");
    })
    .await;
}

#[tokio::test]
async fn rows_that_were_only_linked_tell_nothing_of_a_restore() {
    bed(async |bed| {
        bed.accounts(1..=3).await;
        bed.run().await.exits(0);
        bed.accounts(4..=6).await;
        let row = |id: i64| json!({ "number": format!("C{id}"), "displayName": format!("Customer {id}") });
        bed.load("customers", &(4..=6).map(row).collect());
        bed.run().await.exits(0).did("customers", "3 unchanged, 3 staged, 3 adopted");
        // Those that were made are older than what was adopted since.
        delete_customers(bed, 1..=3);
        bed.crm("UPDATE account SET credit = '7' WHERE id = 4").await;
        bed.run().await.exits(78);
        rebind(bed, &["--restored", "--yes"], 0).await;
        let pass = bed.run().await.exits(0);
        assert_eq!(pass.count("customers", "created"), 3, "{}", pass.details());
    })
    .await;
}

#[tokio::test]
async fn documents_that_were_posted_are_not_missing() {
    bed(async |bed| {
        bed.accounts(1..=5).await;
        bed.orders(1..=5, 1).await;
        bed.run().await.exits(0);
        for order in 2..=5 {
            bed.person("salesOrders", &bed.order(order), Deed::Post);
        }
        let pass = bed.run_with(&["--full"]).await.exits(0);
        assert_eq!(pass.jobs["orders"]["vanished"], 4);
        bed.crm("UPDATE order_line SET qty = '9' WHERE order_id > 1").await;
        bed.run().await.exits(0).did("orders", "1 unchanged, 4 staged, 4 closed");
    })
    .await;
}

#[tokio::test]
async fn another_company_gets_everything_anew_and_only_on_request() {
    let companies = vec!["CRONUS USA, Inc.".to_owned(), "Other Ltd.".to_owned()];
    bed_with(Options { companies, ..Options::default() }, async |bed| {
        bed.accounts(1..=3).await;
        bed.run().await.exits(0);
        assert!(rebind(bed, &[], 0).await.contains("nothing to do"));
        bed.configure("company = \"CRONUS USA, Inc.\"", "company = \"Other Ltd.\"");
        bed.crm("UPDATE account SET email = 'nobody' WHERE id = 3").await;
        bed.simulator.reset_stats();
        let pass = bed.run().await.exits(78);
        assert!(pass.message("customers").contains("`bcsync rebind main`"), "{}", pass.details());
        assert!(rebind(bed, &["--restored", "--yes"], 2).await.contains("without `--restored`"));
        let told = rebind(bed, &[], 2).await;
        assert!(told.contains("another company: 3 links, 0 records in the outbox and 0 requests"), "{told}");
        assert_eq!(bed.simulator.stats().writes(), 0);

        rebind(bed, &["--yes"], 0).await;
        bed.run().await.exits(1).did("customers", "2 staged, 1 refused, 2 created");
        // The first company was not touched, and comes back the same way.
        assert_eq!(bed.rows("customers").len(), 3);
        assert_eq!(bed.simulator.stats().set("customers").creates, 2);
        bed.configure("company = \"Other Ltd.\"", "company = \"CRONUS USA, Inc.\"");
        bed.crm("UPDATE account SET email = 'office@c3.example' WHERE id = 3").await;
        rebind(bed, &["--yes"], 0).await;
        bed.run().await.exits(0).did("customers", "3 staged, 3 adopted");
    })
    .await;
}

#[tokio::test]
async fn the_same_company_under_another_environment_keeps_its_links() {
    // A simulator that keeps its rows, so that another one can serve them under another name.
    let folder = tempfile::tempdir().unwrap();
    let data_file = Some(folder.path().join("bc.jsonl"));
    let options = Options { data_file, ..Options::default() };
    bed_with(options.clone(), async |bed| {
        bed.accounts(1..=3).await;
        bed.run().await.exits(0);
        bed.simulator.save().unwrap();
        let (old, secret) = (bed.simulator.base_url(), SECRET.to_owned());
        let renamed = Options { environment: "production2".to_owned(), client_secret: secret, ..options };
        let renamed = Simulator::start(renamed).await.unwrap();
        bed.configure(&old, &renamed.base_url());
        bed.configure("environment = \"production\"", "environment = \"production2\"");
        bed.run().await.exits(78);
        let told = rebind(bed, &["--yes"], 0).await;
        assert!(told.contains("the same company, so that all links stay"), "{told}");
        bed.crm("UPDATE account SET credit = '7' WHERE id = 1").await;
        bed.run().await.exits(0).did("customers", "2 unchanged, 1 staged, 1 updated");
        assert_eq!((renamed.count("customers").unwrap(), renamed.stats().set("customers").creates), (3, 0));
    })
    .await;
}
