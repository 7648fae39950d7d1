//! What goes into one API operation and what comes out of it.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::errors::ApiError;

/// One operation as it came in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call<'a> {
    /// HTTP verb in upper case.
    pub(super) method: &'a str,
    /// Path relative to the API root, percent-encoded.
    pub(super) path: &'a str,
    /// Query string without the question mark.
    pub(super) query: &'a str,
    /// `If-Match` header.
    pub(super) if_match: Option<&'a str>,
    /// `Company` header: a name.
    pub(super) company: Option<&'a str>,
    /// Page size that the `Prefer` header asks for.
    pub(super) page_size: Option<usize>,
    /// JSON text, blank when there is none.
    pub(super) body: &'a str,
}

/// What stands around an operation.
#[derive(Debug)]
pub(super) struct Surroundings {
    /// Absolute URL of the API root, without a slash at the end.
    pub(super) root: String,
    /// Absolute URL of the API root as next links show it.
    pub(super) link_root: String,
    /// Current time.
    pub(super) now: DateTime<Utc>,
    /// Sets for which the app has no permission at all.
    pub(super) denied: BTreeSet<String>,
    /// Sets that the app may only read.
    pub(super) read_only: BTreeSet<String>,
}

/// The media type of an answer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Media {
    /// JSON with minimal metadata.
    Json,
    /// Plain text.
    Text,
    /// XML.
    Xml,
}

/// An answer.
#[derive(Debug, Clone)]
pub(super) struct Reply {
    /// HTTP status.
    pub(super) status: u16,
    /// Body, blank for 204.
    pub(super) body: String,
    /// What the body is.
    pub(super) media: Media,
    /// `Location` header.
    pub(super) location: Option<String>,
}

impl Reply {
    /// A JSON answer.
    pub(super) fn json(status: u16, body: String) -> Self {
        Self { status, body, media: Media::Json, location: None }
    }

    /// Whether the operation was refused.
    pub(super) fn failed(&self) -> bool {
        self.status >= 400
    }
}

impl From<ApiError> for Reply {
    fn from(error: ApiError) -> Self {
        Self::json(error.status, error.body(Uuid::new_v4()))
    }
}
