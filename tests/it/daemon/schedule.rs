//! Passes when they are due.

use super::{Running, until_ledger};
use crate::bed::bed;

#[tokio::test]
async fn scheduled_passes_are_made_in_the_order_of_after() {
    bed(async |bed| {
        bed.accounts(1..=3).await;
        bed.orders(1..=3, 2).await;
        bed.configure("[jobs.customers]\n", "[jobs.customers]\nschedule = \"* * * * * *\"\n");
        let daemon = Running::start(bed).ready().await;
        until_ledger(bed, "SELECT count(*) FROM links WHERE entity = 'salesOrders'", "3").await;
        bed.crm("UPDATE account SET city = 'Bergen' WHERE id = 2").await;
        until_ledger(bed, "SELECT count(*) FROM field_changes WHERE outcome = 'updated'", "1").await;
        daemon.stops().await;
        // No order waited for its customer: each pass of orders came after one of customers.
        assert_eq!(bed.ledger_value("SELECT count(*) FROM change WHERE outcome = 'waiting'").await, "0");
        assert_eq!(bed.ledger_value("SELECT group_concat(DISTINCT cause) FROM run").await, "schedule");
        let first = "SELECT group_concat(job, ' ') FROM (SELECT job FROM sync_history ORDER BY run_id LIMIT 2)";
        assert_eq!(bed.ledger_value(first).await, "customers orders");
    })
    .await;
}

#[tokio::test]
async fn what_is_due_while_the_pass_runs_is_counted_as_skipped() {
    bed(async |bed| {
        bed.accounts(1..=20).await;
        bed.configure("[jobs.customers]\n", "[jobs.customers]\nschedule = \"* * * * * *\"\n");
        bed.configure("batch_size = 100", "batch_size = 1\nconcurrency = 1");
        bed.simulator.configure(|settings| settings.request_ms = 100);
        let daemon = Running::start(bed).ready().await;
        until_ledger(bed, "SELECT skipped > 1 FROM job_status WHERE job = 'customers'", "1").await;
        bed.simulator.configure(|settings| settings.request_ms = 0);
        until_ledger(bed, "SELECT count(*) FROM links", "20").await;
        daemon.stops().await;
        let side_by_side = "SELECT count(*) FROM run AS one JOIN run AS two ON one.job_id = two.job_id \
             AND one.run_id < two.run_id AND two.started_at < one.finished_at";
        assert_eq!(bed.ledger_value(side_by_side).await, "0");
    })
    .await;
}

#[tokio::test]
async fn the_schedule_is_shown_with_what_the_changes_of_the_clocks_do() {
    bed(async |bed| {
        bed.configure(
            "[jobs.customers]\n",
            "[jobs.customers]\nschedule = \"30 2 * * *\"\ntimezone = \"Europe/Berlin\"\nfull_schedule = \"0 3 * * SUN\"\n",
        );
        let text = bed.output(&["schedule"]).await;
        let (customers, orders) = text.split_once("orders:").unwrap();
        assert!(customers.contains("`30 2 * * *` in Europe/Berlin; everything `0 3 * * SUN` in Europe/Berlin"), "{text}");
        assert_eq!(customers.matches("02:30:00 CE").count() + customers.matches("03:00:00 CE").count(), 10, "{text}");
        assert!(customers.contains("go from 02:00 to 03:00; the time of `30 2 * * *` does not exist"), "{text}");
        assert!(customers.contains("go from 03:00 to 02:00; the time of `30 2 * * *` comes twice"), "{text}");
        assert!(orders.contains("`30 2 * * *` in Europe/Berlin, that of customers"), "{text}");
        assert!(!orders.contains("everything"), "{text}");
        bed.configure("schedule = \"30 2 * * *\"", "schedule = \"0 0 30 2 *\"");
        let output = bed.bcsync(&["check"]).await;
        assert_eq!(output.status.code(), Some(78));
        assert!(String::from_utf8_lossy(&output.stderr).contains("never runs"));
        bed.configure("schedule = \"0 0 30 2 *\"\n", "");
    })
    .await;
}
