//! A value of a record or of a BC property.
//!
//! Numbers are integers or exact decimals, never binary floats: JSON numbers are read from their text. Two numbers are
//! equal when they are the same quantity (`15` = `15.0`), because neither a source nor BC keeps the number of zeros.

use std::fmt::Write as _;

use rust_decimal::Decimal;
use serde_json::value::RawValue;

/// Lists and objects within each other, at most. What nests deeper is an attack or a defect, and would exhaust the stack.
const DEEPEST: usize = 128;

/// A JSON value whose numbers are exact.
#[derive(Debug, Clone)]
pub enum Value {
    /// SQL or JSON null; also an absent column.
    Null,
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// An exact decimal of at most 28 digits.
    Dec(Decimal),
    /// The text of a JSON number that neither `i64` nor `Decimal` holds exactly.
    Big(String),
    /// Text.
    Str(String),
    /// A list.
    List(Vec<Value>),
    /// An object; keys in the order in which they stood.
    Map(Vec<(String, Value)>),
}

/// Why a text is not a [`Value`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not valid JSON: {0}")]
pub struct ValueError(String);

impl Value {
    /// Reads one JSON text. Numbers keep every digit.
    ///
    /// # Errors
    /// Also when it nests more than 128 levels deep.
    pub fn parse(json: &str) -> Result<Self, ValueError> {
        let raw: &RawValue = serde_json::from_str(json).map_err(|error| ValueError(error.to_string()))?;
        Self::from_raw(raw.get(), 0)
    }

    /// `raw` is one JSON value that has been validated already, without surrounding white space, and stands `depth`
    /// levels deep.
    fn from_raw(raw: &str, depth: usize) -> Result<Self, ValueError> {
        let fail = |error: serde_json::Error| ValueError(error.to_string());
        if depth > DEEPEST {
            return Err(ValueError(format!("more than {DEEPEST} levels deep")));
        }
        match raw.as_bytes().first() {
            Some(b'"') => Ok(Self::Str(serde_json::from_str(raw).map_err(fail)?)),
            Some(b'[') => {
                let items: Vec<&RawValue> = serde_json::from_str(raw).map_err(fail)?;
                items
                    .into_iter()
                    .map(|item| Self::from_raw(item.get(), depth + 1))
                    .collect::<Result<_, _>>()
                    .map(Self::List)
            }
            Some(b'{') => {
                let Members(members) = serde_json::from_str(raw).map_err(fail)?;
                members
                    .into_iter()
                    .map(|(name, item)| Ok((name, Self::from_raw(item.get(), depth + 1)?)))
                    .collect::<Result<_, _>>()
                    .map(Self::Map)
            }
            Some(b't') => Ok(Self::Bool(true)),
            Some(b'f') => Ok(Self::Bool(false)),
            Some(b'n') => Ok(Self::Null),
            _ => Ok(Self::number(raw)),
        }
    }

    /// The number that `text`, a valid JSON number, stands for.
    #[must_use]
    pub fn number(text: &str) -> Self {
        if let Ok(whole) = text.parse() {
            return Self::Int(whole);
        }
        let exact = if text.contains(['e', 'E']) {
            Decimal::from_scientific(text)
                .or_else(|_| Decimal::from_scientific(&text.replace("e+", "e").replace("E+", "E")))
        } else {
            Decimal::from_str_exact(text)
        };
        exact.map_or_else(|_| Self::Big(text.to_owned()), Self::Dec)
    }

    /// The number as a decimal, when this is one.
    #[must_use]
    pub fn decimal(&self) -> Option<Decimal> {
        match self {
            Self::Int(whole) => Some(Decimal::from(*whole)),
            Self::Dec(exact) => Some(*exact),
            _ => None,
        }
    }

    /// The text, when this is one.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Str(text) => Some(text),
            _ => None,
        }
    }

    /// The member `name` of an object.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Map(members) => members.iter().find(|(key, _)| key == name).map(|(_, value)| value),
            _ => None,
        }
    }

    /// What kind of value this is, for messages: "text", "a number" and so on.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a truth value",
            Self::Int(_) | Self::Dec(_) | Self::Big(_) => "a number",
            Self::Str(_) => "text",
            Self::List(_) => "a list",
            Self::Map(_) => "an object",
        }
    }

    /// Appends the canonical JSON text: no white space, decimals without trailing zeros.
    pub fn write_json(&self, out: &mut String) {
        match self {
            Self::Null => out.push_str("null"),
            Self::Bool(truth) => out.push_str(if *truth { "true" } else { "false" }),
            Self::Int(whole) => {
                let _ = write!(out, "{whole}");
            }
            Self::Dec(exact) => {
                let _ = write!(out, "{}", exact.normalize());
            }
            Self::Big(text) => out.push_str(text),
            Self::Str(text) => write_json_text(text, out),
            Self::List(items) => {
                out.push('[');
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    item.write_json(out);
                }
                out.push(']');
            }
            Self::Map(members) => {
                out.push('{');
                for (index, (name, item)) in members.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    write_json_text(name, out);
                    out.push(':');
                    item.write_json(out);
                }
                out.push('}');
            }
        }
    }

    /// The canonical JSON text, see [`Value::write_json`].
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut out = String::new();
        self.write_json(&mut out);
        out
    }
}

fn write_json_text(text: &str, out: &mut String) {
    out.push_str(&serde_json::Value::from(text).to_string());
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Bool(a), Self::Bool(b)) => a == b,
            (Self::Str(a), Self::Str(b)) | (Self::Big(a), Self::Big(b)) => a == b,
            (Self::List(a), Self::List(b)) => a == b,
            (Self::Map(a), Self::Map(b)) => a == b,
            _ => match (self.decimal(), other.decimal()) {
                (Some(a), Some(b)) => a == b,
                _ => false,
            },
        }
    }
}

impl Eq for Value {}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Str(text.to_owned())
    }
}

/// The members of a JSON object in their order, values unread.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> serde::Deserialize<'de> for Members<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Members<'de>;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::with_capacity(map.size_hint().unwrap_or(0));
                while let Some(entry) = map.next_entry()? {
                    members.push(entry);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_keep_every_digit() {
        for text in ["12345678901234567.89", "0.1", "-0.000001", "9223372036854775807"] {
            assert_eq!(Value::parse(text).unwrap().to_json(), text);
        }
        assert_eq!(Value::parse("10.50").unwrap().to_json(), "10.5");
        assert_eq!(Value::parse("1e3").unwrap().to_json(), "1000");
        assert_eq!(Value::parse("1.5E+2").unwrap().to_json(), "150");
        let wide = "123456789012345678901234567890.123";
        assert!(matches!(Value::parse(wide).unwrap(), Value::Big(text) if text == wide));
    }

    #[test]
    fn numbers_are_compared_by_quantity() {
        assert_eq!(Value::parse("15").unwrap(), Value::parse("15.00").unwrap());
        assert_ne!(Value::parse("15").unwrap(), Value::Str("15".to_owned()));
    }

    #[test]
    fn objects_keep_their_order() {
        let text = r#"{"b":1,"a":[true,null,"x\"y"],"c":{}}"#;
        assert_eq!(Value::parse(text).unwrap().to_json(), text);
        assert!(Value::parse("{\"a\":}").is_err());
    }

    #[test]
    fn what_nests_too_deep_is_refused() {
        let nested = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(Value::parse(&nested(128)).unwrap().to_json(), nested(128));
        let error = Value::parse(&nested(129)).unwrap_err();
        assert_eq!(error.to_string(), "not valid JSON: more than 128 levels deep");
        assert!(Value::parse(&nested(100_000)).is_err());
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(mantissa in any::<i64>(), scale in 0u32..12, text in "\\PC*") {
            let value = Value::List(vec![Value::Dec(Decimal::new(mantissa, scale)), Value::Str(text)]);
            prop_assert_eq!(Value::parse(&value.to_json()).unwrap(), value);
        }
    }
}
