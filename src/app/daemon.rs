//! `daemon`: from a configuration to work for the scheduler, as often as it is reloaded.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::budgets::Budgets;
use super::check::{CheckFailed, check};
use super::connect::Reached;
use super::operate::answer;
use super::pass::{JobFailure, PassOptions};
use super::schedule::{pause, triggers};
use super::{App, AppError};
use crate::clock::{SharedClock, SystemClock};
use crate::config::{self, Config, Environment, Job, Problem};
use crate::daemon::{Daemon, Deed, JobPlan, Order, Work};
use crate::ledger::{Ledger, RequestEnd};
use crate::mapping::Mapping;
use crate::model::RunResult;
use crate::sync::Report;

/// What the daemon is started with.
pub struct DaemonOptions {
    /// The configuration to begin with.
    pub config: Config,
    /// Reads it again.
    pub load: Box<dyn Fn() -> Result<Config, config::Report> + Send>,
    /// Variables and credentials.
    pub environment: &'static (dyn Environment + Sync),
    /// Asks to stop.
    pub stop: CancellationToken,
}

/// Runs the jobs of the configuration when they are due, until asked to stop.
///
/// # Errors
/// When the configuration or the ledger cannot be used to begin with, or the ledger is lost.
pub async fn daemon(options: DaemonOptions) -> Result<(), AppError> {
    let DaemonOptions { config, load, environment, stop } = options;
    let plant = Plant { environment, clock: Arc::new(SystemClock), budgets: Budgets::default() };
    let (config, mappings) = checked(config).map_err(|failed| AppError::Check(*failed))?;
    let ledger = Arc::new(plant.app(&config).open_ledger().await?);
    let clock = plant.clock.clone();
    let (log, file) = (config.log, config.ledger.clone());
    let work = plant.work(config, mappings, &ledger);
    let reload = {
        let ledger = ledger.clone();
        Box::new(move || {
            let (config, mappings) = load()
                .map_err(|report| lines(&report))
                .and_then(|config| checked(config).map_err(|failed| lines(&failed.0)))?;
            if (config.log, &config.ledger) != (log, &file) {
                warn!("a change in [ledger] or [log] takes effect when the daemon is started again");
            }
            Ok(plant.work(config, mappings, &ledger))
        })
    };
    let ended = Daemon { ledger: ledger.clone(), clock, work, reload, stop }.run().await;
    if let Some(ledger) = Arc::into_inner(ledger) {
        ledger.close().await;
    }
    Ok(ended?)
}

/// A configuration and its compiled mappings.
type Checked = (Config, BTreeMap<String, Mapping>);

fn checked(mut config: Config) -> Result<Checked, Box<CheckFailed>> {
    let mappings = check(&mut config)?;
    for line in lines(&config.report) {
        warn!("{line}");
    }
    Ok((config, mappings))
}

/// What a report says, a line each.
fn lines(report: &config::Report) -> Vec<String> {
    let path = report.source().path().display();
    let line = |problem: &Problem| {
        let place = report.position(problem).map_or_else(String::new, |at| format!(":{}:{}", at.line, at.column));
        let allowed = problem.allowed.as_ref().map_or_else(String::new, |allowed| format!("; allowed: {allowed}"));
        let hint = problem.hint.as_ref().map_or_else(String::new, |hint| format!("; {hint}"));
        format!("{path}{place}: {}: {}{allowed}{hint}", problem.path, problem.message)
    };
    report.problems().iter().map(line).collect()
}

/// What stays the same from one configuration to the next.
struct Plant {
    environment: &'static (dyn Environment + Sync),
    clock: SharedClock,
    budgets: Budgets,
}

impl Plant {
    fn app<'c>(&self, config: &'c Config) -> App<'c> {
        App { config, environment: self.environment, clock: self.clock.clone(), budgets: self.budgets.clone() }
    }

    fn work(&self, config: Config, mappings: BTreeMap<String, Mapping>, ledger: &Arc<Ledger>) -> Work {
        let jobs = config.jobs_in_order().into_iter().filter(|job| job.enabled).map(|job| plan(&config, job)).collect();
        let keep_history = config.ledger.keep_history;
        let alerts = self.app(&config).alerts();
        let generation = Arc::new(Generation {
            mappings: mappings.into_iter().map(|(job, mapping)| (job, Arc::new(mapping))).collect(),
            config,
            plant: Self { environment: self.environment, clock: self.clock.clone(), budgets: self.budgets.clone() },
            ledger: ledger.clone(),
            reached: Mutex::default(),
        });
        let carry_out = Arc::new(move |order: &Order| {
            tokio::runtime::Handle::current().block_on(async {
                tokio::select! {
                    end = generation.carry_out(order) => end,
                    () = order.give_up.cancelled() => given_up(),
                }
            })
        });
        Work { jobs, keep_history, alerts, carry_out }
    }
}

/// How an order ends that was not seen to its end.
fn given_up() -> RequestEnd {
    let message = "stopped before the last answer came; the next run finds out what became of that request";
    RequestEnd { result: RunResult::Interrupted, message: Some(message.to_owned()), run: None }
}

/// Logs what a pass did.
fn tell(report: &Report) {
    let counted = report.counters.named().into_iter().filter(|(_, count)| *count > 0);
    let counts: Vec<_> = counted.map(|(name, count)| format!("{count} {name}")).collect();
    let (result, requests, failed) = (report.result.as_str(), report.requests, report.failed);
    info!(job = %report.job, run = %report.run, result, requests, failed, "pass ended: {}", counts.join(", "));
}

/// A job as the scheduler sees it.
fn plan(config: &Config, job: &Job) -> JobPlan {
    JobPlan {
        name: job.name.value.clone(),
        target: job.target.clone(),
        after: job.after.iter().map(|after| after.value.clone()).collect(),
        triggers: triggers(config, job),
        jitter: job.jitter,
        catch_up: job.catch_up,
        timeout: job.timeout,
        pause: pause(config, job),
    }
}

/// One configuration at work. Passes that began under it keep it alive.
struct Generation {
    config: Config,
    mappings: BTreeMap<String, Arc<Mapping>>,
    plant: Plant,
    ledger: Arc<Ledger>,
    /// The targets that were reached so far, by name.
    reached: Mutex<HashMap<String, Arc<Reached>>>,
}

impl Generation {
    async fn carry_out(&self, order: &Order) -> RequestEnd {
        match &order.deed {
            Deed::Pass { full, cause } => self.pass(order, *full, cause).await,
            Deed::Request(asked) => answer(&self.ledger, asked).await,
        }
    }

    async fn pass(&self, order: &Order, full: bool, cause: &str) -> RequestEnd {
        let name = &order.job;
        let (Some(job), Some(mapping)) = (self.config.job(name), self.mappings.get(name)) else {
            let message = format!("there is no job `{name}`");
            return RequestEnd { result: RunResult::Refused, message: Some(message), run: None };
        };
        let app = self.plant.app(&self.config);
        let reached = self.reach(&app, job, &order.cancel).await;
        let options =
            PassOptions { full, cause, cancel: &order.cancel, progress: &|progress| order.stage.reach(progress) };
        let end =
            match app.pass(&self.ledger, reached.as_deref().map_err(Clone::clone), job, mapping.clone(), options).await
            {
                Ok(Ok(report)) => {
                    tell(&report);
                    RequestEnd { result: report.result, message: report.message, run: Some(report.run) }
                }
                Ok(Err(JobFailure { result, message })) => RequestEnd { result, message: Some(message), run: None },
                Err(error) => RequestEnd { result: RunResult::Refused, message: Some(error.to_string()), run: None },
            };
        if !matches!(end.result, RunResult::Done | RunResult::Attention | RunResult::Held) {
            // The next pass finds out from the beginning whom it talks to.
            self.reached().remove(&job.target);
        }
        end
    }

    /// The target of `job`. Its passes never run beside each other, so nobody else is about to reach it.
    async fn reach(&self, app: &App<'_>, job: &Job, cancel: &CancellationToken) -> Result<Arc<Reached>, JobFailure> {
        let known = self.reached().get(&job.target).cloned();
        if let Some(reached) = known {
            return Ok(reached);
        }
        let Some(target) = self.config.target(&job.target) else {
            let message = format!("there is no target `{}`", job.target);
            return Err(JobFailure { result: RunResult::Refused, message });
        };
        let reached = app.connect(target, &self.ledger, cancel).await.map_err(|cause| JobFailure::from(&cause))?;
        let reached = Arc::new(reached);
        self.reached().insert(job.target.clone(), reached.clone());
        Ok(reached)
    }

    fn reached(&self) -> MutexGuard<'_, HashMap<String, Arc<Reached>>> {
        self.reached.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
