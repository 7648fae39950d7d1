//! The brake: what a run is about to do is looked at as a whole before its first write.
//!
//! The plan comes from the very code that prepares the writes, a chunk of the outbox at a time, so that it is as large
//! as a few numbers. It is only made where the outbox could hold too much: a job without limits pays nothing for it.
//! Links whose rows Business Central has lost are found out about while the writes go on, and none of them is closed
//! before it is known how many there are.

use std::sync::Mutex;

use chrono::{DateTime, Utc};
use tracing::{info, warn};

use super::Applier;
use super::closing::Closing;
use super::error::{ApplyError, Held};
use super::references::Lookups;
use super::round::{Round, lock};
use crate::bc::Failure;
use crate::ledger::{Reason, RunId, Settlement};
use crate::model::{Allowed, Plan, Planner, RecordState};

impl Applier<'_> {
    /// Lets the run go ahead, or holds everything that it would send.
    pub(super) async fn brake(
        &self,
        run: RunId,
        round: &Mutex<Round>,
        lookups: &mut Lookups,
    ) -> Result<(), ApplyError> {
        let job = self.job.id;
        let linked = if self.job.brake.is_relative() { self.ledger.linked(job).await? } else { 0 };
        let mut allowed = self.job.brake.allowed(linked);
        let held = self.ledger.held_plan(job).await?;
        if let Some(held) = held.filter(|held| held.approved) {
            let done = self.ledger.done_since(job, held.run).await?;
            allowed = allowed.or(&held.plan.counts.without(done));
            info!(job = %self.job.name, plan = %held.plan.fingerprint, allowed = %held.plan.counts, "a person approved");
        }
        let as_of = lock(round).as_of;
        if self.may_exceed(&allowed, as_of).await? {
            let plan = self.plan(round, lookups).await?;
            self.check(run, round, &allowed, &plan).await?;
        }
        lock(round).closing = Closing::new(allowed.closes);
        if held.is_some() {
            self.ledger.resume(job).await?;
        }
        Ok(())
    }

    async fn may_exceed(&self, allowed: &Allowed, as_of: DateTime<Utc>) -> Result<bool, ApplyError> {
        let removals = self.ledger.removals_due(self.job.id, as_of).await?;
        let are_limited = allowed.creates.is_some() || allowed.updates.is_some();
        let due = if are_limited { self.ledger.due_count(self.job.id).await? } else { removals };
        Ok(allowed.may_be_exceeded(due.saturating_sub(removals), removals))
    }

    /// What the run is about to do with everything that the outbox holds.
    async fn plan(&self, round: &Mutex<Round>, lookups: &mut Lookups) -> Result<Plan, ApplyError> {
        let mut planner = Planner::default();
        let as_of = lock(round).as_of;
        let mut after = 0;
        loop {
            if self.cancel.is_cancelled() {
                return Err(Failure::Cancelled.into());
            }
            let rows = self.ledger.due(self.job.id, after, self.chunk(), as_of).await?;
            let Some(last) = rows.last() else { return Ok(planner.finish()) };
            after = last.seq;
            for prepared in self.prepare(rows, round, lookups).await? {
                if let Some((step, key, content)) = prepared.step() {
                    planner.add(step, key, content);
                }
            }
        }
    }

    async fn check(&self, run: RunId, round: &Mutex<Round>, allowed: &Allowed, plan: &Plan) -> Result<(), ApplyError> {
        let Some(held) = self.held(allowed, plan) else { return Ok(()) };
        let as_of = lock(round).as_of;
        let left = self.ledger.hold(self.job.id, run, plan, &held.to_string(), as_of).await?;
        lock(round).hold(left);
        Err(held.into())
    }

    fn held(&self, allowed: &Allowed, plan: &Plan) -> Option<Held> {
        let exceeded = allowed.exceeded_by(&plan.counts);
        if exceeded.is_empty() {
            return None;
        }
        warn!(job = %self.job.name, plan = %plan.fingerprint, counts = %plan.counts, "held by the brake");
        Some(Held { job: self.job.name.clone(), exceeded: exceeded.join(", ") })
    }

    /// Keeps links that are to be closed until all of them are known; once there are too many, they are held.
    pub(super) async fn gather_closes(
        &self,
        run: RunId,
        round: &Mutex<Round>,
        closes: Vec<Settlement>,
    ) -> Result<(), ApplyError> {
        let too_many = lock(round).closing.gather(closes);
        if too_many.is_empty() {
            return Ok(());
        }
        let reason = Reason::new(format!(
            "Business Central no longer has this row; held by the brake, because that is so of more rows than may be \
             closed in one run; `bcsync approve {}` lets them be closed",
            self.job.name
        ));
        let held = |settlement: &Settlement| {
            Settlement::left(&settlement.key, settlement.fingerprint, RecordState::Held, reason.clone())
        };
        self.settle(run, round, too_many.iter().map(held).collect()).await
    }

    /// Closes the links that were gathered, unless there were too many of them. With that the run has gone through.
    pub(super) async fn finish(&self, run: RunId, round: &Mutex<Round>) -> Result<(), ApplyError> {
        let (allowed, plan, gathered) = std::mem::take(&mut lock(round).closing).finish();
        if let Some(held) = self.held(&Allowed { closes: allowed, ..Allowed::default() }, &plan) {
            self.ledger.note_held(self.job.id, run, &plan).await?;
            return Err(held.into());
        }
        self.settle(run, round, gathered).await?;
        // What is still to be sent may go on under the approval, which knows how much of it is used up.
        let all_settled = lock(round).unsettled() == 0;
        if all_settled && self.ledger.held_plan(self.job.id).await?.is_some() {
            self.ledger.end_hold(self.job.id).await?;
        }
        Ok(())
    }
}
