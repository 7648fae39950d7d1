//! Writing to Business Central what the outbox holds: at most one create, at least one success.
//!
//! The order of things is the promise. For each record: references are resolved; a row that BC may already have is
//! looked for; what differs becomes an operation; token and permit are taken; the intent is committed; the request
//! leaves, once; each operation's own answer is read; link, change and removal of intent and outbox row are one
//! transaction. Whenever bytes of a write left us and no trustworthy answer came back, the outcome is *open*: it is
//! found out by reading, never by repeating.
//!
//! A record that cannot be written stops itself and no other. A refusal that concerns all (credentials, permission)
//! stops the job.

mod adopt;
mod brake;
mod candidate;
mod closing;
mod compare;
mod doubtful;
mod error;
mod foreign;
mod gone;
mod job;
mod locked;
mod lost_change;
mod lost_create;
mod matching;
mod operation;
mod order;
mod outcome;
mod pace;
mod prepare;
mod proof;
mod reasons;
mod recover;
mod recreated;
mod references;
mod removal;
mod round;
mod same_error;
mod send;
mod settle;
mod stamp;
mod untold;
mod waiting;

pub use error::{ApplyError, Held};
pub use job::{ApplyJob, CheckTotal};

use std::sync::Mutex;

use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::bc::{Failure, Reader, Writer};
use crate::ledger::{Ledger, RunId};
use crate::model::{Counters, Outcome, RecordState, RetryPolicy};
use references::Lookups;
use round::{Again, Round};

/// Where the writes of a target's jobs go.
#[derive(Clone)]
pub struct Outlet {
    /// Reads the company.
    pub reader: Reader,
    /// Writes to it.
    pub writer: Writer,
    /// How many envelopes may be on their way or being settled at once.
    pub lanes: usize,
}

/// Applies the outbox of one job.
pub struct Applier<'a> {
    /// What to apply and how.
    pub job: ApplyJob,
    /// The ledger.
    pub ledger: &'a Ledger,
    /// Where it goes.
    pub outlet: &'a Outlet,
    /// How often what may pass is tried again within this run.
    pub retry: RetryPolicy,
    /// Asks to stop: nothing new is begun, what was sent is seen to its end.
    pub cancel: CancellationToken,
    /// Told each time with how many records have been settled.
    pub progress: &'a (dyn Fn(u64) + Sync),
}

/// What applying did.
#[derive(Debug)]
pub struct Applied {
    /// What was counted.
    pub counters: Counters,
    /// Why it ended early, if it did.
    pub stopped: Option<ApplyError>,
}

impl Applier<'_> {
    /// Resolves what is open, then, unless the brake holds it, takes up everything in the outbox that can be sent, and
    /// what may pass once more after a delay. Whatever is left when the attempts are used up stays in the outbox for the
    /// next run.
    pub async fn apply(&self, run: RunId) -> Applied {
        let round = Mutex::new(Round::new(self.ledger.time()));
        let mut lookups = Lookups::default();
        let stopped = self.rounds(run, &round, &mut lookups).await.err();
        let mut round = round.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        self.log_waiting(&round);
        for _ in 0..round.unsettled() {
            round.counters.count(Outcome::Left(RecordState::Pending));
        }
        Applied { counters: round.counters, stopped }
    }

    async fn rounds(&self, run: RunId, round: &Mutex<Round>, lookups: &mut Lookups) -> Result<(), ApplyError> {
        let mut delays = self.outlet.writer.delays(&self.retry);
        let next = || round::lock(round).next();
        self.recover(run, round).await?;
        // After that: a create that was given up has freed its value.
        let entity = self.job.entity.to_string();
        let freed = self.ledger.take_free_claims(self.job.target, &entity, self.job.id).await?;
        if freed > 0 {
            info!(job = %self.job.name, records = freed, "values of `match_on` are free by now");
        }
        self.brake(run, round, lookups).await?;
        self.drain(run, round, lookups).await?;
        while let Some(again) = next() {
            if again == Again::Later {
                let Some(delay) = delays.next(None) else { break };
                info!(job = %self.job.name, delay_ms = delay.as_millis(), "taking up again what may have passed");
                tokio::select! {
                    () = self.cancel.cancelled() => return Err(Failure::Cancelled.into()),
                    () = tokio::time::sleep(delay) => {}
                }
            }
            self.recover(run, round).await?;
            self.brake_followers(run, round, lookups).await?;
            self.drain(run, round, lookups).await?;
        }
        self.finish(run, round).await
    }
}
