//! What goes wrong on the way to Business Central, and what the pass makes of it.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::routing::{get, post};
use bcsync::simulator::{Fault, FaultKind, FaultMatch};
use serde_json::json;

use crate::bed::{SECRET, TestBed, bed, writes};

fn status(status: u16) -> FaultKind {
    FaultKind::Status { status, retry_after: None, committed: false }
}

/// Customers are made, whatever happens to the first request that makes some.
async fn ten_customers_in_spite_of(kind: FaultKind) {
    bed(async |bed| {
        bed.accounts(1..=10).await;
        bed.strike("POST", "customers", kind);
        bed.run().await.exits(0).did("customers", "10 staged, 10 created");
        assert_eq!(bed.simulator.stats().faults, 1);
        assert_eq!(bed.rows("customers").len(), 10);
    })
    .await;
}

#[tokio::test]
async fn an_answer_that_stops_in_the_middle_is_no_answer() {
    ten_customers_in_spite_of(FaultKind::CutBody).await;
}

#[tokio::test]
async fn an_answer_that_is_no_json_is_no_answer() {
    ten_customers_in_spite_of(FaultKind::MalformedJson).await;
}

#[tokio::test]
async fn an_operation_without_an_answer_is_read_back() {
    ten_customers_in_spite_of(FaultKind::MissingEntry).await;
}

#[tokio::test]
async fn gateway_errors_to_a_write_are_read_back() {
    for code in [500, 502, 504, 408] {
        ten_customers_in_spite_of(status(code)).await;
        ten_customers_in_spite_of(FaultKind::Status { status: code, retry_after: None, committed: true }).await;
    }
}

#[tokio::test]
async fn an_envelope_that_is_too_big_is_halved() {
    ten_customers_in_spite_of(status(413)).await;
}

#[tokio::test]
async fn throttling_is_waited_out() {
    for (kind, least) in [
        (FaultKind::Status { status: 429, retry_after: Some(1), committed: false }, 1_000),
        (status(429), 400),
        (FaultKind::Status { status: 503, retry_after: Some(1), committed: false }, 1_000),
    ] {
        let begun = tokio::time::Instant::now();
        ten_customers_in_spite_of(kind).await;
        assert!(begun.elapsed().as_millis() >= least, "the pause was not kept");
    }
}

#[tokio::test]
async fn throttling_burns_no_attempt() {
    bed(async |bed| {
        bed.configure("[retry]", "[retry]\nattempts = 1");
        bed.accounts(1..=3).await;
        bed.strike("GET", "customers", FaultKind::Status { status: 429, retry_after: Some(0), committed: false });
        bed.strike("POST", "customers", FaultKind::Status { status: 429, retry_after: Some(0), committed: false });
        bed.run().await.exits(0).did("customers", "3 staged, 3 created");
        assert_eq!(bed.simulator.stats().faults, 2);
    })
    .await;
}

#[tokio::test]
async fn an_order_behind_a_503_is_made_once_although_nobody_can_tell_at_first() {
    bed(async |bed| {
        bed.accounts([1]).await;
        bed.orders([1], 2).await;
        bed.strike("POST", "salesOrders", FaultKind::Status { status: 503, retry_after: Some(0), committed: false });
        bed.run().await.exits(0).did("orders", "1 staged, 1 pending");
        bed.let_time_pass(21 * 60);
        bed.run().await.exits(0).did("orders", "1 queued, 1 created");
        assert_eq!(bed.rows("salesOrders").len(), 1);
    })
    .await;
}

#[tokio::test]
async fn reads_that_fail_are_repeated() {
    bed(async |bed| {
        bed.accounts(1..=3).await;
        for kind in
            [status(500), status(502), FaultKind::Drop { committed: false, after_operations: 0 }, FaultKind::CutBody]
        {
            bed.strike("GET", "companies", kind.clone());
            bed.strike("GET", "customers", kind);
        }
        bed.strike("GET", "customers", FaultKind::RevokeTokens);
        bed.configure("[retry]", "[retry]\nattempts = 10");
        bed.run().await.exits(0).did("customers", "3 staged, 3 created");
        assert_eq!(bed.simulator.stats().faults, 9);
    })
    .await;
}

#[tokio::test]
async fn a_read_that_always_fails_ends_the_pass_and_loses_nothing() {
    bed(async |bed| {
        bed.accounts(1..=3).await;
        let endless = Fault { every: Some(1), times: None, ..Fault::once(status(502), writes("GET", "customers")) };
        bed.simulator.inject(endless);
        let pass = bed.run().await.exits(3).did("customers", "3 staged");
        assert_eq!(
            pass.message("customers"),
            "looking up customers by number: Business Central answered with status 502"
        );
        bed.simulator.clear_faults();
        bed.run().await.exits(0).did("customers", "3 queued, 3 created");
    })
    .await;
}

#[tokio::test]
async fn one_record_that_is_refused_stops_itself_and_no_other() {
    bed(async |bed| {
        bed.accounts(1..=30).await;
        let kind = FaultKind::Refuse {
            status: 400,
            code: "Application_DialogException".to_owned(),
            message: "Not this one".to_owned(),
        };
        let matching = FaultMatch {
            property: Some("number".to_owned()),
            value: Some("C7".to_owned()),
            ..writes("POST", "customers")
        };
        bed.simulator.inject(Fault { every: Some(1), times: None, ..Fault::once(kind, matching) });
        bed.run().await.exits(1).did("customers", "30 staged, 29 created, 1 quarantined");
        assert_eq!(
            bed.ledger("SELECT key, state, reason, code, attempts FROM failed_records").await,
            ["7|quarantined|Business Central answered: Not this one|Application_DialogException|1"]
        );
        let correlation = bed.ledger_value("SELECT length(correlation_id) FROM failed_records").await;
        assert_eq!(correlation, "36", "what Business Central's support asks for");
        bed.run().await.exits(1).did("customers", "29 unchanged, 1 queued");
        // It is tried again when it changes.
        bed.simulator.clear_faults();
        bed.crm("UPDATE account SET email = 'new@c7.example' WHERE id = 7").await;
        bed.run().await.exits(0).did("customers", "29 unchanged, 1 staged, 1 created");
    })
    .await;
}

#[tokio::test]
async fn deadlocks_and_locks_are_tried_again_in_the_same_pass() {
    bed(async |bed| {
        bed.accounts(1..=10).await;
        bed.orders([1], 2).await;
        bed.run().await.exits(0);
        bed.crm("UPDATE account SET email = 'new@c.example'; UPDATE order_line SET qty = '7' WHERE line_no = 1").await;
        for kind in [FaultKind::Deadlock, FaultKind::Lock] {
            bed.strike("PATCH", "customers", kind.clone());
            bed.strike("PATCH", "salesOrderLines", kind);
        }
        bed.run().await.exits(0).did("customers", "10 staged, 10 updated").did("orders", "1 staged, 1 updated");
        assert_eq!(bed.simulator.stats().faults, 4);
        assert_eq!(bed.told_lines(1), ["10000 7 Line 1", "20000 3 Line 2"]);
    })
    .await;
}

#[tokio::test]
async fn a_refused_line_keeps_the_whole_order_as_it_was() {
    bed(async |bed| {
        bed.accounts([1]).await;
        bed.orders([1], 3).await;
        bed.run().await.exits(0);
        let kind = FaultKind::Refuse {
            status: 400,
            code: "Application_FieldValidationException".to_owned(),
            message: "Quantity must not be 9.".to_owned(),
        };
        let matching = FaultMatch {
            property: Some("quantity".to_owned()),
            value: Some("9".to_owned()),
            ..writes("PATCH", "salesOrderLines")
        };
        bed.simulator.inject(Fault { every: Some(1), times: None, ..Fault::once(kind, matching) });
        bed.crm("UPDATE order_line SET qty = '8' WHERE line_no = 1; UPDATE order_line SET qty = '9' WHERE line_no = 2")
            .await;
        bed.run().await.exits(1).did("orders", "1 staged, 1 quarantined");
        assert_eq!(bed.reason("orders", "1").await, "quarantined: Business Central answered: Quantity must not be 9");
        assert_eq!(bed.told_lines(1), ["10000 2 Line 1", "20000 3 Line 2", "30000 1 Line 3"]);
        bed.simulator.clear_faults();
        bed.crm("UPDATE order_line SET qty = '4' WHERE line_no = 2").await;
        bed.run().await.exits(0).did("orders", "1 staged, 1 updated");
        assert_eq!(bed.told_lines(1), ["10000 8 Line 1", "20000 4 Line 2", "30000 1 Line 3"]);
    })
    .await;
}

#[tokio::test]
async fn a_posting_group_that_is_missing_is_told_with_its_fix() {
    bed(async |bed| {
        bed.simulator.configure(|settings| settings.template = false);
        bed.accounts([1]).await;
        bed.orders([1], 2).await;
        bed.run().await.exits(1).did("customers", "1 staged, 1 created").did("orders", "1 staged, 1 quarantined");
        let reason = bed.reason("orders", "1").await;
        assert!(reason.contains("Posting Group must have a value") && reason.contains("open `API Setup`"), "{reason}");
    })
    .await;
}

#[tokio::test]
async fn a_token_that_is_revoked_in_the_middle_is_replaced() {
    bed(async |bed| {
        bed.configure("batch_size = 100", "batch_size = 5");
        bed.accounts(1..=30).await;
        bed.simulator.inject(Fault {
            every: Some(3),
            times: Some(1),
            ..Fault::once(FaultKind::RevokeTokens, writes("POST", "customers"))
        });
        bed.run().await.exits(0).did("customers", "30 staged, 30 created");
        assert!(bed.simulator.stats().unauthorized >= 1);
        assert_eq!(bed.simulator.stats().set("customers").creates, 30);
    })
    .await;
}

#[tokio::test]
async fn a_token_that_expires_in_the_middle_is_replaced() {
    bed(async |bed| {
        bed.simulator.configure(|settings| {
            settings.token_seconds = 2;
            settings.operation_ms = 30;
        });
        bed.configure("batch_size = 100", "batch_size = 10\nconcurrency = 1");
        bed.accounts(1..=80).await;
        bed.run().await.exits(0).did("customers", "80 staged, 80 created");
        assert!(bed.simulator.stats().tokens > 1);
        bed.simulator.configure(|settings| settings.operation_ms = 0);
    })
    .await;
}

#[tokio::test]
async fn an_application_that_is_switched_off_is_told_so_and_stops_the_job() {
    bed(async |bed| {
        bed.accounts(1..=3).await;
        bed.simulator.configure(|settings| settings.app_enabled = false);
        let pass = bed.run().await.exits(77);
        assert!(pass.message("customers").contains("`Microsoft Entra applications`"), "{}", pass.details());
        bed.simulator.configure(|settings| {
            settings.app_enabled = true;
            settings.consent = false;
        });
        let pass = bed.run().await.exits(77);
        assert!(pass.message("customers").contains("API.ReadWrite.All"), "{}", pass.details());
        bed.simulator.configure(|settings| settings.consent = true);
        bed.run().await.exits(0).did("customers", "3 staged, 3 created");
    })
    .await;
}

#[tokio::test]
async fn an_application_that_may_not_write_customers_stops_that_job_only() {
    bed(async |bed| {
        bed.accounts([1]).await;
        bed.orders([1], 1).await;
        bed.run().await.exits(0);
        bed.simulator.configure(|settings| settings.read_only = ["customers".to_owned()].into());
        bed.accounts(2..=5).await;
        bed.crm("UPDATE order_line SET qty = '7'").await;
        let pass = bed.run().await.exits(77).did("orders", "1 staged, 1 updated");
        assert!(pass.message("customers").contains("permission"), "{}", pass.details());
        assert_eq!(bed.rows("customers").len(), 1);
        bed.simulator.configure(|settings| settings.read_only.clear());
        bed.run().await.exits(0).did("customers", "1 unchanged, 4 queued, 4 created");
    })
    .await;
}

#[tokio::test]
async fn a_wrong_secret_ends_at_once_and_is_explained() {
    bed(async |bed| {
        bed.accounts([1]).await;
        bed.configure("BCSYNC_TEST_SECRET", "BCSYNC_OTHER_SECRET");
        let child = bed.command(&["run", "--json"]).env("BCSYNC_OTHER_SECRET", "canary-wrong").spawn().unwrap();
        let output = crate::process::ended(child).await;
        let pass = crate::bed::pass_of(&output).exits(77);
        assert!(pass.message("customers").contains("7000215"), "{}", pass.details());
        assert_eq!(bed.simulator.stats().tokens, 1);
        assert!(!pass.details().contains("canary-wrong"));
        bed.configure("BCSYNC_OTHER_SECRET", "BCSYNC_TEST_SECRET");
        bed.run().await.exits(0).did("customers", "1 staged, 1 created");
    })
    .await;
}

#[tokio::test]
async fn an_address_where_nobody_listens_is_not_reached() {
    bed(async |bed| {
        bed.accounts([1]).await;
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let open = bed.simulator.base_url();
        bed.configure(&format!("base_url = \"{open}\""), &format!("base_url = \"http://{closed}\""));
        let pass = bed.run().await.exits(3);
        assert!(pass.message("customers").contains("127.0.0.1"), "{}", pass.details());
        bed.configure(&format!("base_url = \"http://{closed}\""), &format!("base_url = \"{open}\""));
        bed.run().await.exits(0).did("customers", "1 staged, 1 created");
    })
    .await;
}

/// A Business Central whose list of companies goes on at `elsewhere`.
async fn leads_to(elsewhere: String) -> String {
    let token = json!({ "token_type": "Bearer", "expires_in": 3599, "access_token": "eyJ0eXAiOiJKV1Qi.canary" });
    let page = json!({ "value": [], "@odata.nextLink": format!("{elsewhere}/v2.0/next") });
    let routes = Router::new()
        .route("/{tenant}/oauth2/v2.0/token", post(move || async move { token.to_string() }))
        .fallback(get(move || async move { page.to_string() }));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, routes).await });
    address
}

#[tokio::test]
async fn a_next_page_elsewhere_never_sees_the_token() {
    bed(async |bed| {
        let visits = Arc::new(AtomicU64::new(0));
        let seen = Arc::clone(&visits);
        let routes = Router::new().fallback(move || async move {
            seen.fetch_add(1, Ordering::Relaxed);
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let elsewhere = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        for (elsewhere, said) in [
            (elsewhere.clone(), "refused to send the token to"),
            ("https://api.businesscentral.dynamics.com.evil.example".to_owned(), "refused to send the token to"),
            (elsewhere.replace("http://", "http://127.0.0.1@"), "user name or password"),
        ] {
            let fake = leads_to(elsewhere).await;
            let real = bed.simulator.base_url();
            bed.configure(&real, &fake);
            let pass = bed.run().await.exits(3);
            assert!(pass.message("customers").contains(said), "{}", pass.details());
            bed.configure(&fake, &real);
        }
        assert_eq!(visits.load(Ordering::Relaxed), 0);
    })
    .await;
}

#[tokio::test]
async fn not_even_the_most_talkative_log_holds_a_secret() {
    bed(async |bed: &mut TestBed| {
        bed.accounts(1..=20).await;
        bed.orders(1..=5, 2).await;
        for kind in [FaultKind::RevokeTokens, status(500), FaultKind::CutBody, FaultKind::MalformedJson] {
            bed.strike("POST", "customers", kind.clone());
            bed.strike("GET", "customers", kind);
        }
        let output = bed.bcsync(&["run", "-vvv", "--json"]).await;
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("DEBUG") || said.contains("TRACE"), "{said}");
        assert!(!said.contains(SECRET) && !said.contains("Bearer"), "{said}");
        bed.simulator.clear_faults();
        bed.run().await.exits(0);
    })
    .await;
}
