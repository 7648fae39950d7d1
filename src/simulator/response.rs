//! Answers as HTTP responses, whole or broken off.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{Response, StatusCode, header};
use futures_util::stream;
use tokio::time::sleep;
use uuid::Uuid;

use super::call::{Media, Reply};
use super::errors::ApiError;
use super::state::State;

/// An answer on its way out.
#[derive(Debug)]
pub(super) struct Answer {
    /// HTTP status.
    pub(super) status: u16,
    /// `Content-Type` header.
    pub(super) media_type: String,
    /// Body, blank for none.
    pub(super) body: String,
    /// `Location` header.
    pub(super) location: Option<String>,
    /// `Retry-After` header in seconds.
    pub(super) retry_after: Option<u64>,
}

impl From<Reply> for Answer {
    fn from(reply: Reply) -> Self {
        let media_type = match reply.media {
            Media::Json => "application/json; odata.metadata=minimal; odata.streaming=true",
            Media::Text => "text/plain",
            Media::Xml => "application/xml",
        };
        let (status, body, location) = (reply.status, reply.body, reply.location);
        Self { status, media_type: media_type.to_owned(), body, location, retry_after: None }
    }
}

impl From<ApiError> for Answer {
    fn from(error: ApiError) -> Self {
        Reply::from(error).into()
    }
}

/// An answer of the gateway, which speaks HTML.
pub(super) fn gateway(status: u16, retry_after: Option<u64>) -> Answer {
    if status == 429 {
        let error = ApiError::too_many_requests("requests", 6_001, 6_000);
        return Answer { retry_after, ..error.into() };
    }
    let reason = StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason()).unwrap_or("Error");
    Answer {
        status,
        media_type: "text/html".to_owned(),
        body: format!("<html><head><title>{status} {reason}</title></head><body><h1>{reason}</h1></body></html>"),
        location: None,
        retry_after,
    }
}

/// The HTTP response with `answer`.
pub(super) fn respond(state: &State, answer: &Answer) -> Response<Body> {
    let body = Body::from(answer.body.clone());
    finish(head(answer), state, body)
}

/// Promises the whole body, sends half of it, and breaks the connection.
pub(super) fn respond_half(state: &State, answer: Answer) -> Response<Body> {
    let builder = head(&answer).header(header::CONTENT_LENGTH, answer.body.len());
    let bytes = answer.body.into_bytes();
    let half = Bytes::copy_from_slice(&bytes[..bytes.len() / 2]);
    let body = stream::unfold(Some(half), |state| async move {
        match state {
            Some(half) if !half.is_empty() => Some((Ok(half), Some(Bytes::new()))),
            Some(_) => {
                // Lets the first half leave before the connection ends.
                sleep(Duration::from_millis(5)).await;
                Some((Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset)), None))
            }
            None => None,
        }
    });
    finish(builder, state, Body::from_stream(body))
}

fn head(answer: &Answer) -> axum::http::response::Builder {
    let mut builder = Response::builder().status(answer.status);
    if !answer.body.is_empty() {
        builder = builder.header(header::CONTENT_TYPE, &answer.media_type);
    }
    if let Some(location) = &answer.location {
        builder = builder.header(header::LOCATION, location);
    }
    if let Some(seconds) = answer.retry_after {
        builder = builder.header(header::RETRY_AFTER, seconds);
    }
    builder.header("OData-Version", "4.0")
}

/// Adds the headers that every answer carries.
pub(super) fn finish(builder: axum::http::response::Builder, state: &State, body: Body) -> Response<Body> {
    let date = state.now().format("%a, %d %b %Y %H:%M:%S GMT").to_string();
    let builder = builder
        .header(header::DATE, date)
        .header("request-id", Uuid::new_v4().to_string())
        .header("ms-correlation-x", Uuid::new_v4().to_string());
    builder.body(body).unwrap_or_else(|_| Response::new(Body::empty()))
}
