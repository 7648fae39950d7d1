//! Looking for rows that BC may have already: the proof of absence before every create.
//!
//! For documents both places are asked: orders first, and after that answer invoices. The other way round an order that
//! is posted in between would be found in neither.

use std::collections::HashMap;

use tokio::time::Instant;

use super::Applier;
use crate::bc::{Failure, Query, Row};
use crate::model::{EntityName, Value, Values};
use crate::schema::Kind;

/// A record whose row is looked for.
#[derive(Debug, Clone)]
pub(super) struct Sought {
    /// The record's key.
    pub(super) key: String,
    /// The match properties and their values; empty when the record has not all of them, so that nothing is found.
    pub(super) matched: Values,
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
    /// What is looked for to find the row that is `matched`; its customer is in `properties` when it is a document.
    pub(super) fn new(key: &str, matched: Values, document: bool, properties: &[(String, Value)]) -> Self {
        let customer = properties.iter().find(|(name, _)| document && CUSTOMER.contains(&name.as_str()));
        Self { key: key.to_owned(), matched, customer: customer.map(|(_, value)| value.clone()) }
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
        // Several are looked for at once when `match_on` was changed while a create was open.
        let mut by_property: Vec<(&str, Vec<Value>)> = Vec::new();
        for (name, value) in sought.iter().filter_map(|one| one.matched.first()) {
            match by_property.iter_mut().find(|(known, _)| known == name) {
                Some((_, values)) => values.push(value.clone()),
                None => by_property.push((name, vec![value.clone()])),
            }
        }
        let mut rows: Vec<Row> = Vec::new();
        for (property, values) in by_property {
            let guid = self.job.schema.property(property).is_some_and(|schema| matches!(schema.kind, Kind::Guid));
            let query = Query { company: &self.job.company, entity, select: &[], expand };
            let found = self.outlet.reader.find(query, property, &values, guid).await?;
            let new: Vec<_> = found.into_iter().filter(|row| rows.iter().all(|known| known.id != row.id)).collect();
            rows.extend(new);
        }
        Ok(rows)
    }

    fn is_of(&self, sought: &Sought, row: &Row) -> bool {
        let matches = |(name, value): &(String, Value)| self.job.same(name, value, row.get(name));
        let same_customer = match &sought.customer {
            None => true,
            Some(customer) => CUSTOMER.iter().any(|name| self.job.same(name, customer, row.get(name))),
        };
        same_customer && !sought.matched.is_empty() && sought.matched.iter().all(matches)
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
