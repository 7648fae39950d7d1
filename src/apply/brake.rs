//! The brake: what a run is about to do is looked at as a whole before its first write.
//!
//! The plan comes from the very code that prepares the writes, a chunk of the outbox at a time, so that it is as large
//! as a few numbers. It is only made where the outbox could hold too much: a job without limits pays nothing for it.
//! Of records with one error it has the one that is tried first. When that one goes through, the others are looked at in
//! the same way before they follow.
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
use crate::model::{Allowed, Counts, Plan, Planner, RecordState};

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
        if self.may_exceed(&allowed, Counts::default(), as_of).await? {
            let plan = self.plan(round, lookups).await?;
            self.check(run, round, &allowed, &plan).await?;
        }
        {
            let mut round = lock(round);
            round.allowed = allowed;
            round.closing = Closing::new(allowed.closes);
        }
        if held.is_some() {
            self.ledger.resume(job).await?;
        }
        Ok(())
    }

    /// Lets those follow whose probe went through, or holds them: together with what was done they may be too much.
    pub(super) async fn brake_followers(
        &self,
        run: RunId,
        round: &Mutex<Round>,
        lookups: &mut Lookups,
    ) -> Result<(), ApplyError> {
        let (errors, allowed, done, as_of) = {
            let round = lock(round);
            let errors: Vec<_> = round.followed().into_iter().map(ToOwned::to_owned).collect();
            (errors, round.allowed, round.done(), round.as_of)
        };
        if errors.is_empty() || !self.may_exceed(&allowed, done, as_of).await? {
            return Ok(());
        }
        let plan = self.plan(round, lookups).await?;
        let Some(held) = self.held(&allowed, done, &plan) else { return Ok(()) };
        let reason = held.to_string();
        let count = self.ledger.hold_followers(self.job.id, run, &plan, &errors, &reason, as_of).await?;
        lock(round).leave(&[(RecordState::Held, count)]);
        Err(held.into())
    }

    /// Whether everything that is due could be too much after what was `done`. The plan may well be smaller.
    async fn may_exceed(&self, allowed: &Allowed, done: Counts, as_of: DateTime<Utc>) -> Result<bool, ApplyError> {
        let removals = self.ledger.removals_due(self.job.id, as_of).await?;
        let are_limited = allowed.creates.is_some() || allowed.updates.is_some();
        let due = if are_limited { self.ledger.due_count(self.job.id).await? } else { removals };
        let wanted = due.saturating_sub(removals) + done.creates.max(done.updates);
        Ok(allowed.may_be_exceeded(wanted, removals + done.deletes))
    }

    /// What the round is about to do with what the outbox holds.
    async fn plan(&self, round: &Mutex<Round>, lookups: &mut Lookups) -> Result<Plan, ApplyError> {
        let mut planner = Planner::default();
        let as_of = lock(round).as_of;
        let mut after = 0;
        loop {
            if self.cancel.is_cancelled() {
                return Err(Failure::Cancelled.into());
            }
            let mut rows = self.ledger.due(self.job.id, after, self.chunk(), as_of).await?;
            let Some(last) = rows.last() else { return Ok(planner.finish()) };
            after = last.seq;
            rows.retain(|row| lock(round).takes(row));
            for prepared in self.prepare(rows, round, lookups).await? {
                if let Some((step, key, content)) = prepared.step() {
                    planner.add(step, key, content);
                }
            }
        }
    }

    async fn check(&self, run: RunId, round: &Mutex<Round>, allowed: &Allowed, plan: &Plan) -> Result<(), ApplyError> {
        let Some(held) = self.held(allowed, Counts::default(), plan) else { return Ok(()) };
        let as_of = lock(round).as_of;
        let left = self.ledger.hold(self.job.id, run, plan, &held.to_string(), as_of).await?;
        lock(round).hold(&left);
        Err(held.into())
    }

    /// The word on `plan` when it is too much after what was `done`.
    fn held(&self, allowed: &Allowed, done: Counts, plan: &Plan) -> Option<Held> {
        let exceeded = allowed.exceeded_by(&done.with(plan.counts));
        if exceeded.is_empty() {
            return None;
        }
        warn!(job = %self.job.name, plan = %plan.fingerprint, counts = %plan.counts, "held by the brake");
        Some(Held { job: self.job.name.clone(), exceeded: exceeded.join(", "), plan: plan.name() })
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
        if let Some(held) = self.held(&Allowed { closes: allowed, ..Allowed::default() }, Counts::default(), &plan) {
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
