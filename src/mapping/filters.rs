//! The engine, and the filters that it has from us.
//!
//! Ours never turn null into a text ("None"): null goes in, null comes out. Arithmetic is done in exact decimals.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use chrono::{DateTime, NaiveDate};
use chrono_tz::Tz;
use minijinja::value::{Object, ObjectRepr, ValueKind};
use minijinja::{Environment, Error, ErrorKind, State, UndefinedBehavior, Value};
use rust_decimal::{Decimal, RoundingStrategy};

use super::convert::{decimal_of_float, number};
use crate::schema::date;

/// The one engine. Expressions borrow it, so it lives for ever.
pub(super) static ENGINE: LazyLock<Environment<'static>> = LazyLock::new(engine);

/// What filters need to know of the job; found in the scope of an expression under [`SETTINGS`].
#[derive(Debug, Default)]
pub(super) struct Settings {
    pub(super) timezone: Tz,
    pub(super) tables: BTreeMap<String, BTreeMap<String, String>>,
}

/// Not a name that an expression could contain.
pub(super) const SETTINGS: &str = " settings";

impl Object for Settings {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }
}

/// Bounds the steps, and with them the memory, of one evaluation.
const FUEL: u64 = 1_000_000;

/// What a filter of ours says is wrong with a value; never the value itself.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct FilterProblem(pub(super) String);

fn problem(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, "").with_source(FilterProblem(message.into()))
}

fn engine() -> Environment<'static> {
    let mut engine = Environment::new();
    engine.set_undefined_behavior(UndefinedBehavior::SemiStrict);
    engine.set_fuel(Some(FUEL));
    // Errors then say which part of an expression failed.
    engine.set_debug(true);
    engine.add_test("none", is_null);
    engine.add_filter("default", default);
    engine.add_filter("d", default);
    engine.add_filter("lower", |value: &Value| on_text(value, str::to_lowercase));
    engine.add_filter("upper", |value: &Value| on_text(value, str::to_uppercase));
    engine.add_filter("trim", trim);
    engine.add_filter("replace", replace);
    engine.add_filter("join", join);
    engine.add_filter("truncate", truncate);
    engine.add_filter("without_letters", |value: &Value| {
        on_text(value, |text| text.chars().filter(|letter| !letter.is_alphabetic()).collect())
    });
    engine.add_filter("translate", translate);
    engine.add_filter("date", iso_date);
    engine.add_filter("plus", |a: &Value, b: &Value| calculate(a, b, Decimal::checked_add));
    engine.add_filter("minus", |a: &Value, b: &Value| calculate(a, b, Decimal::checked_sub));
    engine.add_filter("times", |a: &Value, b: &Value| calculate(a, b, Decimal::checked_mul));
    engine.add_filter("divided_by", |a: &Value, b: &Value| calculate(a, b, Decimal::checked_div));
    engine.add_filter("round", round);
    engine
}

/// In conditions null is none, elsewhere it is undefined.
fn is_null(value: &Value) -> bool {
    value.is_none() || value.is_undefined()
}

fn default(value: &Value, other: Option<Value>, also_empty: Option<bool>) -> Value {
    let replaced = is_null(value) || also_empty == Some(true) && !value.is_true();
    if replaced { other.unwrap_or_else(|| Value::from("")) } else { value.clone() }
}

fn on_text(value: &Value, change: impl FnOnce(&str) -> String) -> Result<Value, Error> {
    if is_null(value) {
        return Ok(value.clone());
    }
    Ok(Value::from(change(&text(value)?)))
}

/// The text of a text or a number.
fn text(value: &Value) -> Result<String, Error> {
    match value.kind() {
        ValueKind::String => Ok(value.as_str().unwrap_or_default().to_owned()),
        ValueKind::Number => Ok(decimal(value)?.to_string()),
        _ => Err(problem("it is neither text nor a number")),
    }
}

fn trim(value: &Value, letters: Option<String>) -> Result<Value, Error> {
    on_text(value, |text| match letters {
        Some(letters) => text.trim_matches(|letter| letters.contains(letter)).to_owned(),
        None => text.trim().to_owned(),
    })
}

fn replace(value: &Value, from: &str, to: &str) -> Result<Value, Error> {
    on_text(value, |text| text.replace(from, to))
}

/// The engine's own would leave an empty place for null.
fn join(value: &Value, separator: Option<&str>) -> Result<Value, Error> {
    if is_null(value) {
        return Ok(value.clone());
    }
    let items = value.try_iter()?.filter(|item| !is_null(item)).map(|item| text(&item));
    Ok(Value::from(items.collect::<Result<Vec<_>, _>>()?.join(separator.unwrap_or_default())))
}

fn truncate(value: &Value, length: usize) -> Result<Value, Error> {
    on_text(value, |text| shortened(text, length).to_owned())
}

/// The first `length` UTF-16 units of `text`, one less where a character would be torn apart.
fn shortened(text: &str, length: usize) -> &str {
    let mut units = 0;
    for (index, letter) in text.char_indices() {
        units += letter.len_utf16();
        if units > length {
            return &text[..index];
        }
    }
    text
}

fn settings<T>(state: &State<'_, '_>, read: impl FnOnce(&Settings) -> T) -> Result<T, Error> {
    let settings = state.lookup(SETTINGS);
    let settings = settings.as_ref().and_then(|value| value.downcast_object_ref::<Settings>());
    settings.map(read).ok_or_else(|| problem("the job's settings are not in scope"))
}

fn translate(state: &State<'_, '_>, value: &Value, table: &str) -> Result<Value, Error> {
    if is_null(value) {
        return Ok(value.clone());
    }
    let word = text(value)?;
    let found = settings(state, |settings| settings.tables.get(table)?.get(&word).map(|to| Value::from(to.as_str())))?;
    found.ok_or_else(|| problem(format!("the value is not in the table [maps.{table}]; add it there")))
}

fn iso_date(state: &State<'_, '_>, value: &Value, form: Option<&str>) -> Result<Value, Error> {
    if is_null(value) || value.as_str().is_some_and(|text| text.trim().is_empty()) {
        return Ok(value.clone());
    }
    let text = text(value)?;
    let timezone = settings(state, |settings| settings.timezone)?;
    let read = match form {
        None => date(&text, timezone),
        Some(form) => match DateTime::parse_from_str(text.trim(), form) {
            Ok(stamp) => Some(stamp.with_timezone(&timezone).date_naive()),
            Err(_) => NaiveDate::parse_from_str(text.trim(), form).ok(),
        },
    };
    read.map(|date| Value::from(date.to_string())).ok_or_else(|| {
        problem(match form {
            None => "it is not an ISO date such as 2026-01-31; give its form, e.g. `… | date('%d.%m.%Y')`".to_owned(),
            Some(form) => format!("it is not a date of the form {form}"),
        })
    })
}

/// The exact number that a number or a numeric text stands for.
fn decimal(value: &Value) -> Result<Decimal, Error> {
    let exact = match value.kind() {
        ValueKind::Number if value.is_integer() => value.as_i64().map(Decimal::from),
        ValueKind::Number => f64::try_from(value.clone()).ok().and_then(decimal_of_float),
        ValueKind::String => value.as_str().and_then(|text| Decimal::from_str_exact(text.trim()).ok()),
        _ => None,
    };
    exact.ok_or_else(|| problem("it is not a number"))
}

fn calculate(a: &Value, b: &Value, compute: fn(Decimal, Decimal) -> Option<Decimal>) -> Result<Value, Error> {
    if is_null(a) {
        return Ok(a.clone());
    }
    let result = compute(decimal(a)?, decimal(b)?);
    exact(result.ok_or_else(|| problem("the result is not a number: a division by zero, or too large"))?)
}

fn round(value: &Value, decimals: Option<u32>) -> Result<Value, Error> {
    if is_null(value) {
        return Ok(value.clone());
    }
    exact(decimal(value)?.round_dp_with_strategy(decimals.unwrap_or(0), RoundingStrategy::MidpointAwayFromZero))
}

fn exact(result: Decimal) -> Result<Value, Error> {
    number(result).map_err(|_| problem("the result has more than 15 significant digits; round it with `… | round(2)`"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::names::{FILTERS, FUNCTIONS, TESTS};
    use super::*;

    fn eval(source: &str) -> Result<String, String> {
        let tables = BTreeMap::from([("country".to_owned(), BTreeMap::from([("Norway".to_owned(), "NO".to_owned())]))]);
        let settings = Settings { timezone: chrono_tz::Europe::Oslo, tables };
        let scope = Value::from_pairs([(SETTINGS, Value::from_object(settings))]);
        match ENGINE.compile_expression(source).unwrap().eval(scope) {
            Ok(value) => Ok(value.to_string()),
            Err(error) => Err(std::error::Error::source(&error).map_or(error.to_string(), ToString::to_string)),
        }
    }

    #[test]
    fn the_vocabulary_exists() {
        for name in FILTERS {
            assert_eq!(eval(&format!("'{name}' is filter")).as_deref(), Ok("True"), "{name}");
        }
        for name in TESTS {
            assert_eq!(eval(&format!("'{name}' is test")).as_deref(), Ok("True"), "{name}");
        }
        for name in FUNCTIONS {
            assert_eq!(eval(&format!("{name} is defined")).as_deref(), Ok("True"), "{name}");
        }
        assert!(FILTERS.is_sorted() && TESTS.is_sorted() && FUNCTIONS.is_sorted());
    }

    #[test]
    fn filters_do_what_they_say() {
        for (source, expected) in [
            ("'  Ab ' | trim | lower", "ab"),
            ("'--ab-' | trim('-')", "ab"),
            ("12 | replace('1', 'x')", "x2"),
            ("'+47 22 ext 4' | without_letters", "+47 22  4"),
            ("'Norway' | translate('country')", "NO"),
            ("'2026-06-30T23:30:00Z' | date", "2026-07-01"),
            ("'30.06.2026' | date('%d.%m.%Y')", "2026-06-30"),
            ("20260630 | date('%Y%m%d')", "2026-06-30"),
            ("'30.06.2026 23:30 +0000' | date('%d.%m.%Y %H:%M %z')", "2026-07-01"),
            ("19.99 | times(3)", "59.97"),
            ("0.1 | plus(0.2)", "0.3"),
            ("'10.00' | minus(2.5)", "7.5"),
            ("1 | divided_by(8)", "0.125"),
            ("2.675 | round(2)", "2.68"),
            ("-2.5 | round", "-3"),
            (
                "1 | divided_by(3) | default(0) | round(2)",
                "the result has more than 15 significant digits; round it with `… | round(2)`",
            ),
            ("1 | divided_by(0)", "the result is not a number: a division by zero, or too large"),
            ("'x' | plus(1)", "it is not a number"),
            ("'Sweden' | translate('country')", "the value is not in the table [maps.country]; add it there"),
            (
                "'30.06.2026' | date",
                "it is not an ISO date such as 2026-01-31; give its form, e.g. `… | date('%d.%m.%Y')`",
            ),
        ] {
            let (Ok(result) | Err(result)) = eval(source);
            assert_eq!(result, expected, "{source}");
        }
    }

    #[test]
    fn null_stays_null() {
        for filter in
            ["lower", "upper", "trim", "replace('a','b')", "truncate(3)", "without_letters", "translate('country')"]
                .into_iter()
                .chain(["date", "plus(1)", "minus(1)", "times(2)", "divided_by(2)", "round(2)"])
        {
            assert_eq!(eval(&format!("missing | {filter} is undefined")).as_deref(), Ok("True"), "{filter}");
            assert_eq!(eval(&format!("none | {filter} is none")).as_deref(), Ok("True"), "{filter}");
        }
        assert_eq!(eval("none | default('x')").as_deref(), Ok("x"));
        assert_eq!(eval("'' | default('x', true)").as_deref(), Ok("x"));
        assert!(eval("'A-' ~ missing").is_err());
    }

    #[test]
    fn endless_work_is_stopped() {
        assert!(eval("'x' * 100000000").is_err());
    }

    proptest! {
        #[test]
        fn truncate_keeps_whole_characters_and_the_limit(text in "\\PC*", length in 0usize..40) {
            let short = shortened(&text, length);
            let units = |text: &str| text.encode_utf16().count();
            prop_assert!(text.starts_with(short));
            prop_assert!(units(short) <= length);
            prop_assert!(short == text || units(short) + 1 >= length);
        }

        #[test]
        fn sums_are_exact(a in -9_999_999_999i64..9_999_999_999, b in -9_999_999_999i64..9_999_999_999, scale in 0u32..5) {
            let (a, b) = (Decimal::new(a, scale), Decimal::new(b, 2));
            let sum = calculate(&number(a).unwrap(), &number(b).unwrap(), Decimal::checked_add).unwrap();
            prop_assert_eq!(decimal(&sum).unwrap(), a + b);
        }
    }
}
