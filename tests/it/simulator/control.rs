//! The control endpoint, the data file, and what every answer carries.

use bcsync::simulator::{Options, Simulator};
use serde_json::{Value, json};

use super::Bed;

#[tokio::test]
async fn counts_tell_requests_from_operations() {
    let bed = Bed::new().await;
    let created = bed.customer("C1").await;
    bed.patch(&format!("customers({})", created.text("id")), "*", json!({ "city": "Ulm" })).await.is(200);
    bed.post("customers", json!({ "number": "C1", "displayName": "x" })).await.is(400);
    let reads = vec![bed.operation(0, "GET", "items", &Value::Null); 3];
    bed.batch(&[("accept", "application/json")], &reads).await.is(200);

    let stats = bed.control("GET", "/stats", &Value::Null).await.is(200).json();
    assert_eq!([&stats["requests"], &stats["batches"], &stats["batched"], &stats["tokens"]], [4, 1, 3, 1]);
    let customers = &stats["sets"]["customers"];
    assert_eq!([&customers["creates"], &customers["updates"], &customers["refused"]], [1, 1, 1]);
    assert_eq!(stats["sets"]["items"]["reads"], 3);
    assert!(stats["cpu_seconds"].as_f64().unwrap() > 0.0);
    assert_eq!(bed.simulator.stats().writes(), 2);
    bed.control("DELETE", "/stats", &Value::Null).await.is(200);
    assert_eq!(bed.simulator.stats(), bcsync::simulator::Stats::default());
}

#[tokio::test]
async fn rows_are_loaded_listed_and_summed() {
    let bed = Bed::new().await;
    let rows = json!([
        { "number": "I1", "displayName": "One", "unitPrice": 0.1 },
        { "number": "I2", "displayName": "Two", "unitPrice": 0.2 },
    ]);
    assert_eq!(bed.control("POST", "/rows/items", &rows).await.is(200).get("loaded"), json!(2));
    assert!(bed.control("POST", "/rows/items", &rows).await.is(400).text.contains("already exists"));
    let lines = bed.control("GET", "/rows/items", &Value::Null).await.is(200).text;
    let names: Vec<Value> =
        lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["displayName"].clone()).collect();
    assert_eq!(names, ["One", "Two"]);
    let total = bed.control("GET", "/total/items?property=unitPrice", &Value::Null).await.json();
    assert_eq!(total, json!({ "rows": 2, "sum": "0.3" }));
    assert_eq!(bed.control("GET", "/rows/nothings", &Value::Null).await.status, 400);
}

#[tokio::test]
async fn duplicates_are_listed() {
    let bed = Bed::new().await;
    bed.ready_for_orders().await;
    for reference in ["SO-1", "SO-2", "SO-1", ""] {
        bed.order(reference).await;
    }
    let path = "/duplicates/salesOrders?property=externalDocumentNumber";
    assert_eq!(bed.control("GET", path, &Value::Null).await.json(), json!({ "SO-1": 2 }));
}

#[tokio::test]
async fn faults_settings_and_persons_come_over_http_too() {
    let bed = Bed::new().await;
    bed.ready_for_orders().await;
    let rule = json!({ "kind": { "status": { "status": 503 } }, "match": { "set": "items" }, "times": 2 });
    bed.control("POST", "/faults", &rule).await.is(200);
    assert_eq!(bed.get("customers").await.status, 200);
    assert_eq!(bed.get("items").await.status, 503);
    assert_eq!(bed.control("GET", "/faults", &Value::Null).await.json()[0]["times"], 1);
    bed.control("DELETE", "/faults", &Value::Null).await.is(200);
    bed.get("items").await.is(200);
    assert_eq!(bed.control("POST", "/faults", &json!({ "kind": "explode" })).await.status, 400);

    let changed = bed.control("PATCH", "/settings", &json!({ "limits": { "running": 2 }, "template": false })).await;
    assert_eq!([&changed.is(200).get("limits")["running"]], [2]);
    assert!(!bed.simulator.settings().template);
    assert_eq!(bed.control("PATCH", "/settings", &json!({ "unknown": 1 })).await.status, 400);

    let order = bed.order("SO-1").await;
    let release = json!({ "set": "salesOrders", "row": order.text("number"), "action": "release" });
    bed.control("POST", "/person", &release).await.is(200);
    let edit = json!({ "set": "customers", "row": "C1", "action": "edit", "changes": { "city": "Ulm" } });
    bed.control("POST", "/person", &edit).await.is(200);
    assert_eq!(bed.simulator.rows("salesOrders").unwrap()[0]["status"], "Open");
    assert_eq!(bed.simulator.rows("customers").unwrap()[0]["city"], "Ulm");
    bed.control("DELETE", "/tokens", &Value::Null).await.is(200);
    bed.get("customers").await.is(401);
}

#[tokio::test]
async fn rows_survive_in_a_data_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("company.jsonl");
    let options = Options { data_file: Some(file.clone()), ..Options::default() };
    let bed = Bed::with(options.clone()).await;
    bed.ready_for_orders().await;
    let order = bed.order("SO-1").await;
    let path = format!("salesOrders({})?$expand=salesOrderLines", order.text("id"));
    let (before, company) = (bed.get(&path).await.text, bed.company.clone());
    bed.simulator.stop().await.unwrap();

    let bed = Bed::with(options.clone()).await;
    assert_eq!(bed.company, company);
    let port = |text: &str| text.split("/v2.0/").skip(1).collect::<String>();
    assert_eq!(port(&bed.get(&path).await.text), port(&before));
    assert_eq!(bed.order("SO-2").await.text("number"), "S-ORD101002");
    bed.simulator.stop().await.unwrap();

    std::fs::write(&file, "{\"company\":\"x\"}\n").unwrap();
    assert!(Simulator::start(options).await.unwrap_err().to_string().contains("line 1"));
}

#[tokio::test]
async fn answers_carry_correlation_and_the_simulators_date() {
    let bed = Bed::new().await;
    bed.simulator.configure(|settings| settings.clock_offset_seconds = 86_400 * 365);
    let answer = bed.get("customers").await;
    let date = answer.headers["date"].to_str().unwrap();
    let date = chrono::DateTime::parse_from_rfc2822(date).unwrap();
    let ahead = date.timestamp() - bcsync::clock::Clock::now(&bcsync::clock::SystemClock).timestamp();
    assert!((ahead - 86_400 * 365).abs() < 5, "{ahead}");
    assert_eq!(answer.headers.get_all("date").iter().count(), 1);
    for name in ["request-id", "ms-correlation-x", "odata-version"] {
        assert!(answer.headers.contains_key(name), "{name}");
    }
}

#[tokio::test]
async fn it_listens_on_loopback_only() {
    let options = Options { listen: "0.0.0.0:0".parse().unwrap(), ..Options::default() };
    assert!(Simulator::start(options).await.is_err());
}
