//! What the daemon is handed: the jobs, and a function that does what is to be done.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::planner::{Deed, JobPlan};
use crate::alert;
use crate::ledger::RequestEnd;
use crate::model::Progress;

/// A configuration at work.
pub struct Work {
    /// The jobs, each after those named in its `after`.
    pub jobs: Vec<JobPlan>,
    /// How long the history is kept.
    pub keep_history: Duration,
    /// Who is told when something changes.
    pub alerts: alert::Settings,
    /// Does what an order says. An order keeps to the configuration it was given under.
    pub carry_out: CarryOut,
}

/// Does what an order says, on a thread of its own, so that nothing in a pass can hold up the scheduler.
pub type CarryOut = Arc<dyn Fn(&Order) -> RequestEnd + Send + Sync>;

/// Something to do for one job.
pub struct Order {
    /// The job.
    pub job: String,
    /// What.
    pub deed: Deed,
    /// Asks to stop: what was sent is seen to its end.
    pub cancel: CancellationToken,
    /// Asks to leave everything as it is, at once.
    pub give_up: CancellationToken,
    /// Takes how far it has come.
    pub stage: Stage,
}

/// How far a pass has come. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Stage(Arc<Mutex<Option<Progress>>>);

impl Stage {
    /// Takes how far it has come.
    pub fn reach(&self, progress: Progress) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(progress);
    }

    /// In words.
    pub(super) fn told(&self) -> String {
        match *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            None => "begins".to_owned(),
            Some(Progress::Read(read)) => format!("{read} read"),
            Some(Progress::Applied { done, of }) => format!("{done} of {of} to Business Central"),
        }
    }
}
