//! SQLite: opening the file.

use std::path::Path;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection, Executor};

use super::failure::{Failure, classify};

/// How long a statement waits for another process that holds the file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);

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
