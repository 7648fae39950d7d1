//! Staging: what was read becomes durable, in one transaction a page together with the cursor reached.
//!
//! From here on nothing depends on reading it again. A newer version replaces an older one at once, also while a request
//! about the older one is on its way: that request's intent has its own copy of everything it needs.

use std::collections::HashMap;

use serde::Serialize;
use sqlx::{AssertSqlSafe, Sqlite, Transaction};

use super::links::part_applied;
use super::marks::doubtful;
use super::outbox::{Content, RENEWED};
use super::rows::{json, json_list};
use super::target::cursor_checksum;
use super::withdraw::{release, withdraw};
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
    /// It does not match `where`: withdrawn when it was queued, unless it was written in part already.
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

impl Ledger {
    /// Stores a page of records and the cursor reached, if there is one, in one transaction. `rename` allows a linked record to change
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
        let now = self.now();
        let mut stage = Stage { tx: self.write().await?, target, entity, job, now: &now };
        let known = stage.known(&page).await?;
        let mut plan = Plan::default();
        for item in page {
            plan.add(item, &known, rename);
        }
        let staging = stage.carry_out(plan).await?;
        if let Some(cursor) = cursor {
            store_cursor(&mut stage.tx, job, cursor).await?;
        }
        crate::fault!("K2: inside the staging transaction");
        stage.tx.commit().await?;
        crate::fault!("K2: staged, with the cursor");
        Ok(staging)
    }

    /// Notes the end of a read: the mapping it was made with, its time when it was complete, and the cursor reached, unless
    /// that was stored with its pages.
    pub async fn read_ended(
        &self,
        job: JobId,
        mapping: Fingerprint,
        complete: bool,
        cursor: Option<&str>,
    ) -> Result<(), LedgerError> {
        let mut tx = self.write().await?;
        if let Some(cursor) = cursor {
            store_cursor(&mut tx, job, cursor).await?;
        }
        sqlx::query("UPDATE job SET mapping = ?2, full_at = CASE WHEN ?3 THEN ?4 ELSE full_at END WHERE job_id = ?1")
            .bind(job.0)
            .bind(mapping.as_bytes().as_slice())
            .bind(complete)
            .bind(self.now())
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(())
    }
}

async fn store_cursor(tx: &mut Transaction<'static, Sqlite>, job: JobId, cursor: &str) -> Result<(), LedgerError> {
    sqlx::query("UPDATE job SET cursor = ?2, checksum = ?3 WHERE job_id = ?1")
        .bind(job.0)
        .bind(cursor)
        .bind(cursor_checksum(job, cursor).finish().as_bytes().as_slice())
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// What the ledger holds of a record before it is staged.
struct Known {
    /// Draft and match value of its link. A row that is gone for no known reason is looked for again; one that may have
    /// been written since holds no known draft.
    linked: Option<(Fingerprint, Option<String>)>,
    in_flight: bool,
    /// Of its outbox row.
    queued: Option<Fingerprint>,
}

impl Known {
    fn is_part_applied(&self) -> bool {
        self.linked.as_ref().is_some_and(|(draft, _)| *draft == part_applied())
    }
}

/// What is to become of a page, sorted by what has to be written.
#[derive(Default)]
struct Plan {
    put: Vec<Put>,
    /// Linked records whose draft is as before: their new fingerprints.
    touch: Vec<Touch>,
    withdraw: Vec<String>,
}

/// A row for the outbox, as the statement takes it.
#[derive(Serialize)]
struct Put {
    key: String,
    fingerprint: String,
    record: String,
    draft: Option<String>,
    match_value: Option<String>,
    /// The match value that it wants and another record owns.
    claim: Option<String>,
    reason: Option<String>,
    /// Whether this very version is in the outbox already.
    #[serde(skip)]
    queued: bool,
}

/// The same with its checksum.
#[derive(Serialize)]
struct Sealed<'p> {
    #[serde(flatten)]
    put: &'p Put,
    checksum: String,
}

impl<'p> Sealed<'p> {
    fn of(put: &'p Put, job: JobId) -> Self {
        let Put { key, fingerprint, draft, match_value, claim, .. } = put;
        let (draft, match_value, claim) = (draft.as_deref(), match_value.as_deref(), claim.as_deref());
        let content = Content { key, fingerprint, draft, match_value, claim, removal: None };
        Self { put, checksum: content.checksum(job).finish().to_string() }
    }
}

/// A new fingerprint for a link, as the statement takes it.
#[derive(Serialize)]
struct Touch {
    key: String,
    fingerprint: String,
}

impl Plan {
    fn add(&mut self, item: Staged, known: &HashMap<String, Known>, rename: bool) {
        let Staged { key, fingerprint, stage } = item;
        let known = known.get(&key);
        let hex = fingerprint.to_string();
        let queued = known.is_some_and(|known| known.queued == Some(fingerprint));
        match stage {
            // What was begun is completed: half of a change is nothing that anybody wanted.
            StagedAs::Filtered if known.is_some_and(Known::is_part_applied) => {}
            StagedAs::Filtered | StagedAs::Reverted => self.withdraw.push(key),
            StagedAs::Refused { record, reason } => {
                let (draft, match_value, reason) = (None, None, Some(reason));
                self.put.push(Put { key, fingerprint: hex, record, draft, match_value, claim: None, reason, queued });
            }
            StagedAs::Wanted { record, draft, draft_fingerprint, match_value } => {
                let linked = known.and_then(|known| known.linked.as_ref());
                let in_flight = known.is_some_and(|known| known.in_flight);
                if linked.is_some_and(|(last, _)| *last == draft_fingerprint) && !in_flight {
                    self.withdraw.push(key.clone());
                    self.touch.push(Touch { key, fingerprint: hex });
                    return;
                }
                let renamed = linked.is_some_and(|(_, last)| last.is_some() && *last != match_value) && !rename;
                let reason = renamed.then(|| {
                    "the value of `match_on` changed, which would rename the row in Business Central; \
                     set `rename = true` to allow it, or put the old value back"
                        .to_owned()
                });
                let match_value = match_value.filter(|_| !renamed);
                let draft = Some(draft);
                self.put.push(Put { key, fingerprint: hex, record, draft, match_value, claim: None, reason, queued });
            }
        }
    }
}

/// The staging transaction, with what all its statements need. Each of them is about the whole page.
struct Stage<'a> {
    tx: Transaction<'static, Sqlite>,
    target: TargetId,
    entity: &'a str,
    job: JobId,
    now: &'a str,
}

type KnownRow = (String, Option<Vec<u8>>, Option<String>, bool, Option<Vec<u8>>);

impl Stage<'_> {
    async fn known(&mut self, page: &[Staged]) -> Result<HashMap<String, Known>, LedgerError> {
        let rows: Vec<KnownRow> = sqlx::query_as(
            "SELECT page.value, iif(link.fingerprint = ?3, ?3, link_detail.draft), link_detail.match_value, intent.key IS NOT NULL, outbox.fingerprint \
             FROM json_each(?2) AS page \
             LEFT JOIN link ON link.job_id = ?1 AND link.key = page.value \
             LEFT JOIN link_detail ON link_detail.link_id = link.link_id AND link_detail.state <> 'unexplained' \
             LEFT JOIN intent ON intent.job_id = ?1 AND intent.key = page.value \
             LEFT JOIN outbox ON outbox.job_id = ?1 AND outbox.key = page.value",
        )
        .bind(self.job.0)
        .bind(json_list(page.iter().map(|item| item.key.as_str())))
        .bind(doubtful().as_bytes().as_slice())
        .fetch_all(&mut *self.tx)
        .await?;
        rows.into_iter()
            .map(|(key, draft, match_value, in_flight, queued)| {
                let print = |bytes: Vec<u8>| {
                    Fingerprint::from_bytes(&bytes)
                        .ok_or_else(|| LedgerError::Corrupt { table: "outbox", key: key.clone() })
                };
                let linked = draft.map(print).transpose()?.map(|draft| (draft, match_value));
                let known = Known { linked, in_flight, queued: queued.map(print).transpose()? };
                Ok((key, known))
            })
            .collect()
    }

    async fn carry_out(&mut self, mut plan: Plan) -> Result<Staging, LedgerError> {
        // First, so that a match value which one record gives up is free for another one of the same page.
        withdraw(&mut self.tx, self.job, &plan.withdraw).await?;
        let owners = self.claim(&plan.put).await?;
        for put in &mut plan.put {
            if let Some((job, key)) = owners.get(&put.key)
                && put.reason.is_none()
                && !crate::mutant!("no unique match value")
            {
                let owner = format!("record {key} of job {job}");
                put.reason = Some(format!(
                    "{owner} already has the same value of `match_on`; one row cannot be both. It is sent as soon as that \
                     value is free; two records that swap their values need a third one in between"
                ));
                put.claim = put.match_value.take();
            }
        }
        // Refused as before: nothing is news.
        let staged = plan.put.len();
        plan.put.retain(|put| !(put.queued && put.reason.is_some()));
        let queued = (staged - plan.put.len()) as u64;
        self.put(&plan.put).await?;
        self.touch(&plan.touch).await?;
        let refused = plan.put.iter().filter(|put| put.reason.is_some()).count() as u64;
        Ok(Staging { staged: plan.put.len() as u64 - refused, equal: plan.touch.len() as u64, refused, queued })
    }

    /// Takes the claims on the match values; gives, by the key of the record that wants it, the owner of each one that
    /// belongs to another record. A record that is not linked gives up its former value.
    async fn claim(&mut self, put: &[Put]) -> Result<HashMap<String, (String, String)>, LedgerError> {
        if put.is_empty() {
            return Ok(HashMap::new());
        }
        let page = json(put);
        release(&mut self.tx, self.job, &page, "page.value ->> 'match_value'", "page.value ->> 'key'").await?;
        sqlx::query(
            "INSERT INTO match_claims (target_id, entity, value, job_id, key) \
             SELECT ?1, ?2, page.value ->> 'match_value', ?3, page.value ->> 'key' FROM json_each(?4) AS page \
             WHERE page.value ->> 'match_value' IS NOT NULL ON CONFLICT DO NOTHING",
        )
        .bind(self.target.0)
        .bind(self.entity)
        .bind(self.job.0)
        .bind(&page)
        .execute(&mut *self.tx)
        .await?;
        let owners: Vec<(String, String, String)> = sqlx::query_as(
            "SELECT page.value ->> 'key', job.name, match_claims.key FROM json_each(?4) AS page \
             CROSS JOIN match_claims ON match_claims.target_id = ?1 AND match_claims.entity = ?2 \
                 AND match_claims.value = page.value ->> 'match_value' \
             JOIN job USING (job_id) \
             WHERE match_claims.job_id <> ?3 OR match_claims.key <> page.value ->> 'key'",
        )
        .bind(self.target.0)
        .bind(self.entity)
        .bind(self.job.0)
        .bind(&page)
        .fetch_all(&mut *self.tx)
        .await?;
        Ok(owners.into_iter().map(|(wants, job, key)| (wants, (job, key))).collect())
    }

    async fn put(&mut self, put: &[Put]) -> Result<(), LedgerError> {
        if put.is_empty() {
            return Ok(());
        }
        let job = self.job;
        let rows: Vec<_> = put.iter().map(|put| Sealed::of(put, job)).collect();
        let statement = format!(
            "INSERT INTO outbox (job_id, key, state, refused, fingerprint, record, draft, match_value, claim, reason, \
             staged_at, changed_at, checksum) \
             SELECT ?1, page.value ->> 'key', iif(page.value ->> 'reason' IS NULL, 'pending', 'quarantined'), \
                    page.value ->> 'reason' IS NOT NULL, unhex(page.value ->> 'fingerprint'), page.value ->> 'record', \
                    page.value ->> 'draft', page.value ->> 'match_value', page.value ->> 'claim', \
                    page.value ->> 'reason', ?3, ?3, unhex(page.value ->> 'checksum') \
             FROM json_each(?2) AS page WHERE true \
             ON CONFLICT (job_id, key) DO UPDATE SET {RENEWED}"
        );
        sqlx::query(AssertSqlSafe(statement))
            .bind(self.job.0)
            .bind(json(&rows))
            .bind(self.now)
            .execute(&mut *self.tx)
            .await?;
        Ok(())
    }

    async fn touch(&mut self, touch: &[Touch]) -> Result<(), LedgerError> {
        if touch.is_empty() {
            return Ok(());
        }
        sqlx::query(
            "INSERT INTO link (job_id, key, fingerprint, link_id) \
             SELECT ?1, link.key, unhex(page.value ->> 'fingerprint'), link.link_id FROM json_each(?2) AS page \
             CROSS JOIN link ON link.job_id = ?1 AND link.key = page.value ->> 'key' WHERE true \
             ON CONFLICT (job_id, key) DO UPDATE SET fingerprint = excluded.fingerprint",
        )
        .bind(self.job.0)
        .bind(json(touch))
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }
}
