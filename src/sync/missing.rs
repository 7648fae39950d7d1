//! What a complete read of everything tells of records that it did not find.
//!
//! An interrupted or failed read tells nothing, and neither does one that found next to nothing: that is more likely a
//! broken source than a mass of deletes. Where rows stay in any case it is no error, because a query may well give less and
//! less of what it once gave; but nothing is forgotten because of it.

use tracing::{info, warn};

use super::error::SyncError;
use super::pass::Pass;
use super::read::Reading;
use crate::ledger::{JobId, JobRow};
use crate::model::Removal;

/// From so many linked records on, a read that finds fewer than half of them is taken for broken.
const COLLAPSE_FROM: u64 = 100;

impl Pass<'_> {
    /// Concludes from a complete read what is no longer in the source. `outbox_end` is where the outbox ended before it.
    pub(super) async fn conclude(
        &self,
        row: &JobRow,
        outbox_end: Option<i64>,
        reading: &mut Reading,
    ) -> Result<(), SyncError> {
        let job = row.id;
        let expected = self.ledger.expected(job).await?;
        let removal = self.job.on_delete.removal();
        let nothing = reading.counters.read == 0 && expected > 0;
        let collapsed = expected >= COLLAPSE_FROM && reading.linked < expected.div_ceil(2);
        if nothing || (collapsed && removal.is_some()) {
            return Err(SyncError::Collapsed { job: self.job.name.clone(), found: reading.linked, linked: expected });
        }
        if collapsed {
            let (job, found) = (&self.job.name, reading.linked);
            warn!(%job, found, linked = expected, "the source has fewer than half of the linked records; what is still to be sent is kept, whether the source has it or not");
        } else {
            self.withdraw_vanished(row, outbox_end, reading).await?;
        }
        let missing = match removal {
            None => expected.saturating_sub(reading.linked),
            Some(removal) => self.remove_missing(job, removal, reading).await?,
        };
        reading.missing = Some(missing);
        if missing > 0 {
            let on_delete = self.job.on_delete.as_str();
            warn!(job = %self.job.name, records = missing, on_delete, "linked records are no longer in the source");
        }
        Ok(())
    }

    async fn remove_missing(&self, job: JobId, removal: Removal, reading: &Reading) -> Result<u64, SyncError> {
        if reading.without_key > 0 {
            warn!(job = %self.job.name, rows = reading.without_key, "rows of the source have no key: any record may be among them, so that none is taken for deleted");
            return Ok(0);
        }
        let Some(present) = &reading.present else { return Ok(0) };
        Ok(self.ledger.stage_removals(job, removal, |number| present.contains(number)).await?)
    }

    /// Forgets what was never brought to Business Central and is no longer in the source. A source that is empty all of a
    /// sudden is more likely broken.
    async fn withdraw_vanished(
        &self,
        row: &JobRow,
        outbox_end: Option<i64>,
        reading: &Reading,
    ) -> Result<(), SyncError> {
        let (Some(end), Some(seen), 1..) = (outbox_end, &reading.seen, reading.counters.read) else { return Ok(()) };
        let records = self.ledger.withdraw_vanished(row.id, end, row.unread, |key| seen.contains(key)).await?;
        if records > 0 {
            info!(job = %self.job.name, records, "records that were still to be sent are no longer in the source; they are forgotten");
        }
        Ok(())
    }
}
