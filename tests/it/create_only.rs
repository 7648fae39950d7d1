//! Jobs that make rows and never change them.

use serde_json::json;

use crate::bed::{Pass, TestBed, bed};

/// What `on_conflict` of the job stands for in the configuration.
const CUSTOMERS: &str = "on_conflict = \"source_wins\"";
const ORDERS: &str = "on_conflict = \"hold\"";

/// Lets the job whose configuration has `line` only create.
fn create_only(bed: &mut TestBed, line: &str) {
    bed.configure(line, &format!("{line}\nmode = \"create_only\""));
}

/// Lets it do everything again.
fn upsert(bed: &mut TestBed) {
    bed.configure("\nmode = \"create_only\"", "");
}

/// A pass that must end well and send nothing.
async fn run_without_writes(bed: &mut TestBed) -> Pass {
    bed.simulator.reset_stats();
    let pass = bed.run().await.exits(0);
    assert_eq!(bed.simulator.stats().writes(), 0, "{}", pass.details());
    pass
}

#[tokio::test]
async fn an_order_stays_as_it_was_written_until_another_mode_finds_the_difference() {
    bed(async |bed| {
        create_only(bed, ORDERS);
        bed.accounts([1]).await;
        bed.orders([1], 2).await;
        bed.run().await.exits(0).did("orders", "1 staged, 1 created");
        bed.crm("UPDATE order_line SET qty = '7' WHERE line_no = 1").await;
        run_without_writes(bed).await.did("orders", "1 staged, 1 equal");
        let told = "SELECT reason FROM change WHERE outcome = 'equal'";
        assert_eq!(bed.ledger_value(told).await, "the job never changes rows: `mode` is \"create_only\"");
        run_without_writes(bed).await.did("orders", "1 unchanged");
        assert_eq!(bed.told_lines(1), ["10000 2 Line 1", "20000 3 Line 2"]);

        upsert(bed);
        bed.run().await.exits(0).did("orders", "1 staged, 1 updated");
        assert_eq!(bed.told_lines(1), ["10000 7 Line 1", "20000 3 Line 2"]);
    })
    .await;
}

#[tokio::test]
async fn nobody_is_asked_about_a_row_that_is_not_changed() {
    bed(async |bed| {
        create_only(bed, ORDERS);
        create_only(bed, CUSTOMERS);
        bed.configure(CUSTOMERS, ORDERS);
        bed.accounts([1]).await;
        bed.orders([1], 1).await;
        bed.run().await.exits(0);
        bed.edit("customers", &bed.customer("C1"), &json!({ "email": "by@hand.example" }));
        bed.edit("salesOrderLines", &bed.lines(1)[0], &json!({ "quantity": 30 }));
        // The first change leaves the e-mail alone; the second one is about what a person changed.
        for change in ["city = 'Bergen'", "email = 'new@c1.example'"] {
            bed.crm(&format!("UPDATE account SET {change}; UPDATE order_line SET qty = qty + 5")).await;
            let pass = run_without_writes(bed).await;
            pass.did("customers", "1 staged, 1 equal").did("orders", "1 staged, 1 equal");
        }
        assert_eq!(bed.customer("C1")["email"], "by@hand.example");
        assert_eq!(bed.told_lines(1), ["10000 30 Line 1"]);
    })
    .await;
}

#[tokio::test]
async fn a_customer_that_somebody_else_made_is_linked_as_it_is() {
    bed(async |bed| {
        create_only(bed, CUSTOMERS);
        bed.load("customers", &json!([{ "number": "C1", "displayName": "By a person", "city": "Oslo" }]));
        bed.accounts([1]).await;
        run_without_writes(bed).await.did("customers", "1 staged, 1 adopted");
        run_without_writes(bed).await.did("customers", "1 unchanged");
        assert_eq!(bed.customer("C1")["displayName"], "By a person");

        // With another mode the difference is found, and only that is sent.
        upsert(bed);
        bed.run().await.exits(0).did("customers", "1 staged, 1 updated");
        assert_eq!(bed.customer("C1")["displayName"], "Customer 1");
        let changes = bed.field_changes("customers").await;
        assert!(changes.contains(&r#"1|displayName|"By a person"|"Customer 1""#.to_owned()), "{changes:?}");
        assert!(!changes.iter().any(|change| change.starts_with("1|city|")), "{changes:?}");
    })
    .await;
}

#[tokio::test]
async fn what_a_person_changes_in_a_row_that_was_linked_as_it_is_is_theirs() {
    bed(async |bed| {
        create_only(bed, CUSTOMERS);
        bed.configure(CUSTOMERS, ORDERS);
        bed.load("customers", &json!([{ "number": "C1", "displayName": "By a person" }]));
        bed.accounts([1]).await;
        run_without_writes(bed).await.did("customers", "1 staged, 1 adopted");
        bed.edit("customers", &bed.customer("C1"), &json!({ "displayName": "By a person, again" }));
        upsert(bed);
        bed.run().await.exits(1).did("customers", "1 staged, 1 conflict");
        assert_eq!(bed.customer("C1")["displayName"], "By a person, again");
    })
    .await;
}

#[tokio::test]
async fn an_order_that_somebody_else_made_gets_no_lines_before_another_mode_allows_it() {
    bed(async |bed| {
        create_only(bed, ORDERS);
        bed.configure("adopt = \"never\"", "adopt = \"update\"");
        bed.accounts([1]).await;
        bed.run().await.exits(0);
        let lines = json!([
            { "lineType": "Item", "lineObjectNumber": "ITEM-5", "quantity": 5 },
            { "lineType": "Item", "lineObjectNumber": "ITEM-2", "quantity": 2 },
        ]);
        bed.load(
            "salesOrders",
            &json!([{ "customerNumber": "C1", "externalDocumentNumber": "WEB-1", "salesOrderLines": lines }]),
        );
        bed.edit("salesOrderLines", &bed.lines(1)[1], &json!({ "description": "Line 1", "unitPrice": 2.25 }));
        bed.orders([1], 2).await;
        run_without_writes(bed).await.did("orders", "1 staged, 1 adopted");
        run_without_writes(bed).await.did("orders", "1 unchanged");
        assert_eq!(bed.told_lines(1), ["10000 5 Item", "20000 2 Line 1"]);

        upsert(bed);
        bed.configure("check_total", "# check_total");
        bed.run().await.exits(0).did("orders", "1 staged, 1 updated");
        assert_eq!(bed.told_lines(1), ["10000 5 Item", "20000 2 Line 1", "30000 3 Line 2"]);
        assert_eq!(bed.order(1)["orderDate"], "2026-02-03");
    })
    .await;
}
