//! Business Central in a history: what it holds, its time, and the people at work in it.

use bcsync::simulator::{Deed, Options, Person as Deeds};
use chrono::TimeDelta;
use serde_json::{Value, json};

use super::model::{Person, Property};
use super::people::GONE;
use super::verdict;
use super::world::World;

/// The item of people's own lines.
const THEIR_ITEM: &str = "ITEM-9";

impl World {
    /// Every request arrives, and afterwards the settle window passes.
    pub(crate) fn let_the_window_pass(&self) {
        self.bc.block_on(self.simulator.settled());
        self.simulator.configure(|settings| settings.clock_offset_seconds += 21 * 60);
    }

    /// So much time passes that what is locked or quarantined is tried again.
    pub(crate) fn let_days_pass(&self) {
        self.clock.advance(TimeDelta::days(3));
    }

    /// Every request arrives.
    pub(crate) fn let_everything_arrive(&self) {
        self.bc.block_on(self.simulator.settled());
    }

    /// The customer with that number.
    pub(crate) fn customer(&self, no: u8) -> Option<Value> {
        let number = format!("C{no}");
        self.simulator.rows("customers").unwrap().into_iter().find(|row| row["number"] == *number)
    }

    /// The order of the source's order `id`.
    pub(crate) fn order(&self, id: u8) -> Option<Value> {
        let number = format!("WEB-{id}");
        self.simulator.rows("salesOrders").unwrap().into_iter().find(|row| row["externalDocumentNumber"] == *number)
    }

    /// The lines of an order in their sequence.
    pub(crate) fn lines(&self, order: &Value) -> Vec<Value> {
        let mut lines = self.simulator.rows("salesOrderLines").unwrap();
        lines.retain(|line| line["documentId"] == order["id"]);
        lines.sort_by_key(|line| line["sequence"].as_i64());
        lines
    }

    /// What Business Central holds of a property; `None` when it has no such row.
    pub(crate) fn held(&self, property: Property) -> Option<String> {
        let text = |row: &Value, name: &str| row[name].as_str().unwrap_or_default().to_owned();
        match property {
            Property::CustomerEmail(no) => self.customer(no).map(|row| text(&row, "email")),
            Property::CustomerCity(no) => self.customer(no).map(|row| text(&row, "city")),
            Property::OrderEmail(id) => self.order(id).map(|row| text(&row, "email")),
            Property::Line(id, number) => self.order(id).map(|order| {
                let description = format!("Line {number}");
                let lines = self.lines(&order);
                let line = lines.iter().find(|line| line["description"] == *description);
                line.map_or(GONE.to_owned(), |line| line["quantity"].to_string())
            }),
        }
    }

    fn deed(&self, set: &str, row: &Value, action: Deed, changes: &Value) -> bool {
        let person = Deeds {
            company: None,
            set: set.to_owned(),
            row: row["id"].as_str().unwrap().to_owned(),
            action,
            changes: changes.as_object().unwrap().clone(),
        };
        self.simulator.person(&person).is_ok()
    }

    pub(crate) fn person(&mut self, person: &Person) {
        match *person {
            Person::Phone(no) => {
                let number = format!("555 {}", self.people.fresh());
                for (set, row) in [("customers", self.customer(no)), ("salesOrders", self.order(no))] {
                    if row.is_some_and(|row| self.deed(set, &row, Deed::Edit, &json!({ "phoneNumber": number }))) {
                        self.people.phone(set, no, &number);
                    }
                }
            }
            Person::Edits(property) => self.edit(property),
            Person::AddsLine(id) => self.add_line(id),
            Person::DeletesLine(id, number) => {
                let Some(order) = self.order(id) else { return };
                let description = format!("Line {number}");
                let line = self.lines(&order).into_iter().find(|line| line["description"] == *description);
                let (known, seen) = (self.is_known("orders", &format!("WEB-{id}")), self.is_line_known(id, number));
                if line.is_some_and(|line| self.deed("salesOrderLines", &line, Deed::Delete, &json!({}))) {
                    self.people.line_is_gone(Property::Line(id, number), known, seen);
                }
            }
            Person::DeletesCustomer(no) => {
                // A lost create that is still on its way would make the row anew: nothing could keep it from that.
                self.let_everything_arrive();
                let Some(row) = self.customer(no) else { return };
                let known = self.is_known("customers", &format!("C{no}"));
                if self.deed("customers", &row, Deed::Delete, &json!({})) {
                    self.people.row_is_gone("customers", no, known);
                }
            }
            Person::Order(id, deed) => {
                let Some(row) = self.order(id) else { return };
                let known = self.is_known("orders", &format!("WEB-{id}"));
                if self.deed("salesOrders", &row, deed, &json!({})) && self.order(id).is_none() {
                    self.people.row_is_gone("salesOrders", id, known);
                }
            }
        }
    }

    fn edit(&mut self, property: Property) {
        let fresh = self.people.fresh();
        let (set, row, name, value, known) = match property {
            Property::CustomerEmail(no) => {
                let known = self.is_known("customers", &format!("C{no}"));
                ("customers", self.customer(no), "email", json!(verdict::email(fresh)), known)
            }
            Property::CustomerCity(no) => {
                let known = self.is_known("customers", &format!("C{no}"));
                ("customers", self.customer(no), "city", json!(format!("City {fresh}")), known)
            }
            Property::OrderEmail(id) => {
                let known = self.is_known("orders", &format!("WEB-{id}"));
                ("salesOrders", self.order(id), "email", json!(verdict::email(fresh)), known)
            }
            Property::Line(id, number) => {
                let description = format!("Line {number}");
                let known = self.is_known("orders", &format!("WEB-{id}"));
                let lines = self.order(id).map(|order| self.lines(&order)).unwrap_or_default();
                let line = lines.into_iter().find(|line| line["description"] == *description);
                ("salesOrderLines", line, "quantity", json!(fresh), known)
            }
        };
        let mut changes = json!({ name: value });
        if matches!(property, Property::Line(..)) {
            // With the quantity comes the item's price, which is not the one that was agreed on.
            changes["unitPrice"] = json!(2.5);
        }
        if row.is_some_and(|row| self.deed(set, &row, Deed::Edit, &changes)) {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            self.people.claim(property, value, known);
        }
    }

    /// Adds a person's own line to an order, through the API: their client is another program to us.
    #[expect(clippy::disallowed_methods, reason = "another program does not use the product's own client")]
    fn add_line(&mut self, id: u8) {
        let Some(order) = self.order(id) else { return };
        let fresh = self.people.fresh();
        let description = format!("Person {fresh}");
        // In this order: the item brings a description of its own.
        let line = format!(
            r#"{{"lineType":"Item","lineObjectNumber":"{THEIR_ITEM}","description":"{description}","quantity":{fresh}}}"#
        );
        let (api, company, options) = (self.simulator.api_url(), self.simulator.company_id(), Options::default());
        let url = format!("{api}/companies({company})/salesOrders({})/salesOrderLines", order["id"].as_str().unwrap());
        let login = format!("{}/{}/oauth2/v2.0/token", self.simulator.login_url(), options.tenant);
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", &options.client_id),
            ("client_secret", &options.client_secret),
            ("scope", "https://api.businesscentral.dynamics.com/.default"),
        ];
        let faults = self.simulator.faults();
        self.simulator.clear_faults();
        let added = self.bc.block_on(async {
            let _ = rustls::crypto::ring::default_provider().install_default();
            let http = reqwest::Client::builder().no_proxy().build().unwrap();
            let token = http.post(login).form(&form).send().await.unwrap().text().await.unwrap();
            let token: Value = serde_json::from_str(&token).unwrap();
            let request = http.post(url).bearer_auth(token["access_token"].as_str().unwrap());
            let request = request.header("content-type", "application/json").body(line);
            request.send().await.unwrap().status().as_u16() == 201
        });
        for fault in faults {
            self.simulator.inject(fault);
        }
        if added {
            self.people.own_lines.entry(id).or_default().push((description, fresh));
        }
    }

    /// Reopens every order that people released.
    pub(crate) fn reopen_orders(&self) {
        for order in self.simulator.rows("salesOrders").unwrap() {
            self.deed("salesOrders", &order, Deed::Reopen, &json!({}));
        }
    }
}
