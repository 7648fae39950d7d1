//! Intents: the durable note that a request is about to leave.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::rows::{json, json_list};
use super::{JobId, Ledger, LedgerError, RunId};
use crate::model::{Fingerprint, Snapshot};

/// What the request would do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IntentKind {
    /// Make a row.
    Create,
    /// Change properties of a row.
    Update,
    /// Change a document and its lines.
    UpdateOrder,
}

impl IntentKind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::UpdateOrder => "update_order",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Create, Self::Update, Self::UpdateOrder].into_iter().find(|kind| kind.as_str() == text)
    }
}

/// An intent to be written.
#[derive(Debug, Clone)]
pub struct NewIntent {
    /// The record's key.
    pub key: String,
    /// What the request would do.
    pub kind: IntentKind,
    /// The row that is changed.
    pub bc_id: Option<String>,
    /// What is sent as `If-Match`.
    pub base_etag: Option<String>,
    /// Of the outbox row it is made from.
    pub fingerprint: Fingerprint,
    /// Of the draft.
    pub draft: Fingerprint,
    /// The canonical match value.
    pub match_value: Option<String>,
    /// What the link will hold once this is settled.
    pub snapshot: Snapshot,
}

/// An intent that outlived its request: nobody knows yet whether BC did it.
#[derive(Debug, Clone)]
pub struct Intent {
    /// What was noted.
    pub noted: NewIntent,
    /// When it was sent, by our clock.
    pub sent_at: DateTime<Utc>,
    /// By how many milliseconds BC's clock was ahead of ours; `None`: unknown.
    pub clock_ahead: Option<i64>,
}

/// An intent as the statement takes it.
#[derive(Serialize)]
struct Noted<'a> {
    key: &'a str,
    kind: &'static str,
    bc_id: Option<&'a str>,
    base_etag: Option<&'a str>,
    fingerprint: String,
    draft: String,
    match_value: Option<&'a str>,
    snapshot: String,
}

impl<'a> Noted<'a> {
    fn of(intent: &'a NewIntent) -> Self {
        Self {
            key: &intent.key,
            kind: intent.kind.as_str(),
            bc_id: intent.bc_id.as_deref(),
            base_etag: intent.base_etag.as_deref(),
            fingerprint: intent.fingerprint.to_string(),
            draft: intent.draft.to_string(),
            match_value: intent.match_value.as_deref(),
            snapshot: intent.snapshot.to_json(),
        }
    }
}

type Row =
    (String, String, Option<String>, Option<String>, Vec<u8>, Vec<u8>, Option<String>, String, String, Option<i64>);

impl Ledger {
    /// Notes that these requests are about to leave; the stamps of intents that exist already are renewed.
    pub async fn note_intents(
        &self,
        job: JobId,
        run: RunId,
        intents: &[NewIntent],
        clock_ahead: Option<i64>,
    ) -> Result<(), LedgerError> {
        let mut tx = self.write().await?;
        let rows: Vec<_> = intents.iter().map(Noted::of).collect();
        sqlx::query(
            "INSERT INTO intent (job_id, key, kind, bc_id, base_etag, fingerprint, draft, match_value, snapshot, \
             run_id, sent_at, clock_ahead) \
             SELECT ?1, row.value ->> 'key', row.value ->> 'kind', row.value ->> 'bc_id', row.value ->> 'base_etag', \
                    unhex(row.value ->> 'fingerprint'), unhex(row.value ->> 'draft'), row.value ->> 'match_value', \
                    row.value ->> 'snapshot', ?3, ?4, ?5 \
             FROM json_each(?2) AS row WHERE true \
             ON CONFLICT (job_id, key) DO UPDATE SET kind = excluded.kind, bc_id = excluded.bc_id, \
             base_etag = excluded.base_etag, fingerprint = excluded.fingerprint, draft = excluded.draft, \
             match_value = excluded.match_value, snapshot = excluded.snapshot, run_id = excluded.run_id, \
             sent_at = excluded.sent_at, clock_ahead = excluded.clock_ahead, released = 0",
        )
        .bind(job.0)
        .bind(json(&rows))
        .bind(run.0)
        .bind(self.now())
        .bind(clock_ahead)
        .execute(&mut *tx)
        .await?;
        crate::fault!("intent: before commit");
        tx.commit().await?;
        crate::fault!("intent: after commit");
        Ok(())
    }

    /// Removes the intents of `keys`: BC certainly did nothing. `repeated` marks the outbox rows whose create may have
    /// happened in an earlier attempt.
    pub async fn drop_intents(&self, job: JobId, keys: &[&str], repeated: bool) -> Result<(), LedgerError> {
        let keys = json_list(keys.iter().copied());
        let mut tx = self.write().await?;
        sqlx::query("DELETE FROM intent WHERE job_id = ?1 AND key IN (SELECT value FROM json_each(?2))")
            .bind(job.0)
            .bind(&keys)
            .execute(&mut *tx)
            .await?;
        if repeated {
            sqlx::query(
                "UPDATE outbox SET repeated = 1 WHERE job_id = ?1 AND key IN (SELECT value FROM json_each(?2))",
            )
            .bind(job.0)
            .bind(&keys)
            .execute(&mut *tx)
            .await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// Lets the records of `keys` be sent again although their intents stay: their rows were read back and still have
    /// the etag that was sent, so that of the lost request and the next one only one can win.
    pub async fn release_intents(&self, job: JobId, keys: &[&str]) -> Result<(), LedgerError> {
        sqlx::query("UPDATE intent SET released = 1 WHERE job_id = ?1 AND key IN (SELECT value FROM json_each(?2))")
            .bind(job.0)
            .bind(json_list(keys.iter().copied()))
            .execute(&self.writer)
            .await?;
        Ok(())
    }

    /// Whether a request about the record has an open outcome.
    pub async fn has_open_intent(&self, job: JobId, key: &str) -> Result<bool, LedgerError> {
        let found: Option<i64> = sqlx::query_scalar("SELECT 1 FROM intent WHERE job_id = ?1 AND key = ?2")
            .bind(job.0)
            .bind(key)
            .fetch_optional(&self.readers)
            .await?;
        Ok(found.is_some())
    }

    /// All intents of the job whose outcome is open.
    pub async fn open_intents(&self, job: JobId) -> Result<Vec<Intent>, LedgerError> {
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT key, kind, bc_id, base_etag, fingerprint, draft, match_value, snapshot, sent_at, clock_ahead \
             FROM intent WHERE job_id = ?1 ORDER BY intent_id",
        )
        .bind(job.0)
        .fetch_all(&self.readers)
        .await?;
        rows.into_iter()
            .map(|(key, kind, bc_id, base_etag, fingerprint, draft, match_value, snapshot, sent_at, clock_ahead)| {
                let damaged = |what| LedgerError::Damaged { what, key: key.clone() };
                Ok(Intent {
                    sent_at: DateTime::parse_from_rfc3339(&sent_at).map_err(|_| damaged("intent"))?.to_utc(),
                    clock_ahead,
                    noted: NewIntent {
                        kind: IntentKind::parse(&kind).ok_or_else(|| damaged("intent"))?,
                        bc_id,
                        base_etag,
                        fingerprint: Fingerprint::from_bytes(&fingerprint).ok_or_else(|| damaged("intent"))?,
                        draft: Fingerprint::from_bytes(&draft).ok_or_else(|| damaged("intent"))?,
                        match_value,
                        snapshot: Snapshot::parse(&snapshot).map_err(|_| damaged("intent"))?,
                        key,
                    },
                })
            })
            .collect()
    }
}
