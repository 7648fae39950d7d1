//! Faults on demand: what the client sees, and what really happened.

use bcsync::simulator::{Fault, FaultKind, FaultMatch};
use serde_json::{Value, json};
use tokio::time::{Duration, Instant};

use super::Bed;

const JSON: (&str, &str) = ("accept", "application/json");

fn on(method: &str, set: &str) -> FaultMatch {
    FaultMatch { method: Some(method.to_owned()), set: Some(set.to_owned()), ..FaultMatch::default() }
}

fn customer(number: &str) -> Value {
    json!({ "number": number, "displayName": number })
}

impl Bed {
    fn strike(&self, kind: FaultKind) {
        self.simulator.inject(Fault::once(kind, on("POST", "customers")));
    }

    /// Sends a POST and gives up as soon as it has arrived.
    async fn post_and_give_up(&self, body: Value) {
        let before = self.simulator.stats().requests;
        let arrived = async {
            while self.simulator.stats().requests == before {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            answer = self.try_post("customers", body) => panic!("{answer:?}"),
            () = arrived => {}
        }
    }

    fn customers_there(&self) -> usize {
        self.simulator.count("customers").unwrap()
    }
}

#[tokio::test]
async fn gateways_answer_in_html_and_may_have_committed() {
    let bed = Bed::new().await;
    for (status, retry_after, committed) in
        [(502, None, false), (503, Some(7), false), (504, None, true), (429, Some(2), false)]
    {
        bed.strike(FaultKind::Status { status, retry_after, committed });
        let before = bed.customers_there();
        let answer = bed.post("customers", customer(&format!("C{status}"))).await.is(status);
        let seconds = answer.headers.get("retry-after").map(|value| value.to_str().unwrap().parse::<u64>().unwrap());
        assert_eq!(seconds, retry_after);
        assert_eq!(bed.customers_there() - before, usize::from(committed), "{status}");
    }
    bed.get("customers").await.is(200);
    assert_eq!(bed.simulator.stats().faults, 4);
}

#[tokio::test]
async fn a_dropped_connection_may_have_committed_or_not() {
    let bed = Bed::new().await;
    bed.strike(FaultKind::Drop { committed: false, after_operations: 0 });
    bed.strike(FaultKind::Drop { committed: true, after_operations: 0 });
    assert!(bed.try_post("customers", customer("A")).await.is_err());
    assert_eq!(bed.customers_there(), 0);
    assert!(bed.try_post("customers", customer("A")).await.is_err());
    assert_eq!(bed.customers_there(), 1);
    bed.post("customers", customer("A")).await.refused(400, "Internal_EntityWithSameKeyExists");
}

#[tokio::test]
async fn an_envelope_may_be_cut_in_the_middle() {
    let bed = Bed::new().await;
    bed.strike(FaultKind::Drop { committed: false, after_operations: 2 });
    let operations: Vec<_> =
        ["A", "B", "C"].iter().map(|number| bed.operation(0, "POST", "customers", &customer(number))).collect();
    assert!(bed.try_batch(&[JSON], &operations).await.is_err());
    assert_eq!(bed.customers_there(), 2);
}

#[tokio::test]
async fn a_request_may_take_effect_after_its_client_has_given_up() {
    let bed = Bed::new().await;
    bed.strike(FaultKind::LateCommit { min_ms: 60, max_ms: 80, answer: None, silent: false });
    bed.strike(FaultKind::LateCommit { min_ms: 0, max_ms: 0, answer: Some(504), silent: false });
    let begun = Instant::now();
    assert!(bed.try_post("customers", customer("A")).await.is_err());
    assert_eq!(bed.customers_there(), 0, "not yet");
    bed.simulator.settled().await;
    assert_eq!(bed.customers_there(), 1);
    assert!(begun.elapsed() >= Duration::from_millis(60));
    bed.post("customers", customer("B")).await.is(504);
    bed.strike(FaultKind::LateCommit { min_ms: 0, max_ms: 0, answer: None, silent: true });
    bed.post_and_give_up(customer("C")).await;
    bed.simulator.settled().await;
    assert_eq!(bed.customers_there(), 3);
}

#[tokio::test]
async fn only_what_was_not_refused_has_taken_effect_late() {
    let bed = Bed::new().await;
    bed.post("customers", customer("A")).await.is(201);
    let late = FaultKind::LateCommit { min_ms: 0, max_ms: 0, answer: None, silent: false };
    for operations in [&["A"][..], &["B", "A"]] {
        let operations: Vec<_> =
            operations.iter().map(|number| bed.operation(0, "POST", "customers", &customer(number))).collect();
        for (headers, there) in [(&[JSON, ("isolation", "snapshot")][..], 1), (&[JSON], operations.len())] {
            bed.strike(late.clone());
            assert!(bed.try_batch(headers, &operations).await.is_err());
            bed.simulator.settled().await;
            assert_eq!((bed.customers_there(), bed.simulator.stats().late_creates), (there, there as u64 - 1));
        }
    }
    bed.strike(late);
    assert!(bed.try_post("customers", customer("C")).await.is_err());
    bed.simulator.settled().await;
    let stats = bed.simulator.stats();
    assert_eq!((stats.late_creates, stats.struck["late_commit"]), (2, 5));
}

#[tokio::test]
async fn a_snapshot_that_is_cut_in_the_middle_leaves_nothing() {
    let bed = Bed::new().await;
    bed.strike(FaultKind::Drop { committed: false, after_operations: 1 });
    let operations: Vec<_> =
        ["A", "B"].iter().map(|number| bed.operation(0, "POST", "customers", &customer(number))).collect();
    assert!(bed.try_batch(&[JSON, ("isolation", "snapshot")], &operations).await.is_err());
    assert_eq!(bed.customers_there(), 0);
}

#[tokio::test]
async fn a_slow_request_takes_effect_though_nobody_waits_for_it() {
    let bed = Bed::new().await;
    bed.strike(FaultKind::Latency { ms: 50 });
    bed.post_and_give_up(customer("A")).await;
    assert_eq!(bed.customers_there(), 0, "not yet");
    bed.control("GET", "/settled", &Value::Null).await.is(200);
    assert_eq!(bed.customers_there(), 1);
}

#[tokio::test]
async fn an_answer_may_never_come_or_come_broken() {
    let bed = Bed::new().await;
    bed.strike(FaultKind::Hang);
    bed.post_and_give_up(customer("A")).await;
    bed.simulator.settled().await;
    bed.strike(FaultKind::CutBody);
    let error = bed.try_post("customers", customer("B")).await.unwrap_err();
    assert!(error.is_decode(), "headers have come, the body has not: {error:?}");
    bed.strike(FaultKind::MalformedJson);
    let answer = bed.post("customers", customer("C")).await.is(201);
    assert!(serde_json::from_str::<Value>(&answer.text).is_err());
    assert_eq!(bed.customers_there(), 3);
}

#[tokio::test]
async fn the_last_answer_of_an_envelope_may_be_missing() {
    let bed = Bed::new().await;
    bed.strike(FaultKind::MissingEntry);
    let operations =
        [bed.operation(0, "POST", "customers", &customer("A")), bed.operation(1, "POST", "customers", &customer("B"))];
    let answer = bed.batch(&[JSON], &operations).await.is(200);
    assert_eq!(answer.get("responses").as_array().unwrap().len(), 1);
    assert_eq!(bed.customers_there(), 2);
}

#[tokio::test]
async fn single_operations_fail_by_value_or_every_nth() {
    let bed = Bed::new().await;
    let matching = FaultMatch {
        property: Some("number".to_owned()),
        value: Some("B".to_owned()),
        batch: Some(true),
        ..FaultMatch::default()
    };
    bed.simulator.inject(Fault::once(FaultKind::Deadlock, matching));
    let operations: Vec<_> =
        ["A", "B", "C"].iter().map(|number| bed.operation(0, "POST", "customers", &customer(number))).collect();
    let answer = bed.batch(&[JSON, ("prefer", "odata.continue-on-error")], &operations).await;
    let statuses: Vec<_> = (0..3).map(|at| answer.get("responses")[at]["status"].as_u64().unwrap()).collect();
    assert_eq!(statuses, [201, 409, 201]);
    let error = answer.get("responses")[1]["body"]["error"].clone();
    assert_eq!(error["code"], "Internal_ServerError");
    assert!(error["message"].as_str().unwrap().contains("deadlocked"));

    bed.simulator.inject(Fault { every: Some(2), times: None, ..Fault::once(FaultKind::Lock, on("GET", "customers")) });
    bed.get("customers").await.is(200);
    let locked = bed.get("customers").await;
    locked.refused(409, "Internal_ServerError");
    assert!(locked.message().contains("locked by another user"));
    bed.simulator.clear_faults();
    let refusal = FaultKind::Refuse {
        status: 400,
        code: "Application_CallbackNotAllowed".to_owned(),
        message: "No UI.".to_owned(),
    };
    bed.strike(refusal);
    bed.post("customers", customer("D")).await.refused(400, "Application_CallbackNotAllowed");
}

#[tokio::test]
async fn a_person_may_edit_between_read_and_write() {
    let bed = Bed::new().await;
    let created = bed.customer("C1").await;
    let changes = json!({ "city": "Elsewhere" }).as_object().unwrap().clone();
    bed.simulator.inject(Fault::once(FaultKind::PersonEdit { changes }, on("PATCH", "customers")));
    let path = format!("customers({})", created.text("id"));
    let answer = bed.patch(&path, &created.etag(), json!({ "displayName": "Ours" })).await;
    answer.refused(409, "Request_EntityChanged");
    let now = bed.get(&path).await;
    assert_eq!([now.text("city"), now.text("displayName")], ["Elsewhere", "Customer C1"]);
}

#[tokio::test]
async fn tokens_may_be_revoked_in_the_middle() {
    let mut bed = Bed::new().await;
    bed.strike(FaultKind::RevokeTokens);
    bed.post("customers", customer("A")).await.refused(401, "Authentication_InvalidCredentials");
    bed.sign_in().await;
    bed.post("customers", customer("A")).await.is(201);
}
