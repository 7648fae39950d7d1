//! People who are at the same row at the same time: whose edit is looked at, and whose stays.

use bcsync::simulator::{Fault, FaultKind};
use serde_json::{Map, Value, json};

use crate::bed::{TestBed, bed, writes};

#[tokio::test]
async fn a_row_that_is_edited_all_the_time_is_written_in_a_later_pass() {
    bed(async |bed| {
        bed.accounts([1]).await;
        bed.run().await.exits(0);
        bed.crm("UPDATE account SET email = 'source@c1.example'").await;
        let changes: Map<String, Value> = [("phoneNumber".to_owned(), json!("555 0100"))].into_iter().collect();
        let edit = Fault::once(FaultKind::PersonEdit { changes }, writes("PATCH", "customers"));
        bed.simulator.inject(Fault { every: Some(1), times: None, ..edit });
        bed.run().await.exits(0).did("customers", "1 staged, 1 pending");
        bed.simulator.clear_faults();
        bed.run().await.exits(0).did("customers", "1 queued, 1 updated");
        assert_eq!(bed.customer("C1")["email"], "source@c1.example");
    })
    .await;
}

/// The source removes a line whose quantity a person has changed.
async fn a_line_is_removed_that_a_person_changed(bed: &mut TestBed, policy: &str) {
    bed.configure("on_conflict = \"hold\"", &format!("on_conflict = \"{policy}\""));
    bed.configure("check_total", "# check_total");
    bed.accounts([1]).await;
    bed.orders([1], 3).await;
    bed.run().await.exits(0);
    bed.edit("salesOrderLines", &bed.lines(1)[1], &json!({ "quantity": 50 }));
    bed.crm("DELETE FROM order_line WHERE line_no > 1").await;
}

const LINES: [&str; 3] = ["10000 2 Line 1", "20000 50 Line 2", "30000 1 Line 3"];

#[tokio::test]
async fn a_line_that_a_person_changed_is_not_removed_before_somebody_has_decided() {
    bed(async |bed| {
        a_line_is_removed_that_a_person_changed(bed, "hold").await;
        bed.run().await.exits(1).did("orders", "1 staged, 1 conflict");
        assert!(bed.reason("orders", "1").await.contains("someone changed lines[2].quantity"));
        assert_eq!(bed.told_lines(1), LINES);
        bed.configure("adopt = \"never\"\non_conflict = \"hold\"", "adopt = \"never\"\non_conflict = \"source_wins\"");
        bed.run().await.exits(0).did("orders", "1 staged, 1 updated");
        assert_eq!(bed.told_lines(1), LINES[..1]);
        let told = "SELECT old, new FROM field_changes WHERE property = 'lines[2].quantity' AND outcome = 'updated'";
        assert_eq!(bed.ledger(told).await, ["50|"], "what was overwritten is told");
    })
    .await;
}

#[tokio::test]
async fn a_line_that_business_central_keeps_is_nobody_elses_business_any_more() {
    bed(async |bed| {
        a_line_is_removed_that_a_person_changed(bed, "bc_wins").await;
        bed.run().await.exits(0).did("orders", "1 staged, 1 updated");
        assert_eq!(bed.told_lines(1), LINES[..2]);
        bed.crm("UPDATE sales_order SET email = 'new@c1.example'; UPDATE order_line SET qty = '2'").await;
        bed.run().await.exits(0).did("orders", "1 staged, 1 updated");
        assert_eq!(bed.told_lines(1), LINES[..2]);
    })
    .await;
}

#[tokio::test]
async fn a_city_that_a_person_put_there_survives_another_change_and_then_a_new_country() {
    bed(async |bed| {
        bed.accounts([1]).await;
        bed.run().await.exits(0);
        bed.edit("customers", &bed.customer("C1"), &json!({ "city": "Bergen" }));
        bed.crm("UPDATE account SET email = 'new@c1.example'").await;
        bed.run().await.exits(0).did("customers", "1 staged, 1 updated");
        // Business Central empties the city of another country, so that it has to be sent along.
        bed.crm("UPDATE account SET country = 'SE'").await;
        bed.run().await.exits(0).did("customers", "1 staged, 1 updated");
        assert_eq!(bed.customer("C1")["city"], "Bergen");
    })
    .await;
}
