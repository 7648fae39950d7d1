//! Walking the ids in Business Central: which linked rows are not there any more. Only where everything is asked for,
//! since it costs a request for each 20,000 rows.
//!
//! Rows vanish one by one when people delete or post them. When those that were linked last are missing altogether while
//! older ones are there, Business Central was restored from a backup: then nothing is written until a person has said so,
//! because what was changed since that backup is wrong there as well, and nothing tells it.

use std::collections::HashSet;

use tracing::warn;

use super::error::SyncError;
use super::pass::Pass;
use super::read::Reading;
use crate::bc::{Failure, Query, Reader};
use crate::ledger::{JobId, Ledger, LinkedRow, TargetId};
use crate::model::{EntityName, Value};
use crate::schema::standard;

/// How many of the links that were made last are looked at.
const NEWEST: u32 = 1_000;

/// That many missing in a row are no coincidence.
const RESTORED: usize = 3;

/// What a walk is about.
pub struct WalkSpec<'a> {
    /// Reads the company.
    pub reader: &'a Reader,
    /// Whose links are compared.
    pub ledger: &'a Ledger,
    /// The company's id.
    pub company: &'a str,
    /// The company's row in the ledger.
    pub target: TargetId,
    /// The job.
    pub job: JobId,
    /// The entity that it writes.
    pub entity: &'a EntityName,
}

/// What a walk found.
#[derive(Debug, Default)]
pub struct Walked {
    /// Linked rows that BC has.
    pub found: u64,
    /// Linked rows that it does not have.
    pub vanished: u64,
    /// Those of them that were linked after every row that is there, newest first; documents that were posted are not
    /// among them.
    pub lost: Vec<LinkedRow>,
    /// When the newest link was made whose row is there.
    pub since: Option<String>,
}

impl WalkSpec<'_> {
    /// Compares the links of the job with the ids in BC, a page at a time; `newest` of them one by one.
    ///
    /// # Errors
    /// When BC or the ledger cannot be read.
    pub async fn walk(&self, newest: u32) -> Result<Walked, SyncError> {
        let links = self.ledger.open_links(self.job).await?;
        let newest = self.ledger.newest_links(self.job, newest).await?;
        let mut missing: HashSet<&str> = newest.iter().map(|link| link.bc_id.as_str()).collect();
        let entity = self.entity.to_string();
        let query = Query { company: self.company, entity: self.entity, select: &["id"], expand: None };
        let (mut walk, mut found) = (self.reader.walk(query), 0);
        while let Some(ids) = self.reader.ids(&mut walk).await? {
            found += self.ledger.linked_among(self.target, &entity, self.job, &ids).await?;
            for id in &ids {
                missing.remove(id.as_str());
            }
        }
        let posted = self.posted(&missing).await?;
        let newest: Vec<_> = newest.iter().filter(|link| !posted.contains(&link.bc_id)).collect();
        let lost: Vec<_> = newest.iter().take_while(|link| missing.contains(link.bc_id.as_str())).collect();
        Ok(Walked {
            found,
            vanished: links.saturating_sub(found),
            since: newest.get(lost.len()).map(|link| link.linked_at.clone()),
            lost: lost.into_iter().map(|link| (*link).clone()).collect(),
        })
    }

    /// The ids among `missing` of documents that became invoices.
    async fn posted(&self, missing: &HashSet<&str>) -> Result<HashSet<String>, Failure> {
        let successor = standard(self.entity.set()).and_then(|schema| schema.successor).and_then(EntityName::parse);
        let Some(successor) = successor.filter(|_| !missing.is_empty()) else { return Ok(HashSet::new()) };
        let query = Query { company: self.company, entity: &successor, select: &["id", "orderId"], expand: None };
        let ids: Vec<_> = missing.iter().map(|id| Value::from(*id)).collect();
        let invoices = self.reader.find(query, "orderId", &ids, true).await?;
        Ok(invoices.iter().map(|invoice| invoice.text("orderId").to_owned()).collect())
    }
}

impl Pass<'_> {
    /// Counts the links of the job whose rows BC no longer has, and stops when it was restored.
    pub(super) async fn walk(&self, job: JobId, reading: &mut Reading) -> Result<(), SyncError> {
        let spec = WalkSpec {
            reader: &self.target.outlet.reader,
            ledger: self.ledger,
            company: &self.target.company,
            target: self.target.id,
            job,
            entity: &self.job.entity,
        };
        let Walked { found, vanished, lost, since } = spec.walk(NEWEST).await?;
        reading.vanished = Some(vanished);
        if vanished > 0 {
            warn!(job = %self.job.name, rows = vanished, "linked rows are no longer in Business Central");
        }
        let Some(oldest) = lost.last().filter(|_| lost.len() >= RESTORED && found > 0) else { return Ok(()) };
        let restored = SyncError::Restored {
            rows: lost.len(),
            entity: self.job.entity.to_string(),
            since: since.unwrap_or_else(|| "long ago".to_owned()),
            before: oldest.linked_at.clone(),
            target: self.target.name.clone(),
        };
        self.ledger.suspend(self.target.id, &restored.to_string()).await?;
        Err(restored)
    }
}
