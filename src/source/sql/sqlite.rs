//! SQLite: opening the file, and what its errors mean.

use std::path::Path;
use std::time::Duration;

use sqlx::error::DatabaseError;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection, Executor};

use super::connection::{Failure, Verdict, classify};

/// How long a statement waits for another process that holds the file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);

/// The message with which `json_array` refuses a BLOB.
const BLOB_MESSAGE: &str = "JSON cannot hold BLOB values";

/// Opens the file at `path` for reading only; it must be there.
pub(super) async fn connect(path: &Path) -> Result<SqliteConnection, Failure> {
    let named = |message: String| format!("{}: {message}", path.display());
    // SQLite's own words for these two are "unable to open database file" and "disk I/O error".
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => {
            return Err(Failure::Refused { message: named("it is a folder".to_owned()), character: None });
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(Failure::Transient(named("there is no such file".to_owned())));
        }
        _ => {}
    }
    open(path).await.map_err(|error| match classify(error) {
        Failure::Transient(message) => Failure::Transient(named(message)),
        Failure::Refused { message, character } => Failure::Refused { message: named(message), character },
        shape @ Failure::Shape(_) => shape,
    })
}

async fn open(path: &Path) -> sqlx::Result<SqliteConnection> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .read_only(true)
        .create_if_missing(false)
        .busy_timeout(BUSY_TIMEOUT)
        .disable_statement_logging();
    let mut connection = SqliteConnection::connect_with(&options).await?;
    // Opening alone does not look into the file.
    connection.execute(sqlx::raw_sql("PRAGMA schema_version")).await?;
    Ok(connection)
}

/// Whether the database refused a row because of a BLOB.
pub(super) fn is_blob_refusal(message: &str) -> bool {
    message.contains(BLOB_MESSAGE)
}

/// What `error` means. The primary result code is the lowest byte of the extended one.
pub(super) fn verdict(error: &dyn DatabaseError) -> Verdict {
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
