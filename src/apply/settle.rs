//! Storing what became of records, with what follows from it for others.

use std::sync::Mutex;

use tracing::warn;

use super::Applier;
use super::error::ApplyError;
use super::round::{Round, lock};
use crate::ledger::{RunId, SettledLink, Settlement};
use crate::model::{Outcome, RecordState};

impl Applier<'_> {
    /// Stores what became of records, counts it and tells of it.
    pub(super) async fn settle(
        &self,
        run: RunId,
        round: &Mutex<Round>,
        mut settlements: Vec<Settlement>,
    ) -> Result<(), ApplyError> {
        if settlements.is_empty() {
            return Ok(());
        }
        for settlement in &mut settlements {
            if settlement.outcome == Outcome::Left(RecordState::Quarantined) {
                settlement.next.retry_after.get_or_insert(self.job.patience.retry_quarantined);
            }
        }
        // An envelope with a permit in hand keeps Business Central waiting; what is settled here keeps nobody.
        let mut noting = lock(round).watch_noting();
        let _ = noting.wait_for(|noting| *noting == 0).await;
        let entity = self.job.entity.to_string();
        self.ledger.settle(self.job.target, &entity, self.job.id, run, &settlements).await?;
        for settlement in &settlements {
            if matches!(settlement.link, Some(SettledLink::Unexplained(_))) {
                warn!(job = %self.job.name, record = %settlement.key, "Business Central no longer has its row, and nothing tells why");
            }
        }
        self.put_off_others(round, &settlements).await?;
        let taken = {
            let mut round = lock(round);
            for settlement in &settlements {
                round.settled(&settlement.key, settlement.outcome);
            }
            round.counters.taken
        };
        (self.progress)(taken);
        Ok(())
    }

    /// What a record was tried for on behalf of others, and is still there, puts off these too.
    async fn put_off_others(&self, round: &Mutex<Round>, settlements: &[Settlement]) -> Result<(), ApplyError> {
        for settlement in settlements {
            let error = settlement.reason.as_ref().and_then(|reason| reason.error.as_deref());
            let (Some(error), Some(after)) = (error, settlement.next.retry_after) else { continue };
            let (is_probe, as_of) = {
                let round = lock(round);
                (round.probed_by(&settlement.key) == Some(error), round.as_of)
            };
            if is_probe {
                self.ledger.put_off(self.job.id, error, as_of, after).await?;
            }
        }
        Ok(())
    }
}
