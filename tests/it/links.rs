//! Companies that are coupled already, and records that Business Central numbers itself.

use std::fs;

use serde_json::json;

use crate::bed::{TestBed, bed};

fn csv(bed: &TestBed, text: &str) -> String {
    let path = bed.folder().join("links.csv");
    fs::write(&path, text).unwrap();
    path.display().to_string()
}

/// Two customers that Business Central has under numbers of its own.
fn coupled(bed: &mut TestBed) {
    bed.load(
        "customers",
        &json!([
            { "number": "K100", "displayName": "Customer 1", "country": "NO", "postalCode": "0150", "city": "Oslo",
              "email": "office@c1.example", "creditLimit": 100.5 },
            { "number": "K200", "displayName": "Old name" },
        ]),
    );
    bed.configure("number = \"no\"\n", "");
    bed.configure("match_on = \"number\"", "match_on = \"email\"");
    bed.simulator.reset_stats();
}

#[tokio::test]
async fn imported_links_are_compared_in_full_and_brought_up_to_date() {
    bed(async |bed| {
        coupled(bed);
        bed.accounts([1, 2]).await;
        let path = csv(bed, "key,number\n1,K100\n2, k200 \n");
        let output = bed.bcsync(&["links", "import", "customers", &path]).await;
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(String::from_utf8_lossy(&output.stderr).contains("2 links stored"));
        bed.run().await.exits(0).did("customers", "2 staged, 2 adopted");
        assert_eq!(bed.sent("customers"), (0, 1, 0, 0));
        assert_eq!(bed.customer("K200")["displayName"], "Customer 2");
        bed.crm("UPDATE account SET email = 'new@c1.example' WHERE id = 1").await;
        bed.configure("rename = false", "rename = true");
        bed.run().await.exits(0).did("customers", "1 unchanged, 1 staged, 1 updated");
    })
    .await;
}

#[tokio::test]
async fn links_go_out_and_come_back_into_another_ledger() {
    bed(async |bed| {
        bed.accounts([1, 2]).await;
        bed.orders([1], 2).await;
        bed.run().await.exits(0);
        let all = bed.output(&["links", "export"]).await;
        assert_eq!(all.lines().count(), 4, "{all}");
        let customers = bed.output(&["links", "export", "customers"]).await;
        let id = |number: &str| bed.customer(number)["id"].as_str().unwrap().to_owned();
        assert_eq!(customers, format!("job,key,number,id\ncustomers,1,C1,{}\ncustomers,2,C2,{}\n", id("C1"), id("C2")));
        let orders = bed.output(&["links", "export", "orders"]).await;

        bed.forget_everything();
        for (job, text) in [("customers", &customers), ("orders", &orders)] {
            let path = csv(bed, text);
            bed.output(&["links", "import", job, &path]).await;
        }
        bed.simulator.reset_stats();
        bed.run().await.exits(0).did("customers", "2 staged, 2 adopted").did("orders", "1 staged, 1 adopted");
        assert_eq!(bed.simulator.stats().writes(), 0);
        assert_eq!(bed.lines(1).len(), 2);
        // Its lines are known again.
        bed.crm("UPDATE order_line SET qty = '7' WHERE line_no = 1").await;
        bed.run().await.exits(0).did("orders", "1 staged, 1 updated");
        assert_eq!(bed.told_lines(1), ["10000 7 Line 1", "20000 3 Line 2"]);
        assert_eq!(bed.output(&["links", "export"]).await, all);
    })
    .await;
}

#[tokio::test]
async fn a_link_that_cannot_be_is_refused_with_its_line_and_nothing_is_stored() {
    bed(async |bed| {
        coupled(bed);
        bed.accounts([1, 2]).await;
        for (text, said) in [
            (
                "key,number\n1,K100\n2,NONE\n",
                "line 3 of the CSV: Business Central has no row of customers whose number is `NONE`",
            ),
            ("key,number\n1,K100\n2,K100\n", "line 3 of the CSV: `K100` stands in line 2 already"),
            ("key\n1\n", "line 1 of the CSV: there is no column `number` or `id`"),
        ] {
            let path = csv(bed, text);
            let output = bed.bcsync(&["links", "import", "customers", &path]).await;
            let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(78), "{stderr}");
            assert!(stderr.contains(said), "{stderr}");
        }
        assert_eq!(bed.output(&["links", "export"]).await, "job,key,number,id\n");
        // Rows that are linked already are left alone, and no row gets two records.
        let path = csv(bed, "key,number\n1,K100\n");
        bed.output(&["links", "import", "customers", &path]).await;
        let path = csv(bed, "key,number\n2,K100\n");
        let output = bed.bcsync(&["links", "import", "customers", &path]).await;
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(stderr.contains("that row is linked to record 1 of job customers already"), "{stderr}");
        let path = csv(bed, "key,number\n1,K200\n");
        let output = bed.bcsync(&["links", "import", "customers", &path]).await;
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(stderr.contains("1 were linked already and left alone: 1"), "{stderr}");
        bed.run().await.exits(0);
    })
    .await;
}

#[tokio::test]
async fn customers_that_business_central_numbers_itself_are_matched_by_email() {
    bed(async |bed| {
        bed.configure("number = \"no\"\n", "");
        bed.configure("match_on = \"number\"", "match_on = \"email\"");
        bed.simulator.configure(|settings| settings.manual_numbers.clear());
        bed.accounts([1, 2]).await;
        bed.run().await.exits(0).did("customers", "2 staged, 2 created");
        let numbers = bed.ledger("SELECT key, number FROM links ORDER BY key").await;
        assert_eq!(numbers, ["1|C10010", "2|C10020"]);
        bed.orders([1], 2).await;
        bed.run().await.exits(0).did("orders", "1 staged, 1 created");
        assert_eq!(bed.order(1)["customerNumber"], "C10010");

        // The ledger is lost: the address finds the rows again.
        bed.forget_everything();
        bed.configure("adopt = \"never\"", "adopt = \"if_equal\"");
        bed.run().await.exits(0).did("customers", "2 staged, 2 adopted").did("orders", "1 staged, 1 adopted");
    })
    .await;
}

#[tokio::test]
async fn a_customer_without_an_enforced_key_is_not_made_twice_when_its_answer_is_lost() {
    bed(async |bed| {
        bed.configure("number = \"no\"\n", "");
        bed.configure("match_on = \"number\"", "match_on = \"email\"");
        bed.simulator.configure(|settings| settings.manual_numbers.clear());
        bed.accounts([1, 2]).await;
        bed.strike("POST", "customers", bcsync::simulator::FaultKind::Drop { committed: false, after_operations: 1 });
        bed.run().await.exits(0).did("customers", "2 staged, 1 created, 1 pending");
        bed.let_time_pass(21 * 60);
        bed.run().await.exits(0).did("customers", "1 unchanged, 1 queued, 1 created");
        assert_eq!(bed.rows("customers").len(), 2);
    })
    .await;
}

#[tokio::test]
async fn a_number_that_business_central_does_not_take_is_told_with_its_fix() {
    bed(async |bed| {
        bed.simulator.configure(|settings| settings.manual_numbers.clear());
        bed.accounts([1]).await;
        bed.run().await.exits(1).did("customers", "1 staged, 1 quarantined");
        let reason = bed.reason("customers", "1").await;
        assert!(reason.contains("Switch on `Manual Nos.`"), "{reason}");
    })
    .await;
}
