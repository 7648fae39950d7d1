//! The simulated Business Central of a bed: what it holds, what people do there, what goes wrong and what it was asked.

use std::collections::BTreeSet;
use std::fs;

use bcsync::simulator::{Deed, Fault, FaultKind, Options, Person};
use serde_json::{Value, json};

use super::{SECRET, TestBed, writes};

impl TestBed {
    /// All rows of a set.
    pub(crate) fn rows(&self, set: &str) -> Vec<Value> {
        self.simulator.rows(set).unwrap()
    }

    /// The values of `property` over all rows of a set, in order.
    pub(crate) fn column(&self, set: &str, property: &str) -> Vec<String> {
        let mut values: Vec<_> =
            self.rows(set).iter().map(|row| row[property].as_str().unwrap_or_default().to_owned()).collect();
        values.sort();
        values
    }

    /// The only row of `set` whose `property` is `value`.
    #[track_caller]
    pub(crate) fn row(&self, set: &str, property: &str, value: &str) -> Value {
        let mut rows = self.rows(set);
        rows.retain(|row| row[property] == value);
        assert_eq!(rows.len(), 1, "{set} where {property} is {value}: {rows:#?}");
        rows.remove(0)
    }

    /// The customer with this number.
    #[track_caller]
    pub(crate) fn customer(&self, number: &str) -> Value {
        self.row("customers", "number", number)
    }

    /// The order of the source's order with this id.
    #[track_caller]
    pub(crate) fn order(&self, id: i64) -> Value {
        self.row("salesOrders", "externalDocumentNumber", &format!("WEB-{id}"))
    }

    /// The lines of that order in their sequence.
    #[track_caller]
    pub(crate) fn lines(&self, order: i64) -> Vec<Value> {
        let id = self.order(order)["id"].clone();
        let mut lines = self.rows("salesOrderLines");
        lines.retain(|line| line["documentId"] == id);
        lines.sort_by_key(|line| line["sequence"].as_i64());
        lines
    }

    /// The lines of that order, each as `sequence quantity description`.
    #[track_caller]
    pub(crate) fn told_lines(&self, order: i64) -> Vec<String> {
        let text = |line: &Value| {
            format!("{} {} {}", line["sequence"], line["quantity"], line["description"].as_str().unwrap_or_default())
        };
        self.lines(order).iter().map(text).collect()
    }

    /// Puts rows into Business Central without our doing.
    #[track_caller]
    pub(crate) fn load(&mut self, set: &str, rows: &Value) {
        let before: BTreeSet<_> = self.rows(set).iter().map(id).collect();
        self.simulator.load(set, &rows.to_string()).unwrap();
        self.foreign.extend(self.rows(set).iter().map(id).filter(|id| !before.contains(id)));
    }

    /// From now on the row counts as somebody else's.
    pub(crate) fn disown(&mut self, row: &Value) {
        self.foreign.insert(id(row));
    }

    /// Lets a person do something to the row whose number or id is given.
    #[track_caller]
    pub(crate) fn person(&self, set: &str, row: &Value, action: Deed) {
        self.deed(set, row, action, &json!({}));
    }

    /// Lets a person edit the row.
    #[track_caller]
    pub(crate) fn edit(&self, set: &str, row: &Value, changes: &Value) {
        self.deed(set, row, Deed::Edit, changes);
    }

    #[track_caller]
    fn deed(&self, set: &str, row: &Value, action: Deed, changes: &Value) {
        let person = Person {
            company: None,
            set: set.to_owned(),
            row: id(row),
            action,
            changes: changes.as_object().unwrap().clone(),
        };
        self.simulator.person(&person).unwrap();
    }

    /// Adds a line to the order with this id through the API, as another program would.
    #[expect(clippy::disallowed_methods, reason = "another program does not use the product's own client")]
    pub(crate) async fn insert_line(&self, order: &str, line: &Value) {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let options = Options::default();
        let url = format!("{}/{}/oauth2/v2.0/token", self.simulator.login_url(), options.tenant);
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", &options.client_id),
            ("client_secret", SECRET),
            ("scope", "https://api.businesscentral.dynamics.com/.default"),
        ];
        let token: Value =
            serde_json::from_str(&http.post(url).form(&form).send().await.unwrap().text().await.unwrap()).unwrap();
        let (api, company) = (self.simulator.api_url(), self.simulator.company_id());
        let url = format!("{api}/companies({company})/salesOrders({order})/salesOrderLines");
        let request = http.post(url).bearer_auth(token["access_token"].as_str().unwrap());
        let request = request.header("content-type", "application/json").body(line.to_string());
        assert_eq!(request.send().await.unwrap().status().as_u16(), 201);
    }

    /// Deletes the ledger.
    pub(crate) fn forget_everything(&self) {
        for name in ["ledger.db", "ledger.db.lock"] {
            fs::remove_file(self.folder.path().join(name)).unwrap();
        }
    }

    /// Arms a fault that strikes the next write of `method` to `set`, once.
    pub(crate) fn strike(&self, method: &str, set: &str, kind: FaultKind) {
        self.simulator.inject(Fault::once(kind, writes(method, set)));
    }

    /// Moves the clock of Business Central on, so that windows which are measured on it pass.
    pub(crate) fn let_time_pass(&self, seconds: i64) {
        self.simulator.configure(|settings| settings.clock_offset_seconds += seconds);
    }

    /// Operations since the last look: creates, updates, deletes and refused ones of a set.
    pub(crate) fn sent(&self, set: &str) -> (u64, u64, u64, u64) {
        let operations = self.simulator.stats().set(set);
        self.simulator.reset_stats();
        (operations.creates, operations.updates, operations.deletes, operations.refused)
    }
}

/// The id of a row.
pub(super) fn id(row: &Value) -> String {
    row["id"].as_str().unwrap_or_else(|| panic!("a row without id: {row}")).to_owned()
}
