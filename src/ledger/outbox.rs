//! The outbox as apply reads it.

use super::checksum::Checksum;
use super::{JobId, Ledger, LedgerError};
use crate::model::{Draft, Fingerprint, RecordState};

/// One record that is to be sent.
#[derive(Debug, Clone)]
pub struct OutboxRow {
    /// Its place in the order of sending.
    pub seq: i64,
    /// The record's key.
    pub key: String,
    /// Pending, waiting or locked.
    pub state: RecordState,
    /// Over record and mapping.
    pub fingerprint: Fingerprint,
    /// What BC is to hold.
    pub draft: Draft,
    /// The canonical match value.
    pub match_value: Option<String>,
    /// Whether an earlier create of ours may have happened.
    pub repeated: bool,
    /// How many sends were answered with an error.
    pub attempts: u32,
}

/// Why a record is in a state, as the ledger keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reason {
    /// In words.
    pub text: String,
    /// BC's error code.
    pub code: Option<String>,
    /// BC's correlation id.
    pub correlation_id: Option<String>,
}

impl Reason {
    /// A reason of our own.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), code: None, correlation_id: None }
    }
}

/// The checksum of a row; `fingerprint` in hexadecimal digits.
pub(super) fn checksum(
    job: JobId,
    key: &str,
    fingerprint: &str,
    draft: Option<&str>,
    match_value: Option<&str>,
) -> Checksum {
    let sum = Checksum::of_job("outbox", job).text(key).text(fingerprint);
    sum.nullable(draft).nullable(match_value)
}

type Row = (i64, String, String, Vec<u8>, String, Option<String>, bool, i64, Vec<u8>);

impl Ledger {
    /// At most `limit` rows of the job that can be sent, in order, behind `after`. Rows with an open outcome are left out.
    pub async fn due(&self, job: JobId, after: i64, limit: u32) -> Result<Vec<OutboxRow>, LedgerError> {
        // NOT INDEXED: walking the rows in their order beats sorting all states of the index for every page.
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT seq, key, state, fingerprint, draft, match_value, repeated, attempts, checksum FROM outbox NOT INDEXED \
             WHERE seq > ?2 AND job_id = ?1 AND state IN ('pending', 'waiting', 'locked') AND draft IS NOT NULL \
             AND NOT EXISTS (SELECT 1 FROM intent WHERE intent.job_id = outbox.job_id AND intent.key = outbox.key \
             AND NOT intent.released) \
             ORDER BY seq LIMIT ?3",
        )
        .bind(job.0)
        .bind(after)
        .bind(limit)
        .fetch_all(&self.readers)
        .await?;
        rows.into_iter()
            .map(|(seq, key, state, fingerprint, draft, match_value, repeated, attempts, stored)| {
                let damaged = || LedgerError::Corrupt { table: "outbox", key: key.clone() };
                let fingerprint = Fingerprint::from_bytes(&fingerprint).ok_or_else(&damaged)?;
                checksum(job, &key, &fingerprint.to_string(), Some(&draft), match_value.as_deref())
                    .verify(&stored, "outbox", &key)?;
                Ok(OutboxRow {
                    seq,
                    state: RecordState::parse(&state).ok_or_else(&damaged)?,
                    fingerprint,
                    draft: Draft::parse(&draft).map_err(|_| damaged())?,
                    match_value,
                    repeated,
                    attempts: u32::try_from(attempts).unwrap_or(u32::MAX),
                    key,
                })
            })
            .collect()
    }

    /// How many records of the job a person must look at, whenever they were read.
    pub async fn failed_count(&self, job: JobId) -> Result<u64, LedgerError> {
        let count: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM outbox WHERE job_id = ?1 AND state IN ('quarantined', 'conflict')",
        )
        .bind(job.0)
        .fetch_one(&self.readers)
        .await?;
        Ok(count.unsigned_abs())
    }

    /// How many rows of the job [`Ledger::due`] would give in all.
    pub async fn due_count(&self, job: JobId) -> Result<u64, LedgerError> {
        let count: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM outbox WHERE job_id = ?1 AND state IN ('pending', 'waiting', 'locked') \
             AND draft IS NOT NULL \
             AND NOT EXISTS (SELECT 1 FROM intent WHERE intent.job_id = outbox.job_id AND intent.key = outbox.key \
             AND NOT intent.released)",
        )
        .bind(job.0)
        .fetch_one(&self.readers)
        .await?;
        Ok(count.unsigned_abs())
    }
}
