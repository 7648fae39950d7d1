//! Why a database did not do what it was asked for: what its errors and those of the drivers mean for us.
//!
//! Decided here, by codes; by text only where SQLite has one code for all. The connection URL is in no message.

use sqlx::error::DatabaseError;
use sqlx::mysql::MySqlDatabaseError;
use sqlx::postgres::{PgDatabaseError, PgErrorPosition};

use crate::source::error::{Position, ShapeError, SourceError};

/// Why the database did not do what it was asked for.
#[derive(Debug)]
pub(super) enum Failure {
    /// It may do it later.
    Transient(String),
    /// A person has to change something. Holds the place in the statement, counted in characters from 1.
    Refused { message: String, character: Option<usize> },
    /// The answer is not what a row looks like.
    Shape(ShapeError),
}

impl Failure {
    /// Whether SQLite refused a row because of a BLOB.
    pub(super) fn is_blob(&self) -> bool {
        matches!(self, Self::Refused { message, .. } if message.contains("JSON cannot hold BLOB values"))
    }

    /// As the error of `stream` while connecting.
    pub(super) fn connecting(self, stream: &str) -> SourceError {
        let stream = stream.to_owned();
        match self {
            Self::Transient(message) => SourceError::Unreachable { stream, message },
            Self::Refused { message, .. } => {
                SourceError::Refused { stream, what: "the connection", message, position: None }
            }
            Self::Shape(problem) => SourceError::Shape { stream, problem },
        }
    }

    /// As the error of `stream` while `what` ran; `query` is its text when the database saw it as it was configured.
    pub(super) fn running(self, stream: &str, what: &'static str, query: Option<&str>) -> SourceError {
        let stream = stream.to_owned();
        match self {
            Self::Transient(message) => SourceError::Interrupted { stream, message },
            Self::Refused { message, character } => {
                let position = query.zip(character).map(|(query, nth)| Position::of(query, nth));
                SourceError::Refused { stream, what, message, position }
            }
            Self::Shape(problem) => SourceError::Shape { stream, problem },
        }
    }
}

/// What an error of the driver means.
pub(super) fn classify(error: sqlx::Error) -> Failure {
    match error {
        sqlx::Error::Database(error) => {
            let verdict = if let Some(error) = error.try_downcast_ref::<PgDatabaseError>() {
                postgres(error)
            } else if let Some(error) = error.try_downcast_ref::<MySqlDatabaseError>() {
                mysql(error)
            } else {
                sqlite(error.as_ref())
            };
            let Verdict { transient, message, character } = verdict;
            if transient { Failure::Transient(message) } else { Failure::Refused { message, character } }
        }
        // What the TLS library refuses comes in this disguise: a certificate does not get better by waiting.
        sqlx::Error::Io(error) if error.kind() == std::io::ErrorKind::InvalidData => {
            Failure::Refused { message: error.to_string(), character: None }
        }
        sqlx::Error::Io(error) => Failure::Transient(error.to_string()),
        error @ (sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed) => Failure::Transient(error.to_string()),
        error @ (sqlx::Error::Decode(_) | sqlx::Error::ColumnDecode { .. }) => {
            Failure::Shape(ShapeError::Row(error.to_string()))
        }
        error => Failure::Refused { message: error.to_string(), character: None },
    }
}

/// What a database's own error means.
struct Verdict {
    transient: bool,
    message: String,
    character: Option<usize>,
}

/// What `error` means. The primary result code is the lowest byte of the extended one.
fn sqlite(error: &dyn DatabaseError) -> Verdict {
    const INTERNAL: i32 = 2;
    const BUSY: i32 = 5;
    const LOCKED: i32 = 6;
    const NO_MEMORY: i32 = 7;
    const READ_ONLY: i32 = 8;
    const INTERRUPT: i32 = 9;
    const IO: i32 = 10;
    const FULL: i32 = 13;
    const CANNOT_OPEN: i32 = 14;
    const PROTOCOL: i32 = 15;
    let code = error.code().and_then(|code| code.parse::<i32>().ok()).unwrap_or_default() & 0xff;
    let transient =
        matches!(code, INTERNAL | BUSY | LOCKED | NO_MEMORY | INTERRUPT | IO | FULL | CANNOT_OPEN | PROTOCOL);
    let mut message = error.message().to_owned();
    if matches!(code, READ_ONLY | CANNOT_OPEN) {
        message.push_str(
            " (is the file there and readable? In WAL mode, even a reader must be able to write to its directory)",
        );
    }
    Verdict { transient, message, character: None }
}

/// What `error` means, by its SQLSTATE (PostgreSQL documentation, appendix A).
fn postgres(error: &PgDatabaseError) -> Verdict {
    let code = error.code();
    // Connection trouble, transaction rollback, resources, operator intervention (a cancelled statement included),
    // system errors; a lock that is not available.
    let transient = ["08", "40", "53", "57", "58"].iter().any(|class| code.starts_with(class)) || code == "55P03";
    let mut message = error.message().to_owned();
    for more in [error.detail(), error.hint()].into_iter().flatten() {
        message.push_str("; ");
        message.push_str(more);
    }
    let character = match error.position() {
        Some(PgErrorPosition::Original(nth)) => Some(nth),
        _ => None,
    };
    Verdict { transient, message, character }
}

/// What `error` means, by its number (MariaDB documentation, error codes).
fn mysql(error: &MySqlDatabaseError) -> Verdict {
    let transient = matches!(
        error.number(),
        // Too many connections, out of resources, shutdown, aborted, killed.
        1040 | 1041 | 1053 | 1077 | 1080 | 1152 | 1158
            ..=1161 | 1184 | 1203 | 1226 | 1317 | 1927 |
        // Lock wait, deadlock, changed table definition, statement time-out (MariaDB, MySQL).
        1205 | 1213 | 1412 | 1969 | 3024
    );
    Verdict { transient, message: error.message().to_owned(), character: None }
}
