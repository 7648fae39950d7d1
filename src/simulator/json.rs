//! Reading and writing JSON text without losing what matters to Business Central.
//!
//! Numbers stay text, so that a decimal never passes through a float, and objects keep the order of their properties,
//! because validation follows it. It builds no tree: nested values stay raw until someone asks.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// A JSON object with its properties in the order in which they were written, values unread.
#[derive(Debug, Default)]
pub(super) struct Object<'a>(pub(super) Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Object<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Properties;

        impl<'de> Visitor<'de> for Properties {
            type Value = Vec<(String, &'de RawValue)>;

            fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut properties = Vec::with_capacity(map.size_hint().unwrap_or(8));
                while let Some(property) = map.next_entry()? {
                    properties.push(property);
                }
                Ok(properties)
            }
        }

        deserializer.deserialize_map(Properties).map(Object)
    }
}

/// Appends `text` to `out` as a JSON string, quotes included.
pub(super) fn push_text(out: &mut String, text: &str) {
    out.push_str(&serde_json::to_string(text).expect("a string is always JSON"));
}

/// Appends `"name":` to `out`, with a comma before it unless the object has just been opened.
pub(super) fn push_name(out: &mut String, name: &str) {
    if !out.ends_with('{') {
        out.push(',');
    }
    push_text(out, name);
    out.push(':');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_and_number_text_survive() {
        let object: Object = serde_json::from_str(r#"{"z":10.00,"a":"x","n":null}"#).unwrap();
        let seen: Vec<_> = object.0.iter().map(|(name, raw)| (name.as_str(), raw.get())).collect();
        assert_eq!(seen, [("z", "10.00"), ("a", "\"x\""), ("n", "null")]);
    }

    #[test]
    fn names_are_separated_by_commas() {
        let mut out = String::from("{");
        push_name(&mut out, "a");
        push_text(&mut out, "q\"");
        push_name(&mut out, "b");
        out.push_str("1}");
        assert_eq!(out, r#"{"a":"q\"","b":1}"#);
    }
}
