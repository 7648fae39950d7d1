//! A Business Central that answers nonsense: too much of it, pages that lead nowhere, texts that are no JSON. The program
//! says so and ends; it believes nothing, and it does not grow.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::Response;
use axum::http::request::Parts;
use axum::routing::{any, post};
use serde_json::json;

use crate::bed::{Pass, TestBed, bed, pass_of};

/// What is asked for, to what is answered.
type Script = fn(&Parts) -> Response<Body>;

/// A Business Central that answers what `script` says, and counts.
struct Fake {
    url: String,
    requests: Arc<AtomicU64>,
}

impl Fake {
    async fn start(script: Script) -> Self {
        let token = json!({ "token_type": "Bearer", "expires_in": 3599, "access_token": "canary" }).to_string();
        let requests = Arc::new(AtomicU64::new(0));
        let seen = Arc::clone(&requests);
        let answer = move |request: Request| async move {
            seen.fetch_add(1, Ordering::Relaxed);
            script(&request.into_parts().0)
        };
        let routes = Router::new()
            .route("/{tenant}/oauth2/v2.0/token", post(move || async move { token }))
            .fallback(any(answer));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Self { url, requests }
    }
}

fn ok(body: impl Into<Body>) -> Response<Body> {
    Response::new(body.into())
}

/// The companies as they should be; everything else is up to the test.
fn company(request: &Parts) -> Option<Response<Body>> {
    let path = request.uri.path();
    if path.ends_with("/companies") {
        let id = "11111111-1111-1111-1111-111111111111";
        let company = json!({ "id": id, "name": "CRONUS USA, Inc.", "displayName": "CRONUS USA, Inc." });
        return Some(ok(json!({ "value": [company] }).to_string()));
    }
    let information = json!({ "value": [{ "id": "22222222-2222-2222-2222-222222222222", "currencyCode": "USD" }] });
    path.ends_with("/companyInformation").then(|| ok(information.to_string()))
}

/// A pass against such a Business Central, in at most three gigabytes of address space.
async fn pass_against(bed: &mut TestBed, script: Script) -> (Pass, u64) {
    let (real, fake) = (bed.simulator.base_url(), Fake::start(script).await);
    bed.configure(&real, &fake.url);
    let command = bed.command(&["run", "--json", "customers"]);
    let mut limited = std::process::Command::new("sh");
    limited.args(["-c", "ulimit -v 3000000; exec \"$@\"", "sh"]).arg(command.get_program()).args(command.get_args());
    limited.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = crate::process::output_of(limited).await;
    bed.configure(&fake.url, &real);
    (pass_of(&output), fake.requests.load(Ordering::Relaxed))
}

/// Each of these answers to the look-up of customers ends the pass with these words, and nothing is lost.
async fn nonsense(cases: &[(Script, &str)]) {
    bed(async |bed| {
        bed.configure("[retry]", "[retry]\nattempts = 2");
        bed.accounts([1]).await;
        for (script, said) in cases {
            let (pass, requests) = pass_against(bed, *script).await;
            let pass = pass.exits(3);
            assert!(pass.message("customers").contains(said), "`{said}` is not in {}", pass.details());
            assert!(requests < 20, "{requests} requests");
            bed.forget_everything();
        }
        bed.run().await.exits(0).did("customers", "1 staged, 1 created");
    })
    .await;
}

#[tokio::test]
async fn answers_that_are_no_pages_are_told_and_not_believed() {
    nonsense(&[
        (|to| company(to).unwrap_or_else(|| ok("")), "EOF while parsing"),
        (|to| company(to).unwrap_or_else(|| ok("<html><body>Please sign in</body></html>")), "expected value"),
        (|to| company(to).unwrap_or_else(|| ok(vec![0xff, 0xfe, b'{'])), "invalid utf-8"),
        (|to| company(to).unwrap_or_else(|| ok("\u{feff}{\"value\":[]}")), "expected value"),
        (|to| company(to).unwrap_or_else(|| ok(r#"{"value":[{"id":NaN}]}"#)), "expected"),
        (|to| company(to).unwrap_or_else(|| ok(r#"{"value":{"id":"x"}}"#)), "expected a sequence"),
        (|to| company(to).unwrap_or_else(|| ok(r#"{"value":[{"id":7}]}"#)), "a row without an id"),
        (|to| company(to).unwrap_or_else(|| ok(r#"{"value":[7]}"#)), "a row without an id"),
        (|to| company(to).unwrap_or_else(|| ok(r#"{"value":[{"id":"x","number":"#)), "EOF while parsing"),
        (|to| company(to).unwrap_or_else(|| ok(r#"{"error":{"code":"x"}}"#)), "missing field"),
        (|to| company(to).unwrap_or_else(|| ok(deep())), "a row without an id"),
    ])
    .await;
}

/// A row that is nested a hundred thousand levels deep.
fn deep() -> String {
    format!(r#"{{"value":[{{"id":"x","a":{}{}}}]}}"#, "[".repeat(100_000), "]".repeat(100_000))
}

#[tokio::test]
async fn answers_without_end_are_cut_and_told() {
    nonsense(&[
        (|to| company(to).unwrap_or_else(endless), "is longer than"),
        (|to| company(to).unwrap_or_else(bomb), "is longer than"),
        (|to| company(to).unwrap_or_else(|| with_header(10 * 1024 * 1024)), "no answer from"),
    ])
    .await;
}

/// A gigabyte of blanks before the answer.
fn endless() -> Response<Body> {
    let chunks = futures_util::stream::iter((0..1_024).map(|_| Ok::<_, std::io::Error>(vec![b' '; 1024 * 1024])));
    ok(Body::from_stream(chunks))
}

/// A gigabyte of blanks in a megabyte: one block of a megabyte, over and over.
fn bomb() -> Response<Body> {
    let blanks = vec![b' '; 1024 * 1024];
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&blanks).unwrap();
    gzip.flush().unwrap();
    let first = gzip.get_ref().len();
    gzip.write_all(&blanks).unwrap();
    gzip.flush().unwrap();
    let (first, block) = gzip.get_ref().split_at(first);
    let mut response = ok([first, &block.repeat(1_023)].concat());
    response.headers_mut().insert("content-encoding", "gzip".parse().unwrap());
    response
}

fn with_header(bytes: usize) -> Response<Body> {
    let mut response = ok(r#"{"value":[]}"#);
    response.headers_mut().insert("x-canary", "x".repeat(bytes).parse().unwrap());
    response
}

#[tokio::test]
async fn pages_that_lead_nowhere_are_told() {
    nonsense(&[
        (|to| company(to).unwrap_or_else(|| leads_to(to, to.uri.path())), "the pages lead in a circle"),
        (|to| company(to).unwrap_or_else(|| there_and_back(to)), "the pages lead in a circle"),
        (|to| company(to).unwrap_or_else(|| ok(r#"{"value":[],"@odata.nextLink":""}"#)), "a next page at"),
        (|to| company(to).unwrap_or_else(|| ok(r#"{"value":[],"@odata.nextLink":7}"#)), "invalid type"),
    ])
    .await;
}

/// A page without rows whose next one is at `path` of the same server.
fn leads_to(request: &Parts, path: &str) -> Response<Body> {
    let host = request.headers["host"].to_str().unwrap();
    ok(json!({ "value": [], "@odata.nextLink": format!("http://{host}{path}") }).to_string())
}

fn there_and_back(request: &Parts) -> Response<Body> {
    leads_to(request, if request.uri.path().ends_with("/next") { "/v2.0/other" } else { "/v2.0/next" })
}
