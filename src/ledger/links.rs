//! Links: which record is which row in BC.

use std::collections::HashMap;

use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::link_write::{LinkWrite, write};
use super::marks::{doubtful, lost};
use super::rows::json_list;
use super::{JobId, Ledger, LedgerError, TargetId};
use crate::model::{Fingerprint, Removal, Snapshot};

/// A link with all that is needed to change its row.
#[derive(Debug, Clone)]
pub struct Link {
    /// The row's id in BC.
    pub bc_id: String,
    /// Its number or code there.
    pub number: String,
    /// Its etag, as last seen.
    pub etag: String,
    /// Whether BC no longer has it by its own doing.
    pub closed: bool,
    /// Whether nobody knows why it has not.
    pub unexplained: bool,
    /// Whether the row may have been written since: the ledger is an older copy of itself.
    pub doubtful: bool,
    /// Over the draft of the last write.
    pub draft: Fingerprint,
    /// The match value of the last write.
    pub match_value: Option<String>,
    /// What we sent, what BC answered.
    pub snapshot: Snapshot,
}

/// Instead of a draft, in the link to a row that holds a draft in part: more steps of its change were to follow.
pub(super) fn part_applied() -> Fingerprint {
    Fingerprint::of(["part-applied"])
}

impl Link {
    /// Whether a change of the row was begun and is not complete.
    #[must_use]
    pub fn is_part_applied(&self) -> bool {
        self.draft == part_applied()
    }

    /// The link as it is when nothing is known of what its row holds. Which lines are ours is still known, if it was before:
    /// they keep their ids, also when the ledger or Business Central was restored.
    #[must_use]
    pub fn unknown(&self) -> Self {
        let Snapshot { lines, lines_unclear, .. } = &self.snapshot;
        let snapshot = Snapshot { lines: lines.clone(), lines_unclear: *lines_unclear, ..Snapshot::default() };
        Self { draft: Fingerprint::of([]), snapshot, doubtful: false, ..self.clone() }
    }
}

/// A link as people see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkRow {
    /// The job's name.
    pub job: String,
    /// The record's key.
    pub key: String,
    /// The number in BC.
    pub number: String,
    /// The id in BC.
    pub bc_id: String,
}

/// A link that a person brings along: the row exists in BC, and we never wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportedLink {
    /// The record's key.
    pub key: String,
    /// The id in BC.
    pub bc_id: String,
    /// The number in BC.
    pub number: String,
    /// The etag in BC.
    pub etag: String,
}

/// Reads a link; the whole of its row in `link_detail` is verified.
pub(super) fn read(job: JobId, row: &SqliteRow) -> Result<(String, Link), LedgerError> {
    let key: String = row.try_get("key")?;
    let damaged = || LedgerError::Corrupt { table: "link", key: key.clone() };
    // Half a link is not a record that was never sent.
    let target = TargetId(row.try_get::<Option<i64>, _>("target_id")?.ok_or_else(damaged)?);
    let draft = Fingerprint::from_bytes(row.try_get("draft")?).ok_or_else(damaged)?;
    let written = LinkWrite {
        key: &key,
        fingerprint: String::new(),
        bc_id: row.try_get("bc_id")?,
        number: row.try_get("number")?,
        etag: row.try_get("etag")?,
        state: row.try_get("state")?,
        match_value: row.try_get("match_value")?,
        draft: draft.to_string(),
        snapshot: row.try_get("snapshot")?,
        posted_as: None,
        made: false,
    };
    written.checksum(target, row.try_get("entity")?, job).verify(row.try_get("checksum")?, "link_detail", &key)?;
    let link = Link {
        bc_id: written.bc_id.to_owned(),
        number: written.number.to_owned(),
        etag: written.etag.to_owned(),
        closed: written.state != "linked",
        unexplained: written.state == "unexplained",
        doubtful: row.try_get::<&[u8], _>("fingerprint")? == doubtful().as_bytes(),
        draft,
        match_value: written.match_value.map(ToOwned::to_owned),
        snapshot: Snapshot::parse(&written.snapshot).map_err(|_| damaged())?,
    };
    Ok((key, link))
}

impl Ledger {
    /// The links of those of `keys` that have one.
    pub async fn links<'a>(
        &self,
        job: JobId,
        keys: impl IntoIterator<Item = &'a str>,
    ) -> Result<HashMap<String, Link>, LedgerError> {
        let rows = sqlx::query(
            "SELECT link.key, link.fingerprint, link_detail.* FROM json_each(?2) AS page \
             CROSS JOIN link ON link.job_id = ?1 AND link.key = page.value \
             LEFT JOIN link_detail ON link_detail.link_id = link.link_id",
        )
        .bind(job.0)
        .bind(json_list(keys))
        .fetch_all(&self.readers)
        .await?;
        let read = |row: &SqliteRow| {
            let (key, mut link) = read(job, row)?;
            link.doubtful |= self.is_of_old_ledger(row)?;
            Ok((key, link))
        };
        rows.iter().map(read).collect()
    }

    /// Whether the link is from before the ledger was restored and says that the source had lost its record then. Its
    /// mark stays, so that the record is not missed anew, and the row may have been written since all the same.
    fn is_of_old_ledger(&self, row: &SqliteRow) -> Result<bool, LedgerError> {
        let Some(restored_at) = self.restored_at() else { return Ok(false) };
        let fingerprint: &[u8] = row.try_get("fingerprint")?;
        let is_lost = [Removal::Block, Removal::Delete].iter().any(|removal| fingerprint == lost(*removal).as_bytes());
        Ok(is_lost && row.try_get::<&str, _>("written_at")? < crate::clock::iso(restored_at).as_str())
    }

    /// The BC ids of the records `keys` of the job named `job`, of those that are linked and not closed.
    pub async fn linked_ids<'a>(
        &self,
        job: &str,
        keys: impl IntoIterator<Item = &'a str>,
    ) -> Result<HashMap<String, String>, LedgerError> {
        let Some(job) = self.find_job(job).await? else { return Ok(HashMap::new()) };
        let links = self.links(job, keys).await?;
        Ok(links.into_iter().filter(|(_, link)| !link.closed).map(|(key, link)| (key, link.bc_id)).collect())
    }

    /// How many rows the job is linked to that are not closed.
    pub async fn open_links(&self, job: JobId) -> Result<u64, LedgerError> {
        let count: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM link JOIN link_detail USING (link_id) \
             WHERE link.job_id = ?1 AND link_detail.state = 'linked'",
        )
        .bind(job.0)
        .fetch_one(&self.readers)
        .await?;
        Ok(count.unsigned_abs())
    }

    /// How many of the BC rows `ids` the job is linked to.
    pub async fn linked_among(
        &self,
        target: TargetId,
        entity: &str,
        job: JobId,
        ids: &[String],
    ) -> Result<u64, LedgerError> {
        let count: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM json_each(?4) AS page \
             CROSS JOIN link_detail ON link_detail.target_id = ?1 AND link_detail.entity = ?2 \
                 AND link_detail.bc_id = page.value AND link_detail.state = 'linked' \
             CROSS JOIN link ON link.link_id = link_detail.link_id WHERE link.job_id = ?3",
        )
        .bind(target.0)
        .bind(entity)
        .bind(job.0)
        .bind(json_list(ids.iter().map(String::as_str)))
        .fetch_one(&self.readers)
        .await?;
        Ok(count.unsigned_abs())
    }

    /// The record that is linked to the BC row `bc_id`, as job name and key.
    pub async fn owner_of(
        &self,
        target: TargetId,
        entity: &str,
        bc_id: &str,
    ) -> Result<Option<(String, String)>, LedgerError> {
        Ok(sqlx::query_as(
            "SELECT job.name, link.key FROM link_detail JOIN link USING (link_id) JOIN job USING (job_id) \
             WHERE link_detail.target_id = ?1 AND link_detail.entity = ?2 AND bc_id = ?3",
        )
        .bind(target.0)
        .bind(entity)
        .bind(bc_id)
        .fetch_optional(&self.readers)
        .await?)
    }

    /// All links of the job, or of every job, ordered by job and key.
    pub async fn all_links(&self, job: Option<&str>) -> Result<Vec<LinkRow>, LedgerError> {
        let rows: Vec<(String, String, String, String)> =
            sqlx::query_as("SELECT job, key, number, bc_id FROM links WHERE ?1 IS NULL OR job = ?1")
                .bind(job)
                .fetch_all(&self.readers)
                .await?;
        Ok(rows.into_iter().map(|(job, key, number, bc_id)| LinkRow { job, key, number, bc_id }).collect())
    }

    /// Stores links that a person brought along. The next pass compares such a row with its record in full, because
    /// nothing is known to have been sent. Gives the keys that were linked already and were left alone.
    pub async fn import_links<'l>(
        &self,
        target: TargetId,
        entity: &str,
        job: JobId,
        links: &'l [ImportedLink],
    ) -> Result<Vec<String>, LedgerError> {
        let now = self.now();
        let mut tx = self.write().await?;
        let left: Vec<String> = sqlx::query_scalar(
            "SELECT key FROM link WHERE job_id = ?1 AND key IN (SELECT value FROM json_each(?2)) ORDER BY key",
        )
        .bind(job.0)
        .bind(json_list(links.iter().map(|link| link.key.as_str())))
        .fetch_all(&mut *tx)
        .await?;
        let nothing = Fingerprint::of([]).to_string();
        let row = |link: &'l ImportedLink| LinkWrite {
            key: &link.key,
            fingerprint: nothing.clone(),
            bc_id: &link.bc_id,
            number: &link.number,
            etag: &link.etag,
            state: "linked",
            match_value: None,
            draft: nothing.clone(),
            snapshot: Snapshot::default().to_json(),
            posted_as: None,
            made: false,
        };
        let rows: Vec<_> = links.iter().filter(|link| !left.contains(&link.key)).map(row).collect();
        write(&mut tx, target, entity, job, &now, &rows).await?;
        // Those that were asked about are answered by this.
        sqlx::query(
            "UPDATE outbox SET retry_at = ?3, error = NULL WHERE job_id = ?1 AND state = 'quarantined' AND NOT refused \
             AND key IN (SELECT value FROM json_each(?2))",
        )
        .bind(job.0)
        .bind(json_list(rows.iter().map(|row| row.key)))
        .bind(&now)
        .execute(&mut *tx)
        .await?;
        // What was read before was compared with nothing: read it all again.
        sqlx::query("UPDATE job SET cursor = NULL WHERE job_id = ?1").bind(job.0).execute(&mut *tx).await?;
        tx.commit().await?;
        Ok(left)
    }
}
