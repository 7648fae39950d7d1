//! Connections to the file.

use std::path::Path;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};

use super::LedgerError;

/// How long SQLite waits for another connection that writes.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the write-ahead log may stay, in bytes, once it was carried over into the file.
const WAL_KEPT: u64 = 64 << 20;

/// Opens the file at `path` with so many connections.
pub(super) async fn pool(path: &Path, connections: u32, read_only: bool) -> Result<SqlitePool, LedgerError> {
    let mut options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(!read_only)
        .read_only(read_only)
        .busy_timeout(BUSY_TIMEOUT)
        .foreign_keys(true)
        .pragma("trusted_schema", "OFF")
        .pragma("cell_size_check", "ON")
        // In KiB. Both sides of a pass go through the file in key order, so that a page is rarely wanted twice.
        .pragma("cache_size", "-1024");
    if !read_only {
        // FULL: a commit that was answered survives a power cut; NORMAL loses the newest ones.
        options = options.journal_mode(SqliteJournalMode::Wal).synchronous(SqliteSynchronous::Full);
        // A log that grew because somebody kept the file open gives its room back.
        options = options.pragma("journal_size_limit", WAL_KEPT.to_string());
    }
    pool_of(connections).connect_with(options).await.map_err(|error| match error {
        sqlx::Error::Database(ref refusal) if refusal.message().contains("unable to open") => {
            LedgerError::Unusable { path: path.to_owned(), cause: refusal.message().to_owned() }
        }
        other => other.into(),
    })
}

/// A pool of so many connections. A connection to a file does not grow old, and without a limit to its age there is no task
/// that looks for old ones: its count of idle connections can wrap around when one is taken and given back at the same
/// instant (`num_idle` of sqlx-core 0.9.0), and then it goes on for ever.
pub(super) fn pool_of(connections: u32) -> SqlitePoolOptions {
    SqlitePoolOptions::new().max_connections(connections).max_lifetime(None).idle_timeout(None)
}
