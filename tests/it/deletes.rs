//! Records that are no longer in the source: what becomes of their rows, and when nothing is concluded.

use bcsync::simulator::{Deed, Fault, FaultKind, FaultMatch};
use serde_json::json;

use crate::bed::{TestBed, bed, writes};

const DROPPED: FaultKind = FaultKind::Drop { committed: false, after_operations: 0 };
const DONE_AND_DROPPED: FaultKind = FaultKind::Drop { committed: true, after_operations: 0 };
const LATE: FaultKind = FaultKind::LateCommit { min_ms: 150, max_ms: 150, answer: None, silent: false };

/// Gives the job customers an `on_delete`.
fn on_delete(bed: &mut TestBed, what: &str) {
    bed.configure("rename = false", &format!("rename = false\non_delete = \"{what}\""));
}

/// So many customers in Business Central, in a job with that `on_delete`.
async fn customers(bed: &mut TestBed, count: i64, what: &str) {
    on_delete(bed, what);
    bed.accounts(1..=count).await;
    bed.run().await.exits(0);
    bed.simulator.reset_stats();
}

/// Runs statements in the CRM that lose record 1, and makes a pass.
async fn lose_the_first(bed: &mut TestBed) -> crate::bed::Pass {
    bed.crm("DELETE FROM account WHERE id = 1").await;
    bed.run().await
}

/// The links of the job customers, as key and state.
async fn links(bed: &TestBed) -> Vec<String> {
    bed.ledger("SELECT key, state FROM links WHERE job = 'customers'").await
}

#[tokio::test]
async fn a_row_whose_record_is_gone_stays_and_is_told_of() {
    bed(async |bed| {
        customers(bed, 2, "keep").await;
        let pass = lose_the_first(bed).await.exits(0).did("customers", "1 unchanged");
        assert_eq!(pass.jobs["customers"]["missing"], 1);
        assert_eq!((bed.sent("customers"), bed.rows("customers").len()), ((0, 0, 0, 0), 2));
        assert_eq!(links(bed).await, ["1|linked", "2|linked"]);
        bed.crm(
            "INSERT INTO account SELECT 1, 'C1', 'Back', 'NO', '0150', 'Oslo', 'office@c1.example', '100.50', NULL",
        )
        .await;
        bed.run().await.exits(0).did("customers", "1 unchanged, 1 staged, 1 updated");
    })
    .await;
}

#[tokio::test]
async fn a_row_whose_record_is_gone_is_blocked_and_gets_back_what_it_had_when_the_record_returns() {
    bed(async |bed| {
        customers(bed, 3, "block").await;
        bed.edit("customers", &bed.customer("C2"), &json!({ "blocked": "Ship" }));
        bed.crm("DELETE FROM account WHERE id < 3").await;
        let pass = bed.run().await.exits(0).did("customers", "1 unchanged, 2 blocked");
        assert_eq!(pass.jobs["customers"]["missing"], 2);
        assert_eq!((&bed.customer("C1")["blocked"], &bed.customer("C2")["blocked"]), (&json!("All"), &json!("All")));
        assert_eq!(
            bed.ledger("SELECT key, property, old, new FROM field_changes WHERE outcome = 'blocked' ORDER BY key")
                .await,
            [r#"1|blocked|"_x0020_"|"All""#, r#"2|blocked|"Ship"|"All""#]
        );
        let pass = bed.run().await.exits(0).did("customers", "1 unchanged");
        assert_eq!(pass.jobs["customers"]["missing"], 0, "what is done with is not missing");

        // One of them comes back as it was, the other one with another address.
        bed.accounts(1..=2).await;
        bed.crm("UPDATE account SET email = 'new@c2.example' WHERE id = 2").await;
        bed.simulator.reset_stats();
        bed.run().await.exits(0).did("customers", "1 unchanged, 2 staged, 2 updated");
        assert_eq!(bed.sent("customers"), (0, 2, 0, 0));
        let (one, two) = (bed.customer("C1"), bed.customer("C2"));
        assert_eq!((&one["blocked"], &two["blocked"]), (&json!("_x0020_"), &json!("Ship")));
        assert_eq!(two["email"], "new@c2.example");
        assert_eq!(links(bed).await, ["1|linked", "2|linked", "3|linked"]);
    })
    .await;
}

#[tokio::test]
async fn a_row_that_a_person_has_blocked_stays_as_it_is() {
    bed(async |bed| {
        customers(bed, 2, "block").await;
        bed.edit("customers", &bed.customer("C1"), &json!({ "blocked": "All" }));
        lose_the_first(bed).await.exits(0).did("customers", "1 unchanged, 1 equal");
        bed.accounts([1]).await;
        bed.run().await.exits(0).did("customers", "1 unchanged, 1 staged, 1 equal");
        assert_eq!((bed.sent("customers"), &bed.customer("C1")["blocked"]), ((0, 0, 0, 0), &json!("All")));
    })
    .await;
}

#[tokio::test]
async fn a_row_whose_record_is_gone_is_deleted_and_its_number_is_free() {
    bed(async |bed| {
        customers(bed, 2, "delete").await;
        lose_the_first(bed).await.exits(0).did("customers", "1 unchanged, 1 deleted");
        assert_eq!((bed.sent("customers"), bed.rows("customers").len()), ((0, 0, 1, 0), 1));
        assert_eq!(links(bed).await, ["2|linked"]);
        assert_eq!(bed.ledger_value("SELECT key, number FROM change WHERE outcome = 'deleted'").await, "1|C1");
        // Another record has the number now, and later the first one comes back under another one.
        bed.accounts([3]).await;
        bed.crm("UPDATE account SET no = 'C1' WHERE id = 3").await;
        bed.run().await.exits(0).did("customers", "1 unchanged, 1 staged, 1 created");
        bed.accounts([1]).await;
        bed.crm("UPDATE account SET no = 'C1-NEW' WHERE id = 1").await;
        bed.run().await.exits(0).did("customers", "2 unchanged, 1 staged, 1 created");
        assert_eq!(bed.column("customers", "number"), ["C1", "C1-NEW", "C2"]);
    })
    .await;
}

#[tokio::test]
async fn a_row_that_business_central_does_not_let_go_is_quarantined_with_its_words() {
    bed(async |bed| {
        on_delete(bed, "delete");
        bed.accounts(1..=2).await;
        bed.orders([1], 1).await;
        bed.run().await.exits(0);
        lose_the_first(bed).await.exits(1).did("customers", "1 unchanged, 1 quarantined");
        let reason = bed.reason("customers", "1").await;
        assert!(
            reason.contains("You cannot delete Customer C1 because there is at least one outstanding Sales Order"),
            "{reason}"
        );
        // It is not tried at every pass, and not staged anew.
        bed.simulator.reset_stats();
        bed.run().await.exits(1).did("customers", "1 unchanged");
        assert_eq!(bed.sent("customers"), (0, 0, 0, 0));
        bed.accounts([1]).await;
        bed.run().await.exits(0).did("customers", "2 unchanged");
        assert_eq!(bed.ledger("SELECT * FROM outbox").await, [""; 0]);
    })
    .await;
}

#[tokio::test]
async fn more_deletes_than_may_are_held() {
    bed(async |bed| {
        customers(bed, 60, "delete").await;
        bed.crm("DELETE FROM account WHERE id <= 26").await;
        let pass = bed.run().await.exits(4).did("customers", "34 unchanged, 26 held");
        assert!(pass.message("customers").contains("26 deletes, allowed are 25"), "{}", pass.details());
        assert_eq!((bed.sent("customers"), bed.rows("customers").len()), ((0, 0, 0, 0), 60));
        // One of them is back.
        bed.accounts([26]).await;
        bed.run().await.exits(0).did("customers", "35 unchanged, 25 deleted");
        bed.crm("DELETE FROM account WHERE id <= 54").await;
        bed.run().await.exits(4).did("customers", "6 unchanged, 29 held");
        bed.run().await.exits(4).did("customers", "6 unchanged, 29 held");
        bed.output(&["approve", "customers"]).await;
        bed.run().await.exits(0).did("customers", "6 unchanged, 29 deleted");
    })
    .await;
}

#[tokio::test]
async fn blocking_counts_as_deleting() {
    bed(async |bed| {
        bed.configure(
            "[jobs.customers.fields]",
            "[jobs.customers.brake]\ndeletes = { max = 0 }\n\n[jobs.customers.fields]",
        );
        customers(bed, 2, "block").await;
        let pass = lose_the_first(bed).await.exits(4).did("customers", "1 unchanged, 1 held");
        assert!(pass.message("customers").contains("1 deletes, allowed are 0"), "{}", pass.details());
        bed.output(&["approve", "customers"]).await;
        bed.run().await.exits(0).did("customers", "1 unchanged, 1 blocked");
    })
    .await;
}

#[tokio::test]
async fn a_source_that_is_empty_or_half_gone_is_an_error_and_no_mass_delete() {
    bed(async |bed| {
        bed.configure(
            "[jobs.customers.fields]",
            "[jobs.customers.brake]\ndeletes = { max = 1000 }\n\n[jobs.customers.fields]",
        );
        customers(bed, 100, "delete").await;
        bed.crm("CREATE TABLE elsewhere AS SELECT * FROM account; DELETE FROM account").await;
        for (read, found) in [("id = 0", 0), ("id <= 49", 49)] {
            bed.crm(&format!("DELETE FROM account; INSERT INTO account SELECT * FROM elsewhere WHERE {read}")).await;
            let pass = bed.run().await.exits(3);
            let told = format!("the source has {found} of the 100 records that job customers has linked");
            assert!(pass.message("customers").starts_with(&told), "{}", pass.details());
            assert_eq!((bed.sent("customers"), bed.rows("customers").len()), ((0, 0, 0, 0), 100));
        }
        // Other keys for the same records are as many records, and none of those that are linked.
        bed.crm("DELETE FROM account; INSERT INTO account SELECT * FROM elsewhere; UPDATE account SET id = id + 1000")
            .await;
        bed.run().await.exits(3);
        assert_eq!(bed.rows("customers").len(), 100);
        bed.crm("DELETE FROM account; INSERT INTO account SELECT * FROM elsewhere WHERE id <= 50").await;
        bed.run().await.exits(0).did("customers", "50 unchanged, 50 deleted");
    })
    .await;
}

#[tokio::test]
async fn what_a_collapsed_source_lacks_is_not_forgotten_where_rows_stay() {
    bed(async |bed| {
        customers(bed, 100, "keep").await;
        bed.accounts(101..=102).await;
        bed.crm("UPDATE account SET country = 'nowhere at all' WHERE id > 100").await;
        bed.run().await.exits(1).did("customers", "100 unchanged, 2 refused");
        bed.crm("CREATE TABLE elsewhere AS SELECT * FROM account; DELETE FROM account WHERE id > 49").await;
        let pass = bed.run().await.exits(1).did("customers", "49 unchanged");
        assert!(pass.details().contains("fewer than half of the linked records"), "{}", pass.details());
        assert_eq!(bed.ledger_value("SELECT count(*) FROM failed_records").await, "2");
        // One more makes it a source that has lost records.
        bed.accounts([50]).await;
        bed.run().await.exits(0).did("customers", "50 unchanged");
        assert_eq!(bed.ledger_value("SELECT count(*) FROM failed_records").await, "0");
    })
    .await;
}

#[tokio::test]
async fn an_empty_source_is_told_of_although_rows_stay_in_any_case() {
    bed(async |bed| {
        customers(bed, 2, "keep").await;
        bed.crm("CREATE TABLE elsewhere AS SELECT * FROM account; DELETE FROM account").await;
        let pass = bed.run().await.exits(3);
        assert!(pass.message("customers").starts_with("the source has 0 of the 2 records"), "{}", pass.details());
        bed.crm("INSERT INTO account SELECT * FROM elsewhere").await;
        bed.run().await.exits(0).did("customers", "2 unchanged");
    })
    .await;
}

#[tokio::test]
async fn a_read_that_does_not_come_to_its_end_concludes_nothing() {
    bed(async |bed| {
        customers(bed, 3, "delete").await;
        let broken = "SELECT *, CASE WHEN id = 3 THEN abs(-9223372036854775807 - 1) END AS broken FROM account";
        bed.configure("SELECT * FROM account", broken);
        lose_the_first(bed).await.exits(78);
        assert_eq!(bed.rows("customers").len(), 3);
        assert_eq!(bed.ledger("SELECT key FROM outbox").await, [""; 0]);
        bed.configure(broken, "SELECT * FROM account");
        bed.run().await.exits(0).did("customers", "2 unchanged, 1 deleted");
    })
    .await;
}

#[tokio::test]
async fn where_there_is_a_cursor_only_a_full_pass_tells() {
    bed(async |bed| {
        bed.configure(
            "key = \"id\"\nmatch_on = \"number\"",
            "key = \"id\"\ncursor = \"updated_at\"\ncursor_timezone = \"UTC\"\nmatch_on = \"number\"",
        );
        customers(bed, 3, "delete").await;
        lose_the_first(bed).await.exits(0);
        assert_eq!(bed.rows("customers").len(), 3);
        bed.run_with(&["--full"]).await.exits(0).did("customers", "2 unchanged, 1 deleted");
    })
    .await;
}

#[tokio::test]
async fn a_row_that_cannot_be_told_from_others_is_not_taken_for_deleted() {
    bed(async |bed| {
        customers(bed, 4, "delete").await;
        // Record 1 comes twice: which of them is right is not known, but it is there.
        bed.configure("SELECT * FROM account", "SELECT * FROM account UNION ALL SELECT * FROM account WHERE id = 1");
        bed.run().await.exits(1);
        assert_eq!(bed.rows("customers").len(), 4);
        // A record without a key may be any of them.
        bed.configure(
            "SELECT * FROM account UNION ALL SELECT * FROM account WHERE id = 1",
            "SELECT nullif(id, 1) AS id, no, name, country, zip, city, email, credit FROM account WHERE id <> 2",
        );
        bed.run().await.exits(1);
        assert_eq!(bed.rows("customers").len(), 4);
        bed.configure(
            "SELECT nullif(id, 1) AS id, no, name, country, zip, city, email, credit FROM account WHERE id <> 2",
            "SELECT * FROM account",
        );
        bed.run().await.exits(0).did("customers", "4 unchanged");
    })
    .await;
}

#[tokio::test]
async fn a_delete_whose_answer_is_lost_is_done_once() {
    bed(async |bed| {
        customers(bed, 2, "delete").await;
        bed.strike("DELETE", "customers", DONE_AND_DROPPED);
        lose_the_first(bed).await.exits(0).did("customers", "1 unchanged, 1 deleted");
        let reason = bed.ledger_value("SELECT reason FROM change WHERE outcome = 'deleted'").await;
        assert_eq!(reason, "found by reading back a request whose answer was lost");
        assert_eq!((bed.sent("customers").2, links(bed).await), (1, vec!["2|linked".to_owned()]));
    })
    .await;
    bed(async |bed| {
        customers(bed, 2, "delete").await;
        // The same etag decides which of the two is done.
        bed.strike("DELETE", "customers", DROPPED);
        lose_the_first(bed).await.exits(0).did("customers", "1 unchanged, 1 deleted");
        assert_eq!(bed.rows("customers").len(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_delete_without_an_answer_does_not_cost_a_record_that_is_back() {
    for (is_done, did) in
        [(false, "1 unchanged, 1 staged, 1 updated"), (true, "1 unchanged, 1 staged, 1 created, 1 deleted")]
    {
        bed(async |bed| {
            customers(bed, 2, "delete").await;
            // None of them is done so far.
            let dropped = Fault { every: Some(1), times: None, ..Fault::once(DROPPED, writes("DELETE", "customers")) };
            bed.simulator.inject(dropped);
            lose_the_first(bed).await.exits(0).did("customers", "1 unchanged, 1 pending");
            bed.simulator.clear_faults();
            if is_done {
                bed.person("customers", &bed.customer("C1"), Deed::Delete);
            }
            bed.accounts([1]).await;
            bed.crm("UPDATE account SET email = 'back@c1.example' WHERE id = 1").await;
            bed.run().await.exits(0).did("customers", did);
            assert_eq!(bed.customer("C1")["email"], "back@c1.example");
            assert_eq!(links(bed).await, ["1|linked", "2|linked"]);
        })
        .await;
    }
}

#[tokio::test]
async fn a_delete_that_takes_effect_while_its_record_is_taken_up_again_is_ours() {
    bed(async |bed| {
        customers(bed, 2, "delete").await;
        bed.strike(
            "DELETE",
            "customers",
            FaultKind::LateCommit { min_ms: 700, max_ms: 700, answer: None, silent: false },
        );
        let failed = FaultKind::Status { status: 500, retry_after: None, committed: false };
        // The row is read, and then not read back.
        bed.simulator.inject(Fault {
            every: Some(2),
            times: Some(20),
            ..Fault::once(failed, writes("GET", "customers"))
        });
        bed.configure("[retry]", "[retry]\nattempts = 1");
        lose_the_first(bed).await;
        bed.configure("attempts = 1", "");
        bed.simulator.clear_faults();
        bed.accounts([1]).await;
        // The first read finds the row; the second takes so long that it is gone.
        let matching = FaultMatch { batch: Some(false), ..writes("GET", "customers") };
        let slow = Fault { every: Some(2), times: Some(1), ..Fault::once(FaultKind::Latency { ms: 900 }, matching) };
        bed.simulator.inject(slow);
        bed.run().await.exits(0);
        bed.simulator.settled().await;
        bed.run().await.exits(0);
        assert_eq!(links(bed).await, ["1|linked", "2|linked"]);
        assert_eq!(bed.rows("customers").len(), 2);
    })
    .await;
}

#[tokio::test]
async fn a_row_that_a_person_worked_on_is_deleted_as_on_conflict_says() {
    for (policy, rows, did, code) in [
        ("source_wins", 1, "1 unchanged, 1 deleted", 0),
        ("bc_wins", 2, "1 unchanged, 1 updated", 0),
        ("hold", 2, "1 unchanged, 1 conflict", 1),
    ] {
        bed(async |bed| {
            bed.configure("on_conflict = \"source_wins\"", &format!("on_conflict = \"{policy}\""));
            customers(bed, 2, "delete").await;
            // What is not ours is nobody's business.
            bed.edit("customers", &bed.customer("C1"), &json!({ "phoneNumber": "555 0100" }));
            bed.edit("customers", &bed.customer("C1"), &json!({ "email": "person@c1.example" }));
            lose_the_first(bed).await.exits(code).did("customers", did);
            assert_eq!(bed.rows("customers").len(), rows, "{policy}");
        })
        .await;
    }
    bed(async |bed| {
        bed.configure("on_conflict = \"source_wins\"", "on_conflict = \"hold\"");
        customers(bed, 2, "delete").await;
        bed.edit("customers", &bed.customer("C1"), &json!({ "phoneNumber": "555 0100" }));
        lose_the_first(bed).await.exits(0).did("customers", "1 unchanged, 1 deleted");
    })
    .await;
    // What a person decides to leave stays, whatever it holds by then.
    bed(async |bed| {
        bed.configure("on_conflict = \"source_wins\"", "on_conflict = \"hold\"");
        customers(bed, 2, "delete").await;
        bed.edit("customers", &bed.customer("C1"), &json!({ "email": "person@c1.example" }));
        lose_the_first(bed).await.exits(1).did("customers", "1 unchanged, 1 conflict");
        bed.output(&["resolve", "customers", "1", "--take", "bc"]).await;
        bed.edit("customers", &bed.customer("C1"), &json!({ "email": "office@c1.example" }));
        bed.run().await.exits(0).did("customers", "1 unchanged, 1 updated");
        assert_eq!(bed.rows("customers").len(), 2);
    })
    .await;
}

#[tokio::test]
async fn a_row_that_a_person_deleted_too_is_done_with() {
    bed(async |bed| {
        customers(bed, 3, "delete").await;
        bed.person("customers", &bed.customer("C1"), Deed::Delete);
        lose_the_first(bed).await.exits(0).did("customers", "2 unchanged, 1 deleted");
        assert_eq!(bed.sent("customers").2, 0);
        // A row whose deletion is overtaken by a person.
        bed.strike(
            "DELETE",
            "customers",
            FaultKind::Refuse {
                status: 404,
                code: "BadRequest_ResourceNotFound".to_owned(),
                message: "Resource not found".to_owned(),
            },
        );
        bed.crm("DELETE FROM account WHERE id = 2").await;
        bed.run().await.exits(0).did("customers", "1 unchanged, 1 deleted");
        assert_eq!(bed.column("customers", "number"), ["C3"]);
    })
    .await;
}

#[tokio::test]
async fn documents_are_deleted_unless_they_are_locked_or_posted() {
    bed(async |bed| {
        bed.configure(
            "match_on = \"externalDocumentNumber\"",
            "match_on = \"externalDocumentNumber\"\non_delete = \"delete\"",
        );
        bed.accounts(1..=4).await;
        bed.orders(1..=4, 2).await;
        bed.run().await.exits(0);
        bed.person("salesOrders", &bed.order(2), Deed::Release);
        bed.person("salesOrders", &bed.order(3), Deed::Post);
        bed.simulator.reset_stats();
        bed.crm("DELETE FROM sales_order WHERE id <= 3; DELETE FROM order_line WHERE order_id <= 3").await;
        bed.run().await.exits(0).did("orders", "1 unchanged, 2 deleted, 1 locked");
        assert_eq!(bed.sent("salesOrders"), (0, 0, 1, 0));
        bed.person("salesOrders", &bed.order(2), Deed::Reopen);
        bed.output(&["retry", "orders"]).await;
        bed.run().await.exits(0).did("orders", "1 unchanged, 1 deleted");
        assert_eq!(bed.rows("salesOrders").len(), 1);
    })
    .await;
}

#[tokio::test]
async fn an_order_that_is_closed_already_leaves_the_source_unnoticed() {
    bed(async |bed| {
        bed.configure(
            "match_on = \"externalDocumentNumber\"",
            "match_on = \"externalDocumentNumber\"\non_delete = \"delete\"",
        );
        bed.accounts(1..=2).await;
        bed.orders(1..=2, 1).await;
        bed.run().await.exits(0);
        bed.person("salesOrders", &bed.order(1), Deed::Post);
        bed.crm("UPDATE sales_order SET email = 'new@c1.example' WHERE id = 1").await;
        bed.run().await.exits(0).did("orders", "1 unchanged, 1 staged, 1 closed");
        bed.simulator.reset_stats();
        bed.crm("DELETE FROM sales_order WHERE id = 1").await;
        bed.run().await.exits(0).did("orders", "1 unchanged");
        assert_eq!(bed.simulator.stats().set("salesOrders").reads, 0);
    })
    .await;
}

#[tokio::test]
async fn a_record_that_leaves_where_is_ignored_and_taken_up_again_with_its_link() {
    bed(async |bed| {
        bed.configure("rename = false", "rename = false\nwhere = \"name != 'hidden'\"");
        customers(bed, 2, "delete").await;
        let id = bed.customer("C1")["id"].clone();
        bed.crm("UPDATE account SET name = 'hidden', email = 'hidden@c1.example' WHERE id = 1").await;
        bed.run().await.exits(0).did("customers", "1 unchanged, 1 filtered");
        bed.run_with(&["--full"]).await.exits(0).did("customers", "1 unchanged, 1 filtered");
        assert_eq!((bed.sent("customers"), &bed.customer("C1")["displayName"]), ((0, 0, 0, 0), &json!("Customer 1")));
        bed.crm("UPDATE account SET name = 'Customer 1' WHERE id = 1").await;
        bed.run().await.exits(0).did("customers", "1 unchanged, 1 staged, 1 updated");
        assert_eq!((&bed.customer("C1")["id"], &bed.customer("C1")["email"]), (&id, &json!("hidden@c1.example")));
    })
    .await;
}

#[tokio::test]
async fn a_change_of_a_record_that_leaves_where_is_withdrawn() {
    bed(async |bed| {
        bed.configure("rename = false", "rename = false\nwhere = \"name != 'hidden'\"");
        bed.configure(
            "[jobs.customers.fields]",
            "[jobs.customers.brake]\nupdates = { max = 0 }\n\n[jobs.customers.fields]",
        );
        customers(bed, 2, "keep").await;
        bed.crm("UPDATE account SET email = 'new@c1.example' WHERE id = 1").await;
        bed.run().await.exits(4).did("customers", "1 unchanged, 1 staged, 1 held");
        bed.crm("UPDATE account SET name = 'hidden' WHERE id = 1").await;
        bed.run().await.exits(0).did("customers", "1 unchanged, 1 filtered");
        assert_eq!(bed.ledger("SELECT key FROM outbox").await, [""; 0]);
        assert_eq!(bed.customer("C1")["email"], "office@c1.example");
    })
    .await;
}

#[tokio::test]
async fn a_create_without_an_answer_of_a_record_that_leaves_where_is_linked_or_frees_its_number() {
    for (fault, rows) in [(LATE, 1), (DROPPED, 0)] {
        bed(async |bed| {
            bed.configure("adopt = \"never\"", "adopt = \"never\"\nwhere = \"email != 'hidden'\"");
            bed.configure("'WEB-' ~ id", "'WEB-' ~ (id % 10)");
            bed.accounts([1, 11]).await;
            bed.orders([1], 1).await;
            bed.strike("POST", "salesOrders", fault);
            bed.run().await.exits(0).did("orders", "1 staged, 1 pending");
            bed.crm("UPDATE sales_order SET email = 'hidden' WHERE id = 1").await;
            while bed.rows("salesOrders").len() < rows {
                tokio::task::yield_now().await;
            }
            bed.let_time_pass(3_600);
            bed.run().await.exits(0);
            let pass = bed.run().await.exits(0);
            assert_eq!(pass.count("orders", "filtered"), 1, "{}", pass.details());
            assert_eq!(bed.ledger("SELECT key FROM links WHERE job = 'orders'").await.len(), rows);
            assert_eq!(bed.ledger("SELECT key FROM outbox").await, [""; 0]);
            if rows == 0 {
                // Another record has the same number.
                bed.orders([11], 1).await;
                bed.run().await.exits(0).did("orders", "1 filtered, 1 staged, 1 created");
            }
        })
        .await;
    }
}
