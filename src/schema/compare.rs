//! Whether what BC answers is what we sent, looks aside.

use super::entity::PropertySchema;
use super::normalise::{Locale, normalise};
use crate::model::Value;

/// Whether `ours` and `bc` are one value of `property`, written in two ways: another case of a code, `" "` for
/// `_x0020_`, the local currency for blank, trailing zeros, another case of a GUID, a stamp for its date.
///
/// Values that have no normal form (BC may hold longer or older ones) are the same only when they are equal.
#[must_use]
pub fn same(property: &PropertySchema, ours: &Value, bc: &Value, locale: &Locale<'_>) -> bool {
    if ours == bc {
        return true;
    }
    match (normalise(property, ours.clone(), locale), normalise(property, bc.clone(), locale)) {
        (Ok(ours), Ok(bc)) => ours == bc,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::facts::standard;
    use super::*;

    #[test]
    fn two_ways_to_write_one_value() {
        let locale = Locale { local_currency: Some("EUR"), ..Locale::default() };
        for (set, name, ours, bc, expected) in [
            ("customers", "number", r#""C1""#, r#""c1 ""#, true),
            ("customers", "blocked", r#""_x0020_""#, r#"" ""#, true),
            ("customers", "blocked", r#""_x0020_""#, r#""Ship""#, false),
            ("customers", "currencyCode", r#""""#, r#""EUR""#, true),
            ("customers", "currencyCode", r#""""#, r#""USD""#, false),
            ("customers", "creditLimit", "1000", "1000.00", true),
            ("customers", "city", r#""Oslo""#, r#""OSLO""#, false),
            ("customers", "city", r#""""#, "null", true),
            (
                "customers",
                "paymentTermsId",
                r#""6f9619ff-8b86-d011-b42d-00cf4fc964ff""#,
                r#""6F9619FF-8B86-D011-B42D-00CF4FC964FF""#,
                true,
            ),
            ("salesOrders", "orderDate", r#""2026-01-31""#, r#""2026-01-31T00:00:00Z""#, true),
            ("customers", "phoneNumber", r#""1""#, r#""1 ext""#, false),
            ("customers", "phoneNumber", r#""1 ext""#, r#""1 ext""#, true),
        ] {
            let schema = standard(set).unwrap().property(name).unwrap();
            let value = |json: &str| Value::parse(json).unwrap();
            assert_eq!(same(&schema, &value(ours), &value(bc), &locale), expected, "{name} {ours} {bc}");
        }
    }
}
