//! What a pass reads: everything, or what changed; and everything again when it would mean something else.

use crate::bed::bed;

/// Customers are read by their stamps.
fn with_cursor(bed: &mut crate::bed::TestBed) {
    bed.configure(
        "key = \"id\"\nmatch_on = \"number\"",
        "key = \"id\"\ncursor = \"updated_at\"\ncursor_timezone = \"UTC\"\noverlap = \"5m\"\nlag = \"0s\"\nmatch_on = \"number\"",
    );
}

#[tokio::test]
async fn an_incremental_pass_reads_only_what_changed_and_the_overlap() {
    bed(async |bed| {
        with_cursor(bed);
        bed.accounts(1..=20).await;
        bed.crm(
            "UPDATE account SET updated_at = '2026-01-01 10:00:00';
             UPDATE account SET updated_at = '2026-01-01 10:58:00' WHERE id = 19;
             UPDATE account SET updated_at = '2026-01-01 11:00:00' WHERE id = 20;",
        )
        .await;
        bed.run().await.exits(0).did("customers", "20 staged, 20 created");
        // The overlap of five minutes: two records.
        bed.run().await.exits(0).did("customers", "2 unchanged");
        bed.crm("UPDATE account SET email = 'new@c3.example', updated_at = '2026-01-01 12:00:00' WHERE id = 3").await;
        bed.run().await.exits(0).did("customers", "2 unchanged, 1 staged, 1 updated");
        bed.run().await.exits(0).did("customers", "1 unchanged");
        assert_eq!(
            bed.ledger("SELECT mode, read FROM sync_history WHERE job = 'customers' ORDER BY run_id").await,
            ["full|20", "incremental|2", "incremental|3", "incremental|1"]
        );
        bed.run_with(&["--full"]).await.exits(0).did("customers", "20 unchanged");
        bed.run_with(&["--full", "orders"]).await.exits(0);
    })
    .await;
}

#[tokio::test]
async fn an_edit_without_a_stamp_is_found_by_a_full_pass() {
    bed(async |bed| {
        with_cursor(bed);
        bed.accounts(1..=5).await;
        bed.crm("UPDATE account SET updated_at = '2026-01-01 1' || id || ':00:00'").await;
        bed.run().await.exits(0);
        bed.crm("UPDATE account SET email = 'new@c1.example' WHERE id = 1; UPDATE account SET updated_at = NULL WHERE id = 2").await;
        bed.run().await.exits(0).did("customers", "1 unchanged");
        bed.run_with(&["--full"]).await.exits(0).did("customers", "4 unchanged, 1 staged, 1 updated");
    })
    .await;
}

#[tokio::test]
async fn a_record_that_failed_is_not_lost_when_the_cursor_goes_on() {
    bed(async |bed| {
        with_cursor(bed);
        bed.accounts(1..=2).await;
        bed.crm("UPDATE account SET updated_at = '2026-01-01 10:00:00'").await;
        bed.simulator.configure(|settings| settings.read_only = ["customers".to_owned()].into());
        bed.run().await.exits(77);
        bed.accounts([3]).await;
        bed.crm("UPDATE account SET updated_at = '2026-01-01 12:00:00' WHERE id = 3").await;
        bed.run().await.exits(77);
        bed.simulator.configure(|settings| settings.read_only.clear());
        bed.run().await.exits(0).did("customers", "1 queued, 3 created");
    })
    .await;
}

#[tokio::test]
async fn a_changed_mapping_reads_everything_and_sends_only_real_differences() {
    bed(async |bed| {
        with_cursor(bed);
        bed.accounts(1..=10).await;
        bed.crm("UPDATE account SET updated_at = '2026-01-01 10:00:00'; UPDATE account SET email = 'BIG@C4.EXAMPLE' WHERE id = 4").await;
        bed.run().await.exits(0);
        bed.configure("email = \"email\"\ncreditLimit", "email = \"email | lower\"\ncreditLimit");
        bed.simulator.reset_stats();
        bed.run().await.exits(0).did("customers", "9 unchanged, 1 staged, 1 updated");
        assert_eq!(bed.sent("customers"), (0, 1, 0, 0));
        assert_eq!(bed.customer("C4")["email"], "big@c4.example");
        // A property more goes to every row.
        bed.configure("creditLimit = \"credit\"", "creditLimit = \"credit\"\nphoneNumber = \"'555 ' ~ id\"");
        bed.run().await.exits(0).did("customers", "10 staged, 10 updated");
        assert_eq!(bed.customer("C7")["phoneNumber"], "555 7");
        assert_eq!(bed.ledger_value("SELECT mode FROM sync_history WHERE job = 'customers' LIMIT 1").await, "full");
    })
    .await;
}

#[tokio::test]
async fn a_record_that_is_filtered_out_is_left_alone_and_comes_back() {
    bed(async |bed| {
        bed.configure("rename = false", "rename = false\nwhere = \"name != 'hidden'\"");
        bed.accounts(1..=3).await;
        bed.crm("UPDATE account SET name = 'hidden' WHERE id = 3").await;
        bed.run().await.exits(0).did("customers", "1 filtered, 2 staged, 2 created");
        bed.crm("UPDATE account SET name = 'hidden' WHERE id = 2; UPDATE account SET name = 'shown' WHERE id = 3")
            .await;
        bed.run().await.exits(0).did("customers", "1 unchanged, 1 filtered, 1 staged, 1 created");
        assert_eq!(bed.customer("C2")["displayName"], "Customer 2");
        bed.crm("UPDATE account SET name = 'back again' WHERE id = 2").await;
        bed.run().await.exits(0).did("customers", "2 unchanged, 1 staged, 1 updated");
    })
    .await;
}

#[tokio::test]
async fn records_that_vanish_from_the_source_are_told_and_their_rows_stay() {
    bed(async |bed| {
        bed.accounts(1..=3).await;
        bed.run().await.exits(0);
        bed.crm("DELETE FROM account WHERE id = 2").await;
        bed.run().await.exits(0).did("customers", "2 unchanged");
        assert_eq!(bed.ledger_value("SELECT missing FROM sync_history WHERE job = 'customers' LIMIT 1").await, "1");
        assert_eq!(bed.rows("customers").len(), 3);
        bed.accounts([2]).await;
        bed.run().await.exits(0).did("customers", "3 unchanged");
    })
    .await;
}

#[tokio::test]
async fn a_full_read_of_a_collapsed_source_leaves_the_cursor_where_it_was() {
    bed(async |bed| {
        with_cursor(bed);
        bed.configure("rename = false", "rename = false\non_delete = \"block\"");
        bed.accounts(1..=100).await;
        bed.crm("UPDATE account SET updated_at = '2026-01-01 10:00:00'").await;
        bed.run().await.exits(0);
        // A change that the source does not have for a while, and a later one that it has.
        bed.crm(
            "UPDATE account SET email = 'new@c1.example', updated_at = '2026-01-01 11:00:00' WHERE id = 1;
             UPDATE account SET email = 'new@c99.example', updated_at = '2026-01-01 12:00:00' WHERE id = 99;
             CREATE TABLE elsewhere AS SELECT * FROM account WHERE id < 60; DELETE FROM account WHERE id < 60;",
        )
        .await;
        bed.run_with(&["--full"]).await.exits(3).did("customers", "40 unchanged, 1 staged, 1 updated");
        bed.crm("INSERT INTO account SELECT * FROM elsewhere").await;
        bed.run().await.exits(0);
        assert_eq!(bed.customer("C1")["email"], "new@c1.example");
    })
    .await;
}
