//! Creating, changing and deleting rows that are no documents: customers, items, code tables.

use super::body::Body;
use super::errors::{ApiError, Result};
use super::record::Record;
use super::rules::{self, Properties};
use super::store::Company;
use super::value::Value;

/// Creates a row of `set`.
pub(super) fn create(company: &mut Company, set: &'static str, body: &Body) -> Result<Record> {
    let mut record = company.blank(set);
    rules::apply(company, &mut record, &body.properties)?;
    for field in record.set.fields.iter().filter(|field| field.required) {
        if record.get(field.name).is_blank() {
            return Err(match field.name {
                "displayName" => ApiError::dialog("A \"displayName\" must be provided."),
                name => ApiError::required(name),
            });
        }
    }
    if record.set.position("number").is_some() {
        give_number(company, &mut record)?;
    }
    complete(company, &mut record);
    company.insert(record)
}

/// Keeps the number that was given, if the series allows it, or draws the next one.
pub(super) fn give_number(company: &mut Company, record: &mut Record) -> Result<()> {
    let set = record.set.name;
    if record.text("number").is_empty() {
        let number = company.next_number(set)?;
        record.set_text("number", &number);
    } else if !company.setup.manual_numbers.contains(set) {
        let series = company.series.get(set).map_or("", |series| series.code);
        return Err(ApiError::dialog(format!(
            "You may not enter numbers manually. If you want to enter numbers manually, please activate Manual Nos. in No. Series {series}."
        )));
    }
    Ok(())
}

/// What templates and tables fill in.
fn complete(company: &Company, record: &mut Record) {
    if company.setup.template {
        match record.set.name {
            "customers" => fill(record, "genBusPostingGroup", "DOMESTIC"),
            "items" => {
                fill_pair(company, record, "generalProductPostingGroup", "RETAIL");
                if record.plain("type") == "Inventory" {
                    fill_pair(company, record, "inventoryPostingGroup", "RESALE");
                }
            }
            _ => {}
        }
    }
    match record.set.name {
        "contacts" if record.text("searchName").is_empty() => {
            let name = record.text("displayName").to_uppercase();
            record.set_text("searchName", &name);
        }
        "currencies" => fill(record, "amountDecimalPlaces", "2:2"),
        "taxAreas" | "taxGroups" => record.set_option("taxType", "VAT"),
        _ => {}
    }
}

fn fill(record: &mut Record, property: &str, text: &str) {
    if record.get(property).is_blank() {
        record.set_text(property, text);
    }
}

fn fill_pair(company: &Company, record: &mut Record, stem: &str, code: &str) {
    let field = &record.set.fields[record.set.position(&format!("{stem}Code")).expect("pairs have a code")];
    let target = company.table(field.relation.expect("codes have a relation")).find_by_key(code);
    if let Some(target) = target.filter(|_| record.get(field.name).is_blank()) {
        record.set_text(field.name, code);
        record.set(&format!("{stem}Id"), Value::Guid(target.id));
    }
}

/// Changes a row.
pub(super) fn change(company: &mut Company, mut record: Record, properties: &Properties) -> Result<Record> {
    let before = record.set.key.map(|key| record.at(key).clone());
    rules::apply(company, &mut record, properties)?;
    if let (Some(key), Some(before)) = (record.set.key, before) {
        if record.at(key).is_blank() {
            record.put(key, before.clone());
        }
        if *record.at(key) != before {
            let record = company.update(record)?;
            rename_references(company, &record, &before)?;
            return Ok(record);
        }
    }
    company.update(record)
}

/// A rename in BC follows every table relation; these are the ones that documents hold.
fn rename_references(company: &mut Company, record: &Record, before: &Value) -> Result<()> {
    let references: &[(&str, &str)] = match record.set.name {
        "customers" => &[
            ("salesOrders", "customerNumber"),
            ("salesOrders", "billToCustomerNumber"),
            ("salesInvoices", "customerNumber"),
            ("salesInvoices", "billToCustomerNumber"),
        ],
        "items" => &[("salesOrderLines", "lineObjectNumber"), ("salesInvoiceLines", "lineObjectNumber")],
        "contacts" => &[("contacts", "companyNumber")],
        _ => &[],
    };
    for (set, property) in references {
        let holding = company.table(set).records().filter(|row| row.get(property) == before);
        for mut row in holding.collect::<Vec<_>>() {
            row.set_text(property, record.text("number"));
            company.update(row)?;
        }
    }
    Ok(())
}

/// Deletes a row. Refused for a customer with open documents.
pub(super) fn delete(company: &mut Company, record: &Record) -> Result<()> {
    if record.set.name == "customers" {
        for (set, document) in [("salesOrders", "Order"), ("salesInvoices", "Invoice")] {
            let table = company.table(set);
            let by_customer = table.set.position("customerNumber").expect("documents have a customer");
            if table.equal(by_customer, record.text("number")).is_some_and(|slots| !slots.is_empty()) {
                return Err(ApiError::dialog(format!(
                    "You cannot delete Customer {} because there is at least one outstanding Sales {document} for this customer.",
                    record.text("number")
                )));
            }
        }
    }
    company.remove(record.set.name, record.id);
    Ok(())
}
