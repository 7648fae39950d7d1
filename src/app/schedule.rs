//! When jobs run: what the configuration says, as triggers for the daemon and as a preview for people.

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;

use super::App;
use crate::config::{self, Config, Job, Located};
use crate::daemon::{ClockChange, Effect, Pause, Trigger, Triggers};

/// How far ahead changes of the clocks are told.
const AHEAD: TimeDelta = TimeDelta::days(370);

/// When a job runs.
pub struct JobSchedule {
    /// The job.
    pub job: String,
    /// The zone of its schedule.
    pub zone: Tz,
    /// Its schedules in words; empty when it has none.
    pub schedules: Vec<String>,
    /// The next passes.
    pub passes: Vec<PlannedPass>,
    /// What the changes of the clocks ahead do to it, in words; only those that do something.
    pub clock_changes: Vec<String>,
}

/// A pass that is planned.
pub struct PlannedPass {
    /// When.
    pub at: DateTime<Utc>,
    /// Whether it reads everything.
    pub full: bool,
    /// Whether it has to wait for the end of a pause.
    pub paused: bool,
}

impl App<'_> {
    /// The next `count` passes of each enabled job.
    #[must_use]
    pub fn schedule(&self, count: usize) -> Vec<JobSchedule> {
        let enabled = self.config.jobs_in_order().into_iter().filter(|job| job.enabled);
        enabled.map(|job| job_schedule(self.config, job, self.clock.now(), count)).collect()
    }
}

fn job_schedule(config: &Config, job: &Job, now: DateTime<Utc>, count: usize) -> JobSchedule {
    let Triggers { pass, full } = triggers(config, job);
    let pause = pause(config, job);
    let times = |trigger: &Option<Trigger>| {
        trigger.iter().flat_map(|trigger| trigger.all_after(now).take(count)).collect::<Vec<_>>()
    };
    let (passes, fulls) = (times(&pass), times(&full));
    let mut all: Vec<_> = passes.into_iter().chain(fulls.iter().copied()).collect();
    all.sort_unstable();
    all.dedup();
    let planned =
        |at| PlannedPass { at, full: fulls.contains(&at), paused: pause.is_some_and(|pause| pause.covers(at)) };
    let from = || trigger_of(config, job).map(|(_, from)| from.name.value.as_str());
    let schedules = pass.iter().map(|trigger| match from() {
        Some(from) if from != job.name.value => format!("`{}` in {}, that of {from}", trigger.text, trigger.zone),
        _ => format!("`{}` in {}", trigger.text, trigger.zone),
    });
    let full_schedules = full.iter().map(|trigger| format!("everything `{}` in {}", trigger.text, trigger.zone));
    let changes = |trigger: &Trigger| {
        trigger.clock_changes(now, AHEAD).iter().filter_map(|change| told(trigger, change)).collect::<Vec<_>>()
    };
    JobSchedule {
        job: job.name.value.clone(),
        zone: pass.as_ref().or(full.as_ref()).map_or(job.timezone, |trigger| trigger.zone),
        schedules: schedules.chain(full_schedules).collect(),
        passes: all.into_iter().take(count).map(planned).collect(),
        clock_changes: pass.iter().chain(&full).flat_map(changes).collect(),
    }
}

/// What a change of the clocks does to a trigger, in words.
fn told(trigger: &Trigger, change: &ClockChange) -> Option<String> {
    let Trigger { text, zone, .. } = trigger;
    let effect = match change.effect {
        Effect::Nothing => return None,
        Effect::Moved => {
            format!("the time of `{text}` does not exist, it runs at {} instead", change.to.format("%H:%M"))
        }
        Effect::LeftOut => format!("what `{text}` names in between does not exist and is left out"),
        Effect::Once => format!("the time of `{text}` comes twice, it runs the first time"),
        Effect::Twice => format!("what `{text}` names in between comes twice, and it runs both times"),
    };
    let (day, from, to) = (change.to.format("%Y-%m-%d"), change.from.format("%H:%M"), change.to.format("%H:%M"));
    Some(format!("{day}: the clocks of {zone} go from {from} to {to}; {effect}"))
}

/// When `job` is due: by its own schedule, else by that of the first job in `after`. Reading everything is not handed on.
pub(super) fn triggers(config: &Config, job: &Job) -> Triggers {
    let pass = trigger_of(config, job).map(|(schedule, from)| trigger(schedule, from.timezone));
    Triggers { pass, full: job.full_schedule.as_ref().map(|schedule| trigger(schedule, job.timezone)) }
}

fn trigger(schedule: &Located<config::Schedule>, zone: Tz) -> Trigger {
    Trigger { text: schedule.value.text.clone(), cron: schedule.value.cron.clone(), zone }
}

/// The schedule that is in force for `job`, and the job that has it. There are no circles.
fn trigger_of<'c>(config: &'c Config, job: &'c Job) -> Option<(&'c Located<config::Schedule>, &'c Job)> {
    match (&job.schedule, job.after.first()) {
        (Some(schedule), _) => Some((schedule, job)),
        (None, Some(first)) => trigger_of(config, config.job(&first.value)?),
        (None, None) => None,
    }
}

/// When no scheduled pass of `job` starts.
pub(super) fn pause(config: &Config, job: &Job) -> Option<Pause> {
    let config::Pause { from, to, timezone } = config.target(&job.target)?.pause?;
    Some(Pause { from, to, zone: timezone })
}
