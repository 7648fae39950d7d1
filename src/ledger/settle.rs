//! Settling: what became of a record, in one transaction: link, change, removal of intent and outbox row.

use std::collections::{HashMap, HashSet};

use serde::Serialize;
use sqlx::{Sqlite, Transaction};

use super::leave::leave;
use super::link_write;
use super::rows::json;
use super::settlement::{History, SettledLink, Settlement};
use super::{JobId, Ledger, LedgerError, RunId, TargetId};
use crate::clock;
use crate::model::{Outcome, Value};

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
        link_write::write(&mut tx, target, entity, job, &now, &links).await?;
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
        link_write::remove(&mut tx, job, &removed).await?;
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
        crate::fault!("K11: inside the settling transaction");
        tx.commit().await?;
        crate::fault!("K12: settled");
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
