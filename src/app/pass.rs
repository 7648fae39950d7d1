//! One pass of one configured job, with a ledger and a target that others share.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::connect::{Reached, policy, told};
use super::{App, ConnectError};
use crate::apply::CheckTotal;
use crate::config::{self, Job, LinesOrigin, SourceKind};
use crate::ledger::{Ledger, LedgerError};
use crate::mapping::Mapping;
use crate::model::{EntityName, OnConflict, Patience, Progress, RunResult};
use crate::source::{CursorSpec, LinesSpec, Overlap, SqlSource, StreamSpec};
use crate::sync::{JobSpec, Pass, Report};

/// Records in a page of a read.
const PAGE: usize = 1_000;

/// Why a pass could not be begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobFailure {
    /// Of which kind.
    pub result: RunResult,
    /// In words, with what to do.
    pub message: String,
}

impl From<&ConnectError> for JobFailure {
    fn from(cause: &ConnectError) -> Self {
        Self { result: cause.result(), message: cause.to_string() }
    }
}

/// How to make a pass.
pub(super) struct PassOptions<'a> {
    /// Whether to read everything.
    pub(super) full: bool,
    /// What set it off.
    pub(super) cause: &'a str,
    /// Asks to stop.
    pub(super) cancel: &'a CancellationToken,
    /// Told how far it has come.
    pub(super) progress: &'a (dyn Fn(Progress) + Sync),
}

impl App<'_> {
    /// Makes one pass of `job`, or notes in the ledger why it cannot be begun.
    pub(super) async fn pass(
        &self,
        ledger: &Ledger,
        reached: Result<&Reached, JobFailure>,
        job: &Job,
        mapping: Arc<Mapping>,
        options: PassOptions<'_>,
    ) -> Result<Result<Report, JobFailure>, LedgerError> {
        let refused = |message| JobFailure { result: RunResult::Refused, message };
        let suspended = match &reached {
            Ok(reached) => ledger.suspended(reached.id).await?,
            Err(_) => None,
        };
        let reached = match suspended {
            Some(reason) => Err(refused(reason)),
            None => reached,
        };
        let begun = reached.and_then(|reached| Ok((reached, spec(self, job, mapping).map_err(refused)?)));
        let (reached, spec) = match begun {
            Ok(begun) => begun,
            Err(failure) => {
                ledger.record_failure(&job.name.value, options.cause, failure.result, &failure.message).await?;
                return Ok(Err(failure));
            }
        };
        // The pass ends itself when its time is up, which must not end the others.
        let cancel = options.cancel.child_token();
        let target = reached.target(&cancel);
        let PassOptions { full, cause, progress, .. } = options;
        let pass = Pass { ledger, target: &target, job: &spec, full, cause, cancel, progress };
        Ok(Ok(pass.run().await?))
    }
}

fn spec(app: &App<'_>, job: &Job, mapping: Arc<Mapping>) -> Result<JobSpec, String> {
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
        on_delete: job.on_delete,
        brake: job.brake,
        rename: job.rename,
        check_total: job
            .check_total
            .as_ref()
            .map(|check| CheckTotal { property: check.value.property.value.clone(), tolerance: check.value.tolerance }),
        timezone: job.timezone,
        retry: policy(&job.retry),
        patience: Patience { waiting_for: job.retry.waiting_for, retry_quarantined: job.retry.retry_quarantined },
        timeout: job.timeout,
    })
}
