//! Keeping the schedules: what is due goes to the planner, what was missed is made up for, and how far each schedule was
//! kept is noted in the ledger.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tracing::{info, warn};

use super::catch_up::{self, Missed, Resumed};
use super::planner::{Due, JobPlan, Planned, Settled};
use super::service::{DaemonError, Service};
use crate::clock::iso;
use crate::model::RunResult;

/// A time of the schedule that is taken up later than this was missed: the machine was suspended.
const LATE: TimeDelta = TimeDelta::minutes(1);

impl Service {
    /// Takes over these jobs. Those whose schedule is as it was keep their next time.
    pub(super) async fn configure(&mut self, plans: Vec<JobPlan>) -> Result<(), DaemonError> {
        let now = self.clock.now();
        let before: BTreeMap<_, _> =
            self.planner.plans().map(|plan| (plan.name.clone(), plan.triggers.clone())).collect();
        let orphans = self.planner.configure(plans);
        let refused = "the job was taken out of the configuration";
        self.finish(&orphans, RunResult::Refused, refused).await?;
        let plans: Vec<JobPlan> = self.planner.plans().cloned().collect();
        let names: BTreeSet<&str> = plans.iter().map(|plan| plan.name.as_str()).collect();
        for gone in before.keys().chain(self.kept.keys()).filter(|name| !names.contains(name.as_str())) {
            self.scheduler.remove(gone).await?;
            self.ledger.forget_schedule(gone).await?;
        }
        self.kept.retain(|name, _| names.contains(name.as_str()));
        self.troubles.retain(|name, _| names.contains(name.as_str()));
        for plan in &plans {
            if before.get(&plan.name) == Some(&plan.triggers) {
                continue;
            }
            self.scheduler.set(&plan.name, &plan.triggers).await?;
            let Resumed { kept, missed } = catch_up::resume(&plan.triggers, self.kept.get(&plan.name), now);
            self.ledger.keep_schedule(&plan.name, &kept).await?;
            self.kept.insert(plan.name.clone(), kept);
            if let Some(missed) = missed {
                self.make_up(plan, missed, now).await?;
            }
        }
        Ok(())
    }

    /// Times of a job's schedule were missed.
    async fn make_up(&mut self, plan: &JobPlan, missed: Missed, now: DateTime<Utc>) -> Result<(), DaemonError> {
        let since = iso(missed.since);
        if plan.catch_up {
            info!(job = %plan.name, %since, "a pass was missed, and is made up for now");
            // All that were missed begin to wait together, so that they go in the order of `after`.
            self.planner.due(&plan.name, Due { since: now, not_before: now, until: now, full: missed.full });
            return Ok(());
        }
        warn!(job = %plan.name, %since, "a pass was missed, and is not made up for: `catch_up` is false");
        self.keep(&plan.name, &Settled { pass_until: Some(now), full_until: Some(now), ..Settled::default() }).await
    }

    /// Takes up what has become due.
    pub(super) async fn take_ticks(&mut self) -> Result<(), DaemonError> {
        let now = self.clock.now();
        for tick in self.ticks.take() {
            let Some(plan) = self.planner.plan(&tick.job).cloned() else { continue };
            if now - tick.due > LATE {
                self.make_up(&plan, Missed { since: tick.due, full: tick.full }, now).await?;
                continue;
            }
            let due = Due { since: tick.due, not_before: tick.due + delay(plan.jitter), until: now, full: tick.full };
            if self.planner.due(&tick.job, due) == Planned::Skipped {
                info!(job = %tick.job, due = %iso(tick.due), "skipped: the pass before is still running");
                self.ledger.count_skipped(&tick.job).await?;
            }
        }
        Ok(())
    }

    /// Notes how far the schedule of a job was kept.
    pub(super) async fn keep(&mut self, job: &str, settled: &Settled) -> Result<(), DaemonError> {
        let Some(kept) = self.kept.get_mut(job) else { return Ok(()) };
        let mut now = kept.clone();
        now.pass_until = settled.pass_until.unwrap_or(kept.pass_until);
        now.full_until = settled.full_until.unwrap_or(kept.full_until);
        if now != *kept {
            self.ledger.keep_schedule(job, &now).await?;
            *kept = now;
        }
        Ok(())
    }
}

/// A random delay of at most `jitter`.
fn delay(jitter: Duration) -> TimeDelta {
    let most = u64::try_from(jitter.as_millis()).unwrap_or(u64::MAX).saturating_add(1);
    let drawn = RandomState::new().hash_one(()) % most;
    TimeDelta::milliseconds(i64::try_from(drawn).unwrap_or(i64::MAX))
}
