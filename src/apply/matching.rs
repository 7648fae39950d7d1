//! Looking for rows that BC may have already: the proof of absence before every create.
//!
//! For documents both places are asked: orders first, and after that answer invoices. The other way round an order that
//! is posted in between would be found in neither.

use std::collections::HashMap;

use tokio::time::Instant;

use super::Applier;
use crate::bc::{Failure, Query, Row};
use crate::model::{EntityName, Value};
use crate::schema::Kind;

/// A record whose row is looked for.
#[derive(Debug, Clone)]
pub(super) struct Sought {
    /// The record's key.
    pub(super) key: String,
    /// The values of the match properties, in their order.
    pub(super) values: Vec<Value>,
    /// The customer of a document: its match value is often the customer's own number, repeated elsewhere.
    pub(super) customer: Option<Value>,
}

/// What BC has of a record.
#[derive(Debug, Clone)]
pub(super) enum Found {
    /// Nothing; the look-up that says so was begun then.
    Absent(Instant),
    /// One row.
    One(Box<Row>),
    /// The document was posted: this invoice came of it.
    Posted(Box<Row>),
    /// More than one row; their ids.
    Several(Vec<String>),
}

/// The properties that name a document's customer.
const CUSTOMER: [&str; 2] = ["customerId", "customerNumber"];

impl Sought {
    /// What is looked for to find `values` of the match properties; `customer` of `properties` when it is a document.
    pub(super) fn new(key: &str, values: Vec<Value>, document: bool, properties: &[(String, Value)]) -> Self {
        let customer = properties.iter().find(|(name, _)| document && CUSTOMER.contains(&name.as_str()));
        Self { key: key.to_owned(), values, customer: customer.map(|(_, value)| value.clone()) }
    }
}

impl Applier<'_> {
    /// Looks for the rows of `sought`; every one of them is in the answer.
    pub(super) async fn look_up(&self, sought: &[Sought]) -> Result<HashMap<String, Found>, Failure> {
        if sought.is_empty() {
            return Ok(HashMap::new());
        }
        let begun = Instant::now();
        let expand = self.job.schema.lines.as_ref().map(|lines| lines.navigation);
        let mut rows = self.rows_by_match(&self.job.entity, expand, sought).await?;
        let invoices = match self.job.schema.successor.and_then(EntityName::parse) {
            Some(successor) => self.rows_by_match(&successor, None, sought).await?,
            None => Vec::new(),
        };
        if crate::mutant!("invoices before orders") {
            rows = self.rows_by_match(&self.job.entity, expand, sought).await?;
        }
        let find = |one: &Sought| {
            let of = |rows: &[Row]| rows.iter().filter(|row| self.is_of(one, row)).cloned().collect::<Vec<_>>();
            (one.key.clone(), decide(of(&rows), of(&invoices), begun))
        };
        Ok(sought.iter().map(find).collect())
    }

    /// The rows whose first match property has one of the values looked for.
    async fn rows_by_match(
        &self,
        entity: &EntityName,
        expand: Option<&str>,
        sought: &[Sought],
    ) -> Result<Vec<Row>, Failure> {
        let Some(property) = self.job.match_on.first() else { return Ok(Vec::new()) };
        let guid = self.job.schema.property(property).is_some_and(|schema| matches!(schema.kind, Kind::Guid));
        let mut values: Vec<Value> = Vec::with_capacity(sought.len());
        for one in sought {
            values.extend(one.values.first().cloned());
        }
        let query = Query { company: &self.job.company, entity, select: &[], expand };
        self.outlet.reader.find(query, property, &values, guid).await
    }

    fn is_of(&self, sought: &Sought, row: &Row) -> bool {
        let matches = |(name, value): (&String, &Value)| self.job.same(name, value, row.get(name));
        let same_customer = match &sought.customer {
            None => true,
            Some(customer) => CUSTOMER.iter().any(|name| self.job.same(name, customer, row.get(name))),
        };
        let all_known = self.job.match_on.len() == sought.values.len();
        same_customer && all_known && self.job.match_on.iter().zip(&sought.values).all(matches)
    }
}

fn decide(mut rows: Vec<Row>, mut invoices: Vec<Row>, begun: Instant) -> Found {
    let ids = |rows: &[Row]| rows.iter().map(|row| row.id.clone()).collect::<Vec<_>>();
    match rows.as_slice() {
        [] if invoices.is_empty() => Found::Absent(begun),
        [] => Found::Posted(Box::new(invoices.swap_remove(0))),
        [row] => {
            // An order that is invoiced in part has invoices of its own; one of another order is somebody else's.
            let own = |invoice: &Row| {
                invoice.text("orderId") == row.id
                    || (!row.text("number").is_empty() && invoice.text("orderNumber") == row.text("number"))
            };
            if invoices.iter().all(own) {
                Found::One(Box::new(rows.swap_remove(0)))
            } else {
                Found::Several([ids(&rows), ids(&invoices)].concat())
            }
        }
        _ => Found::Several(ids(&rows)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: &str, number: &str) -> Row {
        Row::parse(&format!(r#"{{"id":"{id}","number":"{number}"}}"#)).unwrap()
    }

    fn invoice(id: &str, order_id: &str) -> Row {
        Row::parse(&format!(r#"{{"id":"{id}","orderId":"{order_id}","orderNumber":""}}"#)).unwrap()
    }

    #[test]
    fn orders_come_before_invoices() {
        let now = Instant::now();
        assert!(matches!(decide(vec![], vec![], now), Found::Absent(_)));
        assert!(matches!(decide(vec![row("o", "1")], vec![], now), Found::One(row) if row.id == "o"));
        assert!(matches!(decide(vec![], vec![invoice("i", "o")], now), Found::Posted(row) if row.id == "i"));
        assert!(matches!(decide(vec![row("o", "1")], vec![invoice("i", "o")], now), Found::One(_)));
        assert!(
            matches!(decide(vec![row("o", "1")], vec![invoice("i", "p")], now), Found::Several(ids) if ids == ["o", "i"])
        );
        assert!(
            matches!(decide(vec![row("o", "1"), row("p", "2")], vec![], now), Found::Several(ids) if ids == ["o", "p"])
        );
    }
}
