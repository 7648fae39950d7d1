//! What people (and `shipAndInvoice`) do to documents: release, reopen, post.
//!
//! A fully posted order vanishes; what is left of it is the posted invoice that carries its id and number.

use rust_decimal::Decimal;

use super::documents;
use super::errors::{ApiError, Result};
use super::lines;
use super::record::Record;
use super::store::Company;
use super::value::Value;

/// Releases an order: the API then calls its status "Open".
pub(super) fn release(company: &mut Company, mut order: Record) -> Result<Record> {
    order.set_option("status", "Open");
    company.update(order)
}

/// Reopens a released order.
pub(super) fn reopen(company: &mut Company, mut order: Record) -> Result<Record> {
    order.set_option("status", "Draft");
    company.update(order)
}

/// Sends an order for approval.
pub(super) fn request_approval(company: &mut Company, mut order: Record) -> Result<Record> {
    order.set_option("status", "In_x0020_Review");
    company.update(order)
}

/// Ships and invoices what the lines say; an order that is fully invoiced is deleted.
pub(super) fn ship_and_invoice(company: &mut Company, order: Record) -> Result<()> {
    let kind = documents::kind_of("salesOrders").expect("orders are documents");
    let order_lines = company.lines(kind.lines, order.id);
    if order_lines.is_empty() {
        return Err(ApiError::dialog("Please add at least one line item to the estimate."));
    }
    let invoice = invoice_for(company, &order)?;
    let mut everything = true;
    for mut line in order_lines {
        let (ship, bill) = (line.decimal("shipQuantity"), line.decimal("invoiceQuantity"));
        copy_line(company, &invoice, &line, bill)?;
        let (quantity, shipped) = (line.decimal("quantity"), line.decimal("shippedQuantity") + ship);
        let invoiced = (line.decimal("invoicedQuantity") + bill).min(shipped);
        everything &= invoiced == quantity;
        for (property, value) in [
            ("shippedQuantity", shipped),
            ("invoicedQuantity", invoiced),
            ("shipQuantity", quantity - shipped),
            ("invoiceQuantity", quantity - invoiced),
        ] {
            line.set(property, Value::Decimal(value));
        }
        company.update(line)?;
    }
    let invoice = lines::total(company, "salesInvoiceLines", invoice)?;
    settle_invoice(company, invoice)?;
    if everything {
        documents::remove(company, kind, &order);
        Ok(())
    } else {
        let shipped_all = |line: &Record| line.decimal("shippedQuantity") == line.decimal("quantity");
        let fully_shipped = company.lines(kind.lines, order.id).iter().all(shipped_all);
        let mut order = order;
        order.set("fullyShipped", Value::Bool(fully_shipped));
        release(company, order).map(drop)
    }
}

/// Posts a draft invoice.
pub(super) fn post_invoice(company: &mut Company, mut invoice: Record) -> Result<()> {
    documents::refuse_posted(&invoice)?;
    if company.lines("salesInvoiceLines", invoice.id).is_empty() {
        return Err(ApiError::dialog("Please add at least one line item to the invoice."));
    }
    let number = company.next_number("salesInvoices")?;
    invoice.set_text("number", &number);
    settle_invoice(company, invoice)
}

/// A posted invoice that takes over the order's header.
fn invoice_for(company: &mut Company, order: &Record) -> Result<Record> {
    let mut invoice = company.blank("salesInvoices");
    for field in &order.set.fields {
        let shared = invoice.set.position(field.name).is_some();
        if shared && !matches!(field.name, "id" | "number" | "status" | "lastModifiedDateTime") {
            invoice.set(field.name, order.get(field.name).clone());
        }
    }
    let number = company.next_number("salesInvoices")?;
    invoice.set_text("number", &number);
    invoice.set("orderId", Value::Guid(order.id));
    invoice.set_text("orderNumber", order.text("number"));
    invoice.set("invoiceDate", order.get("orderDate").clone());
    invoice.set("dueDate", order.get("orderDate").clone());
    invoice.set_option("status", "Draft");
    company.insert(invoice)
}

fn copy_line(company: &mut Company, invoice: &Record, line: &Record, quantity: Decimal) -> Result<()> {
    let mut copy = company.blank("salesInvoiceLines");
    for field in &copy.set.fields {
        if !matches!(field.name, "id" | "documentId") {
            copy.set(field.name, line.get(field.name).clone());
        }
    }
    copy.set("documentId", Value::Guid(invoice.id));
    copy.set("quantity", Value::Decimal(quantity));
    if !line.decimal("quantity").is_zero() {
        let discount = line.decimal("discountAmount") * quantity / line.decimal("quantity");
        copy.set("discountAmount", Value::Decimal(lines::money(discount)));
    }
    company.insert(copy).map(drop)
}

fn settle_invoice(company: &mut Company, mut invoice: Record) -> Result<()> {
    invoice.set_option("status", "Open");
    invoice.set("remainingAmount", invoice.get("totalAmountIncludingTax").clone());
    company.update(invoice).map(drop)
}
