//! `run`: one pass of each job, in the order of `after`.

use std::collections::{BTreeMap, HashMap};

use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::check::without_effect;
use super::connect::{policy, told};
use super::{App, AppError, ConnectError};
use crate::apply::CheckTotal;
use crate::config::{self, Job, LinesOrigin, SourceKind};
use crate::ledger::Ledger;
use crate::mapping::Mapping;
use crate::model::{EntityName, OnConflict, Patience, Progress, RunResult};
use crate::schema::closest;
use crate::source::{CursorSpec, LinesSpec, Overlap, SqlSource, StreamSpec};
use crate::sync::{JobSpec, Pass, Report, Target};

/// Records in a page of a read.
const PAGE: usize = 1_000;

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

/// Why a pass could not be begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobFailure {
    /// Of which kind.
    pub result: RunResult,
    /// In words, with what to do.
    pub message: String,
}

/// Makes one pass of each job and hands over each one as it ends.
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
    let ledger = app.open_ledger().await?;
    let mut targets: HashMap<&str, Result<Target, JobFailure>> = HashMap::new();
    let mut all = Vec::new();
    for job in jobs {
        if options.cancel.is_cancelled() {
            break;
        }
        let Some(mapping) = mappings.remove(&job.name.value) else { continue };
        for setting in without_effect(job) {
            warn!(job = %job.name.value, "{setting} has no effect in this version");
        }
        if !targets.contains_key(job.target.as_str()) {
            let connected = match app.config.target(&job.target) {
                Some(target) => app.connect(target, &ledger, &options.cancel).await,
                None => continue,
            };
            let failure = |cause: ConnectError| JobFailure { result: cause.result(), message: cause.to_string() };
            targets.insert(&job.target, connected.map_err(failure));
        }
        let Some(target) = targets.get(job.target.as_str()) else { continue };
        let outcome = match target {
            Ok(target) => pass(app, &ledger, target, job, mapping, &options).await?,
            Err(failure) => Err(failure.clone()),
        };
        if let Err(failure) = &outcome {
            ledger.record_failure(&job.name.value, options.cause, failure.result, &failure.message).await?;
        }
        let done = Finished { job: job.name.value.clone(), outcome };
        finished(&done);
        all.push(done);
    }
    ledger.prune_history(app.config.ledger.keep_history).await?;
    ledger.close().await;
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

async fn pass(
    app: &App<'_>,
    ledger: &Ledger,
    target: &Target,
    job: &Job,
    mapping: Mapping,
    options: &RunOptions<'_>,
) -> Result<Result<Report, JobFailure>, AppError> {
    let spec = match spec(app, job, mapping) {
        Ok(spec) => spec,
        Err(message) => return Ok(Err(JobFailure { result: RunResult::Refused, message })),
    };
    let name = job.name.value.as_str();
    let pass = Pass {
        ledger,
        target,
        job: &spec,
        full: options.full,
        cause: options.cause,
        cancel: options.cancel.clone(),
        progress: &|progress| (options.progress)(name, progress),
    };
    Ok(Ok(pass.run().await?))
}

fn spec(app: &App<'_>, job: &Job, mapping: Mapping) -> Result<JobSpec, String> {
    let source =
        app.config.source(&job.source.value).ok_or_else(|| format!("there is no source {}", job.source.value))?;
    let url = |secret: &config::Located<config::SecretRef>| {
        secret.value.resolve(app.environment).map_err(|cause| format!("source {}: {}", source.name.value, told(&cause)))
    };
    let source = match &source.kind {
        SourceKind::Sqlite(path) => SqlSource::Sqlite { path: path.value.clone() },
        SourceKind::Postgres(secret) => SqlSource::Postgres { url: url(secret)? },
        SourceKind::Mysql(secret) => SqlSource::MySql { url: url(secret)? },
    };
    let lines = job.lines.as_ref().and_then(|lines| match &lines.origin {
        LinesOrigin::Query { query, parent } => {
            Some(LinesSpec { query: query.value.clone(), parent: parent.value.clone(), key: lines.key.value.clone() })
        }
        LinesOrigin::Path(_) => None,
    });
    let cursor = job.stream.cursor.as_ref().map(|cursor| CursorSpec {
        column: cursor.column.value.clone(),
        overlap: match &cursor.overlap {
            config::Overlap::Time(time) => Overlap::Time(*time),
            config::Overlap::Count(count) => Overlap::Count(i64::try_from(*count).unwrap_or(i64::MAX)),
        },
        lag: cursor.lag,
        timezone: cursor.timezone,
    });
    Ok(JobSpec {
        name: job.name.value.clone(),
        entity: job.entity.value.clone(),
        line_entity: job.lines.as_ref().and_then(|lines| EntityName::parse(&lines.entity.value)),
        source,
        stream: StreamSpec {
            name: format!("job {}", job.name.value),
            query: job.stream.query.value.clone(),
            key: job.stream.key.value.clone(),
            cursor,
            lines,
            page_size: PAGE,
        },
        mapping,
        match_on: job.match_on.iter().map(|name| name.value.clone()).collect(),
        adopt: job.adopt,
        mode: job.mode,
        // Only a job that never changes rows has none, and it asks nobody.
        on_conflict: job.on_conflict.unwrap_or(OnConflict::Hold),
        on_missing: job.on_missing,
        rename: job.rename,
        check_total: job
            .check_total
            .as_ref()
            .map(|check| CheckTotal { property: check.value.property.value.clone(), tolerance: check.value.tolerance }),
        timezone: job.timezone,
        retry: policy(&job.retry),
        patience: Patience { waiting_for: job.retry.waiting_for, retry_quarantined: job.retry.retry_quarantined },
    })
}
