//! The simulator against the documents it was built from: one test for each behaviour that a client must survive.

mod batch;
mod control;
mod faults;
mod limits;
mod master_data;
mod orders;
mod queries;
mod tokens;

use std::fmt::Display;

use bcsync::simulator::{Options, Simulator};
use reqwest::header::HeaderMap;
use serde_json::{Value, json};

/// A started simulator with a client that holds a token.
struct Bed {
    simulator: Simulator,
    http: reqwest::Client,
    token: String,
    company: String,
}

/// An answer, read to its end.
#[derive(Debug)]
struct Answer {
    status: u16,
    headers: HeaderMap,
    text: String,
}

impl Answer {
    /// The body as JSON; null when it is none.
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or(Value::Null)
    }

    /// A property of the body.
    fn get(&self, property: &str) -> Value {
        self.json()[property].clone()
    }

    /// A text property of the body.
    fn text(&self, property: &str) -> String {
        self.get(property).as_str().unwrap_or_default().to_owned()
    }

    fn code(&self) -> String {
        self.json()["error"]["code"].as_str().unwrap_or_default().to_owned()
    }

    fn message(&self) -> String {
        self.json()["error"]["message"].as_str().unwrap_or_default().to_owned()
    }

    fn etag(&self) -> String {
        self.text("@odata.etag")
    }

    fn value(&self) -> Vec<Value> {
        self.get("value").as_array().cloned().unwrap_or_default()
    }

    /// Fails unless the answer has this status and error code.
    #[track_caller]
    fn refused(&self, status: u16, code: &str) {
        assert_eq!((self.status, self.code().as_str()), (status, code), "{}", self.text);
        assert!(self.message().contains("  CorrelationId:  "), "{}", self.text);
    }

    /// Fails unless the answer has this status.
    #[track_caller]
    fn is(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text);
        self
    }
}

#[expect(clippy::disallowed_methods, reason = "tests talk to the simulator without the product's own client")]
fn client() -> reqwest::Client {
    // A second installation is refused, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().unwrap()
}

#[expect(clippy::disallowed_methods, reason = "tests talk to the simulator without the product's own client")]
async fn send(request: reqwest::RequestBuilder) -> reqwest::Result<Answer> {
    let response = request.send().await?;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    Ok(Answer { status, headers, text: response.text().await? })
}

impl Bed {
    async fn new() -> Self {
        Self::with(Options::default()).await
    }

    async fn with(options: Options) -> Self {
        let simulator = Simulator::start(options).await.unwrap();
        let mut bed = Bed { http: client(), token: String::new(), company: simulator.company_id(), simulator };
        bed.sign_in().await;
        bed
    }

    async fn sign_in(&mut self) {
        let options = Options::default();
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", options.client_id.as_str()),
            ("client_secret", options.client_secret.as_str()),
            ("scope", "https://api.businesscentral.dynamics.com/.default"),
        ];
        self.token = self.token_request(&options.tenant, &form).await.is(200).text("access_token");
    }

    async fn token_request(&self, tenant: &str, form: &[(&str, &str)]) -> Answer {
        let url = format!("{}/{tenant}/oauth2/v2.0/token", self.simulator.login_url());
        send(self.http.post(url).form(form)).await.unwrap()
    }

    /// The URL of a path below the company.
    fn url(&self, path: &str) -> String {
        format!("{}/companies({})/{path}", self.simulator.api_url(), self.company)
    }

    fn request(&self, method: &str, url: &str) -> reqwest::RequestBuilder {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        self.http.request(method, url).bearer_auth(&self.token)
    }

    async fn get(&self, path: &str) -> Answer {
        send(self.request("GET", &self.url(path))).await.unwrap()
    }

    async fn post(&self, path: &str, body: impl Display) -> Answer {
        self.try_post(path, body).await.unwrap()
    }

    async fn try_post(&self, path: &str, body: impl Display) -> reqwest::Result<Answer> {
        let request = self.request("POST", &self.url(path)).header("content-type", "application/json");
        send(request.body(body.to_string())).await
    }

    async fn patch(&self, path: &str, etag: &str, body: impl Display) -> Answer {
        let request = self.request("PATCH", &self.url(path)).header("content-type", "application/json");
        let request = if etag.is_empty() { request } else { request.header("if-match", etag) };
        send(request.body(body.to_string())).await.unwrap()
    }

    async fn delete(&self, path: &str) -> Answer {
        send(self.request("DELETE", &self.url(path))).await.unwrap()
    }

    /// Sends an envelope with these headers.
    async fn batch(&self, headers: &[(&str, &str)], operations: &[Value]) -> Answer {
        self.try_batch(headers, operations).await.unwrap()
    }

    async fn try_batch(&self, headers: &[(&str, &str)], operations: &[Value]) -> reqwest::Result<Answer> {
        let url = format!("{}/$batch", self.simulator.api_url());
        let mut request = self.request("POST", &url).header("content-type", "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        send(request.body(json!({ "requests": operations }).to_string())).await
    }

    /// An operation for [`Bed::batch`].
    fn operation(&self, id: usize, method: &str, path: &str, body: &Value) -> Value {
        json!({
            "id": id.to_string(),
            "method": method,
            "url": format!("companies({})/{path}", self.company),
            "headers": { "Content-Type": "application/json" },
            "body": body,
        })
    }

    /// Creates a customer and gives its id.
    async fn customer(&self, number: &str) -> Answer {
        self.post("customers", &json!({ "number": number, "displayName": format!("Customer {number}") })).await.is(201)
    }

    /// Creates an item with a price.
    async fn item(&self, number: &str, price: &str) -> Answer {
        let body = format!(
            r#"{{"number":"{number}","displayName":"Item {number}","baseUnitOfMeasureCode":"PCS","unitPrice":{price}}}"#
        );
        self.post("items", body).await.is(201)
    }

    /// Creates an order with one line of one item.
    async fn order(&self, reference: &str) -> Answer {
        let line = r#"{"lineType":"Item","lineObjectNumber":"I1","quantity":2}"#;
        let body =
            format!(r#"{{"customerNumber":"C1","externalDocumentNumber":"{reference}","salesOrderLines":[{line}]}}"#);
        self.post("salesOrders?$expand=salesOrderLines", body).await.is(201)
    }

    /// Creates what [`Bed::order`] needs.
    async fn ready_for_orders(&self) {
        self.customer("C1").await;
        self.item("I1", "10.50").await;
    }

    /// A request to the control endpoint.
    async fn control(&self, method: &str, path: &str, body: &Value) -> Answer {
        let url = format!("{}/simulator{path}", self.simulator.base_url());
        let request = self.http.request(reqwest::Method::from_bytes(method.as_bytes()).unwrap(), url);
        let request = if body.is_null() {
            request
        } else {
            request.header("content-type", "application/json").body(body.to_string())
        };
        send(request).await.unwrap()
    }
}
