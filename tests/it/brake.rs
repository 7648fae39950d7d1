//! The brake: how much one run may change before it asks a person.

use bcsync::simulator::{Deed, Fault, FaultKind};
use serde_json::json;

use crate::bed::{Pass, TestBed, bed, writes};

/// Gives the job customers a brake.
fn brake(bed: &mut TestBed, limits: &str) {
    bed.configure("[jobs.customers.fields]", &format!("[jobs.customers.brake]\n{limits}\n\n[jobs.customers.fields]"));
}

/// Fails unless `pass` was held for `exceeded` and has sent nothing.
#[track_caller]
fn is_held(bed: &TestBed, pass: Pass, exceeded: &str) -> Pass {
    let pass = pass.exits(4);
    assert_eq!(
        pass.message("customers").replace(&plan_of(&pass), "HASH"),
        format!("held by the brake: {exceeded}; `bcsync approve customers --plan HASH` lets it go ahead"),
        "{}",
        pass.details()
    );
    assert_eq!(bed.simulator.stats().writes(), 0, "{}", pass.details());
    pass
}

/// What the plan is called that `pass` held.
#[track_caller]
fn plan_of(pass: &Pass) -> String {
    let message = pass.message("customers");
    let named = message.split_once("--plan ").unwrap_or_else(|| panic!("{}", pass.details())).1;
    named.chars().take_while(char::is_ascii_hexdigit).collect()
}

async fn approve(bed: &mut TestBed) -> String {
    bed.output(&["approve", "customers"]).await
}

#[tokio::test]
async fn a_run_over_the_limit_sends_nothing_until_a_person_approves_it() {
    bed(async |bed| {
        brake(bed, "creates = { max = 2 }");
        bed.accounts(1..=3).await;
        let pass = bed.run().await;
        let pass = is_held(bed, pass, "3 creates, allowed are 2").did("customers", "3 staged, 3 held");
        let plan = plan_of(&pass);
        assert_eq!(
            bed.reason("customers", "3").await,
            format!(
                "held: held by the brake: 3 creates, allowed are 2; `bcsync approve customers --plan {plan}` lets it go ahead"
            )
        );
        let status = "SELECT last_result, held, pending, held_plan FROM job_status WHERE job = 'customers'";
        let shown = format!("held|3|0|{plan}: 3 creates, 0 updates, 0 deletes, 0 closes");
        assert_eq!(bed.ledger_value(status).await, shown);
        let pass = bed.run().await;
        is_held(bed, pass, "3 creates, allowed are 2").did("customers", "3 queued, 3 held");

        let told = approve(bed).await;
        assert!(told.contains("approved are 3 creates, 0 updates, 0 deletes, 0 closes"), "{told}");
        assert_eq!(bed.ledger_value(status).await, format!("{shown}, approved"));
        bed.run().await.exits(0).did("customers", "3 queued, 3 created");

        // The approval is used up.
        bed.accounts(4..=6).await;
        let pass = bed.run().await;
        assert_eq!(pass.message("customers").matches("3 creates, allowed are 2").count(), 1, "{}", pass.details());
        approve(bed).await;
        bed.run().await.exits(0).did("customers", "3 unchanged, 3 queued, 3 created");
    })
    .await;
}

#[tokio::test]
async fn an_approval_is_a_ceiling_and_no_licence() {
    bed(async |bed| {
        brake(bed, "creates = { max = 2 }");
        bed.accounts(1..=3).await;
        bed.run().await.exits(4);
        approve(bed).await;
        // One more than was approved, and the approval is gone.
        bed.accounts([4]).await;
        let pass = bed.run().await;
        is_held(bed, pass, "4 creates, allowed are 3").did("customers", "3 queued, 1 staged, 4 held");
        let pass = bed.run().await;
        is_held(bed, pass, "4 creates, allowed are 2");
        approve(bed).await;
        // Another record than those that were seen, and not more of them.
        bed.crm("DELETE FROM account WHERE id = 1").await;
        bed.accounts([5]).await;
        bed.run().await.exits(0).did("customers", "3 queued, 1 staged, 4 created");
    })
    .await;
}

#[tokio::test]
async fn only_the_plan_that_a_person_has_seen_is_approved() {
    bed(async |bed| {
        brake(bed, "creates = { max = 2 }");
        bed.accounts(1..=3).await;
        let seen = plan_of(&bed.run().await.exits(4));
        bed.accounts(4..=9).await;
        let held = plan_of(&bed.run().await.exits(4));
        let output = bed.bcsync(&["approve", "customers", "--plan", &seen]).await;
        assert_eq!(output.status.code(), Some(2));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let problem = format!(
            "nothing was approved: of job customers the brake holds plan {held} (9 creates, 0 updates, 0 deletes, 0 \
             closes) now, not {seen}"
        );
        assert!(said.contains(&problem), "{said}");
        bed.run().await.exits(4);
        bed.output(&["approve", "customers", "--plan", &held]).await;
        bed.run().await.exits(0).did("customers", "9 queued, 9 created");
    })
    .await;
}

#[tokio::test]
async fn what_an_interrupted_run_has_done_counts_against_the_approval() {
    bed(async |bed| {
        brake(bed, "creates = { max = 2 }");
        bed.accounts(1..=3).await;
        bed.run().await.exits(4);
        approve(bed).await;
        // Business Central takes two of them, and says to the third what ends the run.
        let refuse = FaultKind::Refuse {
            status: 400,
            code: "Internal_ServerError".to_owned(),
            message: "You do not have the following permissions".to_owned(),
        };
        bed.strike("POST", "customers", refuse);
        bed.run().await.exits(77);
        assert_eq!(bed.rows("customers").len(), 2);
        bed.simulator.reset_stats();
        bed.accounts(4..=6).await;
        let pass = bed.run().await;
        is_held(bed, pass, "4 creates, allowed are 2");
        bed.crm("DELETE FROM account WHERE id > 4").await;
        bed.run().await.exits(0);
    })
    .await;
}

#[tokio::test]
async fn a_percentage_counts_from_a_hundred_linked_rows() {
    bed(async |bed| {
        bed.accounts(1..=100).await;
        bed.run().await.exits(0);
        brake(bed, "updates = { percent = 2.5 }");
        bed.simulator.reset_stats();
        bed.crm("UPDATE account SET name = 'Renamed' WHERE id <= 3").await;
        let pass = bed.run().await;
        is_held(bed, pass, "3 updates, allowed are 2").did("customers", "97 unchanged, 3 staged, 3 held");
        bed.crm("UPDATE account SET name = 'Customer 3' WHERE id = 3").await;
        bed.run().await.exits(0).did("customers", "98 unchanged, 2 queued, 2 updated");
    })
    .await;
}

#[tokio::test]
async fn an_adoption_that_changes_the_row_is_an_update_and_one_that_does_not_is_nothing() {
    bed(async |bed| {
        brake(bed, "updates = { max = 0 }");
        bed.load("customers", &json!([{ "number": "C1", "displayName": "Old name" }]));
        let equal = json!([{ "number": "C2", "displayName": "Customer 2", "country": "NO", "postalCode": "0150",
            "city": "Oslo", "email": "office@c2.example", "creditLimit": 200.5 }]);
        bed.load("customers", &equal);
        bed.accounts([1, 2]).await;
        bed.simulator.reset_stats();
        let pass = bed.run().await;
        is_held(bed, pass, "1 updates, allowed are 0").did("customers", "2 staged, 2 held");
        assert_eq!(bed.customer("C1")["displayName"], "Old name");
        bed.crm("UPDATE account SET no = 'C3' WHERE id = 1").await;
        bed.run().await.exits(0).did("customers", "1 queued, 1 staged, 1 created, 1 adopted");
    })
    .await;
}

#[tokio::test]
async fn a_run_that_cannot_be_too_much_asks_nothing_twice() {
    bed(async |bed| {
        bed.accounts(1..=50).await;
        let requests = async |bed: &mut TestBed| {
            bed.simulator.reset_stats();
            bed.run().await.exits(0).did("customers", "50 staged, 50 created");
            bed.simulator.stats().set("customers").reads
        };
        let without = requests(bed).await;
        for (limits, twice) in [("creates = { max = 50 }", false), ("updates = { max = 49 }", true)] {
            bed.forget_everything();
            for row in bed.rows("customers") {
                bed.person("customers", &row, Deed::Delete);
            }
            brake(bed, limits);
            let with = requests(bed).await;
            assert_eq!(with > without, twice, "{limits}: {with} look-ups instead of {without}");
            bed.configure(&format!("[jobs.customers.brake]\n{limits}\n\n"), "");
        }
    })
    .await;
}

#[tokio::test]
async fn more_rows_that_vanished_than_may_are_not_closed_before_a_person_says_so() {
    bed(async |bed| {
        brake(bed, "closes = { max = 1 }");
        bed.accounts(1..=4).await;
        bed.run().await.exits(0);
        for number in ["C1", "C2"] {
            bed.person("customers", &bed.customer(number), Deed::Delete);
        }
        bed.crm("UPDATE account SET name = 'Renamed' WHERE id <= 3").await;
        let pass = bed.run().await.exits(4).did("customers", "1 unchanged, 3 staged, 1 updated, 2 held");
        assert!(pass.message("customers").contains("2 closes, allowed are 1"), "{}", pass.details());
        assert_eq!(bed.ledger("SELECT key FROM links WHERE state = 'closed'").await, [""; 0]);
        let reason = bed.reason("customers", "1").await;
        assert!(reason.starts_with("held: Business Central no longer has this row; held by the brake"), "{reason}");
        bed.run().await.exits(4).did("customers", "2 unchanged, 2 queued, 2 held");

        approve(bed).await;
        bed.run().await.exits(0).did("customers", "2 unchanged, 2 queued, 2 closed");
    })
    .await;
}

#[tokio::test]
async fn rows_that_are_made_again_count_as_made() {
    bed(async |bed| {
        bed.configure("rename = false", "rename = false\non_missing = \"recreate\"");
        bed.accounts(1..=5).await;
        bed.run().await.exits(0);
        // Not one after another, as a restore would take them away.
        for number in ["C1", "C3", "C5"] {
            bed.person("customers", &bed.customer(number), Deed::Delete);
        }
        brake(bed, "creates = { max = 2 }");
        bed.simulator.reset_stats();
        bed.crm("UPDATE account SET name = 'Renamed'").await;
        let pass = bed.run().await;
        is_held(bed, pass, "3 creates, allowed are 2").did("customers", "5 staged, 5 held");
        approve(bed).await;
        bed.run().await.exits(0).did("customers", "5 queued, 3 created, 2 updated");
        assert_eq!(bed.sent("customers"), (3, 2, 0, 0));
    })
    .await;
}

#[tokio::test]
async fn documents_that_are_made_again_count_as_made() {
    bed(async |bed| {
        bed.configure(
            "[jobs.orders.fields]",
            "on_missing = \"recreate\"\n\n[jobs.orders.brake]\ncreates = { max = 2 }\n\n[jobs.orders.fields]",
        );
        bed.accounts(1..=5).await;
        for orders in [1..=2, 3..=4, 5..=5] {
            bed.orders(orders, 1).await;
            bed.run().await.exits(0);
        }
        for id in [1, 3, 5] {
            bed.person("salesOrders", &bed.order(id), Deed::Delete);
        }
        bed.simulator.reset_stats();
        bed.crm("UPDATE order_line SET qty = '7'").await;
        let pass = bed.run().await.exits(4).did("orders", "5 staged, 5 held");
        assert!(pass.message("orders").contains("3 creates, allowed are 2"), "{}", pass.details());
        assert_eq!(bed.simulator.stats().writes(), 0, "{}", pass.details());
        bed.output(&["approve", "orders"]).await;
        bed.run().await.exits(0).did("orders", "5 queued, 3 created, 2 updated");
    })
    .await;
}

#[tokio::test]
async fn a_held_run_still_finds_out_about_lost_answers() {
    bed(async |bed| {
        bed.accounts(1..=3).await;
        bed.orders([1], 1).await;
        bed.strike("POST", "salesOrders", FaultKind::Drop { committed: false, after_operations: 0 });
        bed.run().await.exits(0).did("orders", "1 staged, 1 pending");
        bed.configure("[jobs.orders.fields]", "[jobs.orders.brake]\ncreates = { max = 1 }\n\n[jobs.orders.fields]");
        bed.orders(2..=3, 1).await;
        bed.run().await.exits(4).did("orders", "1 queued, 2 staged, 1 pending, 2 held");
        bed.let_time_pass(3_600);
        // The answer to any request tells what time it is there.
        bed.run().await.exits(4);
        bed.run().await.exits(4).did("orders", "3 queued, 3 held");
        assert_eq!(bed.ledger("SELECT key FROM intent").await, [""; 0]);
        bed.output(&["approve", "orders"]).await;
        bed.run().await.exits(0).did("orders", "3 queued, 3 created");
    })
    .await;
}

/// Four customers whose rows are to be deleted and that Business Central does not let go, all for one reason, with a brake
/// of two deletes.
async fn four_undeletable(bed: &mut TestBed) {
    bed.configure("rename = false", "rename = false\non_delete = \"delete\"");
    brake(bed, "deletes = { max = 2 }");
    bed.accounts(1..=5).await;
    bed.run().await.exits(0);
    let kind = FaultKind::Refuse {
        status: 400,
        code: "Application_DialogException".to_owned(),
        message: "You cannot delete a customer that has ledger entries.".to_owned(),
    };
    bed.simulator.inject(Fault { every: Some(1), times: None, ..Fault::once(kind, writes("DELETE", "customers")) });
    for lost in [[1, 2], [3, 4]] {
        let [one, other] = lost;
        bed.crm(&format!("DELETE FROM account WHERE id IN ({one}, {other})")).await;
        bed.run().await.exits(1);
    }
    bed.output(&["retry", "customers"]).await;
    bed.simulator.reset_stats();
}

#[tokio::test]
async fn of_records_with_one_error_the_one_that_is_tried_counts() {
    bed(async |bed| {
        four_undeletable(bed).await;
        bed.accounts([6]).await;
        bed.run().await.exits(1).did("customers", "1 unchanged, 1 staged, 1 created, 1 quarantined");
        assert_eq!(bed.sent("customers"), (1, 0, 0, 1));
        bed.run().await.exits(1).did("customers", "2 unchanged");
        bed.accounts(1..=4).await;
    })
    .await;
}

#[tokio::test]
async fn those_that_follow_the_one_that_was_tried_are_held_when_they_are_too_many() {
    bed(async |bed| {
        four_undeletable(bed).await;
        bed.simulator.clear_faults();
        let pass = bed.run().await.exits(4).did("customers", "1 unchanged, 1 deleted, 3 held");
        assert!(pass.message("customers").contains("4 deletes, allowed are 2"), "{}", pass.details());
        assert_eq!(bed.ledger_value("SELECT deletes FROM held_plan").await, "3");
        let pass = bed.run().await.exits(4).did("customers", "1 unchanged, 3 held");
        assert!(pass.message("customers").contains("3 deletes, allowed are 2"), "{}", pass.details());
        approve(bed).await;
        bed.run().await.exits(0).did("customers", "1 unchanged, 3 deleted");
    })
    .await;
}

#[tokio::test]
async fn there_is_nothing_to_approve_before_something_is_held() {
    bed(async |bed| {
        bed.accounts([1]).await;
        bed.run().await.exits(0);
        let output = bed.bcsync(&["approve", "customers"]).await;
        assert_eq!(output.status.code(), Some(2));
        assert!(String::from_utf8_lossy(&output.stderr).contains("the brake holds nothing of job customers"));
        let output = bed.bcsync(&["approve", "customer"]).await;
        assert_eq!(output.status.code(), Some(2));
        assert!(String::from_utf8_lossy(&output.stderr).contains("job customer has not run yet"));
    })
    .await;
}
