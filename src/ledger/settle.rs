//! Settling: what became of a record, in one transaction: link, change, removal of intent and outbox row.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use sqlx::{AssertSqlSafe, Sqlite, Transaction};

use super::links::{self, LinkWrite};
use super::rows::json;
use super::{JobId, Ledger, LedgerError, Reason, RunId, TargetId};
use crate::clock;
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
    /// Whether all intents stay, because the outcome is open. Else those stay that are released, unless the row is known
    /// to have moved on.
    pub open: bool,
    /// What happens next, for outcomes that are not final.
    pub next: Next,
}

/// What happens next with a record that is left in a state.
#[derive(Debug, Clone, Default)]
pub struct Next {
    /// It is taken up again by itself after so long; `None`: in every run when it is pending or waiting, else never.
    pub retry_after: Option<Duration>,
    /// Something that it refers to is missing: its time of waiting goes on.
    pub waits: bool,
    /// Of a conflict: the row's etag, under which a person may let the source win.
    pub etag: Option<String>,
}

/// Whether a settlement is worth a row of the history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum History {
    /// Yes.
    Always,
    /// Only when state or reason of the record changed by it.
    WhenChanged,
    /// No: it is told of another record.
    Never,
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
    /// It was deleted because the source lost its record: what it was. The record is not linked any more.
    Removed(LinkUpdate),
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

impl SettledLink {
    /// What the link holds.
    #[must_use]
    pub fn update(&self) -> &LinkUpdate {
        match self {
            Self::Current(update) | Self::Closed(update) | Self::Removed(update) => update,
        }
    }
}

impl Settlement {
    fn link_write(&self) -> Option<LinkWrite<'_>> {
        let link = self.link.as_ref()?;
        let state = match link {
            SettledLink::Current(_) => "linked",
            SettledLink::Closed(_) => "closed",
            SettledLink::Removed(_) => return None,
        };
        let LinkUpdate { bc_id, number, etag, draft, match_value, snapshot } = link.update();
        // What was not done as a whole equals nothing that will be read: it is looked at again whatever comes.
        let done = !matches!(self.outcome, Outcome::Left(_));
        let known = |fingerprint: Fingerprint| if done { fingerprint } else { Fingerprint::of([]) };
        Some(LinkWrite {
            key: &self.key,
            fingerprint: known(self.fingerprint).to_string(),
            bc_id,
            number,
            etag,
            state,
            match_value: match_value.as_deref(),
            draft: known(*draft).to_string(),
            snapshot: snapshot.to_json(),
        })
    }

    /// The key of a record that is not linked any more.
    fn removed(&self) -> Option<&str> {
        matches!(self.link, Some(SettledLink::Removed(_))).then_some(&self.key)
    }

    /// A record whose row is as wanted, or is not written any more; `link` says how it is.
    #[must_use]
    pub fn done(key: &str, fingerprint: Fingerprint, outcome: Outcome, link: SettledLink) -> Self {
        Self {
            key: key.to_owned(),
            fingerprint,
            outcome,
            link: Some(link),
            reason: None,
            fields: Vec::new(),
            history: History::Always,
            open: false,
            next: Next::default(),
        }
    }

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
            next: Next::default(),
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
        let time = self.clock.now();
        let now = clock::iso(time);
        let mut tx = self.write().await?;
        let links: Vec<_> = settlements.iter().filter_map(Settlement::link_write).collect();
        links::write(&mut tx, target, entity, job, &now, &links).await?;
        let rows: Vec<_> = settlements.iter().map(Settled::of).collect();
        let rows = json(&rows);
        sqlx::query(
            "DELETE FROM intent WHERE intent_id IN (SELECT intent.intent_id FROM json_each(?2) AS row \
             CROSS JOIN intent ON intent.job_id = ?1 AND intent.key = row.value ->> 'key' \
             WHERE NOT row.value ->> 'open' AND (row.value ->> 'moved_on' OR NOT intent.released))",
        )
        .bind(job.0)
        .bind(&rows)
        .execute(&mut *tx)
        .await?;
        // What is final leaves the outbox, unless a newer version of the record has taken its place.
        sqlx::query(
            "DELETE FROM outbox WHERE seq IN (SELECT outbox.seq FROM json_each(?2) AS row \
             CROSS JOIN outbox ON outbox.job_id = ?1 AND outbox.key = row.value ->> 'key' \
             WHERE row.value ->> 'done' AND outbox.fingerprint = unhex(row.value ->> 'fingerprint'))",
        )
        .bind(job.0)
        .bind(&rows)
        .execute(&mut *tx)
        .await?;
        let removed: Vec<_> = settlements.iter().filter_map(Settlement::removed).collect();
        links::remove(&mut tx, job, &removed).await?;
        let mut changed = HashSet::new();
        for settlement in settlements {
            if let Outcome::Left(state) = settlement.outcome
                && leave(&mut tx, job, settlement, state, time).await?
            {
                changed.insert(settlement.key.as_str());
            }
        }
        let told: Vec<_> = settlements
            .iter()
            .filter(|settled| match settled.history {
                History::Always => true,
                History::WhenChanged => changed.contains(settled.key.as_str()),
                History::Never => false,
            })
            .collect();
        self.write_changes(&mut tx, job, run, &told, &now).await?;
        crate::fault!("settle: before commit");
        tx.commit().await?;
        crate::fault!("settle: after commit");
        Ok(())
    }

    async fn write_changes(
        &self,
        tx: &mut Transaction<'static, Sqlite>,
        job: JobId,
        run: RunId,
        told: &[&Settlement],
        now: &str,
    ) -> Result<(), LedgerError> {
        if told.is_empty() {
            return Ok(());
        }
        let rows: Vec<_> = told.iter().map(|settlement| Told::of(settlement)).collect();
        let changes: Vec<(i64, String)> = sqlx::query_as(
            "INSERT INTO change (run_id, job_id, key, outcome, bc_id, number, reason, code, correlation_id, at) \
             SELECT ?1, ?2, row.value ->> 'key', row.value ->> 'outcome', row.value ->> 'bc_id', \
                    row.value ->> 'number', row.value ->> 'reason', row.value ->> 'code', \
                    row.value ->> 'correlation_id', ?4 FROM json_each(?3) AS row RETURNING change_id, key",
        )
        .bind(run.0)
        .bind(job.0)
        .bind(json(&rows))
        .bind(now)
        .fetch_all(&mut **tx)
        .await?;
        let changes: HashMap<&str, i64> = changes.iter().map(|(id, key)| (key.as_str(), *id)).collect();
        let mut fields = Vec::new();
        for settlement in told {
            let Some(change) = changes.get(settlement.key.as_str()).copied() else { continue };
            for field in &settlement.fields {
                let kept =
                    |value: &Option<Value>| value.as_ref().filter(|_| self.keeps(&field.property)).map(Value::to_json);
                fields.push(Field { change, property: &field.property, old: kept(&field.old), new: kept(&field.new) });
            }
        }
        if !fields.is_empty() {
            sqlx::query(
                "INSERT OR REPLACE INTO field_change (change_id, property, old, new) \
                 SELECT row.value ->> 'change', row.value ->> 'property', row.value ->> 'old', row.value ->> 'new' \
                 FROM json_each(?1) AS row",
            )
            .bind(json(&fields))
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

/// Leaves a record in a state; whether state or reason changed by it.
async fn leave(
    tx: &mut Transaction<'static, Sqlite>,
    job: JobId,
    settlement: &Settlement,
    state: RecordState,
    now: DateTime<Utc>,
) -> Result<bool, LedgerError> {
    let reason = settlement.reason.as_ref();
    let Next { retry_after, waits, etag } = &settlement.next;
    // What is beyond all dates never comes by itself.
    let retry_at = retry_after.and_then(|after| now.checked_add_signed(TimeDelta::from_std(after).ok()?));
    let now = clock::iso(now);
    let record = "job_id = ?1 AND key = ?2 AND fingerprint = ?3";
    let clocks = format!(
        "UPDATE outbox SET retry_at = ?5, waiting_since = iif(?6, coalesce(waiting_since, ?7), NULL), \
         attempts = attempts + (?4 = 'quarantined'), decision = iif(?4 = 'conflict', NULL, decision), \
         seen_etag = iif(?4 = 'conflict', ?8, seen_etag) WHERE {record}"
    );
    sqlx::query(AssertSqlSafe(clocks))
        .bind(job.0)
        .bind(&settlement.key)
        .bind(settlement.fingerprint.as_bytes().as_slice())
        .bind(state.as_str())
        .bind(retry_at.map(clock::iso))
        .bind(waits)
        .bind(&now)
        .bind(etag)
        .execute(&mut **tx)
        .await?;
    let words = format!(
        "UPDATE outbox SET state = ?4, reason = ?5, code = ?6, correlation_id = ?7, error = ?8, changed_at = ?9 \
         WHERE {record} AND NOT (state = ?4 AND reason IS ?5 AND code IS ?6)"
    );
    let done = sqlx::query(AssertSqlSafe(words))
        .bind(job.0)
        .bind(&settlement.key)
        .bind(settlement.fingerprint.as_bytes().as_slice())
        .bind(state.as_str())
        .bind(reason.map(|reason| reason.text.as_str()))
        .bind(reason.and_then(|reason| reason.code.as_deref()))
        .bind(reason.and_then(|reason| reason.correlation_id.as_deref()))
        .bind(reason.and_then(|reason| reason.error.as_deref()))
        .bind(&now)
        .execute(&mut **tx)
        .await?;
    Ok(done.rows_affected() > 0)
}

/// What the statements on intents and outbox take of a settlement.
#[derive(Serialize)]
struct Settled<'a> {
    key: &'a str,
    fingerprint: String,
    /// Whether the record is as wanted, so that it leaves the outbox.
    done: bool,
    /// Whether all intents stay.
    open: bool,
    /// Whether the row has another etag now, so that no earlier request can take effect.
    moved_on: bool,
}

impl<'a> Settled<'a> {
    fn of(settlement: &'a Settlement) -> Self {
        Self {
            key: &settlement.key,
            fingerprint: settlement.fingerprint.to_string(),
            done: !matches!(settlement.outcome, Outcome::Left(_)),
            open: settlement.open,
            moved_on: settlement.link.is_some(),
        }
    }
}

/// What the history takes of a settlement.
#[derive(Serialize)]
struct Told<'a> {
    key: &'a str,
    outcome: &'static str,
    bc_id: Option<&'a str>,
    number: Option<&'a str>,
    reason: Option<&'a str>,
    code: Option<&'a str>,
    correlation_id: Option<&'a str>,
}

impl<'a> Told<'a> {
    fn of(settlement: &'a Settlement) -> Self {
        let link = settlement.link.as_ref().map(SettledLink::update);
        let reason = settlement.reason.as_ref();
        Self {
            key: &settlement.key,
            outcome: settlement.outcome.as_str(),
            bc_id: link.map(|link| link.bc_id.as_str()),
            number: link.map(|link| link.number.as_str()),
            reason: reason.map(|reason| reason.text.as_str()),
            code: reason.and_then(|reason| reason.code.as_deref()),
            correlation_id: reason.and_then(|reason| reason.correlation_id.as_deref()),
        }
    }
}

/// A changed property as the statement takes it.
#[derive(Serialize)]
struct Field<'a> {
    change: i64,
    property: &'a str,
    old: Option<String>,
    new: Option<String>,
}
