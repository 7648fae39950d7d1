//! Links: which record is which row in BC.

use std::collections::HashMap;

use sqlx::{Sqlite, Transaction};

use super::{JobId, Ledger, LedgerError, TargetId};
use crate::model::{Fingerprint, Snapshot};

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
    /// Over the draft of the last write.
    pub draft: Fingerprint,
    /// The match value of the last write.
    pub match_value: Option<String>,
    /// What we sent, what BC answered.
    pub snapshot: Snapshot,
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

type Row = (String, String, String, String, String, Vec<u8>, Option<String>, String);

/// `keys` as the JSON list that `json_each` takes.
pub(super) fn json_list<'a>(keys: impl IntoIterator<Item = &'a str>) -> String {
    serde_json::Value::from_iter(keys).to_string()
}

impl Ledger {
    /// The links of those of `keys` that have one.
    pub async fn links<'a>(
        &self,
        job: JobId,
        keys: impl IntoIterator<Item = &'a str>,
    ) -> Result<HashMap<String, Link>, LedgerError> {
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT link.key, bc_id, number, etag, state, draft, match_value, snapshot FROM json_each(?2) AS page \
             JOIN link ON link.job_id = ?1 AND link.key = page.value JOIN link_detail USING (link_id)",
        )
        .bind(job.0)
        .bind(json_list(keys))
        .fetch_all(&self.readers)
        .await?;
        rows.into_iter()
            .map(|(key, bc_id, number, etag, state, draft, match_value, snapshot)| {
                let damaged = || LedgerError::Damaged { what: "link", key: key.clone() };
                let link = Link {
                    bc_id,
                    number,
                    etag,
                    closed: state == "closed",
                    draft: Fingerprint::from_bytes(&draft).ok_or_else(damaged)?,
                    match_value,
                    snapshot: Snapshot::parse(&snapshot).map_err(|_| damaged())?,
                };
                Ok((key, link))
            })
            .collect()
    }

    /// The BC ids of the records `keys` of the job named `job`, of those that are linked and not closed.
    pub async fn linked_ids<'a>(
        &self,
        job: &str,
        keys: impl IntoIterator<Item = &'a str>,
    ) -> Result<HashMap<String, String>, LedgerError> {
        let rows: Vec<(String, String)> = sqlx::query_as(
            "SELECT link.key, bc_id FROM json_each(?2) AS page \
             JOIN link ON link.job_id = (SELECT job_id FROM job WHERE name = ?1) AND link.key = page.value \
             JOIN link_detail USING (link_id) WHERE link_detail.state = 'linked'",
        )
        .bind(job)
        .bind(json_list(keys))
        .fetch_all(&self.readers)
        .await?;
        Ok(rows.into_iter().collect())
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
    pub async fn import_links(
        &self,
        target: TargetId,
        entity: &str,
        job: JobId,
        links: &[ImportedLink],
    ) -> Result<Vec<String>, LedgerError> {
        let mut left = Vec::new();
        let mut tx = self.write().await?;
        let now = self.now();
        for link in links {
            let known: Option<i64> = sqlx::query_scalar("SELECT 1 FROM link WHERE job_id = ?1 AND key = ?2")
                .bind(job.0)
                .bind(&link.key)
                .fetch_optional(&mut *tx)
                .await?;
            if known.is_some() {
                left.push(link.key.clone());
                continue;
            }
            let nothing = Fingerprint::of([]);
            let row = LinkWrite {
                target,
                entity,
                job,
                key: &link.key,
                fingerprint: nothing,
                bc_id: &link.bc_id,
                number: &link.number,
                etag: &link.etag,
                state: "linked",
                match_value: None,
                draft: nothing,
                snapshot: &Snapshot::default(),
                now: &now,
            };
            row.upsert(&mut tx).await?;
        }
        // What was read before was compared with nothing: read it all again.
        sqlx::query("UPDATE job SET cursor = NULL WHERE job_id = ?1").bind(job.0).execute(&mut *tx).await?;
        tx.commit().await?;
        Ok(left)
    }
}

/// Everything of a link, to be written as one.
pub(super) struct LinkWrite<'a> {
    pub(super) target: TargetId,
    pub(super) entity: &'a str,
    pub(super) job: JobId,
    pub(super) key: &'a str,
    pub(super) fingerprint: Fingerprint,
    pub(super) bc_id: &'a str,
    pub(super) number: &'a str,
    pub(super) etag: &'a str,
    pub(super) state: &'static str,
    pub(super) match_value: Option<&'a str>,
    pub(super) draft: Fingerprint,
    pub(super) snapshot: &'a Snapshot,
    pub(super) now: &'a str,
}

impl LinkWrite<'_> {
    /// Writes the link, new or changed. A record that is linked to another row by now keeps its history and gets the
    /// new row.
    pub(super) async fn upsert(&self, tx: &mut Transaction<'static, Sqlite>) -> Result<(), LedgerError> {
        let known: Option<i64> = sqlx::query_scalar("SELECT link_id FROM link WHERE job_id = ?1 AND key = ?2")
            .bind(self.job.0)
            .bind(self.key)
            .fetch_optional(&mut **tx)
            .await?;
        let link_id: i64 = if let Some(link_id) = known {
            sqlx::query(
                "UPDATE link_detail SET bc_id = ?2, number = ?3, etag = ?4, state = ?5, match_value = ?6, draft = ?7, \
                 snapshot = ?8, written_at = ?9 WHERE link_id = ?1",
            )
            .bind(link_id)
            .bind(self.bc_id)
            .bind(self.number)
            .bind(self.etag)
            .bind(self.state)
            .bind(self.match_value)
            .bind(self.draft.as_bytes().as_slice())
            .bind(self.snapshot.to_json())
            .bind(self.now)
            .execute(&mut **tx)
            .await?;
            link_id
        } else {
            sqlx::query_scalar(
                "INSERT INTO link_detail (target_id, entity, bc_id, number, etag, state, match_value, draft, snapshot, \
                 linked_at, written_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?10) RETURNING link_id",
            )
            .bind(self.target.0)
            .bind(self.entity)
            .bind(self.bc_id)
            .bind(self.number)
            .bind(self.etag)
            .bind(self.state)
            .bind(self.match_value)
            .bind(self.draft.as_bytes().as_slice())
            .bind(self.snapshot.to_json())
            .bind(self.now)
            .fetch_one(&mut **tx)
            .await?
        };
        sqlx::query(
            "INSERT INTO link (job_id, key, fingerprint, link_id) VALUES (?1, ?2, ?3, ?4) \
             ON CONFLICT (job_id, key) DO UPDATE SET fingerprint = excluded.fingerprint",
        )
        .bind(self.job.0)
        .bind(self.key)
        .bind(self.fingerprint.as_bytes().as_slice())
        .bind(link_id)
        .execute(&mut **tx)
        .await?;
        Ok(())
    }
}
