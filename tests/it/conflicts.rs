//! Source and Business Central change the same row: who wins, and what is told of it.

use bcsync::simulator::{Deed, Fault, FaultKind};
use serde_json::{Map, Value, json};

use crate::bed::{TestBed, bed, writes};

/// What the history tells of conflicts, as property, value in Business Central and value in the source.
async fn told(bed: &TestBed) -> Vec<String> {
    bed.ledger("SELECT property, old, new FROM field_changes WHERE outcome = 'conflict' ORDER BY run_id, property")
        .await
}

/// A customer whose e-mail address a person and the source have changed.
async fn both_change_it(bed: &mut TestBed, policy: &str) {
    bed.configure("on_conflict = \"source_wins\"", &format!("on_conflict = \"{policy}\""));
    bed.accounts([1, 2]).await;
    bed.run().await.exits(0);
    bed.edit("customers", &bed.customer("C1"), &json!({ "email": "person@c1.example" }));
    bed.crm("UPDATE account SET email = 'source@c1.example' WHERE id = 1").await;
    bed.simulator.reset_stats();
}

#[tokio::test]
async fn the_source_wins_and_what_it_overwrote_is_told() {
    bed(async |bed| {
        both_change_it(bed, "source_wins").await;
        bed.run().await.exits(0).did("customers", "1 unchanged, 1 staged, 1 updated");
        assert_eq!(bed.customer("C1")["email"], "source@c1.example");
        assert_eq!(bed.field_changes("customers").await, [r#"1|email|"person@c1.example"|"source@c1.example""#]);
    })
    .await;
}

#[tokio::test]
async fn business_central_wins_and_what_it_keeps_is_told() {
    bed(async |bed| {
        both_change_it(bed, "bc_wins").await;
        bed.run().await.exits(0);
        assert_eq!(bed.simulator.stats().writes(), 0);
        assert_eq!(bed.customer("C1")["email"], "person@c1.example");
        let told = "SELECT old, new, reason FROM field_change JOIN change USING (change_id) WHERE property = 'email' \
                    ORDER BY change_id";
        assert_eq!(
            bed.ledger(told).await,
            [r#""source@c1.example"|"person@c1.example"|Business Central keeps what someone changed there: `on_conflict` is "bc_wins""#]
        );
        // What else changes later is sent, and what BC keeps stays.
        bed.crm("UPDATE account SET credit = '7' WHERE id = 1").await;
        bed.run().await.exits(0).did("customers", "1 unchanged, 1 staged, 1 updated");
        let row = bed.customer("C1");
        assert_eq!((&row["email"], &row["creditLimit"]), (&json!("person@c1.example"), &json!(7)));
        // So it does each time that the source changes it.
        bed.simulator.reset_stats();
        bed.crm("UPDATE account SET email = 'again@c1.example' WHERE id = 1").await;
        bed.run().await.exits(0).did("customers", "1 unchanged, 1 staged, 1 updated");
        assert_eq!(bed.simulator.stats().writes(), 0);
        assert_eq!(bed.ledger(told).await[1].split('|').next(), Some(r#""again@c1.example""#));
    })
    .await;
}

#[tokio::test]
async fn a_conflict_is_held_until_a_person_has_decided() {
    bed(async |bed| {
        both_change_it(bed, "hold").await;
        bed.run().await.exits(1).did("customers", "1 unchanged, 1 staged, 1 conflict");
        assert_eq!(
            bed.reason("customers", "1").await,
            "conflict: someone changed email in Business Central; decide with `bcsync resolve customers 1 --take source` \
             or `--take bc`"
        );
        assert_eq!(bed.simulator.stats().writes(), 0);
        bed.run().await.exits(1).did("customers", "1 unchanged, 1 queued");
        // The decision: the source is right.
        bed.configure(
            "adopt = \"update\"\non_conflict = \"hold\"",
            "adopt = \"update\"\non_conflict = \"source_wins\"",
        );
        bed.run().await.exits(0).did("customers", "1 unchanged, 1 staged, 1 updated");
        assert_eq!(bed.customer("C1")["email"], "source@c1.example");
    })
    .await;
}

#[tokio::test]
async fn a_conflict_is_over_when_the_source_takes_its_change_back() {
    bed(async |bed| {
        both_change_it(bed, "hold").await;
        bed.run().await.exits(1).did("customers", "1 unchanged, 1 staged, 1 conflict");
        bed.crm("UPDATE account SET email = 'office@c1.example' WHERE id = 1").await;
        bed.run().await.exits(0).did("customers", "2 unchanged");
        assert_eq!(bed.customer("C1")["email"], "person@c1.example");
    })
    .await;
}

#[tokio::test]
async fn a_person_who_does_the_same_makes_no_conflict() {
    bed(async |bed| {
        both_change_it(bed, "hold").await;
        bed.edit("customers", &bed.customer("C1"), &json!({ "email": "source@c1.example" }));
        bed.run().await.exits(0).did("customers", "1 unchanged, 1 staged, 1 equal");
        assert_eq!(bed.simulator.stats().writes(), 0);
    })
    .await;
}

#[tokio::test]
async fn a_person_who_edits_another_property_makes_no_conflict() {
    bed(async |bed| {
        both_change_it(bed, "hold").await;
        bed.edit(
            "customers",
            &bed.customer("C1"),
            &json!({ "email": "office@c1.example", "displayName": "By a person" }),
        );
        bed.run().await.exits(0).did("customers", "1 unchanged, 1 staged, 1 updated");
        let row = bed.customer("C1");
        assert_eq!((&row["email"], &row["displayName"]), (&json!("source@c1.example"), &json!("By a person")));
        // The first PATCH was refused for its etag, the second went through.
        assert_eq!(bed.sent("customers"), (0, 1, 0, 1));
    })
    .await;
}

#[tokio::test]
async fn an_edit_in_the_last_moment_is_seen() {
    bed(async |bed| {
        bed.configure("on_conflict = \"source_wins\"", "on_conflict = \"hold\"");
        bed.accounts([1]).await;
        bed.run().await.exits(0);
        bed.crm("UPDATE account SET email = 'source@c1.example'").await;
        let changes: Map<String, Value> = [("email".to_owned(), json!("person@c1.example"))].into_iter().collect();
        bed.strike("PATCH", "customers", FaultKind::PersonEdit { changes });
        bed.run().await.exits(1).did("customers", "1 staged, 1 conflict");
        assert_eq!(bed.customer("C1")["email"], "person@c1.example");
    })
    .await;
}

#[tokio::test]
async fn a_changed_country_keeps_the_city_that_a_person_put_there() {
    bed(async |bed| {
        bed.accounts([1]).await;
        bed.run().await.exits(0);
        bed.edit("customers", &bed.customer("C1"), &json!({ "city": "Bergen" }));
        bed.crm("UPDATE account SET country = 'SE'").await;
        bed.run().await.exits(0).did("customers", "1 staged, 1 updated");
        let row = bed.customer("C1");
        assert_eq!(
            (&row["country"], &row["city"], &row["postalCode"]),
            (&json!("SE"), &json!("Bergen"), &json!("0150"))
        );
    })
    .await;
}

#[tokio::test]
async fn lines_that_business_central_keeps_are_told_and_not_written() {
    bed(async |bed| {
        bed.configure("on_conflict = \"hold\"", "on_conflict = \"bc_wins\"");
        bed.configure("check_total", "# check_total");
        bed.accounts([1]).await;
        bed.orders([1], 2).await;
        bed.run().await.exits(0);
        bed.edit("salesOrderLines", &bed.lines(1)[0], &json!({ "quantity": 50 }));
        bed.crm("UPDATE order_line SET qty = '7' WHERE line_no = 1").await;
        bed.simulator.reset_stats();
        bed.run().await.exits(0).did("orders", "1 staged, 1 updated");
        assert_eq!(bed.simulator.stats().writes(), 0);
        assert_eq!(bed.told_lines(1)[0], "10000 50 Line 1");
        let told = "SELECT old, new FROM field_changes WHERE property = 'lines[1].quantity' ORDER BY run_id";
        assert_eq!(bed.ledger(told).await, ["7|50"]);
        bed.crm("UPDATE order_line SET qty = '8' WHERE line_no = 1").await;
        bed.run().await.exits(0).did("orders", "1 staged, 1 updated");
        assert_eq!(bed.told_lines(1)[0], "10000 50 Line 1");
        assert_eq!(bed.ledger(told).await, ["7|50", "8|50"]);
    })
    .await;
}

#[tokio::test]
async fn a_person_decides_for_the_source() {
    bed(async |bed| {
        both_change_it(bed, "hold").await;
        bed.run().await.exits(1).did("customers", "1 unchanged, 1 staged, 1 conflict");
        assert_eq!(told(bed).await, [r#"email|"person@c1.example"|"source@c1.example""#]);
        let said = bed.output(&["resolve", "customers", "1", "--take", "source"]).await;
        assert_eq!(said, "customers: record 1 is decided; the next pass acts on it\n");
        bed.run().await.exits(0).did("customers", "1 unchanged, 1 queued, 1 updated");
        assert_eq!(bed.customer("C1")["email"], "source@c1.example");
        let reason = "SELECT reason FROM change WHERE outcome = 'updated'";
        assert_eq!(bed.ledger_value(reason).await, "the source is right, as a person decided");
    })
    .await;
}

#[tokio::test]
async fn a_decision_for_the_source_does_not_overwrite_what_came_later() {
    bed(async |bed| {
        both_change_it(bed, "hold").await;
        bed.run().await.exits(1).did("customers", "1 unchanged, 1 staged, 1 conflict");
        bed.output(&["resolve", "customers", "1", "--take", "source"]).await;
        bed.edit("customers", &bed.customer("C1"), &json!({ "email": "later@c1.example" }));
        bed.run().await.exits(1).did("customers", "1 unchanged, 1 queued, 1 conflict");
        assert_eq!(bed.customer("C1")["email"], "later@c1.example");
        assert_eq!(told(bed).await[1], r#"email|"later@c1.example"|"source@c1.example""#);

        // Nor what comes in the last moment.
        bed.output(&["resolve", "customers", "1", "--take", "source"]).await;
        let changes: Map<String, Value> = [("email".to_owned(), json!("last@c1.example"))].into_iter().collect();
        bed.strike("PATCH", "customers", FaultKind::PersonEdit { changes });
        bed.run().await.exits(1).did("customers", "1 unchanged, 1 queued, 1 conflict");
        assert_eq!(bed.customer("C1")["email"], "last@c1.example");
        bed.output(&["resolve", "customers", "1", "--take", "source"]).await;
        bed.run().await.exits(0).did("customers", "1 unchanged, 1 queued, 1 updated");
    })
    .await;
}

#[tokio::test]
async fn a_person_decides_for_business_central_until_the_source_changes_it_again() {
    bed(async |bed| {
        both_change_it(bed, "hold").await;
        bed.crm("UPDATE account SET credit = '7' WHERE id = 1").await;
        bed.run().await.exits(1).did("customers", "1 unchanged, 1 staged, 1 conflict");
        bed.output(&["resolve", "customers", "1", "--take", "bc"]).await;
        bed.run().await.exits(0).did("customers", "1 unchanged, 1 queued, 1 updated");
        let row = bed.customer("C1");
        assert_eq!((&row["email"], &row["creditLimit"]), (&json!("person@c1.example"), &json!(7)), "the rest is sent");

        bed.crm("UPDATE account SET name = 'New name' WHERE id = 1").await;
        bed.run().await.exits(0).did("customers", "1 unchanged, 1 staged, 1 updated");
        assert_eq!(bed.customer("C1")["email"], "person@c1.example");
        bed.crm("UPDATE account SET email = 'again@c1.example' WHERE id = 1").await;
        bed.run().await.exits(0).did("customers", "1 unchanged, 1 staged, 1 updated");
        assert_eq!(bed.customer("C1")["email"], "again@c1.example");
        let last = "SELECT old, new FROM field_changes WHERE property = 'email' ORDER BY run_id DESC LIMIT 1";
        assert_eq!(bed.ledger(last).await, [r#""person@c1.example"|"again@c1.example""#]);
    })
    .await;
}

#[tokio::test]
async fn a_decision_is_about_one_version_of_the_record() {
    bed(async |bed| {
        both_change_it(bed, "hold").await;
        bed.run().await.exits(1);
        bed.output(&["resolve", "customers", "1", "--take", "source"]).await;
        bed.crm("UPDATE account SET email = 'newer@c1.example' WHERE id = 1").await;
        bed.run().await.exits(1).did("customers", "1 unchanged, 1 staged, 1 conflict");
        assert_eq!(bed.customer("C1")["email"], "person@c1.example");
    })
    .await;
}

#[tokio::test]
async fn only_a_conflict_can_be_resolved() {
    bed(async |bed| {
        both_change_it(bed, "hold").await;
        for (key, told) in [("2", "is not in conflict"), ("9", "is not in conflict")] {
            let output = bed.bcsync(&["resolve", "customers", key, "--take", "bc"]).await;
            assert_eq!(output.status.code(), Some(2));
            assert!(String::from_utf8_lossy(&output.stderr).contains(told));
        }
        bed.run().await.exits(1);
        bed.output(&["resolve", "customers", "1", "--take", "bc"]).await;
        let output = bed.bcsync(&["resolve", "customers", "1", "--take", "bc"]).await;
        assert!(String::from_utf8_lossy(&output.stderr).contains("is pending, not in conflict"));
        bed.run().await.exits(0).did("customers", "1 unchanged, 1 queued, 1 updated");
    })
    .await;
}

/// An order of which a person changed one line and deleted another one, both changed by the source too.
async fn lines_in_conflict(bed: &mut TestBed) {
    bed.configure("check_total", "# check_total");
    bed.accounts([1]).await;
    bed.orders([1], 3).await;
    bed.run().await.exits(0);
    bed.edit("salesOrderLines", &bed.lines(1)[0], &json!({ "quantity": 50 }));
    bed.person("salesOrderLines", &bed.lines(1)[1], Deed::Delete);
    bed.crm("UPDATE order_line SET qty = '7'").await;
    bed.run().await.exits(1).did("orders", "1 staged, 1 conflict");
    assert_eq!(told(bed).await, ["lines[1].quantity|50|7", "lines[2].quantity||7"]);
    assert_eq!(bed.told_lines(1), ["10000 50 Line 1", "30000 1 Line 3"], "nothing partial is sent");
}

#[tokio::test]
async fn a_person_decides_about_lines_for_the_source() {
    bed(async |bed| {
        lines_in_conflict(bed).await;
        bed.output(&["resolve", "orders", "1", "--take", "source"]).await;
        bed.run().await.exits(0).did("orders", "1 queued, 1 updated");
        assert_eq!(bed.told_lines(1), ["10000 7 Line 1", "20000 7 Line 2", "30000 7 Line 3"]);
    })
    .await;
}

#[tokio::test]
async fn a_person_decides_about_lines_for_business_central() {
    bed(async |bed| {
        lines_in_conflict(bed).await;
        bed.output(&["resolve", "orders", "1", "--take", "bc"]).await;
        bed.run().await.exits(0).did("orders", "1 queued, 1 updated");
        assert_eq!(bed.told_lines(1), ["10000 50 Line 1", "30000 7 Line 3"]);
        // That is how it stays while the source changes other things.
        bed.crm("UPDATE order_line SET qty = '8' WHERE line_no = 3").await;
        bed.run().await.exits(0).did("orders", "1 staged, 1 updated");
        assert_eq!(bed.told_lines(1), ["10000 50 Line 1", "30000 8 Line 3"]);
        bed.crm("UPDATE order_line SET qty = '9' WHERE line_no = 1").await;
        bed.run().await.exits(0).did("orders", "1 staged, 1 updated");
        let last =
            "SELECT old, new FROM field_changes WHERE property = 'lines[1].quantity' ORDER BY run_id DESC LIMIT 1";
        assert_eq!(bed.ledger(last).await, ["50|9"]);
    })
    .await;
}

/// A person changes the e-mail of customer 1 and the text of a line of order 1; the source changes something else of both.
async fn edited_beside_other_changes(bed: &mut TestBed) {
    bed.configure("on_conflict = \"source_wins\"", "on_conflict = \"hold\"");
    bed.accounts(1..=2).await;
    bed.orders([1], 2).await;
    bed.run().await.exits(0);
    bed.edit("customers", &bed.customer("C1"), &json!({ "email": "person@c1.example" }));
    bed.edit("salesOrderLines", &bed.lines(1)[0], &json!({ "description": "As agreed" }));
    bed.crm("UPDATE account SET name = 'Renamed' WHERE id = 1; UPDATE order_line SET qty = 7 WHERE line_no = 2").await;
}

#[tokio::test]
async fn what_a_person_changed_stays_theirs_after_other_writes_to_the_row() {
    bed(async |bed| {
        edited_beside_other_changes(bed).await;
        bed.run()
            .await
            .exits(0)
            .did("customers", "1 unchanged, 1 staged, 1 updated")
            .did("orders", "1 staged, 1 updated");
        bed.crm(
            "UPDATE account SET email = 'crm@c1.example' WHERE id = 1;
             UPDATE order_line SET text = 'From the CRM' WHERE line_no = 1",
        )
        .await;
        bed.run()
            .await
            .exits(1)
            .did("customers", "1 unchanged, 1 staged, 1 conflict")
            .did("orders", "1 staged, 1 conflict");
        assert_eq!(bed.customer("C1")["email"], "person@c1.example");
        assert_eq!(bed.told_lines(1), ["10000 2 As agreed", "20000 7 Line 2"]);
    })
    .await;
}

#[tokio::test]
async fn what_a_person_changed_before_a_lost_answer_was_found_stays_theirs() {
    bed(async |bed| {
        bed.configure("on_conflict = \"source_wins\"", "on_conflict = \"hold\"");
        bed.accounts([1]).await;
        bed.strike("POST", "customers", FaultKind::Drop { committed: true, after_operations: 0 });
        // The look before the create is answered, the one after it is not.
        let refused = FaultKind::Status { status: 504, retry_after: None, committed: false };
        bed.simulator.inject(Fault { every: Some(2), ..Fault::once(refused, writes("GET", "customers")) });
        bed.run().await.exits(3);
        assert_eq!(bed.ledger("SELECT key FROM intent").await, ["1"]);
        bed.edit("customers", &bed.customer("C1"), &json!({ "email": "person@c1.example" }));
        bed.run().await.exits(0).did("customers", "1 queued, 1 created");
        bed.crm("UPDATE account SET email = 'crm@c1.example' WHERE id = 1").await;
        bed.run().await.exits(1).did("customers", "1 staged, 1 conflict");
        assert_eq!(bed.customer("C1")["email"], "person@c1.example");
    })
    .await;
}

#[tokio::test]
async fn a_line_that_is_made_anew_keeps_what_a_person_entered() {
    bed(async |bed| {
        edited_beside_other_changes(bed).await;
        bed.crm("UPDATE sales_order SET account_id = 2").await;
        bed.run().await.exits(0).did("orders", "1 staged, 1 updated");
        assert_eq!(bed.told_lines(1), ["10000 2 As agreed", "20000 7 Line 2"]);
        assert_eq!(bed.order(1)["customerNumber"], "C2");
    })
    .await;
}

#[tokio::test]
async fn a_conflict_in_a_later_step_of_a_change_is_found_before_the_first_one() {
    bed(async |bed| {
        bed.configure("check_total", "# check_total");
        bed.accounts(1..=2).await;
        bed.orders([1], 2).await;
        bed.run().await.exits(0);
        bed.edit("salesOrderLines", &bed.lines(1)[0], &json!({ "quantity": 30, "unitPrice": 2.25 }));
        // The customer comes first, and Business Central makes the lines anew with it.
        bed.crm("UPDATE sales_order SET account_id = 2; UPDATE order_line SET qty = '7'").await;
        bed.simulator.reset_stats();
        bed.run().await.exits(1).did("orders", "1 staged, 1 conflict");
        assert_eq!(bed.simulator.stats().writes(), 0);
        assert_eq!(told(bed).await, ["lines[1].quantity|30|7"]);

        // What a person decides is for all steps.
        bed.output(&["resolve", "orders", "1", "--take", "source"]).await;
        bed.run().await.exits(0).did("orders", "1 queued, 1 updated");
        assert_eq!(bed.order(1)["customerNumber"], "C2");
        assert_eq!(bed.told_lines(1), ["10000 7 Line 1", "20000 7 Line 2"]);
        assert_eq!(bed.lines(1)[0]["unitPrice"], 2.25);
    })
    .await;
}

#[tokio::test]
async fn a_conflict_beyond_what_goes_at_once_is_found_before_anything_is_sent() {
    bed(async |bed| {
        bed.accounts([1]).await;
        bed.orders([1], 150).await;
        bed.run().await.exits(0);
        bed.edit("salesOrderLines", &bed.lines(1)[119], &json!({ "description": "As agreed" }));
        bed.crm("UPDATE order_line SET text = 'changed'").await;
        bed.simulator.reset_stats();
        bed.run().await.exits(1).did("orders", "1 staged, 1 conflict");
        assert_eq!(bed.simulator.stats().writes(), 0);
        assert_eq!(told(bed).await, [r#"lines[120].description|"As agreed"|"changed""#]);
    })
    .await;
}

#[tokio::test]
async fn a_change_of_a_line_that_stays_deleted_is_told() {
    for (policy, reason) in [
        ("bc_wins", "Business Central keeps what someone changed there: `on_conflict` is \"bc_wins\""),
        ("hold", "Business Central is right, as a person decided"),
    ] {
        bed(async |bed| {
            bed.configure("on_conflict = \"hold\"", &format!("on_conflict = \"{policy}\""));
            bed.configure("check_total", "# check_total");
            bed.accounts([1]).await;
            bed.orders([1], 2).await;
            bed.run().await.exits(0);
            bed.person("salesOrderLines", &bed.lines(1)[0], Deed::Delete);
            bed.crm("UPDATE order_line SET qty = '7', text = 'Seven' WHERE line_no = 1").await;
            if policy == "hold" {
                bed.run().await.exits(1).did("orders", "1 staged, 1 conflict");
                bed.output(&["resolve", "orders", "1", "--take", "bc"]).await;
            }
            bed.simulator.reset_stats();
            assert_eq!(bed.run().await.exits(0).count("orders", "updated"), 1);
            assert_eq!(bed.simulator.stats().writes(), 0);
            let told = "SELECT property, old, new, reason FROM field_change JOIN change USING (change_id) \
                        WHERE outcome = 'updated' ORDER BY property";
            let kept = [r#"lines[1].description|"Seven"|"#, "lines[1].quantity|7|"];
            assert_eq!(bed.ledger(told).await, kept.map(|kept| format!("{kept}|{reason}")));
        })
        .await;
    }
}

#[tokio::test]
async fn a_deleted_line_whose_place_is_taken_is_made_again_behind_all_others() {
    for policy in ["source_wins", "hold"] {
        bed(async |bed| {
            bed.configure("on_conflict = \"hold\"", &format!("on_conflict = \"{policy}\""));
            bed.configure("check_total", "# check_total");
            bed.accounts([1]).await;
            bed.orders([1], 2).await;
            bed.run().await.exits(0);
            bed.person("salesOrderLines", &bed.lines(1)[1], Deed::Delete);
            let id = bed.order(1)["id"].as_str().unwrap().to_owned();
            bed.insert_line(&id, &json!({ "lineType": "Item", "lineObjectNumber": "ITEM-5", "quantity": 5 })).await;
            assert_eq!(bed.told_lines(1)[1], "20000 5 Item");
            bed.crm(
                "UPDATE order_line SET qty = '7' WHERE line_no = 2;
                 INSERT INTO order_line VALUES (1, 3, 'ITEM-9', '4', '2.50', 'Line 3', 3);",
            )
            .await;
            if policy == "hold" {
                bed.run().await.exits(1).did("orders", "1 staged, 1 conflict");
                bed.output(&["resolve", "orders", "1", "--take", "source"]).await;
            }
            assert_eq!(bed.run().await.exits(0).count("orders", "updated"), 1);
            let lines = ["10000 2 Line 1", "20000 5 Item", "30000 4 Line 3", "40000 7 Line 2"];
            assert_eq!(bed.told_lines(1), lines);
            // Its place is known from now on.
            bed.crm("UPDATE order_line SET qty = '8' WHERE line_no = 2").await;
            bed.run().await.exits(0).did("orders", "1 staged, 1 updated");
            assert_eq!(bed.told_lines(1)[3], "40000 8 Line 2");
        })
        .await;
    }
}
