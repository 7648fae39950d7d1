//! SIGHUP, SIGTERM, and a second one.

use bcsync::simulator::{Fault, FaultKind};

use super::{Running, until, until_ledger};
use crate::bed::{bed, writes};

#[tokio::test]
async fn a_good_configuration_is_taken_over_and_a_bad_one_is_not() {
    bed(async |bed| {
        bed.accounts(1..=2).await;
        bed.configure("[jobs.customers]\n", "[jobs.customers]\nschedule = \"* * * * * *\"\n");
        let daemon = Running::start(bed).ready().await;
        until_ledger(bed, "SELECT count(*) FROM links", "2").await;

        bed.configure("match_on = \"number\"", "match_on = \"nothing\"");
        daemon.signal("HUP");
        daemon.logs("was not reloaded; the one before stays in force", 1).await;
        assert!(
            daemon.log().contains("jobs.customers.match_on: `nothing` is not among the `fields`"),
            "{}",
            daemon.log()
        );
        bed.accounts([3]).await;
        until_ledger(bed, "SELECT count(*) FROM links", "3").await;

        bed.configure("match_on = \"nothing\"", "match_on = \"number\"");
        bed.configure("city = \"city\"", "city = \"city | upper\"");
        daemon.signal("HUP");
        daemon.logs("was reloaded", 1).await;
        until_ledger(bed, "SELECT count(*) FROM field_changes WHERE new = '\"OSLO\"' AND outcome = 'updated'", "3")
            .await;
        daemon.stops().await;
    })
    .await;
}

#[tokio::test]
async fn a_job_that_is_taken_out_runs_no_more_and_one_that_is_new_does() {
    bed(async |bed| {
        bed.accounts(1..=2).await;
        bed.orders(1..=2, 1).await;
        bed.configure("[jobs.customers]\n", "[jobs.customers]\nschedule = \"* * * * * *\"\n");
        bed.configure("[jobs.orders]\n", "[jobs.orders]\nenabled = false\n");
        let daemon = Running::start(bed).ready().await;
        until_ledger(bed, "SELECT count(*) FROM links", "2").await;
        bed.configure("enabled = false", "enabled = true");
        bed.configure("[jobs.customers]\n", "[jobs.customers]\nenabled = false\n");
        daemon.signal("HUP");
        daemon.logs("was reloaded", 1).await;
        let last = bed.ledger_value("SELECT max(run_id) FROM run").await;
        until_ledger(bed, "SELECT count(*) FROM links WHERE entity = 'salesOrders'", "2").await;
        daemon.stops().await;
        // One of customers may have been running when the signal came.
        let more = format!("SELECT count(*) > 1 FROM sync_history WHERE job = 'customers' AND run_id > {last}");
        assert_eq!(bed.ledger_value(&more).await, "0");
        bed.configure("[jobs.customers]\nenabled = false\n", "[jobs.customers]\n");
    })
    .await;
}

#[tokio::test]
async fn sigterm_in_a_pass_sees_to_its_end_what_was_sent_and_leaves_the_rest() {
    bed(async |bed| {
        bed.accounts(1..=40).await;
        bed.configure("[jobs.customers]\n", "[jobs.customers]\nschedule = \"@yearly\"\n");
        bed.configure("batch_size = 100", "batch_size = 1\nconcurrency = 1");
        bed.simulator.configure(|settings| settings.request_ms = 100);
        Running::start(bed).ready().await.stops().await;
        bed.write_ledger("UPDATE schedule SET pass_until = '2020-06-01T00:00:00.000Z'").await;
        let daemon = Running::start(bed).ready().await;
        until_ledger(bed, "SELECT count(*) > 1 FROM links", "1").await;
        daemon.stops().await;
        assert_eq!(bed.ledger_value("SELECT result FROM run ORDER BY run_id DESC LIMIT 1").await, "interrupted");
        assert_eq!(bed.ledger_value("SELECT count(*) FROM intent").await, "0");
        assert_eq!(bed.ledger_value("SELECT count(*) FROM links").await, bed.rows("customers").len().to_string());
        // The pass that was stopped is made up for, however far the next one is.
        bed.simulator.configure(|settings| settings.request_ms = 0);
        let daemon = Running::start(bed).ready().await;
        until_ledger(bed, "SELECT count(*) FROM links", "40").await;
        daemon.stops().await;
    })
    .await;
}

#[tokio::test]
async fn a_second_signal_ends_at_once_and_leaves_an_open_request_open() {
    bed(async |bed| {
        bed.accounts(1..=2).await;
        bed.configure("[jobs.customers]\n", "[jobs.customers]\nschedule = \"* * * * * *\"\n");
        bed.simulator.inject(Fault::once(FaultKind::Hang, writes("POST", "customers")));
        let daemon = Running::start(bed).ready().await;
        until_ledger(bed, "SELECT count(*) > 0 FROM intent", "1").await;
        until(|| !bed.rows("customers").is_empty(), || "nothing came".to_owned()).await;
        daemon.signal("TERM");
        daemon.logs("a second signal ends at once", 1).await;
        daemon.signal("TERM");
        assert_eq!(daemon.ends().await, Some(143));
        assert_eq!(bed.ledger_value("SELECT count(*) > 0 FROM intent").await, "1");
        bed.run().await.exits(0);
    })
    .await;
}
