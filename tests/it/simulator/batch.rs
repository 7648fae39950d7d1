//! `$batch` in its three modes.

use serde_json::{Value, json};

use super::{Answer, Bed};

const JSON: (&str, &str) = ("accept", "application/json");
const GO_ON: (&str, &str) = ("prefer", "odata.continue-on-error");
const SNAPSHOT: (&str, &str) = ("isolation", "snapshot");

impl Bed {
    /// POSTs of customers with these numbers; a number that repeats fails.
    fn creates(&self, numbers: &[&str]) -> Vec<Value> {
        let body = |number: &str| json!({ "number": number, "displayName": number });
        numbers.iter().enumerate().map(|(at, number)| self.operation(at, "POST", "customers", &body(number))).collect()
    }
}

fn statuses(answer: &Answer) -> Vec<(String, u64)> {
    let responses = answer.get("responses").as_array().cloned().unwrap_or_default();
    let status =
        |response: &Value| (response["id"].as_str().unwrap_or("-").to_owned(), response["status"].as_u64().unwrap());
    responses.iter().map(status).collect()
}

fn expected(statuses: &[u64]) -> Vec<(String, u64)> {
    statuses.iter().enumerate().map(|(at, status)| (at.to_string(), *status)).collect()
}

#[tokio::test]
async fn by_default_it_stops_at_the_first_failure_and_keeps_what_was_done() {
    let bed = Bed::new().await;
    let answer = bed.batch(&[JSON], &bed.creates(&["A", "A", "B"])).await.is(200);
    assert_eq!(statuses(&answer), expected(&[201, 400]));
    assert_eq!(bed.simulator.count("customers").unwrap(), 1);
}

#[tokio::test]
async fn told_to_go_on_it_runs_every_operation() {
    let bed = Bed::new().await;
    let answer = bed.batch(&[JSON, GO_ON], &bed.creates(&["A", "A", "B"])).await.is(200);
    assert_eq!(statuses(&answer), expected(&[201, 400, 201]));
    let responses = answer.get("responses");
    assert_eq!(responses[0]["body"]["number"], "A");
    assert_eq!(responses[1]["body"]["error"]["code"], "Internal_EntityWithSameKeyExists");
    assert!(responses[0]["headers"]["location"].is_string());
}

#[tokio::test]
async fn a_snapshot_is_all_or_nothing_and_still_says_201() {
    let bed = Bed::new().await;
    let failed = bed.batch(&[JSON, SNAPSHOT], &bed.creates(&["A", "B", "B", "C"])).await.is(200);
    assert_eq!(statuses(&failed), expected(&[201, 201, 400, 201]));
    assert!(failed.get("responses")[0]["body"]["id"].is_string());
    assert_eq!(bed.simulator.count("customers").unwrap(), 0);

    bed.customer("B").await;
    let first_failed = bed.batch(&[JSON, SNAPSHOT], &bed.creates(&["B", "D"])).await;
    assert_eq!(statuses(&first_failed), expected(&[400]), "one answer only");
    assert_eq!(bed.simulator.count("customers").unwrap(), 1);

    let good = bed.batch(&[JSON, SNAPSHOT], &bed.creates(&["E", "F"])).await;
    assert_eq!(statuses(&good), expected(&[201, 201]));
    assert_eq!(bed.simulator.count("customers").unwrap(), 3);
}

#[tokio::test]
async fn a_snapshot_patches_an_order_and_its_lines_and_reads_fresh_etags() {
    let bed = Bed::new().await;
    bed.ready_for_orders().await;
    let order = bed.order("SO-1").await;
    let line = order.get("salesOrderLines")[0]["id"].as_str().unwrap().to_owned();
    let path = format!("salesOrders({})", order.text("id"));
    let mut touch = bed.operation(0, "PATCH", &path, &json!({ "externalDocumentNumber": "SO-1" }));
    touch["headers"]["If-Match"] = json!(order.etag());
    let mut change = bed.operation(1, "PATCH", &format!("salesOrderLines({line})"), &json!({ "quantity": 7 }));
    change["headers"]["If-Match"] = json!("*");
    let read = bed.operation(2, "GET", &format!("{path}?$expand=salesOrderLines"), &Value::Null);
    let operations = [touch, change, read];

    let answer = bed.batch(&[JSON, SNAPSHOT], &operations).await;
    assert_eq!(statuses(&answer), expected(&[200, 200, 200]));
    let fresh = &answer.get("responses")[2]["body"];
    assert_eq!(fresh["salesOrderLines"][0]["quantity"], 7);
    assert_eq!(fresh["@odata.etag"], bed.get(&path).await.get("@odata.etag"));
    let repeated = bed.batch(&[JSON, SNAPSHOT], &operations).await;
    assert_eq!(statuses(&repeated), expected(&[409]), "the etag is spent");
}

#[tokio::test]
async fn a_hundred_and_one_operations_are_refused_as_a_whole() {
    let bed = Bed::new().await;
    let operations = vec![bed.operation(1, "GET", "customers", &Value::Null); 101];
    bed.batch(&[JSON], &operations).await.refused(500, "Unknown");
    assert_eq!(bed.batch(&[JSON], &operations[..100]).await.get("responses").as_array().unwrap().len(), 100);
}

#[tokio::test]
async fn a_leading_slash_leads_nowhere() {
    let bed = Bed::new().await;
    let mut operation = bed.operation(0, "GET", "customers", &Value::Null);
    operation["url"] = json!(format!("/{}", operation["url"].as_str().unwrap()));
    let answer = bed.batch(&[JSON], &[operation]).await;
    assert_eq!(statuses(&answer), expected(&[404]));
    assert!(answer.get("responses")[0]["body"]["Message"].is_string());
}

#[tokio::test]
async fn ids_are_given_back_and_null_when_missing() {
    let bed = Bed::new().await;
    let mut operation = bed.operation(0, "GET", "customers?$filter=number eq 'A'", &Value::Null);
    operation.as_object_mut().unwrap().remove("id");
    let answer = bed.batch(&[JSON], &[operation]).await;
    assert_eq!(statuses(&answer), [("-".to_owned(), 200)]);
    assert_eq!(answer.get("responses")[0]["body"]["value"], json!([]));
}

#[tokio::test]
async fn without_an_accept_header_the_answer_is_multipart() {
    let bed = Bed::new().await;
    let answer = bed.batch(&[], &bed.creates(&["A"])).await.is(200);
    assert!(answer.headers["content-type"].to_str().unwrap().starts_with("multipart/mixed; boundary="));
    assert!(answer.text.contains("HTTP/1.1 201") && answer.text.contains("\"number\":\"A\""));
}

#[tokio::test]
async fn the_company_may_stand_in_a_header() {
    let bed = Bed::new().await;
    let operation = json!({
        "id": "0",
        "method": "GET",
        "url": "customers",
        "headers": { "Company": "CRONUS USA, Inc." },
    });
    assert_eq!(statuses(&bed.batch(&[JSON], &[operation]).await), expected(&[200]));
}

#[tokio::test]
async fn what_is_no_envelope_is_refused() {
    let bed = Bed::new().await;
    let url = format!("{}/$batch", bed.simulator.api_url());
    let request = bed.request("POST", &url).header("content-type", "application/json").body("{}");
    super::send(request).await.unwrap().refused(400, "BadRequest");
    let request = bed.request("POST", &url).header("content-type", "text/plain").body("{\"requests\":[]}");
    assert_eq!(super::send(request).await.unwrap().status, 415);
}
