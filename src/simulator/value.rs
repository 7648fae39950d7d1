//! One value of a property: read from JSON with Business Central's checks, and written back as it would write it.
//!
//! Decimals stay exact: their text goes straight into `rust_decimal` and out again. There is no null; what is absent or
//! cleared is the kind's blank value.

use std::cmp::Ordering;

use chrono::{DateTime, NaiveDate, SecondsFormat, Utc};
use rust_decimal::Decimal;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::errors::{ApiError, Result};
use super::fields::{Field, Kind};
use super::json;

/// The value of one property of one row.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    /// Text or code.
    Text(String),
    /// Exact decimal.
    Decimal(Decimal),
    /// Whole number.
    Int(i64),
    /// Yes or no.
    Bool(bool),
    /// Date; blank is the first day of year 1.
    Date(NaiveDate),
    /// Instant; blank is the first instant of year 1.
    DateTime(DateTime<Utc>),
    /// Id; blank is all zeros.
    Guid(Uuid),
    /// Position of an option's member.
    Option(u8),
}

/// The blank date.
pub(super) fn blank_date() -> NaiveDate {
    NaiveDate::from_ymd_opt(1, 1, 1).expect("the first day of year 1 exists")
}

/// `time` in whole ticks of 1/300 s, which is all that the database behind BC keeps.
pub(super) fn sql_ticks(time: DateTime<Utc>) -> DateTime<Utc> {
    let millis = time.timestamp_millis();
    let ticks = (millis * 3 + 5).div_euclid(10);
    DateTime::from_timestamp_millis((ticks * 10 + 1).div_euclid(3)).unwrap_or(time)
}

impl Value {
    /// The value of a property that nobody has set.
    pub(super) fn blank(kind: Kind) -> Self {
        match kind {
            Kind::Text(_) | Kind::Code(_) => Value::Text(String::new()),
            Kind::Decimal => Value::Decimal(Decimal::ZERO),
            Kind::Int => Value::Int(0),
            Kind::Bool => Value::Bool(false),
            Kind::Date => Value::Date(blank_date()),
            Kind::DateTime => Value::DateTime(blank_date().and_time(chrono::NaiveTime::MIN).and_utc()),
            Kind::Guid => Value::Guid(Uuid::nil()),
            Kind::Option(_) => Value::Option(0),
        }
    }

    /// Whether this is the blank value of its kind.
    pub(super) fn is_blank(&self) -> bool {
        match self {
            Value::Text(text) => text.is_empty(),
            Value::Decimal(decimal) => decimal.is_zero(),
            Value::Int(int) => *int == 0,
            Value::Bool(bool) => !bool,
            Value::Date(date) => *date == blank_date(),
            Value::DateTime(time) => time.date_naive() == blank_date(),
            Value::Guid(id) => id.is_nil(),
            Value::Option(member) => *member == 0,
        }
    }

    /// Reads what a body gives for `field`, with the checks that BC makes before any rule runs.
    pub(super) fn from_json(field: &Field, raw: &RawValue) -> Result<Self> {
        let text = raw.get();
        match text.as_bytes().first() {
            Some(b'n') => Ok(Value::blank(field.kind)),
            Some(b'"') => {
                let content: String = serde_json::from_str(text).expect("a raw string is a string");
                Self::from_text(field, &content)
            }
            Some(b'{') => Err(ApiError::unexpected_node("StartObject", "PrimitiveValue")),
            Some(b'[') => Err(ApiError::unexpected_node("StartArray", "PrimitiveValue")),
            Some(b't' | b'f') if field.kind == Kind::Bool => Ok(Value::Bool(text == "true")),
            Some(b't' | b'f') => Err(ApiError::wrong_type(text, &field.kind.edm())),
            _ => Self::from_number(field, text),
        }
    }

    fn from_number(field: &Field, text: &str) -> Result<Self> {
        let wrong = || ApiError::wrong_type(text, &field.kind.edm());
        match field.kind {
            Kind::Decimal => parse_decimal(text).map(Value::Decimal).ok_or_else(wrong),
            Kind::Int => text.parse::<i32>().map(|int| Value::Int(int.into())).map_err(|_| wrong()),
            _ => Err(wrong()),
        }
    }

    fn from_text(field: &Field, text: &str) -> Result<Self> {
        match field.kind {
            Kind::Text(max) => within(text, max).map(Value::Text),
            Kind::Code(max) => within(&normalise_code(text), max).map(Value::Text),
            Kind::Guid => Uuid::parse_str(text).map(Value::Guid).map_err(|_| ApiError::invalid_guid(text)),
            Kind::Date => NaiveDate::parse_from_str(text, "%Y-%m-%d")
                .map(Value::Date)
                .map_err(|_| ApiError::bad_request("Unable to convert value to Date")),
            Kind::DateTime => parse_time(text)
                .map(Value::DateTime)
                .ok_or_else(|| ApiError::bad_request("Unable to convert value to DateTime")),
            Kind::Option(option) => option_member(option.members.as_slice(), text)
                .map(Value::Option)
                .ok_or_else(|| ApiError::not_an_option(text, &member_list(&option.members))),
            Kind::Decimal | Kind::Int | Kind::Bool => Err(ApiError::wrong_type(text, &field.kind.edm())),
        }
    }

    /// The value as the database keeps it: a number, not the way it was spelt.
    pub(super) fn stored(self) -> Self {
        match self {
            Value::Decimal(decimal) => Value::Decimal(decimal.normalize()),
            other => other,
        }
    }

    /// Reads a literal of a filter; `quoted` says whether it stood in quotes.
    pub(super) fn from_literal(field: &Field, text: &str, quoted: bool) -> Result<Self> {
        let incompatible = || {
            ApiError::bad_request(
                "A binary operator with incompatible types was detected. Found operand types of different kinds.",
            )
        };
        match (field.kind, quoted) {
            (Kind::Code(max) | Kind::Text(max), true) => {
                let text = if matches!(field.kind, Kind::Code(_)) { normalise_code(text) } else { text.to_owned() };
                let length = text.encode_utf16().count();
                if max > 0 && length > max {
                    return Err(ApiError::new(
                        400,
                        "Application_FilterErrorException",
                        format!(
                            "The filter \"{text}\" is not valid for the {} field. The length of the string is {length}, but it must be less than or equal to {max} characters.",
                            field.caption
                        ),
                    ));
                }
                Ok(Value::Text(text))
            }
            (Kind::Option(_), true) => Self::from_text(field, text),
            (Kind::Guid | Kind::Date | Kind::DateTime, false) => {
                Self::from_text(field, text).map_err(|_| incompatible())
            }
            (Kind::Bool, false) => match text {
                "true" => Ok(Value::Bool(true)),
                "false" => Ok(Value::Bool(false)),
                _ => Err(incompatible()),
            },
            (Kind::Decimal | Kind::Int, false) => Self::from_number(field, text).map_err(|_| incompatible()),
            _ => Err(incompatible()),
        }
    }

    /// Appends the value to `out` as JSON.
    pub(super) fn push_json(&self, kind: Kind, out: &mut String) {
        match (self, kind) {
            (Value::Text(text), _) => json::push_text(out, text),
            (Value::Bool(bool), _) => out.push_str(if *bool { "true" } else { "false" }),
            (Value::Int(int), _) => out.push_str(&int.to_string()),
            (Value::Decimal(decimal), _) => out.push_str(&decimal.to_string()),
            _ => {
                out.push('"');
                out.push_str(&self.plain(kind));
                out.push('"');
            }
        }
    }

    /// The value as bare text: what an index holds and what a listing shows.
    pub(super) fn plain(&self, kind: Kind) -> String {
        match (self, kind) {
            (Value::Text(text), _) => text.clone(),
            (Value::Decimal(decimal), _) => decimal.normalize().to_string(),
            (Value::Int(int), _) => int.to_string(),
            (Value::Bool(bool), _) => bool.to_string(),
            (Value::Date(date), _) => date.format("%Y-%m-%d").to_string(),
            (Value::DateTime(time), _) => write_time(*time),
            (Value::Guid(id), _) => id.to_string(),
            (Value::Option(member), Kind::Option(option)) => {
                option.members.get(usize::from(*member)).copied().unwrap_or_default().to_owned()
            }
            (Value::Option(member), _) => member.to_string(),
        }
    }

    /// Order of two values of the same kind.
    pub(super) fn compare(&self, other: &Value) -> Ordering {
        match (self, other) {
            (Value::Text(a), Value::Text(b)) => a.cmp(b),
            (Value::Decimal(a), Value::Decimal(b)) => a.cmp(b),
            (Value::Int(a), Value::Int(b)) => a.cmp(b),
            (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
            (Value::Date(a), Value::Date(b)) => a.cmp(b),
            (Value::DateTime(a), Value::DateTime(b)) => a.cmp(b),
            (Value::Guid(a), Value::Guid(b)) => a.cmp(b),
            (Value::Option(a), Value::Option(b)) => a.cmp(b),
            _ => Ordering::Equal,
        }
    }
}

/// A code as BC stores it: without outer blanks, in upper case.
pub(super) fn normalise_code(text: &str) -> String {
    text.trim().to_uppercase()
}

/// The member names of an option as people read them.
pub(super) fn member_list(members: &[&str]) -> String {
    members.iter().map(|member| decode_member(member)).collect::<Vec<_>>().join(",")
}

fn within(text: &str, max: usize) -> Result<String> {
    let length = text.encode_utf16().count();
    if max > 0 && length > max { Err(ApiError::too_long(length, max, text)) } else { Ok(text.to_owned()) }
}

/// The member that `text` names: its wire name, and for the blank member also a blank.
fn option_member(members: &[&str], text: &str) -> Option<u8> {
    let text = if text == " " || text.is_empty() { "_x0020_" } else { text };
    members.iter().position(|member| *member == text).and_then(|position| u8::try_from(position).ok())
}

fn decode_member(member: &str) -> String {
    member.replace("_x0020_", " ").replace("_x002D_", "-").replace("_x002B_", "+").replace("_x002E_", ".")
}

fn parse_decimal(text: &str) -> Option<Decimal> {
    if text.contains(['e', 'E']) { Decimal::from_scientific(text).ok() } else { Decimal::from_str_exact(text).ok() }
}

fn parse_time(text: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc3339(text).ok().map(|time| time.with_timezone(&Utc))
}

/// Up to three decimals, trailing zeros dropped.
fn write_time(time: DateTime<Utc>) -> String {
    let text = time.to_rfc3339_opts(SecondsFormat::Millis, true);
    let bare = text.trim_end_matches('Z');
    format!("{}Z", bare.trim_end_matches('0').trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::fields;

    fn field(set: &str, property: &str) -> &'static Field {
        let set = &fields::sets()[fields::set_position(set).unwrap()];
        &set.fields[set.position(property).unwrap()]
    }

    fn read(set: &str, property: &str, json: &str) -> Result<Value> {
        Value::from_json(field(set, property), serde_json::from_str::<&RawValue>(json).unwrap())
    }

    #[test]
    fn values_are_read_as_bc_stores_them() {
        for (set, property, json, written) in [
            ("customers", "number", "\" abc \"", "\"ABC\""),
            ("customers", "displayName", "\" Abc\"", "\" Abc\""),
            ("customers", "blocked", "\" \"", "\"_x0020_\""),
            ("customers", "blocked", "\"All\"", "\"All\""),
            ("customers", "creditLimit", "12345678901234567.89", "12345678901234567.89"),
            ("customers", "creditLimit", "1e3", "1000"),
            ("customers", "creditLimit", "10.50", "10.5"),
            ("customers", "creditLimit", "null", "0"),
            ("salesOrders", "orderDate", "\"2026-02-28\"", "\"2026-02-28\""),
            ("salesOrders", "requestedDeliveryDate", "null", "\"0001-01-01\""),
            ("items", "type", "\"Non_x002D_Inventory\"", "\"Non_x002D_Inventory\""),
        ] {
            let mut out = String::new();
            read(set, property, json).unwrap().stored().push_json(field(set, property).kind, &mut out);
            assert_eq!(out, written, "{property}: {json}");
        }
    }

    #[test]
    fn what_does_not_fit_is_refused_with_its_code() {
        for (set, property, json, code) in [
            ("customers", "number", "5", "BadRequest"),
            ("customers", "creditLimit", "\"5\"", "BadRequest"),
            ("customers", "taxLiable", "\"true\"", "BadRequest"),
            ("customers", "displayName", "{}", "BadRequest"),
            ("customers", "number", "\"123456789012345678901\"", "Application_StringExceededLength"),
            ("customers", "currencyId", "\"EUR\"", "Application_InvalidGUID"),
            ("items", "type", "\"Non-Inventory\"", "Unknown"),
            ("salesOrders", "orderDate", "\"28.02.2026\"", "BadRequest"),
            ("salesOrders", "orderDate", "\"2026-02-30\"", "BadRequest"),
        ] {
            assert_eq!(read(set, property, json).unwrap_err().code, code, "{property}: {json}");
        }
    }

    #[test]
    fn lengths_count_utf16_units() {
        let forty_nine = "𝄞".repeat(49);
        assert!(read("customers", "addressLine2", &format!("\"{}\"", &forty_nine[..4 * 25])).is_ok());
        assert!(read("customers", "addressLine2", &format!("\"{}\"", &forty_nine[..4 * 26])).is_err());
    }

    #[test]
    fn times_drop_trailing_zeros_but_never_seconds() {
        for (written, text) in [
            ("2026-11-23T01:02:03.500Z", "2026-11-23T01:02:03.5Z"),
            ("2026-11-23T01:02:30.000Z", "2026-11-23T01:02:30Z"),
            ("2026-11-23T01:00:00.000Z", "2026-11-23T01:00:00Z"),
            ("2026-11-23T01:02:03.457Z", "2026-11-23T01:02:03.457Z"),
        ] {
            assert_eq!(write_time(parse_time(written).unwrap()), text);
        }
    }

    #[test]
    fn stamps_end_in_0_3_or_7() {
        for millis in 0..1_000 {
            let stamp = sql_ticks(DateTime::from_timestamp_millis(1_700_000_000_000 + millis).unwrap());
            assert!(matches!(stamp.timestamp_millis() % 10, 0 | 3 | 7), "{millis}");
            assert_eq!(sql_ticks(stamp), stamp);
        }
    }
}
