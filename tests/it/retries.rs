//! Records that did not go through, and how they come back: by themselves, on request, or when something has changed.

use bcsync::simulator::{Deed, Fault, FaultKind, FaultMatch};
use serde_json::json;

use crate::bed::{TestBed, bed, writes};

/// Business Central refuses every new customer for the same reason.
fn refuse_customers(bed: &TestBed, matching: FaultMatch) {
    let kind = FaultKind::Refuse {
        status: 400,
        code: "Application_DialogException".to_owned(),
        message: "The number series is not set up.".to_owned(),
    };
    bed.simulator.inject(Fault { every: Some(1), times: None, ..Fault::once(kind, matching) });
}

/// Ten customers are quarantined for one reason, and due again at once.
async fn ten_refused(bed: &mut TestBed) {
    bed.configure("[retry]", "[retry]\nretry_quarantined = \"1ms\"");
    bed.accounts(1..=10).await;
    refuse_customers(bed, writes("POST", "customers"));
    bed.run().await.exits(1).did("customers", "10 staged, 10 quarantined");
    bed.configure("retry_quarantined = \"1ms\"", "");
    bed.simulator.reset_stats();
}

async fn told(bed: &mut TestBed, arguments: &[&str]) -> String {
    bed.output(arguments).await.trim_end().to_owned()
}

#[tokio::test]
async fn of_those_with_one_error_one_is_tried_and_the_others_wait_another_day() {
    bed(async |bed| {
        ten_refused(bed).await;
        bed.run().await.exits(1).did("customers", "10 queued, 1 quarantined");
        assert_eq!(bed.sent("customers"), (0, 0, 0, 1));
        let due = "SELECT count(*) FROM failed_records WHERE retry_at > strftime('%FT%TZ', 'now', '+23 hours')";
        assert_eq!(bed.ledger_value(due).await, "10");
        bed.run().await.exits(1).did("customers", "10 queued");
        assert_eq!(bed.sent("customers"), (0, 0, 0, 0));
        // What is as it was is told once.
        assert_eq!(bed.ledger_value("SELECT count(*) FROM change").await, "10");
    })
    .await;
}

#[tokio::test]
async fn the_others_follow_in_the_same_pass_when_the_first_goes_through() {
    bed(async |bed| {
        ten_refused(bed).await;
        bed.simulator.clear_faults();
        bed.run().await.exits(0).did("customers", "10 queued, 10 created");
        assert_eq!(bed.sent("customers"), (10, 0, 0, 0));
    })
    .await;
}

#[tokio::test]
async fn errors_that_differ_are_tried_apart() {
    bed(async |bed| {
        bed.configure("[retry]", "[retry]\nretry_quarantined = \"1ms\"");
        bed.accounts(1..=4).await;
        bed.crm("UPDATE account SET credit = '1' WHERE id < 3; UPDATE account SET credit = '2' WHERE id > 2").await;
        for (credit, message) in [("1", "No limit, please."), ("2", "A limit of such height needs a director.")] {
            let kind = FaultKind::Refuse {
                status: 400,
                code: "Application_DialogException".to_owned(),
                message: message.to_owned(),
            };
            let matching = FaultMatch {
                property: Some("creditLimit".to_owned()),
                value: Some(credit.to_owned()),
                ..writes("POST", "customers")
            };
            bed.simulator.inject(Fault { every: Some(1), times: None, ..Fault::once(kind, matching) });
        }
        bed.run().await.exits(1).did("customers", "4 staged, 4 quarantined");
        bed.configure("retry_quarantined = \"1ms\"", "");
        bed.run().await.exits(1).did("customers", "4 queued, 2 quarantined");
    })
    .await;
}

#[tokio::test]
async fn a_retry_that_is_asked_for_tries_one_before_the_others() {
    bed(async |bed| {
        bed.accounts(1..=10).await;
        refuse_customers(bed, writes("POST", "customers"));
        bed.run().await.exits(1).did("customers", "10 staged, 10 quarantined");
        bed.run().await.exits(1).did("customers", "10 queued");
        assert_eq!(
            told(bed, &["retry"]).await,
            "customers: 10 records are tried again by the next pass\norders: 0 records are tried again by the next pass"
        );
        bed.run().await.exits(1).did("customers", "10 queued, 1 quarantined");
        bed.simulator.clear_faults();
        told(bed, &["retry", "customers"]).await;
        bed.run().await.exits(0).did("customers", "10 queued, 10 created");
    })
    .await;
}

#[tokio::test]
async fn records_that_are_named_are_tried_whatever_the_others_do() {
    bed(async |bed| {
        bed.accounts(1..=10).await;
        refuse_customers(bed, writes("POST", "customers"));
        bed.run().await.exits(1);
        bed.simulator.clear_faults();
        assert_eq!(
            told(bed, &["retry", "customers", "3", "7"]).await,
            "customers: 2 records are tried again by the next pass"
        );
        bed.run().await.exits(1).did("customers", "10 queued, 2 created");
        let output = bed.bcsync(&["retry", "customers", "1", "3"]).await;
        assert_eq!(output.status.code(), Some(2));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("record 3 of job customers is neither quarantined nor waiting nor locked"), "{said}");
        bed.run().await.exits(1).did("customers", "2 unchanged, 8 queued");
    })
    .await;
}

#[tokio::test]
async fn what_the_mapping_refuses_comes_back_with_another_mapping() {
    bed(async |bed| {
        bed.configure("country = \"country\"", "country = \"country | translate('country')\"");
        bed.configure("[jobs.orders]", "[maps.country]\nNO = \"NO\"\n\n[jobs.orders]");
        bed.accounts([1, 2]).await;
        bed.crm("UPDATE account SET country = 'Norge' WHERE id = 2").await;
        bed.run().await.exits(1).did("customers", "1 staged, 1 refused, 1 created");
        assert_eq!(
            told(bed, &["retry", "customers"]).await,
            "customers: 0 records are tried again by the next pass\n  1 cannot be sent as they are: `bcsync history \
             customers --failed` tells why"
        );
        bed.run().await.exits(1).did("customers", "1 unchanged, 1 queued");
        bed.configure("NO = \"NO\"", "NO = \"NO\"\nNorge = \"NO\"");
        bed.run().await.exits(0).did("customers", "1 unchanged, 1 staged, 1 created");
    })
    .await;
}

#[tokio::test]
async fn a_row_in_the_way_that_a_person_removes_is_found_gone() {
    bed(async |bed| {
        bed.configure("[retry]", "[retry]\nretry_quarantined = \"1ms\"");
        bed.accounts([1]).await;
        bed.orders([1], 1).await;
        bed.load("customers", &json!([{ "number": "C1", "displayName": "Customer 1" }]));
        bed.load("salesOrders", &json!([{ "customerNumber": "C1", "externalDocumentNumber": "WEB-1" }]));
        bed.run().await.exits(1).did("orders", "1 staged, 1 quarantined");
        bed.person("salesOrders", &bed.order(1), Deed::Delete);
        bed.run().await.exits(0).did("orders", "1 queued, 1 created");
    })
    .await;
}

#[tokio::test]
async fn what_happens_next_is_told_of_every_record() {
    bed(async |bed| {
        bed.accounts([1, 2, 3]).await;
        bed.orders([1, 2, 9], 1).await;
        bed.run().await.exits(0);
        bed.person("salesOrders", &bed.order(2), Deed::Release);
        bed.edit("salesOrders", &bed.order(1), &json!({ "email": "person@c1.example" }));
        bed.crm("UPDATE sales_order SET email = 'source@c1.example' WHERE id < 9").await;
        bed.crm("UPDATE account SET country = 'nowhere at all' WHERE id = 1").await;
        refuse_customers(bed, writes("PATCH", "customers"));
        bed.crm("UPDATE account SET city = 'Bergen' WHERE id = 2; UPDATE account SET no = 'C1' WHERE id = 3").await;
        bed.run().await.exits(1);
        let next = |view: &str| format!("SELECT job || ' ' || key || ' ' || next FROM {view} ORDER BY job, key");
        let failed = bed.ledger(&next("failed_records")).await;
        assert_eq!(failed.len(), 4, "{failed:?}");
        assert_eq!(failed[0], "customers 1 tried when record, mapping or configuration change");
        assert!(failed[1].starts_with("customers 2 tried again in the first run after 2"), "{failed:?}");
        assert!(failed[1].ends_with("Z, or after `bcsync retry customers`"), "{failed:?}");
        assert_eq!(failed[2], "customers 3 tried when record, mapping or configuration change");
        assert_eq!(failed[3], "orders 1 nothing, until the source changes or `bcsync resolve orders 1`");
        let pending = bed.ledger(&next("pending_records")).await;
        assert!(pending[0].starts_with("orders 2 looked at again in the first run after 2"), "{pending:?}");
        assert_eq!(pending[1], "orders 9 sent as soon as what it waits for is there; looked for in every run");
        let shown = told(bed, &["history", "--pending"]).await;
        assert!(shown.contains("NEXT") && shown.contains("looked for in every run"), "{shown}");
    })
    .await;
}

#[tokio::test]
async fn a_retry_needs_a_ledger() {
    bed(async |bed| {
        let output = bed.bcsync(&["retry"]).await;
        assert_eq!(output.status.code(), Some(78));
        assert!(String::from_utf8_lossy(&output.stderr).contains("there is no ledger"));
    })
    .await;
}
