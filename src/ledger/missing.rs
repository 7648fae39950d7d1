//! Links whose records the source has lost, as a complete read of everything tells.
//!
//! What is to become of their rows goes the way of every change: through the outbox, past the brake, with an intent.

use serde::Serialize;
use sqlx::{AssertSqlSafe, Sqlite, Transaction};

use super::marks::lost;
use super::outbox::{Content, RENEWED};
use super::rows::{json, json_list};
use super::{JobId, Ledger, LedgerError};
use crate::model::{Draft, Removal};

/// Links that are looked at in one statement.
const PAGE: i64 = 1_000;

impl Ledger {
    /// How many links the job has whose records the source is not known to have lost.
    pub async fn expected(&self, job: JobId) -> Result<u64, LedgerError> {
        let count: i64 =
            sqlx::query_scalar("SELECT count(*) FROM link WHERE job_id = ?1 AND fingerprint NOT IN (?2, ?3)")
                .bind(job.0)
                .bind(lost(Removal::Block).as_bytes().as_slice())
                .bind(lost(Removal::Delete).as_bytes().as_slice())
                .fetch_one(&self.readers)
                .await?;
        Ok(count.unsigned_abs())
    }

    /// The numbers of the links of those of `keys` that have one.
    pub async fn link_numbers<'a>(
        &self,
        job: JobId,
        keys: impl IntoIterator<Item = &'a str>,
    ) -> Result<Vec<i64>, LedgerError> {
        Ok(sqlx::query_scalar(
            "SELECT link.link_id FROM json_each(?2) AS page \
             CROSS JOIN link ON link.job_id = ?1 AND link.key = page.value",
        )
        .bind(job.0)
        .bind(json_list(keys))
        .fetch_all(&self.readers)
        .await?)
    }

    /// Stages the removal of the rows of all links that are not `seen`, given by their numbers. A link whose row BC has
    /// lost as well only learns that; rows that were never written nor compared are left alone. Gives how many removals
    /// were staged; those that were before are not among them.
    pub async fn stage_removals(
        &self,
        job: JobId,
        removal: Removal,
        seen: impl Fn(i64) -> bool,
    ) -> Result<u64, LedgerError> {
        let (mut staged, mut after) = (0, String::new());
        loop {
            let links: Vec<(String, i64)> = sqlx::query_as(
                "SELECT key, link_id FROM link WHERE job_id = ?1 AND key > ?2 AND fingerprint <> ?3 \
                 ORDER BY key LIMIT ?4",
            )
            .bind(job.0)
            .bind(&after)
            .bind(lost(removal).as_bytes().as_slice())
            .bind(PAGE)
            .fetch_all(&self.readers)
            .await?;
            let Some((last, _)) = links.last() else { return Ok(staged) };
            after.clone_from(last);
            let missing: Vec<_> =
                links.iter().filter(|(_, number)| !seen(*number)).map(|(key, _)| key.as_str()).collect();
            if missing.is_empty() {
                continue;
            }
            let links = self.links(job, missing.iter().copied()).await?;
            let found = missing.into_iter().filter_map(|key| Some((key, links.get(key)?)));
            let (closed, open): (Vec<_>, Vec<_>) = found.partition(|(_, link)| link.closed);
            let written = open.iter().filter(|(_, link)| !link.snapshot.sent.is_empty());
            let rows: Vec<_> =
                written.map(|(key, link)| Lost::of(job, key, link.match_value.as_deref(), removal)).collect();
            let mut tx = self.write().await?;
            staged += put(&mut tx, job, removal, &json(&rows), &self.now()).await?;
            mark(&mut tx, job, removal, &json_list(closed.iter().map(|(key, _)| *key))).await?;
            tx.commit().await?;
        }
    }
}

/// A removal as the statement takes it.
#[derive(Serialize)]
struct Lost<'a> {
    key: &'a str,
    match_value: Option<&'a str>,
    draft: String,
    checksum: String,
}

impl<'a> Lost<'a> {
    fn of(job: JobId, key: &'a str, match_value: Option<&'a str>, removal: Removal) -> Self {
        let draft = Draft::default().to_json();
        let fingerprint = lost(removal).to_string();
        let (wanted, removal) = (Some(draft.as_str()), Some(removal.as_str()));
        let content = Content { key, fingerprint: &fingerprint, draft: wanted, match_value, claim: None, removal };
        let checksum = content.checksum(job).finish().to_string();
        Self { key, match_value, draft, checksum }
    }
}

async fn put(
    tx: &mut Transaction<'static, Sqlite>,
    job: JobId,
    removal: Removal,
    rows: &str,
    now: &str,
) -> Result<u64, LedgerError> {
    let statement = format!(
        "INSERT INTO outbox (job_id, key, state, removal, fingerprint, record, draft, match_value, staged_at, \
         changed_at, checksum) \
         SELECT ?1, row.value ->> 'key', 'pending', ?3, ?4, 'null', row.value ->> 'draft', row.value ->> 'match_value', \
                ?5, ?5, unhex(row.value ->> 'checksum') \
         FROM json_each(?2) AS row WHERE NOT EXISTS (SELECT 1 FROM outbox \
             WHERE outbox.job_id = ?1 AND outbox.key = row.value ->> 'key' AND outbox.fingerprint = ?4) \
         ON CONFLICT (job_id, key) DO UPDATE SET {RENEWED}, waiting_since = NULL"
    );
    let done = sqlx::query(AssertSqlSafe(statement))
        .bind(job.0)
        .bind(rows)
        .bind(removal.as_str())
        .bind(lost(removal).as_bytes().as_slice())
        .bind(now)
        .execute(&mut **tx)
        .await?;
    Ok(done.rows_affected())
}

/// Of a closed link nothing is left to remove.
async fn mark(
    tx: &mut Transaction<'static, Sqlite>,
    job: JobId,
    removal: Removal,
    keys: &str,
) -> Result<(), LedgerError> {
    sqlx::query(
        "INSERT INTO link (job_id, key, fingerprint, link_id) SELECT ?1, link.key, ?3, link.link_id \
         FROM json_each(?2) AS page CROSS JOIN link ON link.job_id = ?1 AND link.key = page.value WHERE true \
         ON CONFLICT (job_id, key) DO UPDATE SET fingerprint = excluded.fingerprint",
    )
    .bind(job.0)
    .bind(keys)
    .bind(lost(removal).as_bytes().as_slice())
    .execute(&mut **tx)
    .await?;
    Ok(())
}
