//! The times at which jobs are due, as the store behind `tokio-cron-scheduler`.
//!
//! The crate asks twice a second what is due and sets off what it is told. It never decides when: left to itself it keeps
//! today's offset of a time zone for ever, is silent for as long as the system's clock was set back, and forgets what it
//! could not hand on. Here the next time always comes from the time zone, a due time stays due until it is taken,
//! several that were missed count as one, and a clock that is set back is noticed.

use std::collections::{BTreeMap, btree_map};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::Instant;
use tokio_cron_scheduler::job::job_data::{JobAndNextTick, JobStoredData, JobType};
use tokio_cron_scheduler::store::{DataStore, InitStore};
use tokio_cron_scheduler::{JobSchedulerError, MetaDataStorage};
use tracing::warn;
use uuid::Uuid;

use super::trigger::Trigger;
use crate::clock::{SharedClock, iso};

/// A step of the clock that is no mere adjustment.
const SET_BACK: TimeDelta = TimeDelta::seconds(2);

/// When a job is due.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Triggers {
    /// For a pass.
    pub pass: Option<Trigger>,
    /// For a pass that reads everything.
    pub full: Option<Trigger>,
}

/// A job that has become due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tick {
    /// Its name.
    pub(super) job: String,
    /// Since when; of several times that were missed, the first.
    pub(super) due: DateTime<Utc>,
    /// Whether everything is to be read.
    pub(super) full: bool,
}

/// The times of all jobs. Clones share them.
#[derive(Debug, Clone)]
pub(super) struct Ticks {
    clock: SharedClock,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    jobs: BTreeMap<Uuid, Entry>,
    /// The latest time that the clock showed.
    latest: DateTime<Utc>,
    /// When the crate asked last.
    asked: Instant,
}

#[derive(Debug)]
struct Entry {
    job: String,
    triggers: Triggers,
    pass: Option<DateTime<Utc>>,
    full: Option<DateTime<Utc>>,
    /// What the crate keeps with a job; it is given back as it came.
    data: Option<JobStoredData>,
}

impl Entry {
    /// Plans anew from `now` on.
    fn plan(&mut self, now: DateTime<Utc>) {
        self.pass = self.triggers.pass.as_ref().and_then(|trigger| trigger.after(now));
        self.full = self.triggers.full.as_ref().and_then(|trigger| trigger.after(now));
    }

    fn next(&self) -> Option<DateTime<Utc>> {
        self.pass.into_iter().chain(self.full).min()
    }

    fn is_due(&self, now: DateTime<Utc>) -> bool {
        self.next().is_some_and(|next| next <= now)
    }

    /// Takes what is due, and plans the next times.
    fn take(&mut self, now: DateTime<Utc>) -> Option<Tick> {
        let due = self.next().filter(|next| *next <= now)?;
        let full = self.full.is_some_and(|full| full <= now);
        for (trigger, next) in [(&self.triggers.pass, &mut self.pass), (&self.triggers.full, &mut self.full)] {
            if next.is_some_and(|next| next <= now) {
                *next = trigger.as_ref().and_then(|trigger| trigger.after(now));
            }
        }
        Some(Tick { job: self.job.clone(), due, full })
    }
}

/// The id that the crate knows a job by.
pub(super) fn id(job: &str) -> Uuid {
    Uuid::new_v5(&Uuid::NAMESPACE_OID, job.as_bytes())
}

impl Ticks {
    pub(super) fn new(clock: SharedClock) -> Self {
        let state = State { jobs: BTreeMap::new(), latest: clock.now(), asked: Instant::now() };
        Self { clock, state: Arc::new(Mutex::new(state)) }
    }

    /// Plans a job from now on; one whose triggers are as before keeps its next time. Gives whether it is a new one.
    pub(super) fn set(&self, job: &str, triggers: &Triggers) -> bool {
        let now = self.clock.now();
        match self.state().jobs.entry(id(job)) {
            btree_map::Entry::Occupied(mut entry) => {
                let entry = entry.get_mut();
                if entry.triggers != *triggers {
                    entry.triggers = triggers.clone();
                    entry.plan(now);
                }
                false
            }
            btree_map::Entry::Vacant(place) => {
                let mut entry =
                    Entry { job: job.to_owned(), triggers: triggers.clone(), pass: None, full: None, data: None };
                entry.plan(now);
                place.insert(entry);
                true
            }
        }
    }

    /// Takes what is due, the oldest first. Whatever is left out by an error further on is due the next time.
    pub(super) fn take(&self) -> Vec<Tick> {
        let mut state = self.state();
        let now = self.notice(&mut state);
        let mut ticks: Vec<_> = state.jobs.values_mut().filter_map(|entry| entry.take(now)).collect();
        ticks.sort_by_key(|tick| tick.due);
        ticks
    }

    /// The job that is due next, and when.
    pub(super) fn next(&self) -> Option<(String, DateTime<Utc>)> {
        let state = self.state();
        let times = state.jobs.values().filter_map(|entry| Some((entry.job.clone(), entry.next()?)));
        times.min_by_key(|(_, next)| *next)
    }

    /// How long ago the crate asked what is due.
    pub(super) fn silence(&self) -> Duration {
        self.state().asked.elapsed()
    }

    /// The current time. When the clock was set back, everything is planned anew: what was planned by the old one may be
    /// years ahead.
    fn notice(&self, state: &mut State) -> DateTime<Utc> {
        let now = self.clock.now();
        if now + SET_BACK < state.latest {
            warn!(from = %iso(state.latest), to = %iso(now), "the system's clock was set back; all schedules begin anew");
            for entry in state.jobs.values_mut() {
                entry.plan(now);
            }
            state.latest = now;
        }
        state.latest = state.latest.max(now);
        now
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the crate's storage answers, at once.
type Answer<T> = Pin<Box<dyn Future<Output = Result<T, JobSchedulerError>> + Send>>;

fn answer<T: Send + 'static>(value: T) -> Answer<T> {
    Box::pin(std::future::ready(Ok(value)))
}

impl InitStore for Ticks {
    fn init(&mut self) -> Answer<()> {
        answer(())
    }

    fn inited(&mut self) -> Answer<bool> {
        answer(true)
    }
}

impl DataStore<JobStoredData> for Ticks {
    fn get(&mut self, id: Uuid) -> Answer<Option<JobStoredData>> {
        answer(self.state().jobs.get(&id).and_then(|entry| entry.data.clone()))
    }

    fn add_or_update(&mut self, data: JobStoredData) -> Answer<()> {
        if let Some(id) = data.id
            && let Some(entry) = self.state().jobs.get_mut(&id.into())
        {
            entry.data = Some(data);
        }
        answer(())
    }

    fn delete(&mut self, id: Uuid) -> Answer<()> {
        self.state().jobs.remove(&id);
        answer(())
    }
}

impl MetaDataStorage for Ticks {
    /// Only what is due, as due since 1970: the crate's own clock has no say. Of several, one: whoever hears the bell takes
    /// them all, and the crate loses some of many that are due at once.
    fn list_next_ticks(&mut self) -> Answer<Vec<JobAndNextTick>> {
        let mut state = self.state();
        state.asked = Instant::now();
        let now = self.notice(&mut state);
        let due = state.jobs.iter().find(|(_, entry)| entry.is_due(now)).map(|(id, _)| JobAndNextTick {
            id: Some((*id).into()),
            job_type: JobType::Cron.into(),
            next_tick: 1,
            last_tick: None,
        });
        answer(due.into_iter().collect())
    }

    /// What the crate computed is of no use; the next time was planned when the last one was taken.
    fn set_next_and_last_tick(
        &mut self,
        _id: Uuid,
        _next: Option<DateTime<Utc>>,
        _last: Option<DateTime<Utc>>,
    ) -> Answer<()> {
        answer(())
    }

    fn time_till_next_job(&mut self) -> Answer<Option<Duration>> {
        answer(None)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::made_up::{at, trigger};
    use super::super::scheduler::Scheduler;
    use super::*;
    use crate::clock::ManualClock;

    fn daily(text: &str, zone: &str) -> Triggers {
        Triggers { pass: Some(trigger(text, zone)), full: None }
    }

    /// A clock, and a scheduler that runs by it, with one job.
    async fn scheduled(start: &str, triggers: &Triggers) -> (Arc<ManualClock>, Ticks, Scheduler) {
        let clock = Arc::new(ManualClock::new(at(start)));
        let ticks = Ticks::new(clock.clone());
        let scheduler = Scheduler::start(ticks.clone()).await.unwrap();
        scheduler.set("job", triggers).await.unwrap();
        (clock, ticks, scheduler)
    }

    /// When the scheduler itself rings within a second of real waiting, and what is due then.
    async fn rung(ticks: &Ticks, scheduler: &Scheduler) -> Vec<DateTime<Utc>> {
        let _ = tokio::time::timeout(Duration::from_secs(1), scheduler.due()).await;
        ticks.take().into_iter().map(|tick| tick.due).collect()
    }

    /// The crate by itself: an hour late from the change to summer time on, and an hour early from that to winter time on.
    #[tokio::test(start_paused = true)]
    async fn a_daily_job_keeps_its_time_when_daylight_saving_begins_and_ends() {
        for (start, expected) in [
            ("2026-03-27T12:00:00Z", ["2026-03-28T05:30:00Z", "2026-03-29T04:30:00Z", "2026-03-30T04:30:00Z"]),
            ("2026-10-23T12:00:00Z", ["2026-10-24T04:30:00Z", "2026-10-25T05:30:00Z", "2026-10-26T05:30:00Z"]),
        ] {
            let (clock, ticks, scheduler) = scheduled(start, &daily("30 6 * * *", "Europe/Berlin")).await;
            let mut came = Vec::new();
            for _ in 0..4 * 24 {
                clock.advance(TimeDelta::minutes(60));
                came.extend(rung(&ticks, &scheduler).await);
            }
            assert_eq!(came[..3], expected.map(at));
        }
    }

    /// The crate by itself: silent for the seven minutes.
    #[tokio::test(start_paused = true)]
    async fn a_clock_that_is_set_back_silences_nothing() {
        let (clock, ticks, scheduler) = scheduled("2026-06-01T12:00:30Z", &daily("* * * * *", "UTC")).await;
        clock.advance(TimeDelta::minutes(1));
        assert_eq!(rung(&ticks, &scheduler).await, [at("2026-06-01T12:01:00Z")]);
        clock.advance(TimeDelta::minutes(-7));
        assert!(rung(&ticks, &scheduler).await.is_empty());
        clock.advance(TimeDelta::minutes(1));
        assert_eq!(rung(&ticks, &scheduler).await, [at("2026-06-01T11:55:00Z")]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_suspended_machine_missed_is_due_once() {
        let (clock, ticks, scheduler) = scheduled("2026-06-01T12:00:30Z", &daily("*/15 * * * *", "UTC")).await;
        clock.advance(TimeDelta::hours(3));
        assert_eq!(rung(&ticks, &scheduler).await, [at("2026-06-01T12:15:00Z")]);
        assert!(rung(&ticks, &scheduler).await.is_empty());
        clock.advance(TimeDelta::minutes(15));
        assert_eq!(rung(&ticks, &scheduler).await, [at("2026-06-01T15:15:00Z")]);
    }

    /// The crate by itself: both have to hold, so that it is due on Fridays that are the 13th only.
    #[tokio::test(start_paused = true)]
    async fn a_day_of_the_month_with_a_day_of_the_week_is_either() {
        let (clock, ticks, scheduler) = scheduled("2026-02-01T12:00:00Z", &daily("0 0 13 * FRI", "UTC")).await;
        let mut came = Vec::new();
        for _ in 0..34 {
            clock.advance(TimeDelta::hours(24));
            came.extend(rung(&ticks, &scheduler).await);
        }
        let days = ["2026-02-06", "2026-02-13", "2026-02-20", "2026-02-27", "2026-03-06"];
        assert_eq!(came, days.map(|day| at(&format!("{day}T00:00:00Z"))));
    }

    /// The configuration refuses what never comes; if it came here, it would hold up nobody.
    #[tokio::test(start_paused = true)]
    async fn a_day_that_never_comes_is_never_due_and_the_29th_of_february_is_in_its_year() {
        let (clock, ticks, scheduler) = scheduled("2027-02-01T12:00:00Z", &daily("0 0 30 2 *", "UTC")).await;
        scheduler.set("leap", &daily("0 0 29 2 *", "UTC")).await.unwrap();
        assert_eq!(ticks.next(), Some(("leap".to_owned(), at("2028-02-29T00:00:00Z"))));
        let mut came = Vec::new();
        for _ in 0..800 {
            clock.advance(TimeDelta::hours(24));
            came.extend(rung(&ticks, &scheduler).await);
        }
        assert_eq!(came, [at("2028-02-29T00:00:00Z")]);
    }

    /// The crate by itself: what does not fit into its channel is lost.
    #[tokio::test(start_paused = true)]
    async fn a_thousand_jobs_due_at_once_are_all_due() {
        let (clock, ticks, scheduler) = scheduled("2026-06-01T12:00:30Z", &daily("* * * * *", "UTC")).await;
        for number in 1..1_000 {
            scheduler.set(&format!("job {number}"), &daily("* * * * *", "UTC")).await.unwrap();
        }
        clock.advance(TimeDelta::minutes(1));
        assert_eq!(rung(&ticks, &scheduler).await.len(), 1_000);
    }

    #[tokio::test(start_paused = true)]
    async fn the_bell_rings_again_until_what_is_due_is_taken() {
        let (clock, ticks, scheduler) = scheduled("2026-06-01T12:00:30Z", &daily("0 13 * * *", "UTC")).await;
        clock.advance(TimeDelta::hours(1));
        for _ in 0..3 {
            scheduler.due().await;
        }
        assert_eq!(rung(&ticks, &scheduler).await.len(), 1);
        assert!(
            tokio::time::timeout(Duration::from_secs(5), scheduler.due()).await.is_err(),
            "nothing is due any more"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_job_that_is_changed_or_removed_is_due_as_it_is_now() {
        let (clock, ticks, scheduler) = scheduled("2026-06-01T12:00:30Z", &daily("0 13 * * *", "UTC")).await;
        scheduler.set("other", &daily("0 13 * * *", "UTC")).await.unwrap();
        scheduler.set("job", &daily("0 14 * * *", "UTC")).await.unwrap();
        scheduler.remove("other").await.unwrap();
        assert_eq!(ticks.next(), Some(("job".to_owned(), at("2026-06-01T14:00:00Z"))));
        clock.advance(TimeDelta::hours(3));
        assert_eq!(rung(&ticks, &scheduler).await, [at("2026-06-01T14:00:00Z")]);
    }

    #[test]
    fn both_schedules_at_the_same_time_are_one_pass_that_reads_everything() {
        let clock = Arc::new(ManualClock::new(at("2026-06-06T23:59:59Z")));
        let ticks = Ticks::new(clock.clone());
        let triggers = Triggers { pass: Some(trigger("@hourly", "UTC")), full: Some(trigger("0 1 * * SUN", "UTC")) };
        ticks.set("job", &triggers);
        for (hour, full) in [(0, false), (1, true), (2, false)] {
            clock.advance(TimeDelta::hours(1));
            let due = at(&format!("2026-06-07T0{hour}:00:00Z"));
            assert_eq!(ticks.take(), [Tick { job: "job".to_owned(), due, full }]);
        }
    }
}
