//! Leaving a record in one of the states that are not final.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{AssertSqlSafe, Sqlite, Transaction};

use super::settlement::{Next, Settlement};
use super::{JobId, LedgerError};
use crate::clock;
use crate::model::RecordState;

/// Leaves a record in a state; whether state or reason changed by it.
pub(super) async fn leave(
    tx: &mut Transaction<'static, Sqlite>,
    job: JobId,
    settlement: &Settlement,
    state: RecordState,
    now: DateTime<Utc>,
) -> Result<bool, LedgerError> {
    let reason = settlement.reason.as_ref();
    let Next { retry_after, waits, etag } = &settlement.next;
    // What is beyond all dates never comes by itself.
    let retry_at = retry_after.and_then(|after| now.checked_add_signed(TimeDelta::from_std(after).ok()?));
    let now = clock::iso(now);
    // As long as the outcome of a request is open nothing of a newer version is sent either, and that is why.
    let version = if settlement.open { "NOT refused AND ?3 IS NOT NULL" } else { "fingerprint = ?3" };
    let record = format!("job_id = ?1 AND key = ?2 AND {version}");
    let clocks = format!(
        "UPDATE outbox SET retry_at = ?5, waiting_since = iif(?6, coalesce(waiting_since, ?7), NULL), \
         attempts = attempts + (?4 = 'quarantined'), decision = iif(?4 = 'conflict', NULL, decision), \
         seen_etag = iif(?4 = 'conflict', ?8, seen_etag) WHERE {record}"
    );
    sqlx::query(AssertSqlSafe(clocks))
        .bind(job.0)
        .bind(&settlement.key)
        .bind(settlement.fingerprint.as_bytes().as_slice())
        .bind(state.as_str())
        .bind(retry_at.map(clock::iso))
        .bind(waits)
        .bind(&now)
        .bind(etag)
        .execute(&mut **tx)
        .await?;
    let words = format!(
        "UPDATE outbox SET state = ?4, reason = ?5, code = ?6, correlation_id = ?7, error = ?8, changed_at = ?9 \
         WHERE {record} AND NOT (state = ?4 AND reason IS ?5 AND code IS ?6)"
    );
    let done = sqlx::query(AssertSqlSafe(words))
        .bind(job.0)
        .bind(&settlement.key)
        .bind(settlement.fingerprint.as_bytes().as_slice())
        .bind(state.as_str())
        .bind(reason.map(|reason| reason.text.as_str()))
        .bind(reason.and_then(|reason| reason.code.as_deref()))
        .bind(reason.and_then(|reason| reason.correlation_id.as_deref()))
        .bind(reason.and_then(|reason| reason.error.as_deref()))
        .bind(&now)
        .execute(&mut **tx)
        .await?;
    Ok(done.rows_affected() > 0)
}
