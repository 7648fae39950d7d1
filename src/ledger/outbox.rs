//! The outbox as apply reads it.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Row as _};

use super::checksum::Checksum;
use super::rows::json_list;
use super::{JobId, Ledger, LedgerError};
use crate::model::{Draft, Fingerprint, RecordState, Removal, Take, Value};

/// One record that is to be sent.
#[derive(Debug, Clone)]
pub struct OutboxRow {
    /// Its place in the order of sending.
    pub seq: i64,
    /// The record's key.
    pub key: String,
    /// Pending, waiting, held, locked or quarantined.
    pub state: RecordState,
    /// Over record and mapping.
    pub fingerprint: Fingerprint,
    /// What BC is to hold.
    pub draft: Draft,
    /// What becomes of the row instead, because the source has lost the record.
    pub removal: Option<Removal>,
    /// The canonical match value.
    pub match_value: Option<String>,
    /// What keeps it, without the record's own values: records with the same error are tried by one of them.
    pub error: Option<String>,
    /// When state or reason changed last.
    pub changed_at: DateTime<Utc>,
    /// Since when something that it refers to has been missing.
    pub waiting_since: Option<DateTime<Utc>>,
    /// Who is right, as a person decided after a conflict.
    pub decision: Option<Take>,
    /// The etag of the row in BC that was in conflict.
    pub seen_etag: Option<String>,
}

impl OutboxRow {
    /// The total that the document must come to, unless a person took BC's values.
    #[must_use]
    pub fn total(&self) -> Option<&Value> {
        self.draft.total.as_ref().filter(|_| self.decision != Some(Take::Bc))
    }
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
    /// Code and words without the record's own values; `None` for what concerns this record alone.
    pub error: Option<String>,
}

impl Reason {
    /// A reason of our own.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }
}

/// What a row says of its record: the columns that change only with its version, and that its checksum is over.
pub(super) struct Content<'a> {
    pub(super) key: &'a str,
    /// In hexadecimal digits.
    pub(super) fingerprint: &'a str,
    pub(super) draft: Option<&'a str>,
    pub(super) match_value: Option<&'a str>,
    pub(super) claim: Option<&'a str>,
    pub(super) removal: Option<&'a str>,
}

impl Content<'_> {
    /// The checksum of the row in the outbox of the job.
    pub(super) fn checksum(&self, job: JobId) -> Checksum {
        let sum = Checksum::of_job("outbox", job).text(self.key).text(self.fingerprint).nullable(self.draft);
        sum.nullable(self.match_value).nullable(self.claim).nullable(self.removal)
    }
}

/// Reads a row of the table; `None` when something in it is damaged.
fn read(job: JobId, row: &SqliteRow) -> Result<Option<OutboxRow>, sqlx::Error> {
    let time = |text: &str| DateTime::parse_from_rfc3339(text).map(|time| time.to_utc());
    let waiting_since: Option<&str> = row.try_get("waiting_since")?;
    let decision: Option<&str> = row.try_get("decision")?;
    let (key, draft): (&str, &str) = (row.try_get("key")?, row.try_get("draft")?);
    let match_value: Option<&str> = row.try_get("match_value")?;
    let removal: Option<&str> = row.try_get("removal")?;
    let parsed = (
        RecordState::parse(row.try_get("state")?),
        Fingerprint::from_bytes(row.try_get("fingerprint")?),
        Fingerprint::from_bytes(row.try_get("checksum")?),
        Draft::parse(draft).ok(),
        time(row.try_get("changed_at")?).ok(),
        waiting_since.map(time).transpose().ok(),
    );
    let (Some(state), Some(fingerprint), Some(stored), Some(parsed), Some(changed_at), Some(waiting_since)) = parsed
    else {
        return Ok(None);
    };
    let (hex, claim) = (fingerprint.to_string(), row.try_get("claim")?);
    let content = Content { key, fingerprint: &hex, draft: Some(draft), match_value, claim, removal };
    if content.checksum(job).finish() != stored {
        return Ok(None);
    }
    Ok(Some(OutboxRow {
        seq: row.try_get("seq")?,
        key: key.to_owned(),
        state,
        fingerprint,
        draft: parsed,
        removal: removal.and_then(Removal::parse),
        match_value: match_value.map(ToOwned::to_owned),
        error: row.try_get("error")?,
        changed_at,
        waiting_since,
        decision: decision.and_then(Take::parse),
        seen_etag: row.try_get("seen_etag")?,
    }))
}

/// What a row becomes by an upsert: the new version, of which nothing is known yet. What is not inserted is undone.
pub(super) const RENEWED: &str = "state = excluded.state, refused = excluded.refused, removal = excluded.removal, \
    fingerprint = excluded.fingerprint, record = excluded.record, draft = excluded.draft, \
    match_value = excluded.match_value, claim = excluded.claim, reason = excluded.reason, code = NULL, \
    correlation_id = NULL, error = NULL, retry_at = NULL, decision = NULL, seen_etag = NULL, attempts = 0, \
    staged_at = excluded.staged_at, changed_at = excluded.changed_at, checksum = excluded.checksum";

/// Which rows are taken up at the time `?2`, unless their outcome is open.
pub(super) const DUE: &str = "NOT refused \
    AND (retry_at <= ?2 OR (retry_at IS NULL AND state IN ('pending', 'waiting', 'held', 'locked'))) \
    AND NOT EXISTS (SELECT 1 FROM intent WHERE intent.job_id = outbox.job_id AND intent.key = outbox.key \
                    AND NOT intent.released)";

impl Ledger {
    /// The current time, by which rows become due.
    #[must_use]
    pub fn time(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    /// At most `limit` rows of the job that are due at the time `as_of`, in order, behind `after`. Rows with an open
    /// outcome are left out.
    pub async fn due(
        &self,
        job: JobId,
        after: i64,
        limit: u32,
        as_of: DateTime<Utc>,
    ) -> Result<Vec<OutboxRow>, LedgerError> {
        // NOT INDEXED: walking the rows in their order beats sorting all states of the index for every page.
        let statement = format!(
            "SELECT seq, key, state, fingerprint, draft, removal, match_value, claim, error, changed_at, \
             waiting_since, decision, seen_etag, checksum FROM outbox NOT INDEXED \
             WHERE job_id = ?1 AND {DUE} AND seq > ?3 ORDER BY seq LIMIT ?4"
        );
        let rows = sqlx::query(AssertSqlSafe(statement))
            .bind(job.0)
            .bind(crate::clock::iso(as_of))
            .bind(after)
            .bind(limit)
            .fetch_all(&self.readers)
            .await?;
        let due = |row: &SqliteRow| match read(job, row)? {
            Some(due) => Ok(due),
            None => Err(LedgerError::Corrupt { table: "outbox", key: row.try_get("key")? }),
        };
        rows.iter().map(due).collect()
    }

    /// The match values that the outbox has for the records of `keys`, by key; nothing of those that it has not, and of
    /// those that have none.
    pub async fn wanted_match_values(
        &self,
        job: JobId,
        keys: impl IntoIterator<Item = &str>,
    ) -> Result<HashMap<String, String>, LedgerError> {
        let rows: Vec<(String, String)> = sqlx::query_as(
            "SELECT outbox.key, match_value FROM json_each(?2) AS wanted \
             CROSS JOIN outbox ON job_id = ?1 AND outbox.key = wanted.value WHERE match_value IS NOT NULL",
        )
        .bind(job.0)
        .bind(json_list(keys))
        .fetch_all(&self.readers)
        .await?;
        Ok(rows.into_iter().collect())
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

    /// Whether the outbox has rows of the job that are not due now.
    pub async fn has_resting(&self, job: JobId) -> Result<bool, LedgerError> {
        let statement = format!("SELECT EXISTS (SELECT 1 FROM outbox WHERE job_id = ?1 AND ({DUE}) IS NOT TRUE)");
        let rests = sqlx::query_scalar(AssertSqlSafe(statement)).bind(job.0).bind(self.now());
        Ok(rests.fetch_one(&self.readers).await?)
    }

    /// How many rows of the job are due at the time `as_of` whose records the source has lost.
    pub async fn removals_due(&self, job: JobId, as_of: DateTime<Utc>) -> Result<u64, LedgerError> {
        let statement = format!("SELECT count(*) FROM outbox WHERE job_id = ?1 AND removal IS NOT NULL AND {DUE}");
        let count = sqlx::query_scalar(AssertSqlSafe(statement)).bind(job.0).bind(crate::clock::iso(as_of));
        let count: i64 = count.fetch_one(&self.readers).await?;
        Ok(count.unsigned_abs())
    }

    /// Whether the job may have anything to send: what is due, what it must find out about, or what waits for the match value
    /// of another record.
    pub async fn may_send(&self, job: JobId) -> Result<bool, LedgerError> {
        let statement = format!(
            "SELECT EXISTS (SELECT 1 FROM outbox WHERE job_id = ?1 AND {DUE}) \
             OR EXISTS (SELECT 1 FROM intent WHERE job_id = ?1) \
             OR EXISTS (SELECT 1 FROM outbox WHERE job_id = ?1 AND claim IS NOT NULL)"
        );
        Ok(sqlx::query_scalar(AssertSqlSafe(statement)).bind(job.0).bind(self.now()).fetch_one(&self.readers).await?)
    }

    /// How many rows of the job [`Ledger::due`] would give now.
    pub async fn due_count(&self, job: JobId) -> Result<u64, LedgerError> {
        let statement = format!("SELECT count(*) FROM outbox WHERE job_id = ?1 AND {DUE}");
        let count: i64 =
            sqlx::query_scalar(AssertSqlSafe(statement)).bind(job.0).bind(self.now()).fetch_one(&self.readers).await?;
        Ok(count.unsigned_abs())
    }
}
