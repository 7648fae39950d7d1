//! Settling: what became of a record, in one transaction: link, change, removal of intent and outbox row.

use sqlx::{Sqlite, Transaction};

use super::links::LinkWrite;
use super::{JobId, Ledger, LedgerError, Reason, RunId, TargetId};
use crate::model::{Fingerprint, Outcome, RecordState, Snapshot, Value};

/// What became of one record.
#[derive(Debug, Clone)]
pub struct Settlement {
    /// The record's key.
    pub key: String,
    /// Of the version that was sent or looked at; a newer one in the outbox stays there.
    pub fingerprint: Fingerprint,
    /// What happened.
    pub outcome: Outcome,
    /// The link as it is now, when there is one.
    pub link: Option<SettledLink>,
    /// Why, for outcomes that are not final.
    pub reason: Option<Reason>,
    /// Which properties changed.
    pub fields: Vec<FieldChange>,
    /// What the history is to say.
    pub history: History,
    /// Whether the intent stays, because the outcome is open.
    pub open: bool,
}

/// Whether a settlement is worth a row of the history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum History {
    /// Yes.
    Always,
    /// Only when state or reason of the record changed by it.
    WhenChanged,
}

/// The new content of a link.
#[derive(Debug, Clone)]
pub struct LinkUpdate {
    /// The row's id in BC.
    pub bc_id: String,
    /// Its number or code.
    pub number: String,
    /// Its etag.
    pub etag: String,
    /// Over the draft that was written.
    pub draft: Fingerprint,
    /// The canonical match value.
    pub match_value: Option<String>,
    /// What we sent, what BC answered.
    pub snapshot: Snapshot,
}

/// What is known of a record's row after the settlement.
#[derive(Debug, Clone)]
pub enum SettledLink {
    /// It is as wanted.
    Current(LinkUpdate),
    /// BC no longer has it by its own doing; it is not written any more.
    Closed(LinkUpdate),
}

/// One property that changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldChange {
    /// Its name; a line's as `lines[KEY].property`.
    pub property: String,
    /// What was there before.
    pub old: Option<Value>,
    /// What was sent.
    pub new: Option<Value>,
}

impl Settlement {
    /// A record that is left in a state for `reason`; the intent goes, since BC certainly did nothing.
    #[must_use]
    pub fn left(key: &str, fingerprint: Fingerprint, state: RecordState, reason: Reason) -> Self {
        Self {
            key: key.to_owned(),
            fingerprint,
            outcome: Outcome::Left(state),
            link: None,
            reason: Some(reason),
            fields: Vec::new(),
            history: History::WhenChanged,
            open: false,
        }
    }
}

impl Ledger {
    /// Stores what became of these records, in one transaction.
    pub async fn settle(
        &self,
        target: TargetId,
        entity: &str,
        job: JobId,
        run: RunId,
        settlements: &[Settlement],
    ) -> Result<(), LedgerError> {
        let now = self.now();
        let mut tx = self.write().await?;
        for settlement in settlements {
            if let Some(link) = &settlement.link {
                let (state, link) = match link {
                    SettledLink::Current(link) => ("linked", link),
                    SettledLink::Closed(link) => ("closed", link),
                };
                // What was not done as a whole equals nothing that will be read: it is looked at again whatever comes.
                let whole = !matches!(settlement.outcome, Outcome::Left(_));
                let nothing = Fingerprint::of([]);
                let write = LinkWrite {
                    target,
                    entity,
                    job,
                    key: &settlement.key,
                    fingerprint: if whole { settlement.fingerprint } else { nothing },
                    bc_id: &link.bc_id,
                    number: &link.number,
                    etag: &link.etag,
                    state,
                    match_value: link.match_value.as_deref(),
                    draft: if whole { link.draft } else { nothing },
                    snapshot: &link.snapshot,
                    now: &now,
                };
                write.upsert(&mut tx).await?;
                claim(&mut tx, target, entity, job, &settlement.key, link.match_value.as_deref()).await?;
            }
            if !settlement.open {
                sqlx::query("DELETE FROM intent WHERE job_id = ?1 AND key = ?2")
                    .bind(job.0)
                    .bind(&settlement.key)
                    .execute(&mut *tx)
                    .await?;
            }
            let changed = self.settle_outbox(&mut tx, job, settlement, &now).await?;
            if changed || settlement.history == History::Always {
                self.write_change(&mut tx, job, run, settlement, &now).await?;
            }
        }
        crate::fault!("settle: before commit");
        tx.commit().await?;
        crate::fault!("settle: after commit");
        Ok(())
    }

    /// Removes or updates the outbox row; whether state or reason changed by it.
    async fn settle_outbox(
        &self,
        tx: &mut Transaction<'static, Sqlite>,
        job: JobId,
        settlement: &Settlement,
        now: &str,
    ) -> Result<bool, LedgerError> {
        let Outcome::Left(state) = settlement.outcome else {
            sqlx::query("DELETE FROM outbox WHERE job_id = ?1 AND key = ?2 AND fingerprint = ?3")
                .bind(job.0)
                .bind(&settlement.key)
                .bind(settlement.fingerprint.as_bytes().as_slice())
                .execute(&mut **tx)
                .await?;
            return Ok(true);
        };
        let reason = settlement.reason.as_ref();
        let touched = sqlx::query(
            "UPDATE outbox SET state = ?4, reason = ?5, code = ?6, correlation_id = ?7, changed_at = ?8, \
             attempts = attempts + ?9 \
             WHERE job_id = ?1 AND key = ?2 AND fingerprint = ?3 \
             AND NOT (state = ?4 AND reason IS ?5 AND code IS ?6)",
        )
        .bind(job.0)
        .bind(&settlement.key)
        .bind(settlement.fingerprint.as_bytes().as_slice())
        .bind(state.as_str())
        .bind(reason.map(|reason| reason.text.as_str()))
        .bind(reason.and_then(|reason| reason.code.as_deref()))
        .bind(reason.and_then(|reason| reason.correlation_id.as_deref()))
        .bind(now)
        .bind(state == RecordState::Quarantined)
        .execute(&mut **tx)
        .await?;
        Ok(touched.rows_affected() > 0)
    }

    async fn write_change(
        &self,
        tx: &mut Transaction<'static, Sqlite>,
        job: JobId,
        run: RunId,
        settlement: &Settlement,
        now: &str,
    ) -> Result<(), LedgerError> {
        let link = settlement.link.as_ref().map(|link| match link {
            SettledLink::Current(link) | SettledLink::Closed(link) => link,
        });
        let reason = settlement.reason.as_ref();
        let change: i64 = sqlx::query_scalar(
            "INSERT INTO change (run_id, job_id, key, outcome, bc_id, number, reason, code, correlation_id, at) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) RETURNING change_id",
        )
        .bind(run.0)
        .bind(job.0)
        .bind(&settlement.key)
        .bind(settlement.outcome.as_str())
        .bind(link.map(|link| link.bc_id.as_str()))
        .bind(link.map(|link| link.number.as_str()))
        .bind(reason.map(|reason| reason.text.as_str()))
        .bind(reason.and_then(|reason| reason.code.as_deref()))
        .bind(reason.and_then(|reason| reason.correlation_id.as_deref()))
        .bind(now)
        .fetch_one(&mut **tx)
        .await?;
        for field in &settlement.fields {
            let keep = |value: &Option<Value>| self.keeps(&field.property).then(|| value.as_ref().map(Value::to_json));
            sqlx::query("INSERT INTO field_change (change_id, property, old, new) VALUES (?1, ?2, ?3, ?4)")
                .bind(change)
                .bind(&field.property)
                .bind(keep(&field.old).flatten())
                .bind(keep(&field.new).flatten())
                .execute(&mut **tx)
                .await?;
        }
        Ok(())
    }

    /// Whether the history may keep the values of `property`.
    fn keeps(&self, property: &str) -> bool {
        let name = property.rsplit_once("].").map_or(property, |(_, name)| name);
        self.options.store_values && !self.options.redact.iter().any(|redacted| redacted == name)
    }
}

/// Makes the match value the record's own; a former one is released. A value that another record owns stays its.
async fn claim(
    tx: &mut Transaction<'static, Sqlite>,
    target: TargetId,
    entity: &str,
    job: JobId,
    key: &str,
    value: Option<&str>,
) -> Result<(), LedgerError> {
    sqlx::query(
        "DELETE FROM match_claims WHERE job_id = ?1 AND key = ?2 AND value IS NOT ?3 AND NOT EXISTS \
                 (SELECT 1 FROM outbox WHERE job_id = ?1 AND key = ?2 AND match_value = match_claims.value)",
    )
    .bind(job.0)
    .bind(key)
    .bind(value)
    .execute(&mut **tx)
    .await?;
    if let Some(value) = value {
        sqlx::query(
            "INSERT INTO match_claims (target_id, entity, value, job_id, key) VALUES (?1, ?2, ?3, ?4, ?5) \
             ON CONFLICT DO NOTHING",
        )
        .bind(target.0)
        .bind(entity)
        .bind(value)
        .bind(job.0)
        .bind(key)
        .execute(&mut **tx)
        .await?;
    }
    Ok(())
}
