//! From symbolic references to ids.
//!
//! A reference to another record is looked up in the ledger, each time anew; one to a code of BC in BC, and remembered
//! for the rest of the run. What is not found makes its record wait; nothing is guessed.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::bc::{Failure, Query, Reader};
use crate::ledger::{Ledger, LedgerError, OutboxRow};
use crate::model::{EntityName, Reference, Value};
use crate::schema;

use super::error::ApplyError;

/// How many codes are remembered. A run over more distinct ones asks again for those it forgot.
const REMEMBERED: usize = 50_000;

/// What is known of codes: their ids, or that BC has no such code.
#[derive(Debug, Default)]
pub(super) struct Lookups {
    known: HashMap<Reference, Option<Value>>,
}

impl Lookups {
    /// Everything that the references of `rows` stand for; those without an entry are not found.
    pub(super) async fn resolve(
        &mut self,
        ledger: &Ledger,
        reader: &Reader,
        company: &str,
        rows: &[OutboxRow],
    ) -> Result<HashMap<Reference, Value>, ApplyError> {
        let mut links: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        let mut codes: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for reference in rows.iter().flat_map(|row| row.draft.references()) {
            match reference {
                Reference::Link { job, key } => links.entry(job).or_default().insert(key),
                Reference::Lookup { set, code } => codes.entry(set).or_default().insert(code),
            };
        }
        let mut found = HashMap::new();
        for (job, keys) in links {
            self.links(ledger, job, keys, &mut found).await?;
        }
        for (set, codes) in codes {
            self.codes(reader, company, set, codes, &mut found).await?;
        }
        Ok(found)
    }

    async fn links(
        &self,
        ledger: &Ledger,
        job: &str,
        keys: BTreeSet<&str>,
        found: &mut HashMap<Reference, Value>,
    ) -> Result<(), LedgerError> {
        for (key, id) in ledger.linked_ids(job, keys).await? {
            found.insert(Reference::Link { job: job.to_owned(), key }, Value::Str(id));
        }
        Ok(())
    }

    async fn codes(
        &mut self,
        reader: &Reader,
        company: &str,
        set: &str,
        codes: BTreeSet<&str>,
        found: &mut HashMap<Reference, Value>,
    ) -> Result<(), Failure> {
        if self.known.len() > REMEMBERED {
            self.known.clear();
        }
        let reference = |code: &str| Reference::Lookup { set: set.to_owned(), code: code.to_owned() };
        let unknown: Vec<&str> =
            codes.iter().copied().filter(|code| !self.known.contains_key(&reference(code))).collect();
        if !unknown.is_empty() {
            for code in &unknown {
                self.known.insert(reference(code), None);
            }
            // The configuration was checked: a set of a lookup is a standard one.
            let Some(entity) = EntityName::parse(set) else { return Ok(()) };
            let property = schema::standard(set).and_then(|schema| schema.key_property).unwrap_or("code");
            let select = ["id", property];
            let query = Query { company, entity: &entity, select: &select, expand: None };
            let values: Vec<_> = unknown.iter().map(|code| Value::from(*code)).collect();
            for row in reader.find(query, property, &values, false).await? {
                // A server that ignored the filter sends rows that nobody asked for.
                if let Some(known) = self.known.get_mut(&reference(&schema::code(row.text(property)))) {
                    *known = Some(Value::Str(row.id));
                }
            }
        }
        for code in codes {
            let reference = reference(code);
            if let Some(Some(id)) = self.known.get(&reference) {
                found.insert(reference, id.clone());
            }
        }
        Ok(())
    }
}
