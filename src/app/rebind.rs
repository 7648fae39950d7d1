//! `rebind`: a target is another company by now, or one that was restored from a backup.
//!
//! Nothing is sent to Business Central. Before the ledger is changed a copy of it is kept, and a person agrees to what the
//! change gives up.

use std::path::PathBuf;

use tokio_util::sync::CancellationToken;

use super::connect::Reach;
use super::{App, AppError, ConnectError, result_of};
use crate::bc::Reader;
use crate::ledger::{Ledger, LedgerError, Restart, TargetCounts, TargetId};
use crate::model::{EntityName, RunResult};
use crate::sync::{SyncError, WalkSpec};

/// Why a target was not bound anew.
#[derive(Debug, thiserror::Error)]
pub enum RebindError {
    /// The configuration has no such target.
    #[error("there is no target `{0}` in the configuration")]
    NoTarget(String),
    /// It was never used, so that it is bound to nothing.
    #[error("target `{0}` has not been used yet; its first run binds it")]
    Unused(String),
    /// Restored is only what it is bound to.
    #[error(
        "target `{0}` is bound to another company than the configuration says; `bcsync rebind {0}` without `--restored` \
         is for that"
    )]
    OtherCompany(String),
    /// The ledger knows something that the program does not.
    #[error("job {0} of the ledger writes `{1}`, which is no entity set")]
    Entity(String, String),
    /// The target.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// Walking.
    #[error(transparent)]
    Walk(#[from] SyncError),
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] AppError),
}

impl From<LedgerError> for RebindError {
    fn from(error: LedgerError) -> Self {
        Self::Ledger(error.into())
    }
}

impl RebindError {
    /// As what kind of failure a run would record this.
    #[must_use]
    pub fn result(&self) -> RunResult {
        match self {
            Self::Connect(cause) => cause.result(),
            Self::Walk(SyncError::Bc(failure)) => result_of(failure),
            _ => RunResult::Refused,
        }
    }
}

/// What binding a target anew will do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rebinding {
    /// It is bound to that company already.
    Nothing,
    /// The company is the same, its tenant or environment has another name: the links stay.
    Moved {
        /// From where, in words.
        from: String,
        /// To where.
        to: String,
    },
    /// It is another company: every record is matched again.
    Other {
        /// From which, in words.
        from: String,
        /// To which.
        to: String,
        /// What is given up.
        counts: TargetCounts,
    },
    /// The company was restored: by job, the records whose rows are missing.
    Restored(Vec<(String, usize)>),
}

/// Binds the target `name` anew, when `agree` agrees to what that does. Gives the copy of the ledger that was kept, when
/// something was changed.
pub async fn rebind(
    app: &App<'_>,
    name: &str,
    restored: bool,
    cancel: &CancellationToken,
    agree: impl FnOnce(&Rebinding) -> bool,
) -> Result<Option<PathBuf>, RebindError> {
    let config = app.config.target(name).ok_or_else(|| RebindError::NoTarget(name.to_owned()))?;
    let ledger = app.open_existing_ledger().await?;
    let unused = || RebindError::Unused(name.to_owned());
    let target = ledger.find_target(name).await?.ok_or_else(unused)?;
    let bound = ledger.binding(name).await?.ok_or_else(unused)?;
    let reach = app.reach(config, &ledger, cancel).await?;
    let now = &reach.binding;
    let mut restarts = Vec::new();
    let rebinding = if restored {
        if !bound.is_same(now) {
            return Err(RebindError::OtherCompany(name.to_owned()));
        }
        let (named, jobs) = lost(&ledger, target, &reach, cancel).await?;
        restarts = jobs;
        Rebinding::Restored(named)
    } else if bound.is_same(now) {
        Rebinding::Nothing
    } else if bound.company_id.eq_ignore_ascii_case(&now.company_id) {
        Rebinding::Moved { from: bound.place(), to: now.place() }
    } else {
        Rebinding::Other { from: bound.place(), to: now.place(), counts: ledger.target_counts(target).await? }
    };
    let copy = if agree(&rebinding) && rebinding != Rebinding::Nothing {
        let kept = ledger.keep_copy("before-rebind").await?;
        match &rebinding {
            Rebinding::Restored(_) => ledger.restart(target, &restarts).await?,
            other => ledger.rebind(target, now, matches!(other, Rebinding::Moved { .. })).await?,
        }
        Some(kept)
    } else {
        None
    };
    ledger.close().await;
    Ok(copy)
}

/// By job, the records whose rows the restored company does not have.
async fn lost(
    ledger: &Ledger,
    target: TargetId,
    reach: &Reach,
    cancel: &CancellationToken,
) -> Result<(Vec<(String, usize)>, Vec<Restart>), RebindError> {
    let reader = Reader::new(reach.connection.clone(), reach.policy, cancel.clone());
    let (mut named, mut restarts) = (Vec::new(), Vec::new());
    let (mut gaps, mut newest) = (Vec::new(), Vec::new());
    for (job, name, set) in ledger.jobs_of(target).await? {
        let entity = EntityName::parse(&set).ok_or_else(|| RebindError::Entity(name.clone(), set.clone()))?;
        let company = &reach.binding.company_id;
        let walked = WalkSpec { reader: &reader, ledger, company, target, job, entity: &entity }.walk(true).await?;
        newest.extend(ledger.newest_made(target, &set, job, 1).await?.pop().map(|row| row.made_at));
        let mut lost = Vec::new();
        if let Some(gap) = walked.gap {
            gaps.push(gap.since.unwrap_or_default());
            lost = gap.lost;
        }
        named.push((name, lost.len()));
        restarts.push(Restart { job, entity: set, lost, since: String::new() });
    }
    // The company is as it was after all rows that were made before a gap. Without any, nothing that was made is missing.
    let since = gaps.into_iter().max().or_else(|| newest.into_iter().max()).unwrap_or_default();
    for restart in &mut restarts {
        restart.since.clone_from(&since);
    }
    Ok((named, restarts))
}
