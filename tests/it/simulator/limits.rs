//! Rate and concurrency limits.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::Bed;

#[tokio::test]
async fn more_requests_than_the_window_allows_are_refused() {
    let bed = Bed::new().await;
    bed.simulator.configure(|settings| settings.limits.requests = 2);
    bed.get("customers").await.is(200);
    bed.get("customers").await.is(200);
    let refused = bed.get("customers").await;
    refused.refused(429, "Application_TooManyRequests");
    assert!(!refused.headers.contains_key("retry-after"));
    bed.simulator.configure(|settings| settings.limits.retry_after = Some(3));
    assert_eq!(bed.get("customers").await.is(429).headers["retry-after"], "3");
    assert_eq!(bed.simulator.stats().throttled, 2);
    bed.simulator.configure(|settings| settings.limits.enforced = false);
    bed.get("customers").await.is(200);
}

#[tokio::test]
async fn operations_of_an_envelope_count_when_told_so() {
    let bed = Bed::new().await;
    bed.simulator.configure(|settings| {
        settings.limits.requests = 5;
        settings.limits.count_operations = true;
    });
    let reads = vec![bed.operation(0, "GET", "customers", &Value::Null); 4];
    bed.batch(&[("accept", "application/json")], &reads).await.is(200);
    bed.batch(&[("accept", "application/json")], &reads).await.is(429);
    bed.get("customers").await.is(200);
}

#[tokio::test]
async fn five_run_the_others_wait() {
    let bed = Bed::new().await;
    bed.simulator.configure(|settings| settings.request_ms = 40);
    let begun = Instant::now();
    let reads = (0..10).map(|_| bed.get("customers"));
    for answer in futures_util::future::join_all(reads).await {
        answer.is(200);
    }
    assert_eq!(bed.simulator.stats().most_running, 5);
    assert!(begun.elapsed() >= Duration::from_millis(80), "two rounds of 40 ms");
}

#[tokio::test]
async fn a_full_queue_refuses() {
    let bed = Bed::new().await;
    bed.simulator.configure(|settings| {
        settings.request_ms = 100;
        settings.limits.running = 1;
        settings.limits.queued = 1;
    });
    let reads = (0..3).map(|_| bed.get("customers"));
    let mut statuses: Vec<_> = futures_util::future::join_all(reads).await.iter().map(|answer| answer.status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 200, 429]);
}

#[tokio::test]
async fn an_envelope_takes_the_time_of_its_operations() {
    let bed = Bed::new().await;
    bed.simulator.configure(|settings| settings.operation_ms = 5);
    let reads = vec![bed.operation(0, "GET", "customers?$top=1", &json!(null)); 100];
    for headers in [&[("accept", "application/json")][..], &[("accept", "application/json"), ("isolation", "snapshot")]]
    {
        let begun = Instant::now();
        bed.batch(headers, &reads).await.is(200);
        let taken = begun.elapsed().as_millis();
        assert!((500..900).contains(&taken), "{taken} ms");
    }
}
