//! Which pass begins when: the rules, without a clock and without doing anything.
//!
//! A job has at most one pass at a time, and so has a target. What is due waits for its turn: for the delay that was drawn
//! for it, for the end of its target's pause, and for the jobs it comes after, if their turn came no later. A job that
//! becomes due again meanwhile is due once. One that becomes due while its pass is running has missed that time, unless
//! everything is to be read and the pass does not; what a person asks for waits instead, and is done once afterwards.
//! What is no pass waits for that of its own job only: it changes what is noted of the job and sends nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::pause::Pause;
use super::ticks::Triggers;
use crate::ledger::{NewRequest, Request, RequestId};

/// The kind of request that asks for a pass.
const RUN: &str = "run";

/// The argument of such a request that asks for everything to be read.
const FULL: &str = "full";

/// What is asked of the daemon: a pass of `job`.
#[must_use]
pub fn pass_request(job: &str, full: bool) -> NewRequest {
    NewRequest { kind: RUN.to_owned(), job: job.to_owned(), argument: full.then(|| FULL.to_owned()) }
}

/// A job as the daemon sees it.
#[derive(Debug, Clone)]
pub struct JobPlan {
    /// Its name.
    pub name: String,
    /// Where it writes to.
    pub target: String,
    /// The jobs it comes after.
    pub after: Vec<String>,
    /// When it is due.
    pub triggers: Triggers,
    /// The longest random delay.
    pub jitter: Duration,
    /// Whether a time that was missed is made up for.
    pub catch_up: bool,
    /// How long a pass may take.
    pub timeout: Duration,
    /// When no scheduled pass starts.
    pub pause: Option<Pause>,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deed {
    /// A pass.
    Pass {
        /// Whether it reads everything.
        full: bool,
        /// What set it off: `schedule` or `request`.
        cause: &'static str,
    },
    /// Something else that was asked for.
    Request(NewRequest),
}

/// A deed whose turn has come.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Start {
    pub(super) job: String,
    pub(super) deed: Deed,
    pub(super) timeout: Duration,
}

/// What the end of a deed settles.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Settled {
    /// Requests that were waiting for it.
    pub(super) requests: Vec<RequestId>,
    /// Up to where passes of the schedule are over.
    pub(super) pass_until: Option<DateTime<Utc>>,
    /// Up to where those that read everything are.
    pub(super) full_until: Option<DateTime<Utc>>,
}

/// What became of a time of the schedule.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Planned {
    /// It waits for its turn.
    Waiting,
    /// It is left out.
    Skipped,
}

/// A job's turn by its schedule.
#[derive(Debug, Clone)]
pub(super) struct Due {
    /// Since when.
    pub(super) since: DateTime<Utc>,
    /// Not before.
    pub(super) not_before: DateTime<Utc>,
    /// The newest time of the schedule that this is for.
    pub(super) until: DateTime<Utc>,
    /// Whether everything is to be read.
    pub(super) full: bool,
}

#[derive(Debug)]
struct Job {
    plan: JobPlan,
    /// All jobs that it comes after, also those that these come after.
    before: BTreeSet<String>,
    due: Option<Due>,
    asked: Vec<(DateTime<Utc>, Request)>,
}

#[derive(Debug)]
struct Running {
    target: String,
    full: bool,
    settles: Settled,
}

/// The jobs, their turns, and what is running.
#[derive(Debug, Default)]
pub(super) struct Planner {
    /// Each after those that it comes after.
    jobs: Vec<Job>,
    running: BTreeMap<String, Running>,
}

impl Planner {
    /// Takes over `plans`, which come in the order of `after`. Jobs that stay keep their turns. Gives the requests to jobs
    /// that are no more.
    pub(super) fn configure(&mut self, plans: Vec<JobPlan>) -> Vec<RequestId> {
        let mut old: BTreeMap<_, _> = self.jobs.drain(..).map(|job| (job.plan.name.clone(), job)).collect();
        for plan in plans {
            let direct = plan.after.iter();
            let indirect =
                self.jobs.iter().filter(|job| plan.after.contains(&job.plan.name)).flat_map(|job| &job.before);
            let before = direct.chain(indirect).cloned().collect();
            let (due, asked) = old.remove(&plan.name).map_or((None, Vec::new()), |job| (job.due, job.asked));
            self.jobs.push(Job { plan, before, due, asked });
        }
        old.into_values().flat_map(|job| job.asked).map(|(_, request)| request.id).collect()
    }

    /// The plan of a job.
    pub(super) fn plan(&self, job: &str) -> Option<&JobPlan> {
        self.jobs.iter().map(|job| &job.plan).find(|plan| plan.name == job)
    }

    /// All plans.
    pub(super) fn plans(&self) -> impl Iterator<Item = &JobPlan> {
        self.jobs.iter().map(|job| &job.plan)
    }

    /// A job has become due.
    pub(super) fn due(&mut self, name: &str, due: Due) -> Planned {
        if let Some(running) = self.running.get_mut(name)
            && (running.full || !due.full)
        {
            running.settles.pass_until = Some(due.until);
            if due.full {
                running.settles.full_until = Some(due.until);
            }
            return Planned::Skipped;
        }
        if let Some(job) = self.jobs.iter_mut().find(|job| job.plan.name == name) {
            job.due = Some(match job.due.take() {
                Some(earlier) => Due { until: due.until, full: earlier.full || due.full, ..earlier },
                None => due,
            });
        }
        Planned::Waiting
    }

    /// Somebody asks for something; gives the request back when there is no such job.
    pub(super) fn ask(&mut self, request: Request, now: DateTime<Utc>) -> Option<Request> {
        match self.jobs.iter_mut().find(|job| job.plan.name == request.asked.job) {
            Some(job) => job.asked.push((now, request)),
            None => return Some(request),
        }
        None
    }

    /// Takes the deeds whose turn has come.
    pub(super) fn start(&mut self, now: DateTime<Utc>) -> Vec<Start> {
        let mut starts = Vec::new();
        while let Some(index) = self.next(now) {
            let (start, running) = self.jobs[index].begin(now);
            self.running.insert(start.job.clone(), running);
            starts.push(start);
        }
        starts
    }

    /// The deed of `job` is over.
    pub(super) fn ended(&mut self, job: &str) -> Settled {
        self.running.remove(job).map(|running| running.settles).unwrap_or_default()
    }

    /// The job whose turn it is: of those that can begin, the one that has waited longest.
    fn next(&self, now: DateTime<Utc>) -> Option<usize> {
        let turns = self.jobs.iter().enumerate().filter_map(|(index, job)| Some((self.turn(job, now)?, index)));
        turns.min().map(|(_, index)| index)
    }

    /// Since when it is the turn of `job`; `None` when it cannot begin.
    fn turn(&self, job: &Job, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let target = &job.plan.target;
        if self.running.contains_key(&job.plan.name) {
            return None;
        }
        if let Some((since, first)) = job.asked.first()
            && first.asked.kind != RUN
        {
            return Some(*since);
        }
        if self.running.values().any(|running| running.target == *target) {
            return None;
        }
        let before = || self.jobs.iter().filter(|other| job.before.contains(&other.plan.name));
        if before().any(|other| self.running.contains_key(&other.plan.name)) {
            return None;
        }
        // What a person asked for waits for nothing but what a person asked for.
        if let Some(since) = job.asked_since() {
            let waits = before().any(|other| other.asked_since().is_some_and(|earlier| earlier <= since));
            return (!waits).then_some(since);
        }
        let due = job.due.as_ref().filter(|due| due.not_before <= now)?;
        let waits = before().any(|other| other.since().is_some_and(|earlier| earlier <= due.since));
        let paused = job.plan.pause.is_some_and(|pause| pause.covers(now));
        (!waits && !paused).then_some(due.since)
    }
}

impl Job {
    fn asked_since(&self) -> Option<DateTime<Utc>> {
        self.asked.first().map(|(since, _)| *since)
    }

    /// Since when it waits for its turn.
    fn since(&self) -> Option<DateTime<Utc>> {
        self.asked_since().into_iter().chain(self.due.as_ref().map(|due| due.since)).min()
    }

    /// Takes what is to be done next. Requests for a pass are all met by one, and so is what is due by now.
    fn begin(&mut self, now: DateTime<Utc>) -> (Start, Running) {
        let is_pass = |request: &Request| request.asked.kind == RUN;
        let mut settles = Settled::default();
        let deed = match self.asked.first() {
            Some((_, first)) if !is_pass(first) => {
                let (_, request) = self.asked.remove(0);
                settles.requests.push(request.id);
                Deed::Request(request.asked)
            }
            first => {
                let cause = if first.is_some() { "request" } else { "schedule" };
                let mut full = false;
                for (_, request) in self.asked.extract_if(.., |(_, request)| is_pass(request)) {
                    full |= request.asked.argument.as_deref() == Some(FULL);
                    settles.requests.push(request.id);
                }
                if let Some(due) = self.due.take_if(|due| due.not_before <= now || cause == "request") {
                    full |= due.full;
                    settles.pass_until = Some(due.until);
                    settles.full_until = due.full.then_some(due.until);
                }
                Deed::Pass { full, cause }
            }
        };
        let full = matches!(deed, Deed::Pass { full: true, .. });
        let running = Running { target: self.plan.target.clone(), full, settles };
        (Start { job: self.plan.name.clone(), deed, timeout: self.plan.timeout }, running)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::made_up::at;

    fn plan(name: &str, target: &str, after: &[&str]) -> JobPlan {
        JobPlan {
            name: name.to_owned(),
            target: target.to_owned(),
            after: after.iter().map(|&after| after.to_owned()).collect(),
            triggers: Triggers::default(),
            jitter: Duration::ZERO,
            catch_up: true,
            timeout: Duration::from_mins(1),
            pause: None,
        }
    }

    fn planner(plans: Vec<JobPlan>) -> Planner {
        let mut planner = Planner::default();
        planner.configure(plans);
        planner
    }

    fn due(time: &str) -> Due {
        Due { since: at(time), not_before: at(time), until: at(time), full: false }
    }

    const NOON: &str = "2026-06-01T12:00:00Z";
    const LATER: &str = "2026-06-01T12:10:00Z";

    /// The jobs that begin at `time`, those that read everything with an exclamation mark.
    fn begin(planner: &mut Planner, time: &str) -> Vec<String> {
        let told = |start: Start| match start.deed {
            Deed::Pass { full: true, .. } => start.job + "!",
            Deed::Pass { full: false, .. } => start.job,
            Deed::Request(asked) => format!("{} {}", asked.kind, start.job),
        };
        planner.start(at(time)).into_iter().map(told).collect()
    }

    #[test]
    fn passes_of_one_target_go_in_the_order_of_after_and_targets_beside_each_other() {
        let mut planner = planner(vec![
            plan("customers", "main", &[]),
            plan("prices", "main", &["customers"]),
            plan("orders", "main", &["prices"]),
            plan("elsewhere", "other", &[]),
        ]);
        // However they come in.
        for job in ["elsewhere", "orders", "customers"] {
            planner.due(job, due(NOON));
        }
        assert_eq!(begin(&mut planner, NOON), ["customers", "elsewhere"]);
        assert_eq!(begin(&mut planner, NOON), [""; 0]);
        planner.ended("customers");
        assert_eq!(begin(&mut planner, NOON), ["orders"]);
        planner.ended("orders");
        planner.ended("elsewhere");
        assert_eq!(begin(&mut planner, LATER), [""; 0]);
    }

    #[test]
    fn a_job_waits_for_the_delay_of_the_one_before_but_not_for_a_later_turn() {
        let mut planner = planner(vec![plan("customers", "main", &[]), plan("orders", "other", &["customers"])]);
        planner.due("customers", Due { not_before: at(LATER), ..due(NOON) });
        planner.due("orders", due(NOON));
        assert_eq!(begin(&mut planner, NOON), [""; 0]);
        assert_eq!(begin(&mut planner, LATER), ["customers"]);
        planner.ended("customers");
        planner.due("customers", due(LATER));
        assert_eq!(begin(&mut planner, NOON), ["orders"], "its turn came first");
    }

    #[test]
    fn what_becomes_due_while_the_pass_runs_is_skipped_unless_it_reads_more() {
        let mut planner = planner(vec![plan("customers", "main", &[])]);
        assert_eq!(planner.due("customers", due(NOON)), Planned::Waiting);
        assert_eq!(begin(&mut planner, NOON), ["customers"]);
        assert_eq!(planner.due("customers", due(LATER)), Planned::Skipped);
        assert_eq!(planner.due("customers", Due { full: true, ..due(LATER) }), Planned::Waiting);
        let over = Settled { pass_until: Some(at(LATER)), ..Settled::default() };
        assert_eq!(planner.ended("customers"), over, "the skipped time is over, the full one is not");
        assert_eq!(begin(&mut planner, LATER), ["customers!"]);
        assert_eq!(planner.due("customers", Due { full: true, ..due(LATER) }), Planned::Skipped);
    }

    #[test]
    fn turns_that_were_not_taken_become_one() {
        let mut planner = planner(vec![plan("customers", "main", &[]), plan("prices", "main", &[])]);
        planner.due("prices", due(NOON));
        assert_eq!(begin(&mut planner, NOON), ["prices"]);
        for full in [false, true, false] {
            assert_eq!(planner.due("customers", Due { full, ..due(LATER) }), Planned::Waiting);
        }
        planner.ended("prices");
        assert_eq!(begin(&mut planner, LATER), ["customers!"]);
        planner.ended("customers");
        assert_eq!(begin(&mut planner, LATER), [""; 0]);
    }

    #[test]
    fn no_scheduled_pass_starts_in_a_pause_and_one_does_afterwards() {
        let time = |hour| chrono::NaiveTime::from_hms_opt(hour, 0, 0).unwrap();
        let pause = Some(Pause { from: time(12), to: time(13), zone: chrono_tz::UTC });
        let mut planner = planner(vec![JobPlan { pause, ..plan("customers", "main", &[]) }]);
        for minute in ["00", "10", "50"] {
            planner.due("customers", due(&format!("2026-06-01T12:{minute}:00Z")));
            assert_eq!(begin(&mut planner, "2026-06-01T12:59:59Z"), [""; 0]);
        }
        assert_eq!(begin(&mut planner, "2026-06-01T13:00:00Z"), ["customers"]);
        planner.ended("customers");
        assert_eq!(begin(&mut planner, LATER), [""; 0]);
        // A person knows what they ask for.
        assert_eq!(planner.ask(request(1, "customers", true), at(NOON)), None);
        assert_eq!(begin(&mut planner, NOON), ["customers!"]);
    }

    fn request(id: i64, job: &str, full: bool) -> Request {
        Request { id: RequestId(id), asked: pass_request(job, full) }
    }

    #[test]
    fn what_is_asked_for_while_the_pass_runs_is_done_once_afterwards() {
        let mut planner = planner(vec![plan("customers", "main", &[]), plan("orders", "main", &["customers"])]);
        planner.due("customers", due(NOON));
        assert_eq!(begin(&mut planner, NOON), ["customers"]);
        for (id, job) in [(1, "orders"), (2, "customers"), (3, "customers")] {
            planner.ask(request(id, job, id == 3), at(NOON));
        }
        let approve = NewRequest { kind: "approve".to_owned(), job: "orders".to_owned(), argument: None };
        planner.ask(Request { id: RequestId(4), asked: approve }, at(LATER));
        assert_eq!(begin(&mut planner, LATER), [""; 0]);
        assert_eq!(planner.ended("customers").requests, []);
        assert_eq!(begin(&mut planner, LATER), ["customers!"]);
        assert_eq!(planner.ended("customers").requests, [RequestId(2), RequestId(3)]);
        assert_eq!(begin(&mut planner, LATER), ["orders"]);
        assert_eq!(planner.ended("orders").requests, [RequestId(1)]);
        assert_eq!(begin(&mut planner, LATER), ["approve orders"]);
        assert_eq!(planner.ended("orders").requests, [RequestId(4)]);
        assert_eq!(begin(&mut planner, LATER), [""; 0]);
    }

    #[test]
    fn what_is_asked_for_together_goes_in_the_order_of_after_also_between_targets() {
        let mut planner = planner(vec![plan("customers", "main", &[]), plan("orders", "other", &["customers"])]);
        for (id, job) in [(1, "orders"), (2, "customers")] {
            planner.ask(request(id, job, false), at(NOON));
        }
        assert_eq!(begin(&mut planner, NOON), ["customers"]);
        planner.ended("customers");
        assert_eq!(begin(&mut planner, NOON), ["orders"]);
    }

    #[test]
    fn another_configuration_keeps_turns_and_gives_back_what_nobody_can_do() {
        let mut planner = planner(vec![plan("customers", "main", &[]), plan("orders", "main", &[])]);
        planner.due("customers", due(NOON));
        planner.ask(request(1, "orders", false), at(NOON));
        assert_eq!(planner.configure(vec![plan("customers", "main", &[])]), [RequestId(1)]);
        assert_eq!(planner.ask(request(2, "orders", false), at(NOON)), Some(request(2, "orders", false)));
        assert_eq!(begin(&mut planner, NOON), ["customers"]);
    }
}
