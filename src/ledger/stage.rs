//! Staging: what was read becomes durable, in one transaction a page together with the cursor reached.
//!
//! From here on nothing depends on reading it again. A newer version replaces an older one at once, also while a request
//! about the older one is on its way: that request's intent has its own copy of everything it needs.

use sqlx::{Sqlite, Transaction};

use super::{JobId, Ledger, LedgerError, TargetId};
use crate::model::Fingerprint;

/// One record that is not simply unchanged.
#[derive(Debug, Clone)]
pub struct Staged {
    /// The record's key.
    pub key: String,
    /// Over record and mapping.
    pub fingerprint: Fingerprint,
    /// What becomes of it.
    pub stage: StagedAs,
}

/// What becomes of a record that was read.
#[derive(Debug, Clone)]
pub enum StagedAs {
    /// It is to be written to BC.
    Wanted {
        /// The source record as JSON.
        record: String,
        /// The draft as JSON.
        draft: String,
        /// Over the draft: equal to the link's means that nothing has to be sent.
        draft_fingerprint: Fingerprint,
        /// The canonical match value; `None` when the job has no `match_on`.
        match_value: Option<String>,
    },
    /// It cannot be written as it is.
    Refused {
        /// The source record as JSON.
        record: String,
        /// All its problems in words.
        reason: String,
    },
    /// It does not match `where`: withdrawn when it was queued.
    Filtered,
    /// It is what the link holds again: withdrawn when it was queued.
    Reverted,
}

/// What staging a page did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Staging {
    /// Put into the outbox to be sent.
    pub staged: u64,
    /// Changed in the source, but not in what BC is to hold.
    pub equal: u64,
    /// Quarantined: problems of the record, or a match value that another record owns.
    pub refused: u64,
    /// Quarantined before, with this very content.
    pub queued: u64,
}

struct Linked {
    draft: Fingerprint,
    match_value: Option<String>,
}

impl Ledger {
    /// Stores a page of records and the cursor reached, in one transaction. `rename` allows a linked record to change
    /// its match value.
    pub async fn stage(
        &self,
        target: TargetId,
        entity: &str,
        job: JobId,
        page: Vec<Staged>,
        cursor: Option<&str>,
        rename: bool,
    ) -> Result<Staging, LedgerError> {
        let mut staging = Staging::default();
        let mut tx = self.write().await?;
        let now = self.now();
        for item in page {
            let mut stage = Stage { tx: &mut tx, target, entity, job, now: &now, rename };
            match item.stage {
                StagedAs::Wanted { record, draft, draft_fingerprint, match_value } => {
                    let wanted = Wanted { record, draft, draft_fingerprint, match_value };
                    stage.wanted(&item.key, item.fingerprint, wanted, &mut staging).await?;
                }
                StagedAs::Refused { record, reason } => {
                    if stage.is_queued(&item.key, item.fingerprint).await? {
                        staging.queued += 1;
                    } else {
                        stage.put(&item.key, item.fingerprint, &record, None, None, Some(&reason)).await?;
                        staging.refused += 1;
                    }
                }
                StagedAs::Filtered | StagedAs::Reverted => stage.withdraw(&item.key).await?,
            }
        }
        if let Some(cursor) = cursor {
            sqlx::query("UPDATE job SET cursor = ?2 WHERE job_id = ?1")
                .bind(job.0)
                .bind(cursor)
                .execute(&mut *tx)
                .await?;
        }
        crate::fault!("stage: before commit");
        tx.commit().await?;
        Ok(staging)
    }

    /// Notes the end of a read: the mapping it was made with, and its time when it was complete.
    pub async fn read_ended(&self, job: JobId, mapping: Fingerprint, complete: bool) -> Result<(), LedgerError> {
        sqlx::query("UPDATE job SET mapping = ?2, full_at = CASE WHEN ?3 THEN ?4 ELSE full_at END WHERE job_id = ?1")
            .bind(job.0)
            .bind(mapping.as_bytes().as_slice())
            .bind(complete)
            .bind(self.now())
            .execute(&self.writer)
            .await?;
        Ok(())
    }
}

struct Wanted {
    record: String,
    draft: String,
    draft_fingerprint: Fingerprint,
    match_value: Option<String>,
}

/// The staging transaction, with what all its statements need.
struct Stage<'a> {
    tx: &'a mut Transaction<'static, Sqlite>,
    target: TargetId,
    entity: &'a str,
    job: JobId,
    now: &'a str,
    rename: bool,
}

impl Stage<'_> {
    async fn wanted(
        mut self,
        key: &str,
        fingerprint: Fingerprint,
        wanted: Wanted,
        staging: &mut Staging,
    ) -> Result<(), LedgerError> {
        let linked = self.linked(key).await?;
        let in_flight = self.in_flight(key).await?;
        if let Some(linked) = &linked {
            if linked.draft == wanted.draft_fingerprint && !in_flight {
                self.touch(key, fingerprint).await?;
                self.withdraw(key).await?;
                staging.equal += 1;
                return Ok(());
            }
            if linked.match_value.is_some() && linked.match_value != wanted.match_value && !self.rename {
                let reason = "the value of `match_on` changed, which would rename the row in Business Central; \
                              set `rename = true` to allow it, or put the old value back";
                self.put(key, fingerprint, &wanted.record, Some(&wanted), None, Some(reason)).await?;
                staging.refused += 1;
                return Ok(());
            }
        }
        let owner = match &wanted.match_value {
            Some(value) => self.claim(key, value).await?,
            None => None,
        };
        let reason = owner.map(|(job, key)| {
            format!("record {key} of job {job} already has the same value of `match_on`; one row cannot be both")
        });
        self.put(key, fingerprint, &wanted.record, Some(&wanted), wanted.match_value.as_deref(), reason.as_deref())
            .await?;
        if reason.is_some() {
            staging.refused += 1;
        } else {
            staging.staged += 1;
        }
        Ok(())
    }

    async fn linked(&mut self, key: &str) -> Result<Option<Linked>, LedgerError> {
        let row: Option<(Vec<u8>, Option<String>)> = sqlx::query_as(
            "SELECT link_detail.draft, link_detail.match_value FROM link JOIN link_detail USING (link_id) \
             WHERE link.job_id = ?1 AND link.key = ?2",
        )
        .bind(self.job.0)
        .bind(key)
        .fetch_optional(&mut **self.tx)
        .await?;
        row.map(|(draft, match_value)| {
            let draft = Fingerprint::from_bytes(&draft)
                .ok_or_else(|| LedgerError::Damaged { what: "link", key: key.to_owned() })?;
            Ok(Linked { draft, match_value })
        })
        .transpose()
    }

    async fn is_queued(&mut self, key: &str, fingerprint: Fingerprint) -> Result<bool, LedgerError> {
        let found: Option<i64> =
            sqlx::query_scalar("SELECT 1 FROM outbox WHERE job_id = ?1 AND key = ?2 AND fingerprint = ?3")
                .bind(self.job.0)
                .bind(key)
                .bind(fingerprint.as_bytes().as_slice())
                .fetch_optional(&mut **self.tx)
                .await?;
        Ok(found.is_some())
    }

    async fn in_flight(&mut self, key: &str) -> Result<bool, LedgerError> {
        let found: Option<i64> = sqlx::query_scalar("SELECT 1 FROM intent WHERE job_id = ?1 AND key = ?2")
            .bind(self.job.0)
            .bind(key)
            .fetch_optional(&mut **self.tx)
            .await?;
        Ok(found.is_some())
    }

    /// Takes the claim on a match value, or gives its owner. A record that is not linked gives up its former value.
    async fn claim(&mut self, key: &str, value: &str) -> Result<Option<(String, String)>, LedgerError> {
        self.release(key, Some(value)).await?;
        sqlx::query(
            "INSERT INTO match_claims (target_id, entity, value, job_id, key) VALUES (?1, ?2, ?3, ?4, ?5) \
             ON CONFLICT DO NOTHING",
        )
        .bind(self.target.0)
        .bind(self.entity)
        .bind(value)
        .bind(self.job.0)
        .bind(key)
        .execute(&mut **self.tx)
        .await?;
        let (owner, job, its_key): (i64, String, String) = sqlx::query_as(
            "SELECT job_id, job.name, match_claims.key FROM match_claims JOIN job USING (job_id) \
             WHERE match_claims.target_id = ?1 AND match_claims.entity = ?2 AND value = ?3",
        )
        .bind(self.target.0)
        .bind(self.entity)
        .bind(value)
        .fetch_one(&mut **self.tx)
        .await?;
        Ok((owner != self.job.0 || its_key != key).then_some((job, its_key)))
    }

    /// Gives up the claims of a record that is neither linked nor on its way, except the one on `keep`.
    async fn release(&mut self, key: &str, keep: Option<&str>) -> Result<(), LedgerError> {
        sqlx::query(
            "DELETE FROM match_claims WHERE job_id = ?1 AND key = ?2 AND value IS NOT ?3 \
             AND NOT EXISTS (SELECT 1 FROM link WHERE job_id = ?1 AND key = ?2) \
             AND NOT EXISTS (SELECT 1 FROM intent WHERE job_id = ?1 AND key = ?2)",
        )
        .bind(self.job.0)
        .bind(key)
        .bind(keep)
        .execute(&mut **self.tx)
        .await?;
        Ok(())
    }

    async fn put(
        &mut self,
        key: &str,
        fingerprint: Fingerprint,
        record: &str,
        wanted: Option<&Wanted>,
        match_value: Option<&str>,
        refusal: Option<&str>,
    ) -> Result<(), LedgerError> {
        sqlx::query(
            "INSERT INTO outbox (job_id, key, state, fingerprint, record, draft, match_value, reason, staged_at, changed_at) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?9) \
             ON CONFLICT (job_id, key) DO UPDATE SET state = excluded.state, fingerprint = excluded.fingerprint, \
             record = excluded.record, draft = excluded.draft, match_value = excluded.match_value, \
             reason = excluded.reason, code = NULL, correlation_id = NULL, attempts = 0, \
             staged_at = excluded.staged_at, changed_at = excluded.changed_at",
        )
        .bind(self.job.0)
        .bind(key)
        .bind(if refusal.is_some() { "quarantined" } else { "pending" })
        .bind(fingerprint.as_bytes().as_slice())
        .bind(record)
        .bind(wanted.map(|wanted| wanted.draft.as_str()))
        .bind(match_value)
        .bind(refusal)
        .bind(self.now)
        .execute(&mut **self.tx)
        .await?;
        Ok(())
    }

    async fn touch(&mut self, key: &str, fingerprint: Fingerprint) -> Result<(), LedgerError> {
        sqlx::query("UPDATE link SET fingerprint = ?3 WHERE job_id = ?1 AND key = ?2")
            .bind(self.job.0)
            .bind(key)
            .bind(fingerprint.as_bytes().as_slice())
            .execute(&mut **self.tx)
            .await?;
        Ok(())
    }

    async fn withdraw(mut self, key: &str) -> Result<(), LedgerError> {
        sqlx::query("DELETE FROM outbox WHERE job_id = ?1 AND key = ?2")
            .bind(self.job.0)
            .bind(key)
            .execute(&mut **self.tx)
            .await?;
        self.release(key, None).await
    }
}
