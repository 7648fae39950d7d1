//! Walking the ids in Business Central: which linked rows are not there any more. All of them only where everything is asked
//! for, since it costs a request for each 20,000 rows.
//!
//! Rows vanish one by one when people delete or post them. When several that were made one after another are missing
//! altogether, Business Central was restored from a backup: then nothing is written until a person has said so, because
//! what was changed since that backup is wrong there as well, and nothing tells it. So a few are looked at before every
//! pass that sends something, too. Rows that were there before we linked them tell nothing of a time.

use std::collections::HashSet;

use tracing::warn;

use super::error::SyncError;
use super::pass::Pass;
use super::read::Reading;
use crate::bc::{Failure, Query, Reader};
use crate::ledger::{JobId, Ledger, MadeRow, TargetId};
use crate::model::{EntityName, Value};
use crate::schema::standard;

/// How many of the rows that were made last are looked at.
const NEWEST: u32 = 1_000;

/// How many of them are looked at before every pass that sends something: one request tells of all.
const LATEST: u32 = 10;

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
    /// Linked rows that BC does not have.
    pub vanished: u64,
    /// What a restore has taken away, if it looks like one.
    pub gap: Option<Gap>,
}

/// Rows that were made one after another and are missing altogether.
#[derive(Debug)]
pub struct Gap {
    /// So many.
    pub rows: usize,
    /// When the row was made before them that is there; `None`: none is.
    pub since: Option<String>,
    /// When the first of them was made.
    pub before: String,
    /// The records of all missing rows that were made since.
    pub lost: Vec<String>,
}

impl Gap {
    /// The newest gap of at least so many rows among those that were `made`, newest first. What was made after the restore
    /// is there again: fewer rows than are missing. Where more are, somebody has deleted some old ones.
    fn find(made: &[MadeRow], missing: &HashSet<&str>, least: usize) -> Option<Self> {
        let is_missing = |row: &&MadeRow| missing.contains(row.bc_id.as_str());
        let (mut at, mut there) = (0, 0);
        while at < made.len() {
            let rows = made[at..].iter().take_while(is_missing).count();
            if rows >= least && rows > there {
                let (since_then, older) = made.split_at(at + rows);
                let lost = since_then.iter().filter(is_missing).map(|row| row.key.clone()).collect();
                let since = older.first().map(|row| row.made_at.clone());
                return Some(Self { rows, since, before: since_then.last()?.made_at.clone(), lost });
            }
            there += usize::from(rows == 0);
            at += rows.max(1);
        }
        None
    }
}

impl WalkSpec<'_> {
    /// Compares the links of the job with the ids in BC, a page at a time. The gap is of rows that were made lately; of all,
    /// and the smallest one counts, when a person `says` that BC was restored.
    ///
    /// # Errors
    /// When BC or the ledger cannot be read.
    pub async fn walk(&self, says: bool) -> Result<Walked, SyncError> {
        let links = self.ledger.open_links(self.job).await?;
        let entity = self.entity.to_string();
        let made = self.made(if says { u32::MAX } else { NEWEST }).await?;
        let mut missing: HashSet<&str> = made.iter().map(|row| row.bc_id.as_str()).collect();
        let query = Query { company: self.company, entity: self.entity, select: &["id"], expand: None };
        let (mut walk, mut found) = (self.reader.walk(query), 0);
        while let Some(ids) = self.reader.ids(&mut walk).await? {
            found += self.ledger.linked_among(self.target, &entity, self.job, &ids).await?;
            for id in &ids {
                missing.remove(id.as_str());
            }
        }
        let gap = self.gap(&made, &missing, RESTORED).await?;
        let gap = if says && gap.is_none() { self.gap(&made, &missing, 1).await? } else { gap };
        Ok(Walked { vanished: links.saturating_sub(found), gap })
    }

    /// Whether rows that were made last are missing, as far as one request tells.
    async fn latest_are_missing(&self) -> Result<bool, SyncError> {
        let made = self.made(LATEST).await?;
        if made.len() < RESTORED {
            return Ok(false);
        }
        let ids: Vec<_> = made.iter().map(|row| Value::from(row.bc_id.as_str())).collect();
        let query = Query { company: self.company, entity: self.entity, select: &["id"], expand: None };
        let found = self.reader.find(query, "id", &ids, true).await?;
        let found: HashSet<_> = found.iter().map(|row| row.id.as_str()).collect();
        let missing = made.iter().map(|row| row.bc_id.as_str()).filter(|id| !found.contains(id)).collect();
        Ok(self.gap(&made, &missing, RESTORED).await?.is_some())
    }

    async fn made(&self, newest: u32) -> Result<Vec<MadeRow>, SyncError> {
        Ok(self.ledger.newest_made(self.target, &self.entity.to_string(), self.job, newest).await?)
    }

    /// The newest gap among the rows that were `made`; documents that were posted are not `missing`.
    async fn gap(&self, made: &[MadeRow], missing: &HashSet<&str>, least: usize) -> Result<Option<Gap>, SyncError> {
        if missing.len() < least {
            return Ok(None);
        }
        let posted = self.posted(missing).await?;
        let made: Vec<_> = made.iter().filter(|row| !posted.contains(&row.bc_id)).cloned().collect();
        Ok(Gap::find(&made, missing, least))
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
        let Walked { vanished, gap } = self.walk_spec(job).walk(false).await?;
        reading.vanished = Some(vanished);
        if vanished > 0 {
            warn!(job = %self.job.name, rows = vanished, "linked rows are no longer in Business Central");
        }
        let Some(Gap { rows, since, before, .. }) = gap else { return Ok(()) };
        let (entity, target) = (self.job.entity.to_string(), self.target.name.clone());
        let restored = SyncError::Restored { rows, entity, since, before, target };
        self.ledger.suspend(self.target.id, &restored.to_string()).await?;
        Err(restored)
    }

    /// Stops before anything is sent to a company that was restored. Costs a request when something is to be sent.
    pub(super) async fn look_at_latest(&self, job: JobId, reading: &mut Reading) -> Result<(), SyncError> {
        let is_known = reading.vanished.is_some() || !self.ledger.may_send(job).await?;
        if !is_known && self.walk_spec(job).latest_are_missing().await? {
            self.walk(job, reading).await?;
        }
        Ok(())
    }

    fn walk_spec(&self, job: JobId) -> WalkSpec<'_> {
        WalkSpec {
            reader: &self.target.outlet.reader,
            ledger: self.ledger,
            company: &self.target.company,
            target: self.target.id,
            job,
            entity: &self.job.entity,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_told_from_single_rows_that_are_missing() {
        // Newest first: `x` is missing, `o` is there.
        for (rows, least, gap) in [
            ("", 3, None),
            ("ooo", 3, None),
            ("xxo", 3, None),
            ("xxo", 1, Some((2, true, 2))),
            ("xxxo", 3, Some((3, true, 3))),
            ("xxx", 3, Some((3, false, 3))),
            ("oxxxo", 3, Some((3, true, 3))),
            ("xoxxxo", 3, Some((3, true, 4))),
            ("oooxxxo", 3, None),
            ("oooxxxxoxxxxxx", 3, Some((4, true, 4))),
            ("xoxoxo", 3, None),
        ] {
            let row = |at: usize| MadeRow { key: at.to_string(), bc_id: at.to_string(), made_at: format!("made {at}") };
            let made: Vec<_> = (0..rows.len()).map(row).collect();
            let is_missing = |(row, mark): (_, char)| (mark == 'x').then_some(row);
            let ids = made.iter().map(|row| row.bc_id.as_str());
            let missing = ids.zip(rows.chars()).filter_map(is_missing).collect();
            let found = Gap::find(&made, &missing, least).map(|gap| (gap.rows, gap.since.is_some(), gap.lost.len()));
            assert_eq!(found, gap, "{rows}");
        }
    }
}
