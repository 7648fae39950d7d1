//! What survives the end of the process.

use super::{Running, until_ledger};
use crate::bed::bed;

#[tokio::test]
async fn a_daemon_that_was_killed_goes_on_without_doing_anything_twice() {
    bed(async |bed| {
        bed.accounts(1..=60).await;
        bed.configure("[jobs.customers]\n", "[jobs.customers]\nschedule = \"* * * * * *\"\n");
        bed.configure("batch_size = 100", "batch_size = 7");
        bed.simulator.configure(|settings| settings.request_ms = 40);
        for links in [10, 30, 50] {
            let daemon = Running::start(bed).ready().await;
            until_ledger(bed, &format!("SELECT count(*) >= {links} FROM links"), "1").await;
            daemon.signal("KILL");
            assert_eq!(daemon.ends().await, None);
        }
        let daemon = Running::start(bed).ready().await;
        until_ledger(bed, "SELECT count(*) FROM links", "60").await;
        daemon.stops().await;
        assert_eq!(bed.rows("customers").len(), 60);
    })
    .await;
}

#[tokio::test]
async fn a_pass_that_was_missed_is_made_up_for_once_unless_it_may_not_be() {
    bed(async |bed| {
        bed.accounts(1..=2).await;
        bed.configure("[jobs.customers]\n", "[jobs.customers]\nschedule = \"@yearly\"\n");
        // The first start has missed nothing.
        Running::start(bed).ready().await.stops().await;
        assert_eq!(bed.ledger_value("SELECT count(*) FROM run").await, "0");

        let long_ago = "UPDATE schedule SET pass_until = '2020-06-01T00:00:00.000Z'";
        bed.write_ledger(long_ago).await;
        let daemon = Running::start(bed).ready().await;
        until_ledger(bed, "SELECT count(*) FROM run WHERE result = 'done'", "2").await;
        daemon.stops().await;
        Running::start(bed).ready().await.stops().await;
        assert_eq!(bed.ledger_value("SELECT group_concat(cause) FROM run").await, "schedule,schedule");

        bed.configure("schedule = \"@yearly\"\n", "schedule = \"@yearly\"\ncatch_up = false\n");
        bed.write_ledger(long_ago).await;
        let daemon = Running::start(bed).ready().await;
        daemon.logs("is not made up for", 1).await;
        until_ledger(bed, "SELECT pass_until > '2025' FROM schedule WHERE job = 'customers'", "1").await;
        daemon.stops().await;
    })
    .await;
}

#[tokio::test]
async fn a_daemon_does_not_start_with_a_bad_configuration() {
    bed(async |bed| {
        bed.configure("match_on = \"number\"", "match_on = \"nothing\"");
        assert_eq!(bed.bcsync(&["daemon"]).await.status.code(), Some(78));
        bed.configure("match_on = \"nothing\"", "match_on = \"number\"");
    })
    .await;
}

#[tokio::test]
async fn a_schedule_that_was_changed_meanwhile_has_missed_nothing() {
    bed(async |bed| {
        bed.configure("[jobs.customers]\n", "[jobs.customers]\nschedule = \"@yearly\"\n");
        Running::start(bed).ready().await.stops().await;
        bed.write_ledger("UPDATE schedule SET pass_until = '2020-06-01T00:00:00.000Z'").await;
        bed.configure("@yearly", "0 0 2 1 *");
        Running::start(bed).ready().await.stops().await;
        assert_eq!(bed.ledger_value("SELECT count(*) FROM run").await, "0");
    })
    .await;
}
