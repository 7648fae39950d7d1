//! Walking the ids in Business Central: which linked rows are not there any more. Only where everything is asked for,
//! since it costs a request for each 20,000 rows.

use tracing::warn;

use super::error::SyncError;
use super::pass::Pass;
use super::read::Reading;
use crate::bc::Query;
use crate::ledger::JobId;

impl Pass<'_> {
    /// Counts the links of the job whose rows BC no longer has, a page of ids at a time.
    pub(super) async fn walk(&self, job: JobId, entity: &str, reading: &mut Reading) -> Result<(), SyncError> {
        let links = self.ledger.open_links(job).await?;
        let query = Query { company: &self.target.company, entity: &self.job.entity, select: &["id"], expand: None };
        let reader = &self.target.outlet.reader;
        let (mut walk, mut found) = (reader.walk(query), 0);
        while let Some(ids) = reader.ids(&mut walk).await? {
            found += self.ledger.linked_among(self.target.id, entity, job, &ids).await?;
        }
        let vanished = links.saturating_sub(found);
        reading.vanished = Some(vanished);
        if vanished > 0 {
            warn!(job = %self.job.name, rows = vanished, "linked rows are no longer in Business Central");
        }
        Ok(())
    }
}
