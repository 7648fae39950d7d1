//! Linked rows that Business Central no longer has, although the collection they were in answers.
//!
//! A document is most likely posted: its invoice is looked for before anything else is concluded, and one that became an
//! invoice is never made again. What nobody can explain is closed with a mark of its own, or made again by policy.

use std::collections::HashMap;

use super::Applier;
use super::candidate::Candidate;
use super::error::ApplyError;
use super::matching::Found;
use super::operation::Prepared;
use crate::bc::{Failure, Query, Row};
use crate::ledger::{Link, Reason, SettledLink};
use crate::model::{EntityName, OnMissing, Outcome, Value};

/// Why nothing is written to a row that is closed already.
const CLOSED: &str = "it was closed before; the change in the source is not written";

/// Why a document is closed that has no invoice.
const NO_DOCUMENT: &str = "Business Central has neither this document nor an invoice of it: somebody deleted it, or posted \
                           it in a way that cannot be followed. Set `on_missing = \"recreate\"` to have it made again";

/// Why any other record is closed.
const NO_ROW: &str = "Business Central no longer has this row; set `on_missing = \"recreate\"` to have it made again";

impl Applier<'_> {
    /// What becomes of linked records whose rows are gone, or were when they were closed. Gives those whose rows are to be
    /// made again; they are linked no more.
    pub(super) async fn prepare_gone(
        &self,
        gone: Vec<Candidate>,
        prepared: &mut Vec<Prepared>,
    ) -> Result<Vec<Candidate>, ApplyError> {
        let (over, gone): (Vec<_>, Vec<_>) = gone.into_iter().partition(is_over);
        for candidate in over {
            let Some(link) = &candidate.link else { continue };
            let link = SettledLink::Closed(candidate.link_as_it_is(link));
            prepared.push(candidate.settled(Outcome::Closed, link, Some(Reason::new(CLOSED))));
        }
        let mut invoices = self.invoices_of(&gone).await?;
        let mut made_again = Vec::new();
        for candidate in gone {
            let Some(link) = &candidate.link else { continue };
            let invoice = invoices.remove(&candidate.row.key);
            if invoice.is_none() && self.job.on_missing == OnMissing::Recreate {
                made_again.push(Candidate { link: None, ..candidate });
            } else {
                prepared.push(self.close(&candidate, link, invoice.as_ref()));
            }
        }
        Ok(made_again)
    }

    fn close(&self, candidate: &Candidate, link: &Link, invoice: Option<&Row>) -> Prepared {
        let update = candidate.link_as_it_is(link);
        let (settled, reason) = match invoice {
            Some(invoice) => {
                let number = invoice.text("number");
                (SettledLink::Closed(update), format!("Business Central has posted it as invoice {number}"))
            }
            None if self.job.schema.document => (SettledLink::Unexplained(update), NO_DOCUMENT.to_owned()),
            None => (SettledLink::Unexplained(update), NO_ROW.to_owned()),
        };
        let posted_as = invoice.map(|invoice| invoice.text("number").to_owned());
        candidate.gone(Outcome::Closed, settled, Reason::new(reason), posted_as)
    }

    /// The invoices that the documents of `gone` became, by the records' keys. They name the order's id and number; where
    /// these are lost, they still have its match value and customer.
    async fn invoices_of(&self, gone: &[Candidate]) -> Result<HashMap<String, Row>, Failure> {
        let mut found = HashMap::new();
        let Some(entity) = self.job.schema.successor.and_then(EntityName::parse).filter(|_| !gone.is_empty()) else {
            return Ok(found);
        };
        let query = Query { company: &self.job.company, entity: &entity, select: &[], expand: None };
        for (property, guid) in [("orderId", true), ("orderNumber", false)] {
            let value = |link: &Link| if guid { link.bc_id.clone() } else { link.number.clone() };
            let left = || gone.iter().filter(|candidate| !found.contains_key(&candidate.row.key));
            let of = |candidate: &Candidate| candidate.link.as_ref().map(value).filter(|value| !value.is_empty());
            let values: Vec<_> = left().filter_map(of).map(Value::Str).collect();
            let rows = self.outlet.reader.find(query, property, &values, guid).await?;
            let is_of = |candidate: &Candidate, row: &Row| {
                of(candidate).is_some_and(|value| row.text(property).eq_ignore_ascii_case(&value))
            };
            let more: Vec<_> = left()
                .filter_map(|one| Some((one.row.key.clone(), rows.iter().find(|row| is_of(one, row))?.clone())))
                .collect();
            found.extend(more);
        }
        let left = gone.iter().filter(|candidate| !found.contains_key(&candidate.row.key));
        let sought: Vec<_> = left.map(|candidate| self.sought_by(candidate)).collect();
        for (key, what) in self.look_up(&sought).await? {
            if let Found::Posted(invoice) = what {
                found.insert(key, *invoice);
            }
        }
        Ok(found)
    }
}

/// Whether it is known why nothing will ever be written to the record's row again.
fn is_over(candidate: &Candidate) -> bool {
    candidate.link.as_ref().is_some_and(|link| link.closed && !link.unexplained)
}
