//! Match values that become free: the records that were refused for them are sent after all.

use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::outbox::Content;
use super::{JobId, Ledger, LedgerError, TargetId};
use crate::model::Fingerprint;

impl Ledger {
    /// Gives the match values that are free by now to the records of the job that were refused for them, the oldest
    /// first. Gives how many can be sent now.
    pub async fn take_free_claims(&self, target: TargetId, entity: &str, job: JobId) -> Result<u64, LedgerError> {
        let mut tx = self.write().await?;
        sqlx::query(
            "INSERT INTO match_claims (target_id, entity, value, job_id, key) \
             SELECT ?1, ?2, claim, job_id, key FROM outbox WHERE job_id = ?3 AND claim IS NOT NULL ORDER BY seq \
             ON CONFLICT DO NOTHING",
        )
        .bind(target.0)
        .bind(entity)
        .bind(job.0)
        .execute(&mut *tx)
        .await?;
        let freed = sqlx::query(
            "SELECT seq, outbox.key, fingerprint, draft, match_value, claim, removal, checksum FROM outbox \
             CROSS JOIN match_claims ON match_claims.target_id = ?1 AND match_claims.entity = ?2 \
                 AND match_claims.value = outbox.claim AND match_claims.job_id = ?3 AND match_claims.key = outbox.key \
             WHERE outbox.job_id = ?3 AND claim IS NOT NULL",
        )
        .bind(target.0)
        .bind(entity)
        .bind(job.0)
        .fetch_all(&mut *tx)
        .await?;
        let now = self.now();
        for row in &freed {
            sqlx::query(
                "UPDATE outbox SET state = 'pending', refused = 0, match_value = claim, claim = NULL, reason = NULL, \
                 changed_at = ?2, checksum = ?3 WHERE seq = ?1",
            )
            .bind(row.try_get::<i64, _>("seq")?)
            .bind(&now)
            .bind(sealed(job, row)?.as_bytes().as_slice())
            .execute(&mut *tx)
            .await?;
        }
        tx.commit().await?;
        Ok(freed.len() as u64)
    }
}

/// The checksum of a row once it has the value that it claims; an error when the row is not as it was written.
fn sealed(job: JobId, row: &SqliteRow) -> Result<Fingerprint, LedgerError> {
    let key: &str = row.try_get("key")?;
    let fingerprint = Fingerprint::from_bytes(row.try_get("fingerprint")?)
        .ok_or_else(|| LedgerError::Corrupt { table: "outbox", key: key.to_owned() })?
        .to_string();
    let stored = Content {
        key,
        fingerprint: &fingerprint,
        draft: row.try_get("draft")?,
        match_value: row.try_get("match_value")?,
        claim: row.try_get("claim")?,
        removal: row.try_get("removal")?,
    };
    stored.checksum(job).verify(row.try_get("checksum")?, "outbox", key)?;
    Ok(Content { match_value: stored.claim, claim: None, ..stored }.checksum(job).finish())
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use chrono::DateTime;
    use sqlx::AssertSqlSafe;

    use super::*;
    use crate::clock::ManualClock;
    use crate::ledger::{Binding, LinkUpdate, OpenOptions, RunStart, SettledLink, Settlement, Staged, StagedAs};
    use crate::model::{Draft, Outcome, Removal, Snapshot, Value};

    const ENTITY: &str = "customers";

    /// A version of a record that wants this match value.
    fn wanted(key: &str, number: &str) -> Staged {
        let draft = Draft::default();
        let stage = StagedAs::Wanted {
            record: format!("\"{number}\""),
            draft: draft.to_json(),
            draft_fingerprint: Fingerprint::of([number]),
            match_value: Some(number.to_owned()),
        };
        Staged { key: key.to_owned(), fingerprint: Fingerprint::of([key, number]), stage }
    }

    /// That version written.
    fn written(key: &str, number: &str) -> Settlement {
        let link = LinkUpdate {
            bc_id: format!("id of {key}"),
            number: number.to_owned(),
            etag: number.to_owned(),
            draft: Fingerprint::of([number]),
            match_value: Some(number.to_owned()),
            snapshot: Snapshot { sent: vec![("number".to_owned(), Value::from(number))], ..Snapshot::default() },
        };
        Settlement::done(key, Fingerprint::of([key, number]), Outcome::Updated, SettledLink::Current(link))
    }

    /// A ledger in `folder`, with a target and a job.
    async fn ledger(folder: &Path) -> (Ledger, TargetId, JobId) {
        let options = OpenOptions { path: folder.join("ledger.db"), store_values: true, redact: Vec::new() };
        let ledger = Ledger::open(options, Arc::new(ManualClock::new(DateTime::UNIX_EPOCH))).await.unwrap();
        let text = ToOwned::to_owned;
        let binding = Binding {
            name: text("main"),
            tenant: text("contoso"),
            environment: text("production"),
            company_id: text("1"),
            company_name: text("CRONUS"),
            local_currency: text("USD"),
        };
        let target = ledger.bind(&binding).await.unwrap();
        let job = ledger.job("customers", target, ENTITY, Fingerprint::of([])).await.unwrap().id;
        (ledger, target, job)
    }

    #[tokio::test]
    async fn a_row_that_was_damaged_is_not_sealed_anew() {
        for (column, damage) in [("claim", "'C2'"), ("draft", "draft || ' '"), ("key", "'4'")] {
            let folder = tempfile::tempdir().unwrap();
            let (ledger, target, job) = ledger(folder.path()).await;
            let stage = async |page| ledger.stage(target, ENTITY, job, page, None, true).await.unwrap();
            stage(vec![wanted("1", "C1")]).await;
            assert_eq!(stage(vec![wanted("2", "C1")]).await.refused, 1);
            let mut tx = ledger.write().await.unwrap();
            let statement = format!("UPDATE outbox SET {column} = {damage} WHERE key = '2'");
            sqlx::query(AssertSqlSafe(statement)).execute(&mut *tx).await.unwrap();
            tx.commit().await.unwrap();
            stage(vec![Staged { stage: StagedAs::Filtered, ..wanted("1", "C1") }]).await;
            let error = ledger.take_free_claims(target, ENTITY, job).await.unwrap_err();
            assert!(matches!(error, LedgerError::Corrupt { table: "outbox", .. }), "{column}: {error}");
            ledger.close().await;
        }
    }

    #[tokio::test]
    async fn a_record_that_the_source_has_lost_claims_nothing_any_more() {
        let folder = tempfile::tempdir().unwrap();
        let (ledger, target, job) = ledger(folder.path()).await;
        let run = ledger.begin_run(RunStart { job, cause: "test", full: true }).await.unwrap();
        let stage = async |page| ledger.stage(target, ENTITY, job, page, None, true).await.unwrap();
        let settle = async |done: &[Settlement]| ledger.settle(target, ENTITY, job, run, done).await.unwrap();
        stage(vec![wanted("1", "C1"), wanted("2", "C2")]).await;
        settle(&[written("1", "C1"), written("2", "C2")]).await;

        // The first one wants the number of the second one, and is gone before that one gives it up.
        assert_eq!(stage(vec![wanted("1", "C2")]).await.refused, 1);
        let second = ledger.link_numbers(job, ["2"]).await.unwrap();
        ledger.stage_removals(job, Removal::Delete, |number| second.contains(&number)).await.unwrap();
        stage(vec![wanted("2", "C3")]).await;
        settle(&[written("2", "C3")]).await;

        assert_eq!(ledger.take_free_claims(target, ENTITY, job).await.unwrap(), 0);
        let due = ledger.due(job, 0, 10, ledger.time()).await.unwrap();
        let due: Vec<_> = due.iter().map(|row| (row.key.as_str(), row.removal, row.match_value.as_deref())).collect();
        assert_eq!(due, [("1", Some(Removal::Delete), Some("C1"))]);
        ledger.close().await;
    }
}
