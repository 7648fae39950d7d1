//! The normal form of a value: what BC stores when it is sent, or why it cannot be sent.
//!
//! Bringing a value into its normal form twice changes nothing. Messages name lengths and limits, never the value.

use chrono::Datelike;
use chrono_tz::Tz;
use rust_decimal::Decimal;

use super::entity::{Kind, PropertySchema, Rule};
use super::text::{code, decoded, email_problem, member, phone_problem, utf16_len};
use super::time::{EMPTY_DATE, EMPTY_STAMP, date, stamp};
use crate::model::{Problem, Value};

/// Changes whenever this module makes something else of any value; part of every mapping's fingerprint, so that all
/// records are looked at again.
pub const NORMALISER_VERSION: &str = "1";

/// BC's way to say "no row" in a property that holds an id.
pub const EMPTY_GUID: &str = "00000000-0000-0000-0000-000000000000";

/// What the normal form of some values depends on.
#[derive(Debug, Clone, Copy)]
pub struct Locale<'a> {
    /// The code of the company's local currency, which BC stores as blank; `None` when it is not known.
    pub local_currency: Option<&'a str>,
    /// Where a stamp's date is taken.
    pub timezone: Tz,
}

impl Default for Locale<'_> {
    fn default() -> Self {
        Self { local_currency: None, timezone: Tz::UTC }
    }
}

/// Brings `value` into the form in which BC stores it in `property`, or says why BC would refuse it.
///
/// | property | takes | empty (null, blank) |
/// |---|---|---|
/// | text | text, whole numbers and decimals as plain digits | `""` |
/// | code | the same, trimmed and in upper case, see [`code`] | `""` |
/// | decimal, integer | numbers, numeric text | 0 |
/// | boolean | true, false, 0, 1, also as text | false |
/// | date | ISO dates and stamps, a stamp with a zone in that of `locale` | `0001-01-01` |
/// | stamp | ISO stamps, in UTC | `0001-01-01T00:00:00Z` |
/// | id | GUIDs, in lower case with hyphens | the zero GUID |
/// | enum | member names, on the wire or decoded | the blank member; else a problem |
/// | unknown | any scalar, as it is | as it is |
pub fn normalise(property: &PropertySchema, value: Value, locale: &Locale<'_>) -> Result<Value, Problem> {
    let fail = |message: String| Problem::of(&property.name, message);
    let filled = property.rule == Some(Rule::Filled);
    if filled && is_blank(&value) {
        return Err(fail(BLANK.to_owned()));
    }
    let value = convert(&property.kind, value, locale).map_err(fail)?;
    if filled && is_blank(&value) {
        return Err(fail(BLANK.to_owned()));
    }
    match property.rule {
        Some(rule) => obey(rule, value, locale).map_err(fail),
        None => Ok(value),
    }
}

const BLANK: &str = "it is blank, but a value is needed";

/// Whether `value` says nothing: null, blank text, the empty date, the zero GUID.
#[must_use]
pub fn is_blank(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Str(text) => {
            let text = text.trim();
            text.is_empty() || text == EMPTY_GUID || text == EMPTY_DATE || text == EMPTY_STAMP
        }
        _ => false,
    }
}

fn convert(kind: &Kind, value: Value, locale: &Locale<'_>) -> Result<Value, String> {
    match kind {
        Kind::Text { max } => {
            let text = text_of(value)?;
            match too_long(&text, *max) {
                Some((long, max)) => Err(format!("{long}; shorten it, e.g. `… | truncate({max})`")),
                None => Ok(Value::Str(text)),
            }
        }
        Kind::Code { max } => {
            let text = code(&text_of(value)?);
            match too_long(&text, *max) {
                Some((long, _)) => Err(format!("{long}; a code that is cut short could be that of another row")),
                None => Ok(Value::Str(text)),
            }
        }
        Kind::Decimal => decimal_of(value),
        Kind::Integer => integer_of(value),
        Kind::Boolean => boolean_of(&value),
        Kind::Date => date_of(&value, locale),
        Kind::Stamp => match blank_or_text(&value, "a stamp")? {
            None => Ok(Value::from(EMPTY_STAMP)),
            Some(text) => stamp(text, locale.timezone)
                .map(Value::Str)
                .ok_or_else(|| "it is not an ISO stamp such as 2026-01-31T12:00:00Z".to_owned()),
        },
        Kind::Guid => match blank_or_text(&value, "an id")? {
            None => Ok(Value::from(EMPTY_GUID)),
            Some(text) => {
                uuid::Uuid::try_parse(text.trim()).map(|id| Value::Str(id.hyphenated().to_string())).map_err(|_| {
                    "it is not an id (GUID); an id in Business Central comes from `link` or `lookup`".to_owned()
                })
            }
        },
        Kind::Enum(members) => member_of(members, &value),
        Kind::Unknown => match value {
            Value::Dec(exact) => Ok(Value::Dec(exact.normalize())),
            Value::Null | Value::Bool(_) | Value::Int(_) | Value::Str(_) => Ok(value),
            Value::Big(_) => Err(TOO_MANY_DIGITS.to_owned()),
            Value::List(_) | Value::Map(_) => Err(unsuitable("a single value", &value)),
        },
    }
}

const TOO_MANY_DIGITS: &str = "it has more digits than can be kept exactly (28)";

fn unsuitable(needed: &str, value: &Value) -> String {
    match value {
        Value::Big(_) => TOO_MANY_DIGITS.to_owned(),
        _ => format!("it is {}, but {needed} is needed", value.kind()),
    }
}

/// How long `text` is and how long it may be, in words and as a number, when it does not fit.
fn too_long(text: &str, max: Option<usize>) -> Option<(String, usize)> {
    let length = utf16_len(text);
    max.filter(|max| length > *max).map(|max| (format!("{length} characters, at most {max} fit"), max))
}

fn text_of(value: Value) -> Result<String, String> {
    match value {
        Value::Null => Ok(String::new()),
        Value::Str(text) => Ok(text),
        Value::Int(whole) => Ok(whole.to_string()),
        Value::Dec(exact) => Ok(exact.normalize().to_string()),
        _ => Err(unsuitable("text", &value)),
    }
}

/// The text of `value`, `None` when it is blank.
fn blank_or_text<'a>(value: &'a Value, needed: &str) -> Result<Option<&'a str>, String> {
    match value {
        Value::Null => Ok(None),
        Value::Str(text) if text.trim().is_empty() => Ok(None),
        Value::Str(text) => Ok(Some(text)),
        _ => Err(unsuitable(needed, value)),
    }
}

fn decimal_of(value: Value) -> Result<Value, String> {
    match value {
        Value::Null => Ok(Value::Int(0)),
        Value::Int(_) => Ok(value),
        Value::Dec(exact) => Ok(Value::Dec(exact.normalize())),
        Value::Str(text) if text.trim().is_empty() => Ok(Value::Int(0)),
        Value::Str(text) => match plain_number(text.trim()) {
            Some(Value::Big(_)) => Err(TOO_MANY_DIGITS.to_owned()),
            Some(Value::Dec(exact)) => Ok(Value::Dec(exact.normalize())),
            Some(number) => Ok(number),
            None => Err("it is text that is not a plain number such as -1234.50".to_owned()),
        },
        _ => Err(unsuitable("a number", &value)),
    }
}

/// Digits with at most one point and a sign; nothing that could be read in two ways, such as `1,234`.
fn plain_number(text: &str) -> Option<Value> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let all_digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    (all_digits(whole) && all_digits(fraction)).then(|| Value::number(text.strip_prefix('+').unwrap_or(text)))
}

fn integer_of(value: Value) -> Result<Value, String> {
    match decimal_of(value)? {
        Value::Dec(exact) if exact.is_integer() => {
            i64::try_from(exact).map(Value::Int).map_err(|_| "it is larger than a whole number can be".to_owned())
        }
        Value::Dec(_) => Err("it has decimals, but a whole number is needed".to_owned()),
        whole => Ok(whole),
    }
}

fn boolean_of(value: &Value) -> Result<Value, String> {
    let truth = match value {
        Value::Null => Some(false),
        Value::Bool(truth) => Some(*truth),
        Value::Str(text) => match text.trim() {
            "" | "0" => Some(false),
            "1" => Some(true),
            word if word.eq_ignore_ascii_case("true") => Some(true),
            word if word.eq_ignore_ascii_case("false") => Some(false),
            _ => None,
        },
        number => match integer_of(number.clone()) {
            Ok(Value::Int(0)) => Some(false),
            Ok(Value::Int(1)) => Some(true),
            _ => None,
        },
    };
    truth.map(Value::Bool).ok_or_else(|| match value {
        Value::Str(_) | Value::Int(_) | Value::Dec(_) => "it is neither true nor false (1 nor 0)".to_owned(),
        _ => unsuitable("true or false", value),
    })
}

fn date_of(value: &Value, locale: &Locale<'_>) -> Result<Value, String> {
    let Some(text) = blank_or_text(value, "a date")? else { return Ok(Value::from(EMPTY_DATE)) };
    match date(text, locale.timezone) {
        Some(date) if (1..=9999).contains(&date.year()) => Ok(Value::Str(date.to_string())),
        _ => Err("it is not an ISO date such as 2026-01-31; give its form, e.g. `… | date('%d.%m.%Y')`".to_owned()),
    }
}

fn member_of(members: &[String], value: &Value) -> Result<Value, String> {
    let text = blank_or_text(value, "one of the allowed words")?.unwrap_or_default();
    member(members, text).map(|name| Value::Str(name.clone())).ok_or_else(|| {
        let shown = |name: &String| match decoded(name).as_str() {
            " " => "blank".to_owned(),
            word => word.to_owned(),
        };
        let allowed = members.iter().map(shown).collect::<Vec<_>>().join(", ");
        let found = if text.is_empty() { "it is blank" } else { "it is none of the allowed words" };
        format!("{found}; allowed are {allowed}")
    })
}

fn obey(rule: Rule, value: Value, locale: &Locale<'_>) -> Result<Value, String> {
    let refused = match rule {
        Rule::Filled | Rule::ReadsOtherwise => None,
        Rule::Phone => value.as_str().and_then(phone_problem).map(ToOwned::to_owned),
        Rule::Email => value.as_str().and_then(email_problem).map(ToOwned::to_owned),
        Rule::LocalCurrency => {
            let local = locale.local_currency.map(code);
            if local.is_some() && value.as_str() == local.as_deref() {
                return Ok(Value::from(""));
            }
            None
        }
        Rule::Quantity => value.decimal().filter(|exact| exact.normalize().scale() > 5).map(|exact| {
            format!("{} decimals, at most 5 fit; round it, e.g. `… | round(5)`", exact.normalize().scale())
        }),
        Rule::NotNegative => {
            value.decimal().filter(|exact| *exact < Decimal::ZERO).map(|_| "it must not be negative".to_owned())
        }
        Rule::Percent => value
            .decimal()
            .filter(|exact| *exact < Decimal::ZERO || *exact > Decimal::ONE_HUNDRED)
            .map(|_| "it must be from 0 to 100".to_owned()),
    };
    refused.map_or(Ok(value), Err)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::entity::Access;
    use super::super::facts::standard;
    use super::*;

    fn property(kind: Kind) -> PropertySchema {
        PropertySchema { name: "p".to_owned(), kind, access: Access::Write, rule: None }
    }

    fn run(set: &str, name: &str, json: &str) -> Result<String, String> {
        let schema = standard(set).unwrap().property(name).unwrap();
        let locale = Locale { local_currency: Some("eur"), timezone: chrono_tz::Europe::Berlin };
        normalise(&schema, Value::parse(json).unwrap(), &locale)
            .map(|value| value.to_json())
            .map_err(|problem| problem.to_string())
    }

    #[test]
    fn values_take_the_form_in_which_they_are_stored() {
        let zero = format!("\"{EMPTY_GUID}\"");
        for (set, name, given, stored) in [
            ("customers", "number", r#"" c-1 ""#, r#""C-1""#),
            ("customers", "number", "4711", r#""4711""#),
            ("customers", "number", "4711.0", r#""4711""#),
            ("customers", "addressLine1", r#"" Main St ""#, r#"" Main St ""#),
            ("customers", "addressLine1", "12.50", r#""12.5""#),
            ("customers", "city", "null", r#""""#),
            ("customers", "creditLimit", r#"" 1234.50 ""#, "1234.5"),
            ("customers", "creditLimit", "15.0", "15"),
            ("customers", "creditLimit", "-0.123456789", "-0.123456789"),
            ("customers", "creditLimit", "null", "0"),
            ("customers", "creditLimit", r#""""#, "0"),
            ("customers", "taxLiable", "1", "true"),
            ("customers", "taxLiable", "0.0", "false"),
            ("customers", "taxLiable", r#""TRUE""#, "true"),
            ("customers", "taxLiable", "null", "false"),
            ("customers", "currencyCode", r#""Eur ""#, r#""""#),
            ("customers", "currencyCode", r#""usd""#, r#""USD""#),
            ("customers", "blocked", "null", r#""_x0020_""#),
            ("customers", "blocked", r#""ship""#, r#""Ship""#),
            ("customers", "paymentTermsId", "null", &zero),
            (
                "customers",
                "paymentTermsId",
                r#""{6F9619FF-8B86-D011-B42D-00CF4FC964FF}""#,
                r#""6f9619ff-8b86-d011-b42d-00cf4fc964ff""#,
            ),
            ("salesOrders", "orderDate", r#""2026-06-30T23:30:00Z""#, r#""2026-07-01""#),
            ("salesOrders", "orderDate", r#""""#, r#""0001-01-01""#),
            ("salesOrderLines", "quantity", "1.123450", "1.12345"),
        ] {
            assert_eq!(run(set, name, given).as_deref(), Ok(stored), "{set}.{name} {given}");
        }
    }

    #[test]
    fn what_bc_would_refuse_is_a_problem_that_never_shows_the_value() {
        let long = format!("\"{}\"", "x".repeat(61));
        for (set, name, given, message) in [
            (
                "customers",
                "addressLine2",
                long.as_str(),
                "addressLine2: 61 characters, at most 50 fit; shorten it, e.g. `… | truncate(50)`",
            ),
            (
                "customers",
                "number",
                &long,
                "number: 61 characters, at most 20 fit; a code that is cut short could be that of another row",
            ),
            ("customers", "displayName", r#""  ""#, "displayName: it is blank, but a value is needed"),
            ("salesOrders", "customerId", "null", "customerId: it is blank, but a value is needed"),
            (
                "salesOrders",
                "customerId",
                &format!("\"{{{EMPTY_GUID}}}\""),
                "customerId: it is blank, but a value is needed",
            ),
            ("customers", "city", "true", "city: it is a truth value, but text is needed"),
            ("customers", "city", "[1]", "city: it is a list, but text is needed"),
            ("customers", "type", "null", "type: it is blank; allowed are Company, Person"),
            (
                "customers",
                "blocked",
                r#""no""#,
                "blocked: it is none of the allowed words; allowed are blank, Ship, Invoice, All",
            ),
            (
                "customers",
                "creditLimit",
                r#""1,234""#,
                "creditLimit: it is text that is not a plain number such as -1234.50",
            ),
            ("customers", "creditLimit", "1e40", "creditLimit: it has more digits than can be kept exactly (28)"),
            ("customers", "taxLiable", r#""yes""#, "taxLiable: it is neither true nor false (1 nor 0)"),
            (
                "customers",
                "phoneNumber",
                r#""1 ext 2""#,
                "phoneNumber: it has letters, which a phone number must not have; strip them, e.g. `… | without_letters`",
            ),
            ("customers", "email", r#""nobody""#, "email: it is not an e-mail address (several are separated by `;`)"),
            (
                "salesOrders",
                "orderDate",
                r#""31.01.2026""#,
                "orderDate: it is not an ISO date such as 2026-01-31; give its form, e.g. `… | date('%d.%m.%Y')`",
            ),
            (
                "customers",
                "paymentTermsId",
                r#""30 DAYS""#,
                "paymentTermsId: it is not an id (GUID); an id in Business Central comes from `link` or `lookup`",
            ),
            (
                "salesOrderLines",
                "quantity",
                "0.1234567",
                "quantity: 7 decimals, at most 5 fit; round it, e.g. `… | round(5)`",
            ),
            ("salesOrderLines", "discountPercent", "101", "discountPercent: it must be from 0 to 100"),
            ("items", "unitPrice", "-1", "unitPrice: it must not be negative"),
        ] {
            assert_eq!(run(set, name, given), Err(message.to_owned()), "{set}.{name} {given}");
        }
    }

    #[test]
    fn an_unknown_property_takes_any_scalar() {
        let unknown = PropertySchema::unknown("p");
        for json in ["null", "true", "12.5", r#"" x ""#] {
            let value = Value::parse(json).unwrap();
            assert_eq!(normalise(&unknown, value.clone(), &Locale::default()), Ok(value));
        }
        assert!(normalise(&unknown, Value::List(Vec::new()), &Locale::default()).is_err());
    }

    fn any_scalar() -> impl Strategy<Value = Value> {
        prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            any::<i64>().prop_map(Value::Int),
            (any::<i64>(), 0u32..20).prop_map(|(mantissa, scale)| Value::Dec(Decimal::new(mantissa, scale))),
            "\\PC{0,12}".prop_map(Value::Str),
            "[0-9]{4}-[01][0-9]-[0-3][0-9](T[0-2][0-9]:[0-5][0-9]:00(Z|[+-]0[0-9]:00)?)?".prop_map(Value::Str),
            "[0-9a-fA-F]{32}".prop_map(Value::Str),
            "-?[0-9]{1,20}(\\.[0-9]{1,12})?".prop_map(Value::Str),
        ]
    }

    fn any_kind() -> impl Strategy<Value = Kind> {
        prop_oneof![
            Just(Kind::Text { max: Some(20) }),
            Just(Kind::Code { max: None }),
            Just(Kind::Decimal),
            Just(Kind::Integer),
            Just(Kind::Boolean),
            Just(Kind::Date),
            Just(Kind::Stamp),
            Just(Kind::Guid),
            Just(Kind::Enum(vec!["_x0020_".to_owned(), "Ship".to_owned()])),
            Just(Kind::Unknown),
        ]
    }

    proptest! {
        #[test]
        fn the_normal_form_is_stable(kind in any_kind(), value in any_scalar()) {
            let property = property(kind);
            let locale = Locale { local_currency: None, timezone: chrono_tz::America::New_York };
            if let Ok(once) = normalise(&property, value, &locale) {
                prop_assert_eq!(normalise(&property, once.clone(), &locale), Ok(once));
            }
        }

        #[test]
        fn decimals_keep_every_digit(mantissa in any::<i64>(), scale in 0u32..18) {
            let exact = Decimal::new(mantissa, scale);
            let given = Value::Str(exact.to_string());
            let stored = normalise(&property(Kind::Decimal), given, &Locale::default()).unwrap();
            prop_assert_eq!(stored.decimal(), Some(exact));
        }
    }
}
