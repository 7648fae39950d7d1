//! Records that wait for another record or for a code of Business Central.

use bcsync::simulator::{Fault, FaultKind, FaultMatch};
use serde_json::json;

use crate::bed::{TestBed, bed, writes};

/// What the history tells of records that wait, as key and reason.
async fn told(bed: &TestBed) -> Vec<String> {
    bed.ledger("SELECT key, outcome, reason FROM change WHERE outcome IN ('waiting', 'quarantined') ORDER BY change_id")
        .await
}

/// Orders of an item that Business Central does not have.
async fn orders_of_an_unknown_item(bed: &mut TestBed, orders: i64) {
    bed.accounts(1..=orders).await;
    bed.orders(1..=orders, 1).await;
    bed.crm("UPDATE order_line SET sku = 'ITEM-99'").await;
}

const WAITS: &str = "waits for `ITEM-99`, which Business Central does not have among its items";

#[tokio::test]
async fn a_code_that_many_wait_for_is_told_once_and_asked_for_once_a_pass() {
    bed(async |bed| {
        orders_of_an_unknown_item(bed, 5).await;
        bed.run().await.exits(0).did("orders", "5 staged, 5 waiting");
        assert_eq!(told(bed).await, [format!("1|waiting|{WAITS}")]);
        bed.simulator.reset_stats();
        bed.run().await.exits(0).did("orders", "5 queued, 5 waiting");
        assert_eq!(bed.simulator.stats().set("items").reads, 1);
        assert_eq!(told(bed).await.len(), 1);
        // Each of them is accounted for, and none has used up anything.
        let rows = "SELECT count(*) FROM pending_records WHERE state = 'waiting' AND reason LIKE '%ITEM-99%'";
        assert_eq!(bed.ledger_value(rows).await, "5");
        assert_eq!(bed.ledger_value("SELECT sum(attempts) FROM outbox").await, "0");

        bed.load("items", &json!([{ "number": "ITEM-99", "displayName": "Late", "unitPrice": 1 }]));
        bed.run().await.exits(0).did("orders", "5 queued, 5 created");
    })
    .await;
}

#[tokio::test]
async fn a_record_that_waits_too_long_is_told_to_a_person_and_still_goes_when_it_can() {
    bed(async |bed| {
        bed.configure("[retry]", "[retry]\nwaiting_for = \"1ms\"");
        bed.orders([1], 1).await;
        bed.run().await.exits(0).did("orders", "1 staged, 1 waiting");
        bed.run().await.exits(1).did("orders", "1 queued, 1 quarantined");
        let reason = bed.reason("orders", "1").await;
        assert!(
            reason.starts_with(
                "quarantined: waits for record 1 of job customers, which is not in Business Central yet (since "
            ) && reason.ends_with(", longer than `waiting_for`)"),
            "{reason}"
        );
        bed.run().await.exits(1).did("orders", "1 queued");
        assert_eq!(told(bed).await.len(), 2);
        bed.accounts([1]).await;
        bed.run().await.exits(0).did("orders", "1 queued, 1 created");
    })
    .await;
}

#[tokio::test]
async fn a_newer_version_goes_on_waiting_since_the_first() {
    bed(async |bed| {
        bed.orders([1], 1).await;
        bed.run().await.exits(0).did("orders", "1 staged, 1 waiting");
        let since = bed.ledger_value("SELECT waiting_since FROM outbox").await;
        bed.crm("UPDATE sales_order SET email = 'buyer@c1.example'").await;
        bed.run().await.exits(0).did("orders", "1 staged, 1 waiting");
        assert_eq!(bed.ledger_value("SELECT waiting_since FROM outbox").await, since);
    })
    .await;
}

/// Business Central does not know the country of any customer.
fn unknown_country(bed: &TestBed) {
    let kind = FaultKind::Refuse {
        status: 400,
        code: "Internal_InvalidTableRelation".to_owned(),
        message: "The field Country/Region Code of table Customer contains a value (NO) that cannot be found in the \
                  related table (Country/Region)."
            .to_owned(),
    };
    let matching = FaultMatch {
        property: Some("country".to_owned()),
        value: Some("NO".to_owned()),
        ..writes("POST", "customers")
    };
    bed.simulator.inject(Fault { every: Some(1), times: None, ..Fault::once(kind, matching) });
}

#[tokio::test]
async fn of_those_whose_relation_is_missing_one_is_tried_in_each_pass() {
    bed(async |bed| {
        bed.accounts(1..=5).await;
        unknown_country(bed);
        bed.run().await.exits(0).did("customers", "5 staged, 5 waiting");
        assert_eq!(told(bed).await.len(), 1);
        assert_eq!(bed.ledger_value("SELECT sum(attempts) FROM outbox").await, "0");
        bed.simulator.reset_stats();
        bed.run().await.exits(0).did("customers", "5 queued, 1 waiting");
        assert_eq!(bed.sent("customers"), (0, 0, 0, 1));
        bed.simulator.clear_faults();
        bed.run().await.exits(0).did("customers", "5 queued, 5 created");
    })
    .await;
}

#[tokio::test]
async fn a_relation_that_stays_missing_is_told_to_a_person_and_tried_once_a_day() {
    bed(async |bed| {
        bed.configure("[retry]", "[retry]\nwaiting_for = \"1ms\"");
        bed.accounts([1]).await;
        unknown_country(bed);
        bed.run().await.exits(0).did("customers", "1 staged, 1 waiting");
        bed.run().await.exits(1).did("customers", "1 queued, 1 quarantined");
        bed.run().await.exits(1).did("customers", "1 queued");
        bed.simulator.clear_faults();
        bed.output(&["retry"]).await;
        bed.run().await.exits(0).did("customers", "1 queued, 1 created");
    })
    .await;
}

#[tokio::test]
async fn a_job_that_makes_no_rows_tells_a_person_after_a_while_and_goes_on_looking() {
    bed(async |bed| {
        bed.configure("[retry]", "[retry]\nwaiting_for = \"1ms\"");
        bed.configure("adopt = \"update\"", "adopt = \"update\"\nmode = \"update_only\"");
        bed.configure("\n[jobs.customers.create_only]\nsalespersonCode = \"'LM'\"\n", "");
        bed.accounts([1]).await;
        bed.run().await.exits(0).did("customers", "1 staged, 1 waiting");
        bed.run().await.exits(1).did("customers", "1 queued, 1 quarantined");
        bed.run().await.exits(1).did("customers", "1 queued");
        bed.load("customers", &json!([{ "number": "C1", "displayName": "Customer 1" }]));
        bed.run().await.exits(0).did("customers", "1 queued, 1 adopted");
    })
    .await;
}
