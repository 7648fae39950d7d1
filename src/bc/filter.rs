//! `$filter` texts. Only same-field `or` is used: BC refuses `or` between fields and silently ignores `in` on the
//! schema version of the standard API, which would return the whole table.

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use crate::model::Value;

/// How many keys one `or` chain holds. URLs have no documented limit; short ones are safe.
const CHAIN: usize = 40;

/// What must not stand bare in the query part of a URL.
const QUERY: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'<')
    .add(b'>')
    .add(b'%')
    .add(b'&')
    .add(b'+')
    .add(b'?')
    .add(b'=')
    .add(b'/')
    .add(b';')
    .add(b'\\')
    .add(b'{')
    .add(b'}')
    .add(b'|')
    .add(b'^')
    .add(b'`');

/// `value` as an `OData` literal. GUIDs stand bare, texts in quotes; `guid` says which a text is.
pub(super) fn literal(value: &Value, guid: bool) -> String {
    match value {
        Value::Str(text) if guid => text.clone(),
        Value::Str(text) => format!("'{}'", text.replace('\'', "''")),
        other => other.to_json(),
    }
}

/// The filters that together ask for all of `literals` in `property`, percent-encoded.
pub(super) fn chains(property: &str, literals: &[String]) -> Vec<String> {
    let chain = |literals: &[String]| {
        let terms: Vec<_> = literals.iter().map(|literal| format!("{property} eq {literal}")).collect();
        encode(&terms.join(" or "))
    };
    literals.chunks(CHAIN).map(chain).collect()
}

/// `text` as it stands in the query part of a URL.
pub(super) fn encode(text: &str) -> String {
    utf8_percent_encode(text, QUERY).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_are_quoted_by_kind() {
        assert_eq!(literal(&Value::from("O'Neill"), false), "'O''Neill'");
        assert_eq!(literal(&Value::from("1e…"), true), "1e…");
        assert_eq!(literal(&Value::number("12.50"), false), "12.5");
    }

    #[test]
    fn many_keys_become_several_chains_of_one_field() {
        let literals: Vec<_> = (0..=CHAIN).map(|n| format!("'{n}'")).collect();
        let chains = chains("number", &literals);
        assert_eq!(chains.len(), 2);
        assert_eq!(chains[0].matches("number%20eq%20").count(), CHAIN);
        assert_eq!(chains[1], "number%20eq%20'40'");
    }

    #[test]
    fn nothing_of_a_key_leaves_the_query() {
        assert_eq!(encode("a&b#c?d+e/ü"), "a%26b%23c%3Fd%2Be%2F%C3%BC");
    }
}
