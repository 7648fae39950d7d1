//! The `$batch` envelope: reading it, the three ways to run it, and writing the answer.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::call::{Call, Reply};
use super::errors::{ApiError, Result};
use super::json;

/// Operations that an envelope may hold (BC documentation, operational limits).
const MAX_OPERATIONS: usize = 100;

/// What happens when an operation fails.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Mode {
    /// The rest is not run; what was done stays.
    StopAtFailure,
    /// The rest is run.
    ContinueOnError,
    /// Nothing stays, though the answers of what had succeeded still say so.
    Snapshot,
}

/// An envelope.
#[derive(Debug, Deserialize)]
pub(super) struct Envelope<'a> {
    /// In the order in which they are run.
    #[serde(borrow)]
    pub(super) requests: Vec<Operation<'a>>,
}

/// One operation of an envelope.
#[derive(Debug, Deserialize)]
pub(super) struct Operation<'a> {
    /// Given back with the answer.
    #[serde(default)]
    pub(super) id: Option<String>,
    /// HTTP verb.
    pub(super) method: String,
    url: String,
    #[serde(default)]
    headers: HashMap<String, String>,
    #[serde(borrow, default)]
    body: Option<&'a RawValue>,
}

impl<'a> Envelope<'a> {
    /// Reads the body of a request to `$batch`.
    pub(super) fn parse(body: &'a str) -> Result<Self> {
        let envelope: Self = serde_json::from_str(body)
            .map_err(|error| ApiError::bad_request(format!("The batch request is not valid: {error}")))?;
        if envelope.requests.len() > MAX_OPERATIONS {
            let text = format!(
                "The current batch message contains too many parts. Only batch messages with a maximum number of {MAX_OPERATIONS} operations are allowed."
            );
            return Err(ApiError::new(500, "Unknown", text));
        }
        Ok(envelope)
    }
}

impl Operation<'_> {
    /// The operation as a call. A URL that is not relative to the API root, where `root` is, leads nowhere.
    pub(super) fn call(&self, root: &str) -> std::result::Result<Call<'_>, Reply> {
        let url = self.url.strip_prefix(root).and_then(|rest| rest.strip_prefix('/')).unwrap_or(&self.url);
        if url.starts_with('/') || url.contains("://") {
            let mut body = String::from("{");
            json::push_name(&mut body, "Message");
            json::push_text(&mut body, &format!("No HTTP resource was found that matches the request URI '{url}'."));
            body.push('}');
            return Err(Reply::json(404, body));
        }
        let (path, query) = url.split_once('?').unwrap_or((url, ""));
        let header = |wanted: &str| {
            self.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value.as_str())
        };
        Ok(Call {
            method: &self.method,
            path,
            query,
            if_match: header("if-match"),
            company: header("company"),
            page_size: header("prefer").and_then(page_size),
            body: self.body.map_or("", RawValue::get),
        })
    }
}

/// The page size that a `Prefer` header asks for.
pub(super) fn page_size(prefer: &str) -> Option<usize> {
    let mut preferences = prefer.split([',', ';']).map(str::trim);
    let size = preferences.find_map(|preference| preference.strip_prefix("odata.maxpagesize="))?;
    size.parse().ok().filter(|size| *size > 0)
}

/// The JSON answer to an envelope.
pub(super) fn write_json(answers: &[(Option<String>, Reply)]) -> String {
    let length: usize = answers.iter().map(|(_, reply)| reply.body.len() + 200).sum();
    let mut out = String::with_capacity(length + 20);
    out.push_str("{\"responses\":[");
    for (at, (id, reply)) in answers.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        out.push('{');
        json::push_name(&mut out, "id");
        match id {
            Some(id) => json::push_text(&mut out, id),
            None => out.push_str("null"),
        }
        json::push_name(&mut out, "status");
        out.push_str(&reply.status.to_string());
        json::push_name(&mut out, "headers");
        out.push('{');
        if let Some(location) = &reply.location {
            json::push_name(&mut out, "location");
            json::push_text(&mut out, location);
        }
        if !reply.body.is_empty() {
            json::push_name(&mut out, "content-type");
            json::push_text(&mut out, "application/json; odata.metadata=minimal; odata.streaming=true");
        }
        json::push_name(&mut out, "odata-version");
        out.push_str("\"4.0\"}");
        if !reply.body.is_empty() {
            json::push_name(&mut out, "body");
            out.push_str(&reply.body);
        }
        out.push('}');
    }
    out.push_str("]}");
    out
}

/// The answer to an envelope whose request did not ask for JSON: its media type and body.
pub(super) fn write_multipart(answers: &[(Option<String>, Reply)]) -> (String, String) {
    let boundary = format!("batchresponse_{}", Uuid::new_v4());
    let mut out = String::new();
    for (id, reply) in answers {
        out.push_str(&format_part(&boundary, id.as_deref(), reply));
    }
    out.push_str("--");
    out.push_str(&boundary);
    out.push_str("--\r\n");
    (format!("multipart/mixed; boundary={boundary}"), out)
}

fn format_part(boundary: &str, id: Option<&str>, reply: &Reply) -> String {
    let id = id.map(|id| format!("Content-ID: {id}\r\n")).unwrap_or_default();
    format!(
        "--{boundary}\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n{id}\r\n\
         HTTP/1.1 {}\r\nContent-Type: application/json; odata.metadata=minimal\r\nOData-Version: 4.0\r\n\r\n{}\r\n",
        reply.status, reply.body
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_relative_to_the_root() {
        let parse = |url: &str| {
            let body = format!(r#"{{"requests":[{{"method":"GET","url":"{url}"}}]}}"#);
            let envelope = Envelope::parse(&body).unwrap();
            envelope.requests[0]
                .call("http://h/api/v2.0")
                .map(|call| call.path.to_owned())
                .map_err(|reply| reply.status)
        };
        assert_eq!(parse("companies?$top=1"), Ok("companies".to_owned()));
        assert_eq!(parse("http://h/api/v2.0/companies"), Ok("companies".to_owned()));
        assert_eq!(parse("/companies"), Err(404));
        assert_eq!(parse("http://elsewhere/companies"), Err(404));
    }

    #[test]
    fn a_hundred_operations_are_allowed_and_one_more_is_not() {
        let envelope = |count: usize| {
            let operations = vec![r#"{"id":"1","method":"GET","url":"companies"}"#; count].join(",");
            Envelope::parse(&format!(r#"{{"requests":[{operations}]}}"#)).map(drop).map_err(|error| error.status)
        };
        assert_eq!((envelope(100), envelope(101)), (Ok(()), Err(500)));
    }

    #[test]
    fn page_sizes_are_found_among_other_preferences() {
        assert_eq!(page_size("odata.continue-on-error, odata.maxpagesize=50"), Some(50));
        assert_eq!(page_size("odata.maxpagesize=0"), None);
        assert_eq!(page_size("return=minimal"), None);
    }
}
