//! Targets and jobs: what the ledger is bound to.

use sqlx::{Sqlite, Transaction};

use super::checksum::Checksum;
use super::{JobId, Ledger, LedgerError, TargetId};
use crate::model::Fingerprint;

/// The company that a target's name stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// The target's name in the configuration.
    pub name: String,
    /// Tenant, as configured.
    pub tenant: String,
    /// Environment, as configured.
    pub environment: String,
    /// The company's id in BC.
    pub company_id: String,
    /// Its name in BC.
    pub company_name: String,
    /// Its local currency.
    pub local_currency: String,
}

/// What the ledger knows of a job before a run.
#[derive(Debug, Clone)]
pub struct JobRow {
    /// Its row.
    pub id: JobId,
    /// Where the next incremental read begins; `None`: read everything.
    pub cursor: Option<String>,
    /// The mapping in force at the last read.
    pub mapping: Fingerprint,
    /// Whether the ledger is an older copy of itself, and the job has not read everything since.
    pub unread: bool,
}

impl Binding {
    /// Whether it is the same company in the same place.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        let same = |a: &str, b: &str| a.eq_ignore_ascii_case(b);
        same(&self.tenant, &other.tenant)
            && same(&self.environment, &other.environment)
            && same(&self.company_id, &other.company_id)
    }

    /// Which company it is and where, in words.
    #[must_use]
    pub fn place(&self) -> String {
        format!("{} in {} of {}", self.company_id, self.environment, self.tenant)
    }

    fn checksum(&self) -> Checksum {
        let sum = Checksum::of_target(&self.name).text(&self.tenant).text(&self.environment);
        sum.text(&self.company_id).text(&self.local_currency)
    }
}

/// The checksum of a job's cursor. A damaged one could stand behind records that were never read.
pub(super) fn cursor_checksum(job: JobId, cursor: &str) -> Checksum {
    Checksum::of_job("job", job).text(cursor)
}

/// Binds the target of this name to the company, whatever it was bound to.
pub(super) async fn put(
    tx: &mut Transaction<'static, Sqlite>,
    binding: &Binding,
    now: &str,
) -> Result<(), LedgerError> {
    sqlx::query(
        "INSERT INTO target (name, tenant, environment, company_id, company_name, local_currency, bound_at, checksum) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) \
         ON CONFLICT (name) DO UPDATE SET tenant = excluded.tenant, environment = excluded.environment, \
         company_id = excluded.company_id, company_name = excluded.company_name, \
         local_currency = excluded.local_currency, bound_at = excluded.bound_at, checksum = excluded.checksum, \
         suspended = NULL",
    )
    .bind(&binding.name)
    .bind(&binding.tenant)
    .bind(&binding.environment)
    .bind(&binding.company_id)
    .bind(&binding.company_name)
    .bind(&binding.local_currency)
    .bind(now)
    .bind(binding.checksum().finish().as_bytes().as_slice())
    .execute(&mut **tx)
    .await?;
    Ok(())
}

type TargetRow = (String, String, String, String, String, Vec<u8>);

type JobColumns = (i64, i64, String, Option<String>, Option<Vec<u8>>, Vec<u8>, bool);

impl Ledger {
    /// The binding of the target `name`, when it has been used before.
    pub async fn binding(&self, name: &str) -> Result<Option<Binding>, LedgerError> {
        let row: Option<TargetRow> = sqlx::query_as(
            "SELECT tenant, environment, company_id, company_name, local_currency, checksum FROM target WHERE name = ?1",
        )
        .bind(name)
        .fetch_optional(&self.readers)
        .await?;
        let Some((tenant, environment, company_id, company_name, local_currency, checksum)) = row else {
            return Ok(None);
        };
        let name = name.to_owned();
        let binding = Binding { name, tenant, environment, company_id, company_name, local_currency };
        binding.checksum().verify(&checksum, "target", &binding.name)?;
        Ok(Some(binding))
    }

    /// Binds a target's name to its company at first use; later it must be the same company.
    pub async fn bind(&self, binding: &Binding) -> Result<TargetId, LedgerError> {
        if let Some(bound) = self.binding(&binding.name).await? {
            if !bound.is_same(binding) {
                return Err(LedgerError::OtherCompany {
                    name: binding.name.clone(),
                    bound: bound.place(),
                    configured: binding.place(),
                });
            }
        } else {
            let mut tx = self.write().await?;
            put(&mut tx, binding, &self.now()).await?;
            tx.commit().await?;
        }
        let id = sqlx::query_scalar("SELECT target_id FROM target WHERE name = ?1")
            .bind(&binding.name)
            .fetch_one(&self.readers)
            .await?;
        Ok(TargetId(id))
    }

    /// The row of the job `name`, made at first use. `entity` must stay the same: links of one entity mean nothing
    /// to another.
    pub async fn job(
        &self,
        name: &str,
        target: TargetId,
        entity: &str,
        mapping: Fingerprint,
    ) -> Result<JobRow, LedgerError> {
        let mut tx = self.write().await?;
        sqlx::query(
            "INSERT INTO job (name, target_id, entity, mapping) VALUES (?1, ?2, ?3, ?4) \
             ON CONFLICT (name) DO NOTHING",
        )
        .bind(name)
        .bind(target.0)
        .bind(entity)
        .bind(mapping.as_bytes().as_slice())
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        let (id, bound_target, bound_entity, cursor, checksum, known, unread): JobColumns = sqlx::query_as(
            "SELECT job_id, target_id, entity, cursor, checksum, mapping, meta.value > coalesce(full_at, '') \
             FROM job CROSS JOIN meta ON meta.name = 'restored_at' WHERE job.name = ?1",
        )
        .bind(name)
        .fetch_one(&self.readers)
        .await?;
        if bound_target != target.0 || bound_entity != entity {
            let target_name = sqlx::query_scalar("SELECT name FROM target WHERE target_id = ?1")
                .bind(bound_target)
                .fetch_one(&self.readers)
                .await?;
            return Err(LedgerError::OtherRows { name: name.to_owned(), entity: bound_entity, target: target_name });
        }
        let known = Fingerprint::from_bytes(&known)
            .ok_or_else(|| LedgerError::Corrupt { table: "job", key: name.to_owned() })?;
        if let Some(cursor) = &cursor {
            cursor_checksum(JobId(id), cursor).verify(&checksum.unwrap_or_default(), "job", name)?;
        }
        Ok(JobRow { id: JobId(id), cursor, mapping: known, unread })
    }

    /// The row of the job `name`, when it has run before.
    pub async fn find_job(&self, name: &str) -> Result<Option<JobId>, LedgerError> {
        let id = sqlx::query_scalar("SELECT job_id FROM job WHERE name = ?1")
            .bind(name)
            .fetch_optional(&self.readers)
            .await?;
        Ok(id.map(JobId))
    }
}
