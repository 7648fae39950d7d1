//! Customers: what is sent, what is never sent, whose row it is.

use bcsync::simulator::{Deed, Fault, FaultKind, FaultMatch, Options, Simulator};
use serde_json::{Value, json};

use crate::bed::{Pass, SECRET, bed, bed_with, writes};

/// Makes Business Central refuse every later PATCH of a customer that has one of these properties.
fn forbid(bed: &crate::bed::TestBed, properties: &[&str]) {
    for property in properties {
        let kind = FaultKind::Refuse { status: 400, code: "Unknown".to_owned(), message: "not to be sent".to_owned() };
        let matching = FaultMatch { property: Some((*property).to_owned()), ..writes("PATCH", "customers") };
        bed.simulator.inject(Fault { every: Some(1), times: None, ..Fault::once(kind, matching) });
    }
}

#[tokio::test]
async fn a_changed_email_sends_that_property_and_nothing_else() {
    bed(async |bed| {
        bed.accounts(1..=3).await;
        bed.run().await.exits(0).did("customers", "3 staged, 3 created");
        assert_eq!(bed.sent("customers"), (3, 0, 0, 0));

        bed.crm("UPDATE account SET email = 'new@c2.example' WHERE id = 2").await;
        forbid(bed, &["number", "displayName", "country", "postalCode", "city", "creditLimit", "salespersonCode"]);
        bed.run().await.exits(0).did("customers", "2 unchanged, 1 staged, 1 updated");
        assert_eq!(bed.sent("customers"), (0, 1, 0, 0));
        assert_eq!(bed.customer("C2")["email"], "new@c2.example");
        assert_eq!(bed.field_changes("customers").await, [r#"2|email|"office@c2.example"|"new@c2.example""#]);
    })
    .await;
}

#[tokio::test]
async fn a_property_of_create_only_is_sent_once_and_never_again() {
    bed(async |bed| {
        bed.accounts([1]).await;
        bed.run().await.exits(0);
        assert_eq!(bed.customer("C1")["salespersonCode"], "LM");
        bed.edit("customers", &bed.customer("C1"), &json!({ "salespersonCode": "JO" }));
        bed.crm("UPDATE account SET name = 'Renamed', email = 'a@b.example', credit = '7'").await;
        bed.run().await.exits(0).did("customers", "1 staged, 1 updated");
        assert_eq!(
            (&bed.customer("C1")["salespersonCode"], &bed.customer("C1")["displayName"]),
            (&json!("JO"), &json!("Renamed"))
        );
    })
    .await;
}

#[tokio::test]
async fn an_unmapped_property_is_never_touched() {
    bed(async |bed| {
        bed.accounts([1]).await;
        bed.run().await.exits(0);
        bed.edit(
            "customers",
            &bed.customer("C1"),
            &json!({ "phoneNumber": "555 0100", "addressLine1": "By a person" }),
        );
        bed.crm("UPDATE account SET email = 'a@b.example', credit = '7'").await;
        bed.run().await.exits(0).did("customers", "1 staged, 1 updated");
        let row = bed.customer("C1");
        assert_eq!((&row["phoneNumber"], &row["addressLine1"]), (&json!("555 0100"), &json!("By a person")));
    })
    .await;
}

#[tokio::test]
async fn values_that_business_central_rewrites_cause_no_write() {
    bed(async |bed| {
        bed.accounts([1, 2]).await;
        // Upper-cased, trimmed, a local currency that becomes blank, and a post code that brings a state with it.
        bed.configure("email = \"email\"\ncreditLimit", "email = \"email\"\ncurrencyCode = \"'usd'\"\ncreditLimit");
        bed.crm("UPDATE account SET no = ' c-1a ', country = 'us', zip = '98052', city = 'Seattle' WHERE id = 1").await;
        bed.run().await.exits(0).did("customers", "2 staged, 2 created");
        let row = bed.customer("C-1A");
        assert_eq!((&row["country"], &row["state"], &row["city"]), (&json!("US"), &json!("WA"), &json!("Seattle")));
        bed.run().await.exits(0).did("customers", "2 unchanged");
        bed.run_with(&["--full"]).await.exits(0).did("customers", "2 unchanged");
        // A spelling that means the same to Business Central is read as changed, and sent as nothing.
        bed.crm("UPDATE account SET no = 'C-1a', credit = '0100.500' WHERE id = 1").await;
        bed.run().await.exits(0).did("customers", "2 unchanged");
    })
    .await;
}

#[tokio::test]
async fn a_changed_country_does_not_cost_the_address() {
    // Business Central blanks city and post code when the country changes.
    bed(async |bed| {
        bed.accounts([1]).await;
        bed.run().await.exits(0);
        bed.crm("UPDATE account SET country = 'SE'").await;
        bed.run().await.exits(0).did("customers", "1 staged, 1 updated");
        let row = bed.customer("C1");
        assert_eq!((&row["country"], &row["postalCode"], &row["city"]), (&json!("SE"), &json!("0150"), &json!("Oslo")));
    })
    .await;
}

#[tokio::test]
async fn a_changed_post_code_does_not_cost_the_city() {
    bed(async |bed| {
        bed.accounts([1]).await;
        bed.run().await.exits(0);
        bed.crm("UPDATE account SET zip = '10115'").await;
        bed.run().await.exits(0).did("customers", "1 staged, 1 updated");
        let row = bed.customer("C1");
        assert_eq!((&row["postalCode"], &row["city"]), (&json!("10115"), &json!("Oslo")));
    })
    .await;
}

#[tokio::test]
async fn a_row_that_exists_is_adopted_and_updated() {
    bed(async |bed| {
        bed.load("customers", &json!([{ "number": "C1", "displayName": "Old name", "phoneNumber": "555 0100" }]));
        bed.accounts([1, 2]).await;
        bed.simulator.reset_stats();
        bed.run().await.exits(0).did("customers", "2 staged, 1 created, 1 adopted");
        assert_eq!(bed.sent("customers"), (1, 1, 0, 0));
        let row = bed.customer("C1");
        assert_eq!((&row["displayName"], &row["phoneNumber"]), (&json!("Customer 1"), &json!("555 0100")));
        assert_eq!(row["salespersonCode"], "", "what is sent at creation only is not sent to a row that is adopted");
        let old = "SELECT old, new FROM field_changes WHERE outcome = 'adopted' AND property = 'displayName'";
        assert_eq!(bed.ledger(old).await, [r#""Old name"|"Customer 1""#]);
    })
    .await;
}

#[tokio::test]
async fn an_equal_row_is_adopted_without_a_write_and_another_one_is_not() {
    bed(async |bed| {
        bed.configure("adopt = \"update\"", "adopt = \"if_equal\"");
        bed.load(
            "customers",
            &json!([
                { "number": "C1", "displayName": "Customer 1", "country": "NO", "postalCode": "0150", "city": "Oslo",
                  "email": "office@c1.example", "creditLimit": 100.5 },
                { "number": "C2", "displayName": "Somebody else" },
            ]),
        );
        bed.accounts([1, 2]).await;
        bed.simulator.reset_stats();
        bed.run().await.exits(1).did("customers", "2 staged, 1 adopted, 1 quarantined");
        assert_eq!(bed.sent("customers"), (0, 0, 0, 0));
        assert_eq!(
            bed.reason("customers", "2").await,
            "quarantined: Business Central has a row that matches (C2) and differs in displayName, country, postalCode, \
             city, email, creditLimit; make them equal, or link it with `bcsync links import`"
        );
        assert_eq!(bed.customer("C2")["displayName"], "Somebody else");
    })
    .await;
}

#[tokio::test]
async fn a_row_that_exists_is_not_touched_when_adopt_is_never_until_the_configuration_says_so() {
    bed(async |bed| {
        bed.configure("adopt = \"update\"", "adopt = \"never\"");
        bed.configure(
            "match_on = \"externalDocumentNumber\"\nadopt = \"never\"",
            "match_on = \"externalDocumentNumber\"",
        );
        bed.load("customers", &json!([{ "number": "C1", "displayName": "Old name" }]));
        bed.accounts([1]).await;
        bed.run().await.exits(1).did("customers", "1 staged, 1 quarantined");
        assert!(bed.reason("customers", "1").await.contains("`adopt` is \"never\""));
        assert_eq!(bed.customer("C1")["displayName"], "Old name");

        bed.configure("adopt = \"never\"", "adopt = \"update\"");
        bed.configure(
            "match_on = \"externalDocumentNumber\"",
            "match_on = \"externalDocumentNumber\"\nadopt = \"never\"",
        );
        bed.run().await.exits(0).did("customers", "1 staged, 1 adopted");
        assert_eq!(bed.customer("C1")["displayName"], "Customer 1");
    })
    .await;
}

#[tokio::test]
async fn two_rows_that_match_are_a_question_for_a_person() {
    bed(async |bed| {
        bed.configure("match_on = \"number\"", "match_on = \"email\"");
        let email = "office@c1.example";
        bed.load(
            "customers",
            &json!([
                { "number": "A", "displayName": "One", "email": email },
                { "number": "B", "displayName": "Two", "email": email },
            ]),
        );
        bed.accounts([1]).await;
        bed.run().await.exits(1).did("customers", "1 staged, 1 quarantined");
        let reason = bed.reason("customers", "1").await;
        assert!(reason.starts_with("quarantined: Business Central has 2 rows that match ("), "{reason}");
        for number in ["A", "B"] {
            assert!(reason.contains(bed.customer(number)["id"].as_str().unwrap()), "{reason}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_row_that_is_linked_to_another_record_is_not_taken() {
    bed(async |bed| {
        bed.configure("match_on = \"number\"", "match_on = \"email\"");
        bed.accounts([1]).await;
        bed.run().await.exits(0).did("customers", "1 staged, 1 created");
        // A person gives the row of record 1 the address of the record that is about to come.
        bed.edit("customers", &bed.customer("C1"), &json!({ "email": "office@c2.example" }));
        bed.accounts([2]).await;
        bed.run().await.exits(1).did("customers", "1 unchanged, 1 staged, 1 quarantined");
        assert_eq!(
            bed.reason("customers", "2").await,
            "quarantined: the row that matches is linked to record 1 of job customers; one row cannot be both"
        );
        assert_eq!(bed.rows("customers").len(), 1);
    })
    .await;
}

#[tokio::test]
async fn of_two_records_with_one_number_the_second_names_the_first() {
    bed(async |bed| {
        bed.accounts([1, 2]).await;
        bed.crm("UPDATE account SET no = 'so-1' WHERE id = 1; UPDATE account SET no = 'SO-1 ' WHERE id = 2").await;
        bed.run().await.exits(1).did("customers", "1 staged, 1 refused, 1 created");
        assert_eq!(
            bed.reason("customers", "2").await,
            "quarantined: record 1 of job customers already has the same value of `match_on`; one row cannot be both. It \
             is sent as soon as that value is free; two records that swap their values need a third one in between"
        );
        assert_eq!(bed.customer("SO-1")["displayName"], "Customer 1");
        bed.crm("UPDATE account SET no = 'SO-2' WHERE id = 2").await;
        bed.run().await.exits(0).did("customers", "1 unchanged, 1 staged, 1 created");
    })
    .await;
}

#[tokio::test]
async fn a_changed_number_renames_only_when_it_may() {
    bed(async |bed| {
        bed.accounts([1]).await;
        bed.run().await.exits(0);
        let id = bed.customer("C1")["id"].clone();
        bed.crm("UPDATE account SET no = 'C-NEW'").await;
        bed.run().await.exits(1).did("customers", "1 refused");
        assert!(bed.reason("customers", "1").await.contains("set `rename = true` to allow it"));
        bed.run().await.exits(1).did("customers", "1 queued");
        assert_eq!(bed.customer("C1")["id"], id);

        bed.configure("rename = false", "rename = true");
        bed.run().await.exits(0).did("customers", "1 staged, 1 updated");
        assert_eq!(bed.customer("C-NEW")["id"], id);
        assert_eq!(bed.ledger_value("SELECT number FROM links").await, "C-NEW");
        // The old number is free again.
        bed.accounts([2]).await;
        bed.crm("UPDATE account SET no = 'C1' WHERE id = 2").await;
        bed.run().await.exits(0).did("customers", "1 unchanged, 1 staged, 1 created");
    })
    .await;
}

#[tokio::test]
async fn a_changed_number_that_is_put_back_needs_nothing() {
    bed(async |bed| {
        bed.accounts([1]).await;
        bed.run().await.exits(0);
        bed.crm("UPDATE account SET no = 'C-NEW'").await;
        bed.run().await.exits(1).did("customers", "1 refused");
        bed.crm("UPDATE account SET no = 'C1'").await;
        bed.run().await.exits(0).did("customers", "1 unchanged");
        assert_eq!(bed.ledger("SELECT * FROM outbox").await, [""; 0]);
    })
    .await;
}

#[tokio::test]
async fn a_customer_deleted_in_business_central_is_closed_when_it_changes() {
    bed(async |bed| {
        bed.accounts([1]).await;
        bed.run().await.exits(0);
        bed.person("customers", &bed.customer("C1"), Deed::Delete);
        bed.crm("UPDATE account SET email = 'new@c1.example'").await;
        bed.run().await.exits(0).did("customers", "1 staged, 1 closed");
        assert!(bed.rows("customers").is_empty());
        let closed = bed.ledger_value("SELECT reason FROM change WHERE outcome = 'closed'").await;
        assert!(closed.contains("on_missing = \"recreate\""), "{closed}");
    })
    .await;
}

#[tokio::test]
async fn a_customer_that_is_there_again_is_written_again() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { data_file: Some(folder.path().join("rows")), ..Options::default() };
    bed_with(options.clone(), async |bed| {
        bed.accounts([1]).await;
        bed.run().await.exits(0);
        bed.simulator.save().unwrap();
        bed.person("customers", &bed.customer("C1"), Deed::Delete);
        bed.crm("UPDATE account SET email = 'new@c1.example'").await;
        bed.run().await.exits(0).did("customers", "1 staged, 1 closed");

        let again = Options { client_secret: SECRET.to_owned(), ..options };
        let gone = std::mem::replace(&mut bed.simulator, Simulator::start(again).await.unwrap());
        bed.configure(&gone.base_url(), &bed.simulator.base_url());
        gone.stop().await.unwrap();
        bed.crm("UPDATE account SET email = 'newer@c1.example'").await;
        bed.run().await.exits(0).did("customers", "1 staged, 1 updated");
        assert_eq!(bed.customer("C1")["email"], "newer@c1.example");
        assert_eq!(bed.ledger_value("SELECT state FROM links").await, "linked");
    })
    .await;
}

#[tokio::test]
async fn a_pass_over_everything_counts_the_rows_that_business_central_lost() {
    bed(async |bed| {
        bed.accounts([1, 2]).await;
        bed.run().await.exits(0);
        let vanished = |pass: &Pass| pass.jobs["customers"]["vanished"].clone();
        assert_eq!(vanished(&bed.run_with(&["--full"]).await.exits(0)), 0);
        bed.person("customers", &bed.customer("C1"), Deed::Delete);
        assert_eq!(vanished(&bed.run().await.exits(0)), Value::Null, "an ordinary pass does not look");
        assert_eq!(vanished(&bed.run_with(&["--full"]).await.exits(0)), 1);
        bed.crm("UPDATE account SET email = 'new@c1.example' WHERE id = 1").await;
        bed.run().await.exits(0).did("customers", "1 unchanged, 1 staged, 1 closed");
        assert_eq!(vanished(&bed.run_with(&["--full"]).await.exits(0)), 0, "what is closed is not missed");
    })
    .await;
}

#[tokio::test]
async fn a_customer_deleted_in_business_central_is_made_again_when_that_is_wanted() {
    bed(async |bed| {
        bed.configure("rename = false", "rename = false\non_missing = \"recreate\"");
        bed.accounts([1, 2]).await;
        bed.run().await.exits(0);
        bed.person("customers", &bed.customer("C1"), Deed::Delete);
        bed.crm("UPDATE account SET email = 'new@c1.example' WHERE id = 1").await;
        bed.run().await.exits(0).did("customers", "1 unchanged, 1 staged, 1 created");
        assert_eq!(bed.customer("C1")["email"], "new@c1.example");
    })
    .await;
}

#[tokio::test]
async fn a_job_that_only_updates_waits_for_the_row_and_one_that_only_creates_leaves_it_alone() {
    bed(async |bed| {
        bed.configure("rename = false", "rename = false\nmode = \"update_only\"");
        bed.configure("[jobs.customers.create_only]\nsalespersonCode = \"'LM'\"\n", "");
        bed.accounts([1]).await;
        bed.run().await.exits(0).did("customers", "1 staged, 1 waiting");
        bed.run().await.exits(0).did("customers", "1 queued, 1 waiting");
        bed.load("customers", &json!([{ "number": "C1", "displayName": "By a person" }]));
        bed.run().await.exits(0).did("customers", "1 queued, 1 adopted");
        assert_eq!(bed.customer("C1")["displayName"], "Customer 1");

        bed.configure("mode = \"update_only\"", "mode = \"create_only\"");
        bed.crm("UPDATE account SET name = 'Changed'").await;
        bed.simulator.reset_stats();
        let pass = bed.run().await.exits(0);
        assert_eq!(bed.simulator.stats().writes(), 0, "{}", pass.details());
        assert_eq!(bed.customer("C1")["displayName"], "Customer 1");
    })
    .await;
}

#[tokio::test]
async fn a_number_goes_to_the_next_record_that_wants_it_as_soon_as_it_is_free() {
    bed(async |bed| {
        bed.configure("rename = false", "rename = true");
        bed.accounts([1, 2]).await;
        bed.run().await.exits(0);
        // 2 takes the number that 1 gives up, and is read first.
        bed.crm("UPDATE account SET id = 0, no = 'C1' WHERE id = 2").await;
        bed.crm("UPDATE account SET no = 'C3' WHERE id = 1").await;
        bed.run().await.exits(1);
        bed.run().await;
        assert_eq!(bed.customer("C3")["displayName"], "Customer 1");
        assert_eq!(bed.customer("C1")["displayName"], "Customer 2");
    })
    .await;
}

#[tokio::test]
async fn two_records_that_swap_their_numbers_need_a_third_one_in_between() {
    bed(async |bed| {
        bed.configure("rename = false", "rename = true");
        bed.accounts([1, 2]).await;
        bed.run().await.exits(0);
        bed.crm("UPDATE account SET no = 'C' || (3 - id)").await;
        bed.run().await.exits(1).did("customers", "2 refused");
        for (key, other) in [("1", "2"), ("2", "1")] {
            let reason = bed.reason("customers", key).await;
            assert!(reason.contains(&format!("record {other} of job customers already has")), "{reason}");
            assert!(reason.contains("two records that swap their values need a third one in between"), "{reason}");
        }
        assert_eq!(bed.simulator.stats().set("customers").updates, 0);

        bed.crm("UPDATE account SET no = 'C3' WHERE id = 1").await;
        bed.run().await.exits(1).did("customers", "1 queued, 1 staged, 1 updated");
        bed.run().await.exits(0).did("customers", "1 unchanged, 1 queued, 1 updated");
        bed.crm("UPDATE account SET no = 'C2' WHERE id = 1").await;
        bed.run().await.exits(0).did("customers", "1 unchanged, 1 staged, 1 updated");
        assert_eq!(bed.customer("C1")["displayName"], "Customer 2");
        assert_eq!(bed.customer("C2")["displayName"], "Customer 1");
    })
    .await;
}
