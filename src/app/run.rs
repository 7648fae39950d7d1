//! `run`: one pass of each job, in the order of `after`.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use super::connect::Reached;
use super::pass::{JobFailure, PassOptions};
use super::{App, AppError};
use crate::alert::Alerts;
use crate::config::{self, Job};
use crate::daemon::pass_request;
use crate::ledger::Ledger;
use crate::mapping::Mapping;
use crate::model::Progress;
use crate::schema::closest;
use crate::sync::Report;

/// What to run.
pub struct RunOptions<'a> {
    /// The names of the jobs; empty for all that are enabled.
    pub jobs: &'a [String],
    /// Whether to read everything.
    pub full: bool,
    /// What set it off.
    pub cause: &'a str,
    /// Asks to stop.
    pub cancel: CancellationToken,
    /// Told how far the job of that name has come.
    pub progress: &'a (dyn Fn(&str, Progress) + Sync),
}

/// A job whose pass is over.
pub struct Finished {
    /// Its name.
    pub job: String,
    /// What it did, or why it could not be begun.
    pub outcome: Result<Report, JobFailure>,
}

/// Makes one pass of each job and hands over each one as it ends. When a daemon holds the ledger, it makes them.
///
/// # Errors
/// When nothing can be begun at all: an unknown job, a ledger that cannot be used.
pub async fn run(
    app: &App<'_>,
    mut mappings: BTreeMap<String, Mapping>,
    options: RunOptions<'_>,
    mut finished: impl FnMut(&Finished),
) -> Result<Vec<Finished>, AppError> {
    let jobs = select(app.config, options.jobs)?;
    let ledger = match app.open_ledger().await {
        Err(busy @ AppError::Busy(_)) => return ask(app, &jobs, &options, busy, finished).await,
        ledger => Arc::new(ledger?),
    };
    let alerts = Alerts::start(ledger.clone(), app.clock.clone(), app.alerts());
    let all = passes(app, &ledger, &alerts, jobs, &mut mappings, &options, &mut finished).await;
    alerts.finish(&options.cancel).await;
    // The passes are over: how they ended counts, and not whether the history could be pruned after them.
    if all.is_ok()
        && let Err(cause) = ledger.prune_history(app.config.ledger.keep_history).await
    {
        warn!("the history is not pruned: {cause}");
    }
    if let Some(ledger) = Arc::into_inner(ledger) {
        ledger.close().await;
    }
    all
}

/// Makes the passes here.
async fn passes(
    app: &App<'_>,
    ledger: &Ledger,
    alerts: &Alerts,
    jobs: Vec<&Job>,
    mappings: &mut BTreeMap<String, Mapping>,
    options: &RunOptions<'_>,
    finished: &mut impl FnMut(&Finished),
) -> Result<Vec<Finished>, AppError> {
    let mut targets: HashMap<&str, Result<Reached, JobFailure>> = HashMap::new();
    let mut all = Vec::new();
    for job in jobs {
        if options.cancel.is_cancelled() {
            break;
        }
        let Some(mapping) = mappings.remove(&job.name.value) else { continue };
        if !targets.contains_key(job.target.as_str()) {
            let connected = match app.config.target(&job.target) {
                Some(target) => app.connect(target, ledger, &options.cancel).await,
                None => continue,
            };
            targets.insert(&job.target, connected.map_err(|cause| JobFailure::from(&cause)));
        }
        let Some(reached) = targets.get(job.target.as_str()) else { continue };
        let name = job.name.value.as_str();
        let options = PassOptions {
            full: options.full,
            cause: options.cause,
            cancel: &options.cancel,
            progress: &|progress| (options.progress)(name, progress),
        };
        let reached = reached.as_ref().map_err(Clone::clone);
        let outcome = app.pass(ledger, reached, job, Arc::new(mapping), options).await?;
        let result = outcome.as_ref().map_or_else(|failure| failure.result, |report| report.result);
        let done = Finished { job: job.name.value.clone(), outcome };
        finished(&done);
        all.push(done);
        if let Err(cause) = alerts.pass_ended(&job.name.value, result).await {
            error!("how the pass of {} ended is not noted for alerts: {cause}", job.name.value);
        }
    }
    Ok(all)
}

/// Lets the process that holds the ledger make the passes, as if they were made here.
async fn ask(
    app: &App<'_>,
    jobs: &[&Job],
    options: &RunOptions<'_>,
    busy: AppError,
    mut finished: impl FnMut(&Finished),
) -> Result<Vec<Finished>, AppError> {
    let requests: Vec<_> = jobs.iter().map(|job| pass_request(&job.name.value, options.full)).collect();
    let mut all = Vec::new();
    let ended = async |index: usize, end| {
        let job = jobs[index];
        let done = Finished { job: job.name.value.clone(), outcome: app.answered(job, end).await? };
        finished(&done);
        all.push(done);
        Ok(())
    };
    app.ask(busy, &requests, &options.cancel, ended).await?;
    Ok(all)
}

/// The jobs to run, in the order of `after`.
fn select<'c>(config: &'c config::Config, names: &[String]) -> Result<Vec<&'c Job>, AppError> {
    for name in names {
        match config.job(name) {
            Some(job) if job.enabled => {}
            Some(_) => return Err(AppError::Disabled { name: name.clone() }),
            None => {
                let known = match closest(name, config.jobs.iter().map(|job| job.name.value.as_str())) {
                    Some(meant) => format!("did you mean `{meant}`?"),
                    None => format!("the configuration has {}", config.job_names()),
                };
                return Err(AppError::NoJob { name: name.clone(), known });
            }
        }
    }
    let wanted = |job: &&Job| job.enabled && (names.is_empty() || names.contains(&job.name.value));
    Ok(config.jobs_in_order().into_iter().filter(wanted).collect())
}
