//! The JSON `$batch` envelope. Limits and modes: BC documentation, "Using `OData` batch".

use std::collections::HashMap;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::model::Value;

/// BC refuses an envelope with more operations as a whole.
pub(super) const MAX_OPERATIONS: usize = 100;

/// One operation of an envelope.
#[derive(Debug, Clone)]
pub struct Operation {
    method: &'static str,
    url: String,
    if_match: Option<String>,
    body: Option<Value>,
}

impl Operation {
    /// Reads `url`, relative to the root of the API.
    pub(super) fn get(url: String) -> Self {
        Self { method: "GET", url, if_match: None, body: None }
    }

    /// Creates a row in `url`.
    #[must_use]
    pub fn post(url: String, body: Value) -> Self {
        Self { method: "POST", url, if_match: None, body: Some(body) }
    }

    /// Changes the row at `url` if it still has `etag`.
    #[must_use]
    pub fn patch(url: String, etag: &str, body: Value) -> Self {
        Self { method: "PATCH", url, if_match: Some(etag.to_owned()), body: Some(body) }
    }

    /// Deletes the row at `url` if it still has `etag`.
    #[must_use]
    pub fn delete(url: String, etag: &str) -> Self {
        Self { method: "DELETE", url, if_match: Some(etag.to_owned()), body: None }
    }

    /// Reads `url` again at the end of a batch of writes.
    #[must_use]
    pub fn read_back(url: String) -> Self {
        Self::get(url)
    }

    fn to_value(&self, id: usize) -> Value {
        let text = |text: &str| Value::Str(text.to_owned());
        let mut headers = Vec::new();
        if self.body.is_some() {
            headers.push(("Content-Type".to_owned(), text("application/json")));
        }
        if let Some(etag) = &self.if_match {
            headers.push(("If-Match".to_owned(), text(etag)));
        }
        let mut members = vec![
            ("id".to_owned(), text(&id.to_string())),
            ("method".to_owned(), text(self.method)),
            ("url".to_owned(), text(&self.url)),
            ("headers".to_owned(), Value::Map(headers)),
        ];
        if let Some(body) = &self.body {
            members.push(("body".to_owned(), body.clone()));
        }
        Value::Map(members)
    }
}

/// The envelope that holds `operations`; their ids are their places.
pub(super) fn envelope(operations: &[Operation]) -> Bytes {
    let requests = operations.iter().enumerate().map(|(id, operation)| operation.to_value(id)).collect();
    Value::Map(vec![("requests".to_owned(), Value::List(requests))]).to_json().into()
}

/// BC's answer to one operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The HTTP status of the operation.
    pub status: u16,
    /// Its body; empty when there is none.
    pub body: String,
}

impl Part {
    /// Whether the operation says that it succeeded. In a snapshot batch this means nothing until all do.
    #[must_use]
    pub fn succeeded(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    responses: Vec<Response<'a>>,
}

#[derive(Deserialize)]
struct Response<'a> {
    id: Option<String>,
    status: u16,
    #[serde(borrow)]
    body: Option<&'a RawValue>,
}

/// BC's answers to the `count` operations of an envelope, each in its operation's place; `None` where BC gave none, or
/// one that tells neither success nor refusal.
/// An error when the body is not an answer to this envelope.
pub(super) fn parse(body: &[u8], count: usize) -> Result<Vec<Option<Part>>, String> {
    let answer: Answer<'_> = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    let mut by_id: HashMap<usize, Option<Part>> = HashMap::with_capacity(count);
    for response in answer.responses {
        let id = response.id.as_deref().and_then(|id| id.parse().ok()).filter(|id| *id < count);
        let id = id.ok_or_else(|| "an operation's answer has no id of ours".to_owned())?;
        let part = matches!(response.status, 200..=299 | 400..=599).then(|| Part {
            status: response.status,
            body: response.body.map_or_else(String::new, |body| body.get().to_owned()),
        });
        if by_id.insert(id, part).is_some() {
            return Err(format!("operation {id} is answered twice"));
        }
    }
    Ok((0..count).map(|id| by_id.remove(&id).flatten()).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What may be wrong with an answer.
    #[derive(Debug, Clone)]
    enum Flaw {
        None,
        /// The operation is answered a second time, at this place.
        Repeated(usize, usize),
        /// An id that no operation has, at this place.
        Foreign(usize),
        /// Nothing follows this share of the bytes.
        CutOff(f64),
    }

    fn flaw() -> impl Strategy<Value = Flaw> {
        prop_oneof![
            3 => Just(Flaw::None),
            1 => (any::<usize>(), any::<usize>()).prop_map(|(which, at)| Flaw::Repeated(which, at)),
            1 => any::<usize>().prop_map(Flaw::Foreign),
            1 => (0.0..1.0).prop_map(Flaw::CutOff),
        ]
    }

    /// The answers to some of the operations of an envelope, in any order: operation and status.
    fn answers() -> impl Strategy<Value = (usize, Vec<(usize, u16)>)> {
        let statuses = prop::sample::select(vec![200_u16, 201, 204, 400, 404, 409, 412, 500, 503, 102, 307, 600]);
        let some = prop::collection::vec((prop::bool::weighted(0.9), statuses), 1..=MAX_OPERATIONS);
        some.prop_flat_map(|some| {
            let given = some.iter().enumerate().filter(|(_, (given, _))| *given);
            let answers: Vec<_> = given.map(|(id, (_, status))| (id, *status)).collect();
            (Just(some.len()), Just(answers).prop_shuffle())
        })
    }

    proptest! {
        #[test]
        fn an_operation_gets_its_own_answer_or_none((count, answers) in answers(), flaw in flaw()) {
            let mut told: Vec<_> = answers.iter().map(|(id, status)| (id.to_string(), *status)).collect();
            match flaw {
                Flaw::Repeated(which, at) if !told.is_empty() => {
                    told.insert(at % (told.len() + 1), told[which % told.len()].clone());
                }
                Flaw::Foreign(at) => told.insert(at % (told.len() + 1), (count.to_string(), 200)),
                _ => {}
            }
            let whole = told.len() == answers.len();
            let told: Vec<_> =
                told.iter().map(|(id, status)| format!(r#"{{"id":"{id}","status":{status},"body":{{"is":{id}}}}}"#)).collect();
            let body = format!(r#"{{"responses":[{}]}}"#, told.join(","));
            if let Flaw::CutOff(share) = flaw {
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss,
                    reason = "a share of a length")]
                let length = (body.len() as f64 * share) as usize;
                prop_assert!(parse(&body.as_bytes()[..length], count).is_err());
                return Ok(());
            }
            let parts = parse(body.as_bytes(), count);
            prop_assert_eq!(parts.is_ok(), whole);
            let Ok(parts) = parts else { return Ok(()) };
            for (id, part) in parts.into_iter().enumerate() {
                let tells = |status: u16| ![102, 307, 600].contains(&status);
                let own = answers.iter().find(|(answered, status)| *answered == id && tells(*status));
                let own = own.map(|(_, status)| Part { status: *status, body: format!(r#"{{"is":{id}}}"#) });
                prop_assert_eq!(part, own);
            }
        }
    }

    #[test]
    fn an_envelope_has_ids_and_relative_urls() {
        let body = Value::Map(vec![("displayName".to_owned(), Value::from("A"))]);
        let operations = [
            Operation::get("companies(1)/customers?$top=1".to_owned()),
            Operation::patch("companies(1)/customers(2)".to_owned(), "W/\"x\"", body),
        ];
        let text = String::from_utf8(envelope(&operations).to_vec()).unwrap();
        assert_eq!(
            text,
            concat!(
                r#"{"requests":[{"id":"0","method":"GET","url":"companies(1)/customers?$top=1","headers":{}},"#,
                r#"{"id":"1","method":"PATCH","url":"companies(1)/customers(2)","#,
                r#""headers":{"Content-Type":"application/json","If-Match":"W/\"x\""},"body":{"displayName":"A"}}]}"#,
            )
        );
    }

    #[test]
    fn answers_are_matched_by_id() {
        let body = br#"{"responses":[{"id":"2","status":201,"body":{"id":"x"}},{"id":"0","status":204}]}"#;
        let parts = parse(body, 3).unwrap();
        assert_eq!(parts[0], Some(Part { status: 204, body: String::new() }));
        assert_eq!(parts[1], None);
        assert_eq!(parts[2].as_ref().unwrap().body, r#"{"id":"x"}"#);
    }

    #[test]
    fn what_is_not_an_answer_to_us_is_refused() {
        for body in [
            &br#"{"responses":[{"id":"7","status":200}]}"#[..],
            br#"{"responses":[{"id":null,"status":200}]}"#,
            br#"{"responses":[{"id":"0","status":200},{"id":"0","status":200}]}"#,
            br#"{"responses":[{"id":"0","sta"#,
            b"<html>",
        ] {
            assert!(parse(body, 1).is_err(), "{}", String::from_utf8_lossy(body));
        }
    }
}
