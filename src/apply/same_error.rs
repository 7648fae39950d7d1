//! Which refusals are one and the same error: what several records have in common, so that one of them can be tried
//! before the others.
//!
//! BC's code and words, without what belongs to one record: its own values, values that BC names after `=`, and
//! anything with a digit in it. Two errors that are taken for one cost a day's delay, one taken for two a request.

use crate::bc::BcError;
use crate::model::{ErrorClass, Value};

/// What stands in the place of a record's own value.
const MASK: &str = "…";

/// The error of `refusal` without the `own` values of its record.
pub(super) fn of<'v>(refusal: &BcError, own: impl Iterator<Item = &'v Value>) -> String {
    let mut words = refusal.message.clone();
    // The value that a relation misses is what the records have in common.
    if refusal.class != ErrorClass::MissingRelation {
        for value in own.filter_map(Value::as_str).filter(|value| value.chars().count() > 1) {
            words = words.replace(value, MASK);
        }
        words = masked(&words);
    }
    format!("{} {}: {words}", refusal.status, refusal.code)
}

/// `words` without values behind `=` (up to the comma or full stop that ends them) and without words with digits.
fn masked(words: &str) -> String {
    let mut kept = String::with_capacity(words.len());
    let mut rest = words;
    while let Some((before, behind)) = rest.split_once('=') {
        kept.push_str(before);
        kept.push('=');
        let end = behind.find([',', '.']).unwrap_or(behind.len());
        rest = &behind[end..];
    }
    kept.push_str(rest);
    let words =
        kept.split_whitespace().map(|word| if word.contains(|c: char| c.is_ascii_digit()) { MASK } else { word });
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bc::Sent;

    fn error(code: &str, message: &str, own: &[&str]) -> String {
        let body = format!(r#"{{"error":{{"code":"{code}","message":"{message}"}}}}"#);
        let own: Vec<_> = own.iter().map(|value| Value::from(*value)).collect();
        of(&BcError::read(Sent::Create, 400, body.as_bytes()), own.iter())
    }

    #[test]
    fn the_same_trouble_of_two_records_is_one_error() {
        let posting = |number| {
            let words =
                format!("Gen. Bus. Posting Group must have a value in Customer: No.={number}. It cannot be empty.");
            error("Application_FieldValidationException", &words, &[])
        };
        assert_eq!(posting("C1"), posting("ANNA"));
        let email = |own| error("Application_DialogException", &format!("The address {own} is not valid."), &[own]);
        assert_eq!(email("a.b@c.no"), email("x@y.no"));
        let length = |length| error("Application_StringExceededLength", &format!("It is {length} long"), &[]);
        assert_eq!(length("57"), length("101"));
    }

    #[test]
    fn other_trouble_is_another_error() {
        let of = |code: &str, words: &str| error(code, words, &["blue"]);
        assert_ne!(of("Unknown", "One"), of("Unknown", "Two"));
        assert_ne!(of("Unknown", "One"), of("BadRequest", "One"));
        let relation =
            |code| of("Internal_InvalidTableRelation", &format!("contains a value ({code}) that cannot be found"));
        assert_ne!(relation("blue"), relation("green"));
    }
}
