//! Rebinding: what a person says about a target that is not the company it was, or not as it was.
//!
//! Each is one transaction. What is given up here is in the copy of the ledger that is kept before.

use futures_util::TryStreamExt as _;
use sqlx::Row as _;

use super::link_write::{self, LinkWrite};
use super::links::read;
use super::target::put;
use super::{Binding, JobId, Ledger, LedgerError, TargetId};
use crate::model::Fingerprint;

/// A row that BC has made for us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MadeRow {
    /// The record's key.
    pub key: String,
    /// The row's id in BC.
    pub bc_id: String,
    /// When it was made.
    pub made_at: String,
}

/// A job whose company was restored from a backup.
#[derive(Debug, Clone)]
pub struct Restart {
    /// The job.
    pub job: JobId,
    /// The entity that it writes.
    pub entity: String,
    /// The records whose rows the restored company does not have.
    pub lost: Vec<String>,
    /// From when on changes may be lost.
    pub since: String,
}

/// What hangs on a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TargetCounts {
    /// Rows that records are linked to.
    pub links: u64,
    /// Records in the outbox.
    pub queued: u64,
    /// Requests whose outcome is open.
    pub open: u64,
}

/// The jobs of the target `?1`.
const JOBS: &str = "(SELECT job_id FROM job WHERE target_id = ?1)";

impl Ledger {
    /// At most `limit` rows that were made for the job and are not closed, newest first.
    pub async fn newest_made(
        &self,
        target: TargetId,
        entity: &str,
        job: JobId,
        limit: u32,
    ) -> Result<Vec<MadeRow>, LedgerError> {
        let mut rows = sqlx::query(
            "SELECT link.key, link.fingerprint, link_detail.* FROM link_detail \
             CROSS JOIN link ON link.link_id = link_detail.link_id AND link.job_id = ?3 \
             WHERE target_id = ?1 AND entity = ?2 AND made_at IS NOT NULL AND link_detail.state = 'linked' \
             ORDER BY made_at DESC, link_detail.link_id DESC LIMIT ?4",
        )
        .bind(target.0)
        .bind(entity)
        .bind(job.0)
        .bind(limit)
        .fetch(&self.readers);
        let mut made = Vec::new();
        while let Some(row) = rows.try_next().await? {
            // A damaged id would look like a row that is missing.
            let (key, link) = read(job, &row)?;
            made.push(MadeRow { key, bc_id: link.bc_id, made_at: row.try_get("made_at")? });
        }
        Ok(made)
    }

    /// Notes that nothing is to be written to the target any more, and why.
    pub async fn suspend(&self, target: TargetId, reason: &str) -> Result<(), LedgerError> {
        let mut tx = self.write().await?;
        let statement = sqlx::query("UPDATE target SET suspended = ?2 WHERE target_id = ?1");
        statement.bind(target.0).bind(reason).execute(&mut *tx).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Why nothing is written to the target, when that is so.
    pub async fn suspended(&self, target: TargetId) -> Result<Option<String>, LedgerError> {
        let reason = sqlx::query_scalar("SELECT suspended FROM target WHERE target_id = ?1");
        Ok(reason.bind(target.0).fetch_one(&self.readers).await?)
    }

    /// The row of the target `name`, when it has been used before.
    pub async fn find_target(&self, name: &str) -> Result<Option<TargetId>, LedgerError> {
        let id = sqlx::query_scalar("SELECT target_id FROM target WHERE name = ?1");
        Ok(id.bind(name).fetch_optional(&self.readers).await?.map(TargetId))
    }

    /// The jobs of the target: row, name and entity.
    pub async fn jobs_of(&self, target: TargetId) -> Result<Vec<(JobId, String, String)>, LedgerError> {
        let jobs: Vec<(i64, String, String)> =
            sqlx::query_as("SELECT job_id, name, entity FROM job WHERE target_id = ?1 ORDER BY name")
                .bind(target.0)
                .fetch_all(&self.readers)
                .await?;
        Ok(jobs.into_iter().map(|(id, name, entity)| (JobId(id), name, entity)).collect())
    }

    /// What hangs on the target.
    pub async fn target_counts(&self, target: TargetId) -> Result<TargetCounts, LedgerError> {
        let statement = format!(
            "SELECT (SELECT count(*) FROM link WHERE job_id IN {JOBS}), \
                    (SELECT count(*) FROM outbox WHERE job_id IN {JOBS}), \
                    (SELECT count(*) FROM intent WHERE job_id IN {JOBS})"
        );
        let (links, queued, open): (i64, i64, i64) =
            sqlx::query_as(sqlx::AssertSqlSafe(statement)).bind(target.0).fetch_one(&self.readers).await?;
        Ok(TargetCounts { links: links.unsigned_abs(), queued: queued.unsigned_abs(), open: open.unsigned_abs() })
    }

    /// Binds the target to where its company is by now. `keep_links`: it is the very company, under another name of tenant
    /// or environment, and its rows have kept their ids. Otherwise every record is to be matched again.
    pub async fn rebind(&self, target: TargetId, binding: &Binding, keep_links: bool) -> Result<(), LedgerError> {
        let mut tx = self.write().await?;
        if !keep_links {
            for statement in [
                format!("DELETE FROM link_detail WHERE link_id IN (SELECT link_id FROM link WHERE job_id IN {JOBS})"),
                format!("DELETE FROM link WHERE job_id IN {JOBS}"),
                format!("DELETE FROM intent WHERE job_id IN {JOBS}"),
                format!("DELETE FROM outbox WHERE job_id IN {JOBS}"),
                format!("DELETE FROM match_claims WHERE job_id IN {JOBS}"),
                format!("DELETE FROM held_plan WHERE job_id IN {JOBS}"),
                "UPDATE job SET cursor = NULL WHERE target_id = ?1".to_owned(),
            ] {
                sqlx::query(sqlx::AssertSqlSafe(statement)).bind(target.0).execute(&mut *tx).await?;
            }
        }
        put(&mut tx, binding, &self.now()).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Goes on with a company that was restored: the links of `lost` records go, so that they are matched and made again;
    /// rows that were written since the restore point are compared with their records in full. Everything is read again.
    pub async fn restart(&self, target: TargetId, jobs: &[Restart]) -> Result<(), LedgerError> {
        let now = self.now();
        let nothing = Fingerprint::of([]).to_string();
        let mut tx = self.write().await?;
        for Restart { job, entity, lost, since } in jobs {
            let lost: Vec<&str> = lost.iter().map(String::as_str).collect();
            link_write::remove(&mut tx, *job, &lost).await?;
            let rows = sqlx::query(
                "SELECT link.key, link.fingerprint, link_detail.* FROM link JOIN link_detail USING (link_id) \
                 WHERE link.job_id = ?1 AND link_detail.state = 'linked' AND link_detail.written_at >= ?2",
            )
            .bind(job.0)
            .bind(since)
            .fetch_all(&mut *tx)
            .await?;
            let links: Vec<_> = rows.iter().map(|row| read(*job, row)).collect::<Result<_, _>>()?;
            let writes: Vec<_> = links.iter().map(|(key, link)| unknown(key, link, &nothing)).collect();
            link_write::write(&mut tx, target, entity, *job, &now, &writes).await?;
        }
        for statement in [
            "UPDATE job SET cursor = NULL WHERE target_id = ?1",
            "UPDATE target SET suspended = NULL WHERE target_id = ?1",
        ] {
            sqlx::query(statement).bind(target.0).execute(&mut *tx).await?;
        }
        tx.commit().await?;
        Ok(())
    }
}

/// A link of which nothing is known any more ([`super::Link::unknown`]).
fn unknown<'l>(key: &'l str, link: &'l super::Link, nothing: &str) -> LinkWrite<'l> {
    LinkWrite {
        key,
        fingerprint: nothing.to_owned(),
        bc_id: &link.bc_id,
        number: &link.number,
        etag: &link.etag,
        state: "linked",
        match_value: link.match_value.as_deref(),
        draft: nothing.to_owned(),
        snapshot: link.unknown().snapshot.to_json(),
        posted_as: None,
        made: false,
    }
}
