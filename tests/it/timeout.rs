//! A pass that takes longer than its job allows.

use crate::bed::bed;

#[tokio::test]
async fn a_pass_that_takes_too_long_stops_in_good_order_and_the_next_one_goes_on() {
    bed(async |bed| {
        bed.accounts(1..=60).await;
        bed.configure("[jobs.customers]\n", "[jobs.customers]\ntimeout = \"1s\"\n");
        bed.configure("batch_size = 100", "batch_size = 1\nconcurrency = 1");
        bed.simulator.configure(|settings| settings.request_ms = 50);
        let pass = bed.run_with(&["customers"]).await.exits(3);
        assert!(pass.message("customers").contains("the job's `timeout`"), "{}", pass.details());
        let created = pass.count("customers", "created");
        assert!((1..60).contains(&created), "{}", pass.details());
        // What was on its way was seen to its end: nothing has to be found out.
        assert_eq!(bed.ledger_value("SELECT count(*) FROM intent").await, "0");

        bed.configure("timeout = \"1s\"", "timeout = \"1h\"");
        bed.simulator.configure(|settings| settings.request_ms = 0);
        let pass = bed.run().await.exits(0);
        assert_eq!(pass.count("customers", "created"), 60 - created, "{}", pass.details());
    })
    .await;
}

#[tokio::test]
async fn a_source_that_keeps_silent_does_not_outlast_the_timeout() {
    bed(async |bed| {
        bed.accounts(1..=3).await;
        let endless = "WITH RECURSIVE endless(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM endless) \
                       SELECT * FROM account WHERE id IN (SELECT n FROM endless WHERE n < 0)";
        bed.configure("SELECT * FROM account\"", &format!("{endless}\""));
        bed.configure("[jobs.customers]\n", "[jobs.customers]\ntimeout = \"500ms\"\n");
        let pass = bed.run_with(&["customers"]).await.exits(3);
        assert!(pass.message("customers").contains("the job's `timeout`"), "{}", pass.details());
        bed.configure(&format!("{endless}\""), "SELECT * FROM account\"");
        bed.configure("timeout = \"500ms\"", "timeout = \"1h\"");
        bed.run().await.exits(0).did("customers", "3 staged, 3 created");
    })
    .await;
}
