//! Intents: the durable note that a request is about to leave.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Row as _, Sqlite, Transaction};

use super::checksum::Checksum;
use super::rows::{json, json_list};
use super::withdraw::{IN_OUTBOX, release};
use super::{JobId, Ledger, LedgerError, RunId};
use crate::model::{Fingerprint, Snapshot, Value, Values};

/// What the request would do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IntentKind {
    /// Make a row.
    Create,
    /// Change properties of a row.
    Update,
    /// Change a document and its lines.
    UpdateOrder,
    /// Delete a row.
    Delete,
}

impl IntentKind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::UpdateOrder => "update_order",
            Self::Delete => "delete",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Create, Self::Update, Self::UpdateOrder, Self::Delete].into_iter().find(|kind| kind.as_str() == text)
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
    /// The match properties of a create and their values, by which its row is looked for; empty for a change.
    pub matched: Values,
    /// What the link will hold once this is settled; until then `answered` is what BC held before.
    pub snapshot: Snapshot,
    /// The total that the document must come to.
    pub total: Option<Value>,
    /// Whether it is one step of a change, and more follow.
    pub partial: bool,
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
    /// Whether it was read back and found undone, so that it waits beside the next write.
    pub released: bool,
}

/// An intent as the statement takes it.
#[derive(Serialize)]
struct Noted<'a> {
    key: &'a str,
    kind: &'a str,
    bc_id: Option<&'a str>,
    base_etag: Option<&'a str>,
    fingerprint: String,
    draft: String,
    match_value: Option<&'a str>,
    matched: Option<String>,
    snapshot: String,
    total: Option<String>,
    partial: bool,
}

/// The same with its checksum.
#[derive(Serialize)]
struct Sealed<'a> {
    #[serde(flatten)]
    noted: Noted<'a>,
    checksum: String,
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
            matched: (!intent.matched.is_empty()).then(|| Value::Map(intent.matched.clone()).to_json()),
            snapshot: intent.snapshot.to_json(),
            total: intent.total.as_ref().map(Value::to_json),
            partial: intent.partial,
        }
    }

    fn checksum(&self, job: JobId, sent_at: &str, clock_ahead: Option<i64>) -> Checksum {
        let sum = Checksum::of_job("intent", job).text(self.key).text(self.kind).nullable(self.bc_id);
        let sum = sum.nullable(self.base_etag).text(&self.fingerprint).text(&self.draft).nullable(self.match_value);
        let sum = sum
            .nullable(self.matched.as_deref())
            .text(&self.snapshot)
            .nullable(self.total.as_deref())
            .number(self.partial.into())
            .text(sent_at);
        sum.nullable(clock_ahead.map(|ahead| ahead.to_string()).as_deref())
    }
}

fn parse_map(json: &str) -> Option<Values> {
    match Value::parse(json) {
        Ok(Value::Map(values)) => Some(values),
        _ => None,
    }
}

/// Reads a row of the table; `None` when something in it is damaged.
fn read(job: JobId, row: &SqliteRow) -> Result<Option<Intent>, sqlx::Error> {
    let fingerprint = |column| Ok::<_, sqlx::Error>(Fingerprint::from_bytes(row.try_get(column)?));
    let (stored_at, clock_ahead): (&str, Option<i64>) = (row.try_get("sent_at")?, row.try_get("clock_ahead")?);
    let prints = (fingerprint("fingerprint")?, fingerprint("draft")?, fingerprint("checksum")?);
    let (Some(fingerprint), Some(draft), Some(checksum)) = prints else { return Ok(None) };
    let noted = Noted {
        key: row.try_get("key")?,
        kind: row.try_get("kind")?,
        bc_id: row.try_get("bc_id")?,
        base_etag: row.try_get("base_etag")?,
        fingerprint: fingerprint.to_string(),
        draft: draft.to_string(),
        match_value: row.try_get("match_value")?,
        matched: row.try_get("matched")?,
        snapshot: row.try_get("snapshot")?,
        total: row.try_get("total")?,
        partial: row.try_get("partial")?,
    };
    let parsed = (
        IntentKind::parse(noted.kind),
        Snapshot::parse(&noted.snapshot).ok(),
        noted.total.as_deref().map(Value::parse).transpose().ok(),
        noted.matched.as_deref().map_or(Some(Vec::new()), parse_map),
        DateTime::parse_from_rfc3339(stored_at).ok(),
    );
    let (Some(kind), Some(snapshot), Some(total), Some(matched), Some(sent_at)) = parsed else { return Ok(None) };
    if noted.checksum(job, stored_at, clock_ahead).finish() != checksum {
        return Ok(None);
    }
    let text = |text: Option<&str>| text.map(ToOwned::to_owned);
    let noted = NewIntent {
        key: noted.key.to_owned(),
        kind,
        bc_id: text(noted.bc_id),
        base_etag: text(noted.base_etag),
        fingerprint,
        draft,
        match_value: text(noted.match_value),
        matched,
        snapshot,
        total,
        partial: noted.partial,
    };
    Ok(Some(Intent { noted, sent_at: sent_at.to_utc(), clock_ahead, released: row.try_get("released")? }))
}

/// Removes those intents of the records on `page` of which `which` is true.
async fn delete(
    tx: &mut Transaction<'static, Sqlite>,
    job: JobId,
    page: &str,
    which: &'static str,
) -> Result<(), LedgerError> {
    let statement =
        format!("DELETE FROM intent WHERE job_id = ?1 AND key IN (SELECT value FROM json_each(?2)) AND {which}");
    sqlx::query(AssertSqlSafe(statement)).bind(job.0).bind(page).execute(&mut **tx).await?;
    Ok(())
}

impl Ledger {
    /// Notes that these requests are about to leave; the stamps of those that are noted already are renewed. Released
    /// intents of the same records stay beside them.
    pub async fn note_intents(
        &self,
        job: JobId,
        run: RunId,
        intents: &[NewIntent],
        clock_ahead: Option<i64>,
    ) -> Result<(), LedgerError> {
        self.sound().await?;
        let mut tx = self.write().await?;
        let now = self.now();
        let seal = |intent| {
            let noted = Noted::of(intent);
            Sealed { checksum: noted.checksum(job, &now, clock_ahead).finish().to_string(), noted }
        };
        let rows: Vec<_> = intents.iter().map(seal).collect();
        sqlx::query(
            "INSERT INTO intent (job_id, key, kind, bc_id, base_etag, fingerprint, draft, match_value, matched, \
             snapshot, total, partial, run_id, sent_at, clock_ahead, checksum) \
             SELECT ?1, row.value ->> 'key', row.value ->> 'kind', row.value ->> 'bc_id', row.value ->> 'base_etag', \
                    unhex(row.value ->> 'fingerprint'), unhex(row.value ->> 'draft'), row.value ->> 'match_value', \
                    row.value ->> 'matched', row.value ->> 'snapshot', row.value ->> 'total', row.value ->> 'partial', ?3, ?4, ?5, \
                    unhex(row.value ->> 'checksum') \
             FROM json_each(?2) AS row WHERE true \
             ON CONFLICT (job_id, key) WHERE NOT released DO UPDATE SET kind = excluded.kind, \
             bc_id = excluded.bc_id, base_etag = excluded.base_etag, fingerprint = excluded.fingerprint, \
             draft = excluded.draft, match_value = excluded.match_value, matched = excluded.matched, \
             snapshot = excluded.snapshot, \
             total = excluded.total, partial = excluded.partial, run_id = excluded.run_id, \
             sent_at = excluded.sent_at, clock_ahead = excluded.clock_ahead, checksum = excluded.checksum",
        )
        .bind(job.0)
        .bind(json(&rows))
        .bind(run.0)
        .bind(&now)
        .bind(clock_ahead)
        .execute(&mut *tx)
        .await?;
        crate::fault!("K4: inside the intent transaction");
        tx.commit().await?;
        crate::fault!("K5: intents committed, nothing sent");
        Ok(())
    }

    /// Removes the intents of all creates of the record `key`, and with them its claims that nobody needs any more: none
    /// of those requests can take effect any more.
    pub async fn drop_creates(&self, job: JobId, key: &str) -> Result<(), LedgerError> {
        let page = json_list([key]);
        let mut tx = self.write().await?;
        delete(&mut tx, job, &page, "kind = 'create'").await?;
        release(&mut tx, job, &page, IN_OUTBOX, "page.value").await?;
        crate::fault!("K15: inside the removal of intents");
        tx.commit().await?;
        Ok(())
    }

    /// Removes the intents of all changes of the record `key`: none of them can take effect any more. What may become of
    /// its creates is another question.
    pub async fn drop_changes(&self, job: JobId, key: &str) -> Result<(), LedgerError> {
        let mut tx = self.write().await?;
        delete(&mut tx, job, &json_list([key]), "kind <> 'create'").await?;
        crate::fault!("K15: inside the removal of intents");
        tx.commit().await?;
        Ok(())
    }

    /// Removes the intents that were noted last for `keys`: their requests were not sent, or BC answered that it did nothing.
    /// Released ones of the same records stay, since nothing is known of them.
    pub async fn drop_refused(&self, job: JobId, keys: &[&str]) -> Result<(), LedgerError> {
        let mut tx = self.write().await?;
        delete(&mut tx, job, &json_list(keys.iter().copied()), "NOT released").await?;
        crate::fault!("K10: inside the removal of refused intents");
        tx.commit().await?;
        Ok(())
    }

    /// Lets the record `key` be sent again although its intents stay: its row was read back and still has the etag that
    /// was sent, or is not there and cannot be made twice, so that of the lost requests and the next one only one can win.
    pub async fn release_intents(&self, job: JobId, key: &str) -> Result<(), LedgerError> {
        let mut tx = self.write().await?;
        sqlx::query("UPDATE intent SET released = 1 WHERE job_id = ?1 AND key = ?2")
            .bind(job.0)
            .bind(key)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(())
    }

    /// Lets nothing be sent for the record `key` before it is known what became of its last create, even if that was
    /// released before: the record has another match value by now, so that both could be made, or several rows match.
    pub async fn hold_back(&self, job: JobId, key: &str) -> Result<(), LedgerError> {
        let mut tx = self.write().await?;
        sqlx::query(
            "UPDATE intent SET released = 0 WHERE intent_id = \
             (SELECT max(intent_id) FROM intent WHERE job_id = ?1 AND key = ?2 AND kind = 'create')",
        )
        .bind(job.0)
        .bind(key)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(())
    }

    /// All intents of the job whose outcome is open, those of one record together and in the order of their sending.
    pub async fn open_intents(&self, job: JobId) -> Result<Vec<Intent>, LedgerError> {
        let rows = sqlx::query("SELECT * FROM intent WHERE job_id = ?1 ORDER BY key, intent_id")
            .bind(job.0)
            .fetch_all(&self.readers)
            .await?;
        let intent = |row: &SqliteRow| match read(job, row)? {
            Some(intent) => Ok(intent),
            None => Err(LedgerError::Corrupt { table: "intent", key: row.try_get("key")? }),
        };
        rows.iter().map(intent).collect()
    }
}
