//! What Business Central checks and changes when a property is validated, one property after the other.
//!
//! The order matters, as it does in BC: a country that is set after the city blanks it. It touches the record only; rows
//! are written by others.

use rust_decimal::Decimal;

use super::errors::{ApiError, Result};
use super::fields::{Check, Field};
use super::postcodes;
use super::record::Record;
use super::store::Company;
use super::value::Value;

/// Properties of a body in their order: position in the set, and value.
pub(super) type Properties = Vec<(usize, Value)>;

/// Validates `properties` one by one and puts them into `record`.
pub(super) fn apply(company: &Company, record: &mut Record, properties: &Properties) -> Result<()> {
    let mut done: Vec<&str> = Vec::with_capacity(properties.len());
    for (position, value) in properties {
        let field = &record.set.fields[*position];
        let before = record.at(*position).clone();
        check_plain(field, value)?;
        record.put(*position, value.clone());
        if field.relation.is_some() {
            check_code(company, record, field, *position, &done)?;
        } else if field.reference.is_some() {
            check_id(company, record, field, *position, &done)?;
        }
        follow(company, record, field.name, &before)?;
        done.push(field.name);
    }
    Ok(())
}

/// Checks that need nothing but the value.
fn check_plain(field: &Field, value: &Value) -> Result<()> {
    if field.required && value.is_blank() {
        return Err(match field.name {
            "displayName" => ApiError::dialog("The blank \"displayName\" is not allowed."),
            name => ApiError::required(name),
        });
    }
    match (field.check, value) {
        (Some(Check::Phone), Value::Text(text)) if text.chars().any(char::is_alphabetic) => {
            Err(ApiError::field_validation("Phone No. must not contain letters in the phone number."))
        }
        (Some(Check::Email), Value::Text(text)) if !text.is_empty() => {
            match text.split(';').find(|address| !is_email(address)) {
                Some(address) => {
                    Err(ApiError::dialog(format!("The email address \"{}\" is not valid.", address.trim())))
                }
                None => Ok(()),
            }
        }
        (Some(Check::NotNegative), Value::Decimal(decimal)) if *decimal < Decimal::ZERO => Err(ApiError::dialog(
            format!("The value of {} must be greater than or equal to 0. Value: {decimal}.", field.caption),
        )),
        _ => Ok(()),
    }
}

fn is_email(address: &str) -> bool {
    let address = address.trim();
    let Some((local, domain)) = address.split_once('@') else { return false };
    let plain = |part: &str| !part.is_empty() && !part.contains(['@', ' ', ',']);
    plain(local) && plain(domain) && domain.split('.').all(|label| !label.is_empty()) && domain.contains('.')
}

/// A code that must exist in another table; its twin id follows.
fn check_code(company: &Company, record: &mut Record, field: &Field, position: usize, done: &[&str]) -> Result<()> {
    let relation = field.relation.unwrap_or_default();
    let code = record.at(position).plain(field.kind);
    let target = if code.is_empty() || (relation == "currencies" && code == company.setup.local_currency) {
        record.put(position, Value::Text(String::new()));
        None
    } else {
        let target = company.table(relation);
        let Some(target) = target.find_by_key(&code) else {
            return Err(ApiError::relation(&field.caption, &record.set.caption, &code, &target.set.caption));
        };
        if relation == "salespeoplePurchasers" && *target.get("blocked") == Value::Bool(true) {
            return Err(ApiError::dialog(format!(
                "You cannot choose Salesperson {code} because the salesperson is blocked."
            )));
        }
        Some(target)
    };
    let id = target.map(|target| target.id).unwrap_or_default();
    twin_follows(company, record, field, Value::Guid(id), done)
}

/// An id that must exist in another table or be zero; its twin code follows.
fn check_id(company: &Company, record: &mut Record, field: &Field, position: usize, done: &[&str]) -> Result<()> {
    let target = company.table(field.reference.unwrap_or_default());
    let id = match record.at(position) {
        Value::Guid(id) => *id,
        _ => return Ok(()),
    };
    let found = target.find(id);
    if found.is_none() && !id.is_nil() {
        // The tax area has no table relation: AL code stumbles over the missing row itself.
        return Err(if target.set.name == "taxAreas" {
            ApiError::record_not_found(&target.set.caption, &format!("SystemId='{id}'"))
        } else {
            ApiError::dialog(format!("The \"{}\" does not match to a {}.", field.name, target.set.caption))
        });
    }
    let code = found.as_ref().and_then(|found| found.set.key.map(|key| found.at(key).clone()));
    twin_follows(company, record, field, code.unwrap_or(Value::Text(String::new())), done)
}

/// Sets the twin of `field`, or refuses when the body has already set it to something else.
fn twin_follows(company: &Company, record: &mut Record, field: &Field, value: Value, done: &[&str]) -> Result<()> {
    let Some(twin) = field.twin else { return Ok(()) };
    if done.contains(&twin) && *record.get(twin) != value {
        let caption = &company.table(field.relation.or(field.reference).unwrap_or_default()).set.caption;
        return Err(ApiError::dialog(format!(
            "The {} values do not match to a specific {caption}.",
            caption.to_lowercase()
        )));
    }
    record.set(twin, value);
    Ok(())
}

/// What else changes when `property` has changed from `before`.
fn follow(company: &Company, record: &mut Record, property: &str, before: &Value) -> Result<()> {
    match (record.set.name, property) {
        ("customers" | "contacts", "country") if !before.is_blank() && record.get("country") != before => {
            for property in ["city", "state", "postalCode"] {
                record.set_text(property, "");
            }
        }
        ("customers" | "contacts", "postalCode") => {
            if let Some((city, state, country)) = postcodes::find(record.text("postalCode")) {
                record.set_text("city", city);
                record.set_text("state", state);
                record.set_text("country", country);
            }
        }
        ("customers", "taxAreaId") => {
            if record.get("taxAreaId").is_blank() {
                record.set("taxAreaId", before.clone());
            }
            let area = company.table("taxAreas").find(record.guid("taxAreaId"));
            record.set_text("taxAreaDisplayName", area.as_ref().map_or("", |area| area.text("displayName")));
        }
        ("contacts", "companyNumber") => follow_contact_company(company, record)?,
        ("contacts", "companyName") => {
            let name = record.text("companyName").to_owned();
            let found = company
                .table("contacts")
                .records()
                .find(|contact| contact.plain("type") == "Company" && contact.text("displayName") == name);
            record.set_text("companyNumber", found.as_ref().map_or("", |found| found.text("number")));
        }
        _ => {}
    }
    Ok(())
}

fn follow_contact_company(company: &Company, record: &mut Record) -> Result<()> {
    let number = record.text("companyNumber").to_owned();
    if number.is_empty() {
        return Ok(());
    }
    if record.plain("type") != "Person" {
        return Err(ApiError::field_validation(format!(
            "Type must be equal to 'Person'  in Contact: No.={}. Current value is 'Company'.",
            record.text("number")
        )));
    }
    let employer = company.table("contacts").find_by_key(&number).filter(|found| found.plain("type") == "Company");
    let Some(employer) = employer else {
        return Err(ApiError::relation("Company No.", "Contact", &number, "Contact"));
    };
    record.set_text("companyName", employer.text("displayName"));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::is_email;

    #[test]
    fn email_syntax() {
        for (address, valid) in [
            ("a@b.example", true),
            (" a.b+c@d.example ", true),
            ("a@b", false),
            ("a b@c.example", false),
            ("@c.example", false),
            ("a@", false),
            ("a@b@c.example", false),
            ("a@b..example", false),
        ] {
            assert_eq!(is_email(address), valid, "{address}");
        }
    }
}
