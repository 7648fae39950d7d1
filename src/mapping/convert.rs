//! Values across the border of the expression engine, without losing a digit.
//!
//! Inside expressions numbers are `i64` or `f64`. A decimal goes in only when it survives the way there and back, which
//! all with up to 15 significant digits do; what comes out is read at 15 significant digits, so that the noise of
//! binary arithmetic (`19.99 * 100` = 1998.9999999999998) does not come out with it.

use minijinja::value::ValueKind;
use rust_decimal::Decimal;

use crate::model::Value;

/// A number has too many digits to be computed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooPrecise;

/// What null is inside an expression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NullIs {
    /// Undefined, so that it cannot slip into a text: `'A-' ~ none` would be "A-None".
    Undefined,
    /// A value like any other, for conditions: null is not in any list and equal to nothing.
    None,
}

/// `value` for use inside an expression.
pub(super) fn into_engine(value: &Value, null: NullIs) -> Result<minijinja::Value, TooPrecise> {
    Ok(match value {
        Value::Null if null == NullIs::None => minijinja::Value::from(()),
        Value::Null => minijinja::Value::UNDEFINED,
        Value::Bool(truth) => minijinja::Value::from(*truth),
        Value::Int(whole) => minijinja::Value::from(*whole),
        Value::Dec(exact) => number(*exact)?,
        Value::Big(_) => return Err(TooPrecise),
        Value::Str(text) => minijinja::Value::from(text.as_str()),
        Value::List(items) => items.iter().map(|item| into_engine(item, null)).collect::<Result<Vec<_>, _>>()?.into(),
        Value::Map(members) => {
            let members = members.iter().map(|(name, item)| Ok((name.as_str(), into_engine(item, null)?)));
            minijinja::Value::from_pairs(members.collect::<Result<Vec<_>, TooPrecise>>()?)
        }
    })
}

/// `exact` as a number of the engine.
pub(super) fn number(exact: Decimal) -> Result<minijinja::Value, TooPrecise> {
    if let Some(whole) = Some(exact).filter(Decimal::is_integer).and_then(|exact| i64::try_from(exact).ok()) {
        return Ok(minijinja::Value::from(whole));
    }
    let binary = f64::try_from(exact).map_err(|_| TooPrecise)?;
    match decimal_of_float(binary) {
        Some(back) if back == exact => Ok(minijinja::Value::from(binary)),
        _ => Err(TooPrecise),
    }
}

/// The number that `binary` stands for, at 15 significant digits; `None` when it is infinite or too large.
pub(super) fn decimal_of_float(binary: f64) -> Option<Decimal> {
    match Value::number(&format!("{binary:.14e}")) {
        Value::Int(whole) => Some(Decimal::from(whole)),
        Value::Dec(exact) => Some(exact.normalize()),
        _ => None,
    }
}

/// What an expression gave, as a value of ours; otherwise what is wrong with it.
pub(super) fn from_engine(value: &minijinja::Value) -> Result<Value, &'static str> {
    match value.kind() {
        ValueKind::Undefined | ValueKind::None => Ok(Value::Null),
        ValueKind::Bool => Ok(Value::Bool(value.is_true())),
        ValueKind::String => Ok(Value::from(value.as_str().unwrap_or_default())),
        ValueKind::Number if value.is_integer() => {
            value.as_i64().map(Value::Int).ok_or("it is larger than a whole number can be")
        }
        ValueKind::Number => f64::try_from(value.clone())
            .ok()
            .and_then(decimal_of_float)
            .map(Value::Dec)
            .ok_or("it is not a finite number"),
        _ => Err("it is a list or an object, but a single value is needed"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_go_in_only_when_they_come_out_again() {
        let number = |text: &str| into_engine(&Value::number(text), NullIs::Undefined);
        assert_eq!(number("19.99").unwrap(), minijinja::Value::from(19.99));
        assert!(number("15.00").unwrap().is_integer());
        assert!(number("9223372036854775807").unwrap().is_integer());
        assert_eq!(number("1234567890123.45").map(|_| ()), Ok(()));
        assert_eq!(number("12345678901234567.89").map(|_| ()), Err(TooPrecise));
        assert_eq!(number("1e300").map(|_| ()), Err(TooPrecise));
    }

    #[test]
    fn the_noise_of_binary_arithmetic_stays_inside() {
        let out = |binary: f64| from_engine(&minijinja::Value::from(binary)).map(|value| value.to_json());
        assert_eq!(out(19.99 * 100.0), Ok("1999".to_owned()));
        assert_eq!(out(0.1 + 0.2), Ok("0.3".to_owned()));
        assert_eq!(out(f64::NAN), Err("it is not a finite number"));
        assert_eq!(out(1e300), Err("it is not a finite number"));
    }

    proptest! {
        #[test]
        fn fifteen_digits_are_exact(mantissa in -999_999_999_999_999i64..=999_999_999_999_999, scale in 0u32..15) {
            let given = Value::Dec(Decimal::new(mantissa, scale));
            let inside = into_engine(&given, NullIs::Undefined).unwrap();
            prop_assert_eq!(from_engine(&inside).unwrap(), given);
        }

        #[test]
        fn more_digits_are_exact_or_refused(mantissa in any::<i64>(), scale in 0u32..20) {
            let given = Value::Dec(Decimal::new(mantissa, scale));
            if let Ok(inside) = into_engine(&given, NullIs::Undefined) {
                prop_assert_eq!(from_engine(&inside).unwrap(), given);
            }
        }
    }
}
