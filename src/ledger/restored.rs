//! A ledger that is an older copy of itself: a backup that was put in place.
//!
//! What was done since the copy was made is not in it, and requests of that time may still take effect. So nothing that it
//! says of a row holds until the row was read, no approval counts, and nothing is sent before everything was read again.
//! That is noted in the file itself, and ends by itself.

use chrono::{DateTime, Utc};
use sqlx::{Sqlite, SqlitePool, Transaction};

use super::LedgerError;
use super::marks::{doubtful, lost};
use crate::model::Removal;

/// The epoch of a copy, before every epoch of a ledger that is in use.
pub(super) const COPIED: i64 = -1;

/// Notes that the ledger is an older copy of itself.
pub(super) async fn distrust(tx: &mut Transaction<'static, Sqlite>, now: &str) -> Result<(), LedgerError> {
    sqlx::query("UPDATE meta SET value = ?1 WHERE name = 'restored_at'").bind(now).execute(&mut **tx).await?;
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
