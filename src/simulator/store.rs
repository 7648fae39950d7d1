//! The companies of the environment: their tables, number series and set-up, and transactions over them.
//!
//! Every write goes through [`Company::insert`], [`Company::update`] or [`Company::remove`], which keep an undo log; a
//! failed [`Company::atomically`] leaves no trace. It knows natural keys but no business rule.

use std::collections::{BTreeSet, HashMap};

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use uuid::Uuid;

use super::errors::{ApiError, Result};
use super::fields;
use super::record::{Record, Row};
use super::table::{Slot, Table};
use super::value::sql_ticks;

/// All companies of the environment.
#[derive(Debug)]
pub(super) struct Store {
    /// In the order in which they were named.
    pub(super) companies: Vec<Company>,
}

impl Store {
    /// Position of the company with that id or name.
    pub(super) fn company(&self, id_or_name: &str) -> Option<usize> {
        let id = Uuid::parse_str(id_or_name).ok();
        self.companies.iter().position(|company| Some(company.id) == id || company.name == id_or_name)
    }

    /// Runs `work` as one transaction over all companies; it says itself whether to keep what it did.
    pub(super) fn snapshot<T>(&mut self, work: impl FnOnce(&mut Self) -> (T, bool)) -> T {
        let marks: Vec<usize> = self.companies.iter_mut().map(Company::begin).collect();
        let (outcome, commit) = work(self);
        for (company, mark) in self.companies.iter_mut().zip(marks) {
            company.end(mark, commit);
        }
        outcome
    }
}

/// What an administrator has set up in a company.
#[derive(Debug, Clone)]
pub(super) struct Setup {
    /// Local currency: stored as blank.
    pub(super) local_currency: String,
    /// Tax on every line.
    pub(super) tax_percent: Decimal,
    /// Whether a configuration template gives new customers and items their posting groups.
    pub(super) template: bool,
    /// Sets whose number series has *Manual Nos.*
    pub(super) manual_numbers: BTreeSet<String>,
}

/// A number series.
#[derive(Debug, Clone)]
pub(super) struct Series {
    /// Code of the series.
    pub(super) code: &'static str,
    /// What stands before the digits.
    pub(super) prefix: &'static str,
    /// Digits of the next number.
    pub(super) next: u64,
    /// Distance between two numbers.
    pub(super) step: u64,
}

/// One company.
#[derive(Debug)]
pub(super) struct Company {
    /// `SystemId`.
    pub(super) id: Uuid,
    /// Internal name.
    pub(super) name: String,
    /// Time of the request that is being executed.
    pub(super) now: DateTime<Utc>,
    /// What an administrator has set up.
    pub(super) setup: Setup,
    /// Number series by set.
    pub(super) series: HashMap<&'static str, Series>,
    tables: Vec<Table>,
    version: u64,
    undo: Vec<Undo>,
    depth: usize,
}

#[derive(Debug)]
enum Undo {
    Row { table: usize, slot: Slot, before: Option<Row> },
    Series { set: &'static str, next: u64 },
}

impl Company {
    /// A company without rows.
    pub(super) fn new(name: String, setup: Setup) -> Self {
        Self {
            id: Uuid::new_v4(),
            name,
            now: DateTime::UNIX_EPOCH,
            setup,
            series: HashMap::new(),
            tables: fields::sets().iter().map(Table::new).collect(),
            version: 160_000,
            undo: Vec::new(),
            depth: 0,
        }
    }

    /// The rows of `set`, which must be in the field table.
    pub(super) fn table(&self, set: &str) -> &Table {
        &self.tables[position(set)]
    }

    /// A blank row of `set`.
    pub(super) fn blank(&self, set: &str) -> Record {
        Record::new(self.table(set).set)
    }

    /// The lines of a document in their sequence.
    pub(super) fn lines(&self, set: &str, document: Uuid) -> Vec<Record> {
        let table = self.table(set);
        let via = table.set.position("documentId").expect("lines have a documentId");
        let slots = table.equal(via, &document.to_string()).unwrap_or_default();
        let rows = slots.into_iter().filter_map(|slot| table.row(slot));
        let mut lines: Vec<Record> = rows.map(|row| Record::unpack(table.set, row)).collect();
        lines.sort_by_key(|line| line.int("sequence"));
        lines
    }

    /// Adds a row, stamped now. Refused when its natural key is taken.
    pub(super) fn insert(&mut self, mut record: Record) -> Result<Record> {
        self.refuse_taken_key(&record)?;
        self.version += 1;
        record.stamp(self.version, sql_ticks(self.now));
        self.restore(&record);
        Ok(record)
    }

    /// Adds a row as it is, with its stamp: from a file or a bulk load.
    pub(super) fn restore(&mut self, record: &Record) {
        self.version = self.version.max(record.version);
        let table = position(record.set.name);
        let slot = self.tables[table].insert(record.pack());
        self.remember(Undo::Row { table, slot, before: None });
    }

    /// Replaces a row, stamped now. Refused when its new natural key is taken.
    pub(super) fn update(&mut self, mut record: Record) -> Result<Record> {
        self.refuse_taken_key(&record)?;
        let table = position(record.set.name);
        let Some(slot) = self.tables[table].slot_of(record.id) else {
            return Err(ApiError::record_not_found(&record.set.caption, &format!("Id='{}'", record.id)));
        };
        self.version += 1;
        record.stamp(self.version, sql_ticks(self.now));
        let before = self.tables[table].replace(slot, Some(record.pack()));
        self.remember(Undo::Row { table, slot, before });
        Ok(record)
    }

    /// Deletes a row; `false` when there is none.
    pub(super) fn remove(&mut self, set: &str, id: Uuid) -> bool {
        let table = position(set);
        let Some(slot) = self.tables[table].slot_of(id) else { return false };
        let before = self.tables[table].replace(slot, None);
        self.remember(Undo::Row { table, slot, before });
        true
    }

    /// The next number of the set's series, skipping what is taken.
    pub(super) fn next_number(&mut self, set: &'static str) -> Result<String> {
        loop {
            let Some(series) = self.series.get_mut(set) else {
                return Err(ApiError::field_validation(format!(
                    "{set} Nos. must have a value in Sales & Receivables Setup: Primary Key=. It cannot be zero or empty."
                )));
            };
            let (number, next) = (format!("{}{}", series.prefix, series.next), series.next);
            series.next += series.step;
            self.remember(Undo::Series { set, next });
            if self.table(set).find_by_key(&number).is_none() {
                return Ok(number);
            }
        }
    }

    /// Runs `work` as one transaction: when it fails, nothing of it remains. Transactions may be nested.
    pub(super) fn atomically<T, E>(
        &mut self,
        work: impl FnOnce(&mut Self) -> std::result::Result<T, E>,
    ) -> std::result::Result<T, E> {
        let mark = self.begin();
        let outcome = work(self);
        self.end(mark, outcome.is_ok());
        outcome
    }

    fn begin(&mut self) -> usize {
        self.depth += 1;
        self.undo.len()
    }

    fn end(&mut self, mark: usize, commit: bool) {
        self.depth -= 1;
        if !commit {
            self.roll_back(mark);
        } else if self.depth == 0 {
            self.undo.clear();
        }
    }

    fn roll_back(&mut self, mark: usize) {
        for step in self.undo.drain(mark..).rev() {
            match step {
                Undo::Row { table, slot, before } => {
                    self.tables[table].replace(slot, before);
                }
                Undo::Series { set, next } => {
                    if let Some(series) = self.series.get_mut(set) {
                        series.next = next;
                    }
                }
            }
        }
    }

    fn remember(&mut self, step: Undo) {
        if self.depth > 0 {
            self.undo.push(step);
        }
    }

    fn refuse_taken_key(&self, record: &Record) -> Result<()> {
        let Some(key) = record.set.key else { return Ok(()) };
        let text = record.plain(record.set.fields[key].name);
        let table = self.table(record.set.name);
        let holders = table.equal(key, &text).unwrap_or_default();
        let taken = holders.iter().filter_map(|slot| table.row(*slot)).any(|other| other.id != record.id);
        if taken { Err(ApiError::exists(&record.set.caption, record.set.key_caption(), &text)) } else { Ok(()) }
    }
}

fn position(set: &str) -> usize {
    fields::set_position(set).unwrap_or_else(|| panic!("no set is named {set}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::value::Value;

    fn company() -> Company {
        let setup = Setup {
            local_currency: "USD".to_owned(),
            tax_percent: Decimal::ZERO,
            template: true,
            manual_numbers: BTreeSet::new(),
        };
        let mut company = Company::new("CRONUS".to_owned(), setup);
        company.series.insert("customers", Series { code: "CUST", prefix: "C", next: 10, step: 10 });
        company
    }

    fn customer(company: &Company, number: &str) -> Record {
        let mut record = company.blank("customers");
        record.set_text("number", number);
        record
    }

    #[test]
    fn a_failed_transaction_leaves_no_trace() {
        let mut company = company();
        let kept = company.insert(customer(&company, "C10")).unwrap();
        let failed: std::result::Result<(), &str> = company.atomically(|company| {
            let number = company.next_number("customers").unwrap();
            assert_eq!(number, "C20", "C10 is taken");
            company.insert(customer(company, &number)).unwrap();
            let mut renamed = kept.clone();
            renamed.set_text("number", "X");
            company.update(renamed).unwrap();
            assert!(company.remove("customers", kept.id));
            Err("no")
        });
        assert_eq!(failed, Err("no"));
        assert_eq!(company.table("customers").len(), 1);
        assert_eq!(company.table("customers").find_by_key("C10").unwrap().etag(), kept.etag());
        assert!(company.table("customers").find_by_key("X").is_none());
        assert_eq!(company.next_number("customers").unwrap(), "C20");
    }

    #[test]
    fn a_natural_key_is_taken_once() {
        let mut company = company();
        company.insert(customer(&company, "A")).unwrap();
        let second = company.insert(customer(&company, "A")).unwrap_err();
        assert_eq!(second.code, "Internal_EntityWithSameKeyExists");
        assert!(second.message.ends_with("No.='A'"), "{}", second.message);
    }

    #[test]
    fn pages_follow_the_key_and_survive_writes() {
        let mut company = company();
        for number in ["B", "D", "A"] {
            company.insert(customer(&company, number)).unwrap();
        }
        let table = company.table("customers");
        let bookmark = table.bookmark(table.walk(None).nth(1).unwrap());
        let b = table.find_by_key("B").unwrap();
        company.insert(customer(&company, "C")).unwrap();
        company.remove("customers", b.id);
        let table = company.table("customers");
        let rest = table.walk(Some(&bookmark)).map(|slot| table.row(slot).unwrap().value(table.set, 1));
        assert_eq!(rest.collect::<Vec<_>>(), ["C", "D"].map(|number| Value::Text(number.to_owned())));
    }
}
