//! Writing links: new ones, changed ones, and those that go. What a link claims goes with it.

use std::collections::HashMap;

use serde::Serialize;
use sqlx::{Sqlite, Transaction};

use super::checksum::Checksum;
use super::rows::{json, json_list};
use super::withdraw::{IN_OUTBOX, release};
use super::{JobId, LedgerError, TargetId};

/// Everything of a link, as the statements take it.
#[derive(Serialize)]
pub(super) struct LinkWrite<'a> {
    pub(super) key: &'a str,
    pub(super) fingerprint: String,
    pub(super) bc_id: &'a str,
    pub(super) number: &'a str,
    pub(super) etag: &'a str,
    pub(super) state: &'a str,
    pub(super) match_value: Option<&'a str>,
    pub(super) draft: String,
    pub(super) snapshot: String,
    pub(super) posted_as: Option<&'a str>,
    /// Whether BC has just made the row for us.
    pub(super) made: bool,
}

/// The same with its checksum.
#[derive(Serialize)]
struct Sealed<'l> {
    #[serde(flatten)]
    link: &'l LinkWrite<'l>,
    checksum: String,
}

impl LinkWrite<'_> {
    pub(super) fn checksum(&self, target: TargetId, entity: &str, job: JobId) -> Checksum {
        let sum = Checksum::of_job("link_detail", job).text(self.key).target(target).text(entity).text(self.bc_id);
        let sum = sum.text(self.number).text(self.etag).text(self.state).nullable(self.match_value);
        sum.text(&self.draft).text(&self.snapshot)
    }
}

impl Sealed<'_> {
    async fn update(&self, tx: &mut Transaction<'static, Sqlite>, id: i64, now: &str) -> Result<(), LedgerError> {
        let Self { link, checksum } = self;
        sqlx::query(
            "UPDATE link_detail SET bc_id = ?2, number = ?3, etag = ?4, state = ?5, match_value = ?6, \
             draft = unhex(?7), snapshot = ?8, written_at = ?9, checksum = unhex(?10), \
             posted_as = coalesce(?11, posted_as), made_at = CASE WHEN ?12 THEN ?9 WHEN bc_id = ?2 THEN made_at END \
             WHERE link_id = ?1",
        )
        .bind(id)
        .bind(link.bc_id)
        .bind(link.number)
        .bind(link.etag)
        .bind(link.state)
        .bind(link.match_value)
        .bind(&link.draft)
        .bind(&link.snapshot)
        .bind(now)
        .bind(checksum)
        .bind(link.posted_as)
        .bind(link.made)
        .execute(&mut **tx)
        .await?;
        Ok(())
    }
}

/// Writes links, new or changed, and makes their match values the records' own. A record that is linked to another row
/// by now keeps its history and gets the new row.
pub(super) async fn write(
    tx: &mut Transaction<'static, Sqlite>,
    target: TargetId,
    entity: &str,
    job: JobId,
    now: &str,
    links: &[LinkWrite<'_>],
) -> Result<(), LedgerError> {
    if links.is_empty() {
        return Ok(());
    }
    let seal = |link| Sealed { link, checksum: link.checksum(target, entity, job).finish().to_string() };
    let links: Vec<_> = links.iter().map(seal).collect();
    let rows = json(&links);
    let known: HashMap<String, i64> = sqlx::query_as(
        "SELECT link.key, link.link_id FROM json_each(?2) AS row \
         CROSS JOIN link ON link.job_id = ?1 AND link.key = row.value ->> 'key'",
    )
    .bind(job.0)
    .bind(&rows)
    .fetch_all(&mut **tx)
    .await?
    .into_iter()
    .collect();
    for (link, id) in links.iter().filter_map(|sealed| Some((sealed, known.get(sealed.link.key)?))) {
        link.update(tx, *id, now).await?;
    }
    sqlx::query(
        "INSERT INTO link_detail (target_id, entity, bc_id, number, etag, state, match_value, draft, snapshot, \
         linked_at, made_at, written_at, checksum, posted_as) \
         SELECT ?1, ?2, row.value ->> 'bc_id', row.value ->> 'number', row.value ->> 'etag', row.value ->> 'state', \
                row.value ->> 'match_value', unhex(row.value ->> 'draft'), row.value ->> 'snapshot', ?5, \
                iif(row.value ->> 'made', ?5, NULL), ?5, \
                unhex(row.value ->> 'checksum'), row.value ->> 'posted_as' \
         FROM json_each(?4) AS row WHERE NOT EXISTS \
         (SELECT 1 FROM link WHERE link.job_id = ?3 AND link.key = row.value ->> 'key')",
    )
    .bind(target.0)
    .bind(entity)
    .bind(job.0)
    .bind(&rows)
    .bind(now)
    .execute(&mut **tx)
    .await?;
    sqlx::query(
        "INSERT INTO link (job_id, key, fingerprint, link_id) \
         SELECT ?3, row.value ->> 'key', unhex(row.value ->> 'fingerprint'), link_detail.link_id \
         FROM json_each(?4) AS row CROSS JOIN link_detail ON link_detail.target_id = ?1 AND link_detail.entity = ?2 \
             AND link_detail.bc_id = row.value ->> 'bc_id' WHERE true \
         ON CONFLICT (job_id, key) DO UPDATE SET fingerprint = excluded.fingerprint",
    )
    .bind(target.0)
    .bind(entity)
    .bind(job.0)
    .bind(&rows)
    .execute(&mut **tx)
    .await?;
    claim(tx, target, entity, job, &rows).await
}

/// Removes the links of the records `keys`, whose intents and outbox rows are gone. Their match values are free, unless a
/// newer version in the outbox has them.
pub(super) async fn remove(
    tx: &mut Transaction<'static, Sqlite>,
    job: JobId,
    keys: &[&str],
) -> Result<(), LedgerError> {
    if keys.is_empty() {
        return Ok(());
    }
    let page = json_list(keys.iter().copied());
    for statement in [
        "DELETE FROM link_detail WHERE link_id IN (SELECT link.link_id FROM json_each(?2) AS page \
         CROSS JOIN link ON link.job_id = ?1 AND link.key = page.value)",
        "DELETE FROM link WHERE job_id = ?1 AND key IN (SELECT value FROM json_each(?2))",
    ] {
        sqlx::query(statement).bind(job.0).bind(&page).execute(&mut **tx).await?;
    }
    release(tx, job, &page, IN_OUTBOX, "page.value").await
}

/// Makes the match values of `rows` the records' own; former ones are released, unless a newer version in the outbox
/// has them. A value that another record owns stays its.
async fn claim(
    tx: &mut Transaction<'static, Sqlite>,
    target: TargetId,
    entity: &str,
    job: JobId,
    rows: &str,
) -> Result<(), LedgerError> {
    sqlx::query(
        "DELETE FROM match_claims WHERE (target_id, entity, value) IN ( \
         SELECT own.target_id, own.entity, own.value FROM json_each(?2) AS row \
         CROSS JOIN match_claims AS own ON own.job_id = ?1 AND own.key = row.value ->> 'key' \
         WHERE own.value IS NOT row.value ->> 'match_value' AND NOT EXISTS (SELECT 1 FROM outbox \
             WHERE outbox.job_id = ?1 AND outbox.key = own.key AND outbox.match_value = own.value))",
    )
    .bind(job.0)
    .bind(rows)
    .execute(&mut **tx)
    .await?;
    sqlx::query(
        "INSERT INTO match_claims (target_id, entity, value, job_id, key) \
         SELECT ?1, ?2, row.value ->> 'match_value', ?3, row.value ->> 'key' FROM json_each(?4) AS row \
         WHERE row.value ->> 'match_value' IS NOT NULL ON CONFLICT DO NOTHING",
    )
    .bind(target.0)
    .bind(entity)
    .bind(job.0)
    .bind(rows)
    .execute(&mut **tx)
    .await?;
    Ok(())
}
