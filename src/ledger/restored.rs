//! A ledger that is an older copy of itself: a backup that was put in place.
//!
//! What was done since the copy was made is not in it, and requests of that time may still take effect. So nothing that it
//! says of a row holds until the row was read, no approval counts, and nothing is sent before everything was read again.
//! That is noted in the file itself, and ends by itself.

use std::fs::File;
use std::path::Path;

use chrono::{DateTime, Utc};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _, Sqlite, SqlitePool, Transaction};
use tracing::warn;

use super::LedgerError;
use super::file::{self, APPLICATION_ID};
use super::marks::{doubtful, lost};
use super::pool::BUSY_TIMEOUT;
use crate::model::Removal;

/// The epoch of a copy, before every epoch of a ledger that is in use.
pub(super) const COPIED: i64 = -1;

/// The epoch of a copy that was put in place: the logs beside it are its own from now on.
const IN_PLACE: i64 = -2;

/// Sets aside the logs that the last ledger left beside this one, when this one is a copy that was put in its place:
/// SQLite would take them for the copy's own and mix two ledgers. `newest` is the last version of the tables that is known;
/// a copy of a later one is left alone. Gives the lock under which that was done.
pub(super) async fn part_from_logs(path: &Path, newest: i64) -> Result<Option<File>, LedgerError> {
    if !is_copy(path, newest).await {
        return Ok(None);
    }
    let lock = file::lock(path)?;
    // Another process may have been first.
    if is_copy(path, newest).await {
        for log in file::set_logs_aside(path)? {
            warn!(kept = %log.display(), "the ledger is a copy; what the one before it had not carried over was set aside");
        }
        // Into the file itself, without a log of its own.
        let options = SqliteConnectOptions::new().filename(path).busy_timeout(BUSY_TIMEOUT);
        let options = options.journal_mode(SqliteJournalMode::Delete).synchronous(SqliteSynchronous::Full);
        let mut copy = options.connect().await?;
        let marked = sqlx::query("UPDATE meta SET value = CAST(?1 AS TEXT) WHERE name = 'epoch'");
        marked.bind(IN_PLACE).execute(&mut copy).await?;
        copy.close().await?;
    }
    Ok(Some(lock))
}

/// Whether the file is a copy that nobody opened for writing yet, as it says itself without any log. What cannot be read
/// is none: whoever opens it next tells why.
async fn is_copy(path: &Path, newest: i64) -> bool {
    let options = SqliteConnectOptions::new().filename(path).read_only(true).immutable(true);
    let Ok(mut file) = options.connect().await else { return false };
    let epoch = "SELECT CAST(value AS INTEGER) FROM meta, pragma_application_id \
                 WHERE name = 'epoch' AND application_id = ?1 AND (SELECT max(version) FROM _sqlx_migrations) <= ?2";
    let epoch = sqlx::query_scalar(epoch).bind(APPLICATION_ID).bind(newest).fetch_optional(&mut file).await;
    let _ = file.close().await;
    matches!(epoch, Ok(Some(COPIED)))
}

/// Notes that the ledger is an older copy of itself.
pub(super) async fn distrust(tx: &mut Transaction<'static, Sqlite>, now: &str) -> Result<(), LedgerError> {
    sqlx::query("UPDATE meta SET value = ?1 WHERE name = 'restored_at'").bind(now).execute(&mut **tx).await?;
    // By no clock: that of this machine may have been set back since.
    sqlx::query("UPDATE job SET full_at = NULL").execute(&mut **tx).await?;
    sqlx::query("DELETE FROM held_plan").execute(&mut **tx).await?;
    sqlx::query(
        "UPDATE link SET fingerprint = ?1 WHERE fingerprint NOT IN (?2, ?3) \
         AND link_id IN (SELECT link_id FROM link_detail WHERE state = 'linked')",
    )
    .bind(doubtful().as_bytes().as_slice())
    .bind(lost(Removal::Block).as_bytes().as_slice())
    .bind(lost(Removal::Delete).as_bytes().as_slice())
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// When the ledger was found to be an older copy of itself; `None`: it never was.
pub(super) async fn restored_at(pool: &SqlitePool) -> Result<Option<DateTime<Utc>>, LedgerError> {
    let at: String = sqlx::query_scalar("SELECT value FROM meta WHERE name = 'restored_at'").fetch_one(pool).await?;
    Ok(DateTime::parse_from_rfc3339(&at).ok().map(|at| at.to_utc()))
}
