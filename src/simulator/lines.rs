//! Document lines: sequence, item, prices, and the totals that every line write recomputes.
//!
//! Whatever happens to a line, its header is written again, so its etag changes too.

use rust_decimal::{Decimal, RoundingStrategy};
use uuid::Uuid;

use super::errors::{ApiError, Result};
use super::record::Record;
use super::rules::{self, Properties};
use super::store::Company;
use super::value::{Value, blank_date};

/// Distance between two lines.
const STEP: i64 = 10_000;

/// Adds a line to `header`; totals are left to the caller, who may add more.
pub(super) fn insert(
    company: &mut Company,
    set: &'static str,
    header: &Record,
    properties: &Properties,
) -> Result<Record> {
    let mut line = company.blank(set);
    let others = company.lines(set, header.id);
    line.set("documentId", Value::Guid(header.id));
    line.set("shipmentDate", Value::Date(shipment_date(company, header)));
    validate(company, &mut line, header, properties)?;
    match line.int("sequence") {
        0 => {
            let last = others.last().map_or(0, |last| last.int("sequence"));
            line.set("sequence", Value::Int(last + STEP));
        }
        taken if others.iter().any(|other| other.int("sequence") == taken) => {
            return Err(ApiError::dialog("You cannot insert a line because a line already exists."));
        }
        _ => {}
    }
    company.insert(line)
}

/// Changes a line; totals are left to the caller.
pub(super) fn change(
    company: &mut Company,
    header: &Record,
    mut line: Record,
    properties: &Properties,
) -> Result<Record> {
    validate(company, &mut line, header, properties)?;
    company.update(line)
}

/// Whether a released order refuses these changes of `line`.
pub(super) fn touches_lock(line: &Record, properties: &Properties) -> bool {
    properties.iter().any(|(position, value)| line.set.fields[*position].locked && line.at(*position) != value)
}

/// Deletes all lines and creates them anew from their items: new ids, new sequences, prices of today.
pub(super) fn recreate(company: &mut Company, set: &'static str, header: &Record) -> Result<()> {
    let mut sequence = 0;
    for old in company.lines(set, header.id) {
        company.remove(set, old.id);
        sequence += STEP;
        let mut line = old;
        line.give_id(Uuid::new_v4());
        line.set("sequence", Value::Int(sequence));
        price(company, &mut line);
        company.insert(line)?;
    }
    Ok(())
}

/// Adds the tax to all prices, or takes it out of them, whichever `header` now says.
pub(super) fn convert_prices(company: &mut Company, set: &'static str, header: &Record) -> Result<()> {
    let factor = Decimal::ONE + company.setup.tax_percent / Decimal::ONE_HUNDRED;
    let with_tax = *header.get("pricesIncludeTax") == Value::Bool(true);
    for mut line in company.lines(set, header.id) {
        let price = line.decimal("unitPrice");
        line.set("unitPrice", Value::Decimal(money(if with_tax { price * factor } else { price / factor })));
        apply_discount_percent(&mut line);
        company.update(line)?;
    }
    Ok(())
}

/// Pushes the order's requested delivery date to its lines.
pub(super) fn reschedule(company: &mut Company, header: &Record) -> Result<()> {
    let date = shipment_date(company, header);
    for mut line in company.lines("salesOrderLines", header.id) {
        line.set("shipmentDate", Value::Date(date));
        company.update(line)?;
    }
    Ok(())
}

fn shipment_date(company: &Company, header: &Record) -> chrono::NaiveDate {
    let requested = header.set.position("requestedDeliveryDate").map(|position| header.at(position));
    match requested {
        Some(Value::Date(date)) if *date != blank_date() => *date,
        _ => company.now.date_naive(),
    }
}

/// Validates `properties` in their order and puts them into `line`.
fn validate(company: &Company, line: &mut Record, header: &Record, properties: &Properties) -> Result<()> {
    for (position, value) in properties {
        let name = line.set.fields[*position].name;
        match name {
            "documentId" => {}
            "itemId" => take_item(company, line, value)?,
            "accountId" => return Err(ApiError::dialog("Account does not exist.")),
            "lineType" => {
                line.put(*position, value.clone());
                let number = line.text("lineObjectNumber").to_owned();
                if line.plain("lineType") == "Item" && !number.is_empty() && line.guid("itemId").is_nil() {
                    name_item_loosely(company, line, &number)?;
                }
            }
            "lineObjectNumber" => {
                line.put(*position, value.clone());
                if line.plain("lineType") == "Item" {
                    let item = company.table("items").find_by_key(line.text("lineObjectNumber"));
                    let item = item.ok_or_else(|| ApiError::dialog("Item does not exist."))?;
                    copy_item(company, line, &item)?;
                }
            }
            "unitOfMeasureCode" | "unitOfMeasureId" => {
                let before = line.text("unitOfMeasureCode").to_owned();
                rules::apply(company, line, &vec![(*position, value.clone())])?;
                check_item_unit(company, line)?;
                if line.text("unitOfMeasureCode") != before {
                    price(company, line);
                }
            }
            "quantity" => take_quantity(company, line, value)?,
            "discountPercent" => {
                let percent = decimal(value);
                if percent < Decimal::ZERO || percent > Decimal::ONE_HUNDRED {
                    return Err(ApiError::dialog("The discount percent must be between 0 and 100."));
                }
                line.put(*position, value.clone());
                let gross = money(line.decimal("quantity") * line.decimal("unitPrice"));
                line.set("discountAmount", Value::Decimal(money(gross * percent / Decimal::ONE_HUNDRED)));
            }
            "discountAmount" => {
                rules::apply(company, line, &vec![(*position, value.clone())])?;
                set_discount_percent(line);
            }
            "unitPrice" => {
                line.put(*position, value.clone());
                apply_discount_percent(line);
            }
            _ => rules::apply(company, line, &vec![(*position, value.clone())])?,
        }
    }
    compute(company, line, header);
    Ok(())
}

fn take_item(company: &Company, line: &mut Record, value: &Value) -> Result<()> {
    let Value::Guid(id) = value else { return Ok(()) };
    let item = company.table("items").find(*id).ok_or_else(|| ApiError::dialog("Item does not exist."))?;
    copy_item(company, line, &item)
}

/// The sales line's own look-up, which runs when the type comes after the number: an exact number, or else any item
/// whose number or name contains the text. BC picks another item silently here, and so does this.
fn name_item_loosely(company: &Company, line: &mut Record, text: &str) -> Result<()> {
    let items = company.table("items");
    let found = items.find_by_key(text).or_else(|| {
        items
            .records()
            .find(|item| item.text("number").contains(text) || item.text("displayName").to_uppercase().contains(text))
    });
    copy_item(company, line, &found.ok_or_else(|| ApiError::dialog("Item does not exist."))?)
}

/// Re-initialises the line from `item`.
fn copy_item(company: &Company, line: &mut Record, item: &Record) -> Result<()> {
    let number = item.text("number").to_owned();
    if *item.get("blocked") == Value::Bool(true) {
        return Err(ApiError::field_validation(format!(
            "Blocked must be equal to 'No'  in Item: No.={number}. Current value is 'Yes'."
        )));
    }
    let groups = [
        ("generalProductPostingGroupCode", "Gen. Prod. Posting Group"),
        ("inventoryPostingGroupCode", "Inventory Posting Group"),
    ];
    let needed = if item.plain("type") == "Inventory" { &groups[..] } else { &groups[..1] };
    for (property, caption) in needed {
        if item.text(property).is_empty() {
            return Err(ApiError::field_validation(format!(
                "{caption} must have a value in Item: No.={number}. It cannot be zero or empty."
            )));
        }
    }
    line.set_option("lineType", "Item");
    line.set("itemId", Value::Guid(item.id));
    line.set_text("lineObjectNumber", &number);
    for (property, from) in [
        ("description", "displayName"),
        ("description2", "displayName2"),
        ("unitOfMeasureId", "baseUnitOfMeasureId"),
        ("unitOfMeasureCode", "baseUnitOfMeasureCode"),
        ("unitPrice", "unitPrice"),
        ("taxCode", "taxGroupCode"),
    ] {
        line.set(property, item.get(from).clone());
    }
    line.set("taxPercent", Value::Decimal(company.setup.tax_percent));
    apply_discount_percent(line);
    Ok(())
}

fn check_item_unit(company: &Company, line: &Record) -> Result<()> {
    let item = company.table("items").find(line.guid("itemId"));
    let unit = line.text("unitOfMeasureCode");
    let known = item.is_none_or(|item| ["", item.text("baseUnitOfMeasureCode")].contains(&unit));
    if known {
        Ok(())
    } else {
        Err(ApiError::relation("Unit of Measure Code", "Sales Line", unit, "Item Unit of Measure"))
    }
}

/// Gives the line the price of its item, which has no discount.
fn price(company: &Company, line: &mut Record) {
    if let Some(item) = company.table("items").find(line.guid("itemId")) {
        line.set("unitPrice", item.get("unitPrice").clone());
        line.set("discountPercent", Value::Decimal(Decimal::ZERO));
        line.set("discountAmount", Value::Decimal(Decimal::ZERO));
    }
}

/// A quantity that changes prices the line again, and all of it is to be shipped and invoiced.
fn take_quantity(company: &Company, line: &mut Record, value: &Value) -> Result<()> {
    let quantity = decimal(value).round_dp_with_strategy(5, RoundingStrategy::MidpointAwayFromZero);
    let is_order_line = line.set.position("shippedQuantity").is_some();
    if is_order_line {
        let shipped = line.decimal("shippedQuantity");
        if quantity < shipped {
            return Err(ApiError::field_validation(format!("Quantity must not be less than {shipped}.")));
        }
        line.set("shipQuantity", Value::Decimal(quantity - shipped));
        line.set("invoiceQuantity", Value::Decimal(quantity - line.decimal("invoicedQuantity")));
    }
    if quantity != line.decimal("quantity") {
        price(company, line);
    }
    line.set("quantity", Value::Decimal(quantity));
    apply_discount_percent(line);
    Ok(())
}

/// Quantity or price have changed: the percentage stays, the amount follows.
fn apply_discount_percent(line: &mut Record) {
    let gross = money(line.decimal("quantity") * line.decimal("unitPrice"));
    let amount = money(gross * line.decimal("discountPercent") / Decimal::ONE_HUNDRED);
    line.set("discountAmount", Value::Decimal(amount));
}

fn set_discount_percent(line: &mut Record) {
    let gross = line.decimal("quantity") * line.decimal("unitPrice");
    let percent = if gross.is_zero() {
        Decimal::ZERO
    } else {
        let percent = line.decimal("discountAmount") * Decimal::ONE_HUNDRED / gross;
        percent.round_dp_with_strategy(5, RoundingStrategy::MidpointAwayFromZero).normalize()
    };
    line.set("discountPercent", Value::Decimal(percent));
}

/// Computes the amounts of a line, leaving its share of the invoice discount as it is.
fn compute(company: &Company, line: &mut Record, header: &Record) {
    let rate = company.setup.tax_percent / Decimal::ONE_HUNDRED;
    let gross = money(line.decimal("quantity") * line.decimal("unitPrice")) - line.decimal("discountAmount");
    let (net, with_tax) = if *header.get("pricesIncludeTax") == Value::Bool(true) {
        (money(gross / (Decimal::ONE + rate)), gross)
    } else {
        (gross, money(gross * (Decimal::ONE + rate)))
    };
    line.set("amountExcludingTax", Value::Decimal(net));
    line.set("totalTaxAmount", Value::Decimal(with_tax - net));
    line.set("amountIncludingTax", Value::Decimal(with_tax));
    let after_discount = net - line.decimal("invoiceDiscountAllocation");
    let tax = money(after_discount * rate);
    line.set("netAmount", Value::Decimal(after_discount));
    line.set("netTaxAmount", Value::Decimal(tax));
    line.set("netAmountIncludingTax", Value::Decimal(after_discount + tax));
}

/// Distributes the invoice discount over the lines, sums them up, and writes `header`.
pub(super) fn total(company: &mut Company, set: &'static str, mut header: Record) -> Result<Record> {
    let lines = company.lines(set, header.id);
    let base: Decimal = lines.iter().map(|line| line.decimal("amountExcludingTax")).sum();
    let discount = header.decimal("discountAmount");
    let mut left = discount;
    let (mut net, mut tax) = (Decimal::ZERO, Decimal::ZERO);
    let last = lines.len().saturating_sub(1);
    for (at, old) in lines.into_iter().enumerate() {
        let share = match at {
            _ if base.is_zero() => Decimal::ZERO,
            _ if at == last => left,
            _ => money(discount * old.decimal("amountExcludingTax") / base),
        };
        left -= share;
        let mut line = old.clone();
        line.set("invoiceDiscountAllocation", Value::Decimal(share));
        compute(company, &mut line, &header);
        net += line.decimal("netAmount");
        tax += line.decimal("netTaxAmount");
        if (0..line.set.fields.len()).any(|position| line.at(position) != old.at(position)) {
            company.update(line)?;
        }
    }
    header.set("totalAmountExcludingTax", Value::Decimal(net));
    header.set("totalTaxAmount", Value::Decimal(tax));
    header.set("totalAmountIncludingTax", Value::Decimal(net + tax));
    company.update(header)
}

/// Two decimals, half away from zero, with trailing zeros as BC's amounts have them.
pub(super) fn money(amount: Decimal) -> Decimal {
    let mut rounded = amount.round_dp_with_strategy(2, RoundingStrategy::MidpointAwayFromZero);
    rounded.rescale(2);
    rounded
}

fn decimal(value: &Value) -> Decimal {
    match value {
        Value::Decimal(decimal) => *decimal,
        _ => Decimal::ZERO,
    }
}
