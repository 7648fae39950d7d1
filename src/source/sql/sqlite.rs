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
    let options = SqliteConnectOptions::new()
        .filename(path)
        .read_only(true)
        .create_if_missing(false)
        .busy_timeout(BUSY_TIMEOUT)
        .disable_statement_logging();
    let mut connection = SqliteConnection::connect_with(&options).await.map_err(|error| match classify(error) {
        Failure::Transient(message) => Failure::Transient(format!("{}: {message}", path.display())),
        Failure::Refused { message, character } => {
            Failure::Refused { message: format!("{}: {message}", path.display()), character }
        }
        shape @ Failure::Shape(_) => shape,
    })?;
    // Opening alone does not look into the file.
    connection.execute(sqlx::raw_sql("PRAGMA schema_version")).await.map_err(classify)?;
    Ok(connection)
}
