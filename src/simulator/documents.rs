//! Sales orders and sales invoices: headers, copied from the customer and kept in step with their lines.
//!
//! A document is created with all its lines or not at all; the caller wraps every function in a transaction.

use rust_decimal::Decimal;
use serde_json::value::RawValue;

use super::body::{self, Body};
use super::errors::{ApiError, Result};
use super::lines;
use super::masterdata;
use super::record::Record;
use super::rules::{self, Properties};
use super::store::Company;
use super::value::Value;

/// Names that differ between orders and invoices.
#[derive(Debug)]
pub(super) struct Kind {
    /// Set of the headers.
    pub(super) headers: &'static str,
    /// Set of the lines.
    pub(super) lines: &'static str,
    /// The property with the document date.
    date: &'static str,
}

const ORDERS: Kind = Kind { headers: "salesOrders", lines: "salesOrderLines", date: "orderDate" };
const INVOICES: Kind = Kind { headers: "salesInvoices", lines: "salesInvoiceLines", date: "invoiceDate" };

/// The kind of document whose headers or lines `set` holds.
pub(super) fn kind_of(set: &str) -> Option<&'static Kind> {
    [&ORDERS, &INVOICES].into_iter().find(|kind| kind.headers == set || kind.lines == set)
}

/// Creates a document with the lines that the body nests.
pub(super) fn create(company: &mut Company, kind: &Kind, body: &Body) -> Result<Record> {
    let mut header = company.blank(kind.headers);
    let customer = named_customer(company, &header, &body.properties)?
        .ok_or_else(|| ApiError::dialog("A \"customerNumber\" or a \"customerId\" must be provided."))?;
    check_sellable(&customer)?;
    copy_customer(&mut header, &customer);
    header.set(kind.date, Value::Date(company.now.date_naive()));
    header.set("postingDate", Value::Date(company.now.date_naive()));
    if header.set.name == "salesOrders" {
        header.set("partialShipping", Value::Bool(true));
    } else {
        header.set("dueDate", Value::Date(company.now.date_naive()));
        header.set_option("status", "Draft");
    }
    apply(company, &mut header, &body.properties)?;
    masterdata::give_number(company, &mut header)?;
    let mut header = company.insert(header)?;
    for line in &body.lines {
        add_nested(company, kind, &header, line)?;
    }
    if !body.lines.is_empty() || !header.decimal("discountAmount").is_zero() {
        header = lines::total(company, kind.lines, header)?;
    }
    Ok(header)
}

fn add_nested(company: &mut Company, kind: &Kind, header: &Record, line: &RawValue) -> Result<()> {
    let set = company.table(kind.lines).set;
    let body = body::read_new(set, line.get())?;
    lines::insert(company, set.name, header, &body.properties).map(drop)
}

/// Changes a header; lines follow where BC makes them follow.
pub(super) fn change(
    company: &mut Company,
    kind: &Kind,
    mut header: Record,
    properties: &Properties,
) -> Result<Record> {
    let before = header.clone();
    refuse_posted(&header)?;
    if is_locked(&header) {
        let set = header.set;
        let in_review = header.plain("status") == "In_x0020_Review";
        let touches_lock = |(position, value): &(usize, Value)| {
            let field = &set.fields[*position];
            (field.locked || (in_review && field.name == "salesperson")) && header.at(*position) != value
        };
        if properties.iter().any(touches_lock) {
            return Err(locked(&header));
        }
    }
    if let Some(customer) = named_customer(company, &header, properties)?
        && customer.id != header.guid("customerId")
    {
        check_sellable(&customer)?;
        copy_customer(&mut header, &customer);
    }
    apply(company, &mut header, properties)?;

    let changed = |property: &str| header.get(property) != before.get(property);
    let recreate = changed("customerId") || changed("billToCustomerId") || changed("currencyId");
    if recreate {
        lines::recreate(company, kind.lines, &header)?;
    } else if kind.headers == "salesOrders" && changed("requestedDeliveryDate") {
        lines::reschedule(company, &header)?;
    }
    if !recreate && changed("pricesIncludeTax") {
        lines::convert_prices(company, kind.lines, &header)?;
    }
    if recreate || changed("discountAmount") || changed("pricesIncludeTax") {
        return lines::total(company, kind.lines, header);
    }
    company.update(header)
}

/// Deletes a document with its lines. Refused for posted ones, and for orders that were shipped but not invoiced.
pub(super) fn delete(company: &mut Company, kind: &Kind, header: &Record) -> Result<()> {
    refuse_posted(header)?;
    let lines = company.lines(kind.lines, header.id);
    let open = |line: &Record| {
        kind.headers == "salesOrders" && line.decimal("shippedQuantity") != line.decimal("invoicedQuantity")
    };
    if lines.iter().any(open) {
        return Err(ApiError::dialog(format!(
            "You cannot delete order {} because it has been shipped but not invoiced.",
            header.text("number")
        )));
    }
    remove(company, kind, header);
    Ok(())
}

/// Removes a document with its lines, whatever its state.
pub(super) fn remove(company: &mut Company, kind: &Kind, header: &Record) {
    for line in company.lines(kind.lines, header.id) {
        company.remove(kind.lines, line.id);
    }
    company.remove(kind.headers, header.id);
}

/// Whether the order has left the status that BC calls "Open" and the API "Draft".
pub(super) fn is_locked(header: &Record) -> bool {
    header.set.name == "salesOrders" && header.plain("status") != "Draft"
}

/// The refusal of a change that needs the status "Open".
pub(super) fn locked(header: &Record) -> ApiError {
    let status = if header.plain("status") == "Open" { "Released" } else { "Pending Approval" };
    ApiError::order_locked(header.text("number"), status)
}

/// Posted invoices cannot be changed through the API.
pub(super) fn refuse_posted(header: &Record) -> Result<()> {
    if header.set.name == "salesInvoices" && header.plain("status") != "Draft" {
        return Err(ApiError::dialog("The posted invoice cannot be changed."));
    }
    Ok(())
}

/// The customer that the body names by id, number or both.
fn named_customer(company: &Company, header: &Record, properties: &Properties) -> Result<Option<Record>> {
    let customers = company.table("customers");
    let mut named: Option<Record> = None;
    for (position, value) in properties {
        let found = match (header.set.fields[*position].name, value) {
            ("customerId", Value::Guid(id)) => {
                customers.find(*id).ok_or_else(|| ApiError::dialog("The sell-to customer cannot be found."))?
            }
            ("customerNumber", Value::Text(number)) if number.is_empty() => {
                return Err(ApiError::required("customerNumber"));
            }
            ("customerNumber", Value::Text(number)) => customers
                .find_by_key(number)
                .ok_or_else(|| ApiError::relation("Sell-to Customer No.", &header.set.caption, number, "Customer"))?,
            _ => continue,
        };
        if named.as_ref().is_some_and(|other| other.id != found.id) {
            return Err(ApiError::dialog("The sell-to customer values do not match to a specific Customer."));
        }
        named = Some(found);
    }
    Ok(named)
}

fn check_sellable(customer: &Record) -> Result<()> {
    if !customer.get("blocked").is_blank() {
        return Err(ApiError::dialog(format!(
            "You cannot create this type of document when Customer {} is blocked with type {}",
            customer.text("number"),
            customer.plain("blocked")
        )));
    }
    if customer.text("genBusPostingGroup").is_empty() {
        return Err(ApiError::field_validation(format!(
            "Gen. Bus. Posting Group must have a value in Customer: No.={}. It cannot be zero or empty.",
            customer.text("number")
        )));
    }
    Ok(())
}

/// Fills the header from a customer: sell-to, ship-to, bill-to, terms and currency.
fn copy_customer(header: &mut Record, customer: &Record) {
    header.set("customerId", Value::Guid(customer.id));
    header.set("customerNumber", customer.get("number").clone());
    header.set("customerName", customer.get("displayName").clone());
    header.set("shipToName", customer.get("displayName").clone());
    for party in ["sellTo", "shipTo"] {
        copy_address(header, party, customer);
    }
    for (property, from) in [("phoneNumber", "phoneNumber"), ("email", "email"), ("salesperson", "salespersonCode")] {
        header.set(property, customer.get(from).clone());
    }
    copy_bill_to(header, customer);
    for property in ["currencyId", "currencyCode", "paymentTermsId", "shipmentMethodId"] {
        header.set(property, customer.get(property).clone());
    }
}

fn copy_bill_to(header: &mut Record, customer: &Record) {
    header.set("billToCustomerId", Value::Guid(customer.id));
    header.set("billToCustomerNumber", customer.get("number").clone());
    header.set("billToName", customer.get("displayName").clone());
    copy_address(header, "billTo", customer);
}

fn copy_address(header: &mut Record, party: &str, customer: &Record) {
    for (part, from) in [
        ("AddressLine1", "addressLine1"),
        ("AddressLine2", "addressLine2"),
        ("City", "city"),
        ("Country", "country"),
        ("State", "state"),
        ("PostCode", "postalCode"),
    ] {
        header.set(&format!("{party}{part}"), customer.get(from).clone());
    }
}

/// Validates the properties that the customer does not decide.
fn apply(company: &Company, header: &mut Record, properties: &Properties) -> Result<()> {
    let set = header.set;
    let name = |position: usize| set.fields[position].name;
    let sell_to = |position: usize| matches!(name(position), "customerId" | "customerNumber");
    let bill_to = |position: usize| matches!(name(position), "billToCustomerId" | "billToCustomerNumber");
    for (position, value) in properties.iter().filter(|(position, _)| bill_to(*position)) {
        let found = match value {
            Value::Guid(id) => company.table("customers").find(*id),
            value => company.table("customers").find_by_key(&value.plain(set.fields[*position].kind)),
        };
        let Some(customer) = found else {
            return Err(ApiError::dialog("The bill-to customer cannot be found."));
        };
        copy_bill_to(header, &customer);
    }
    let rest = properties.iter().filter(|(position, _)| !sell_to(*position) && !bill_to(*position));
    rules::apply(company, header, &rest.cloned().collect())?;
    if header.decimal("discountAmount") < Decimal::ZERO {
        return Err(ApiError::dialog("The discount amount must not be negative."));
    }
    Ok(())
}
