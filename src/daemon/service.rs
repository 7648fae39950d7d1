//! The life of the daemon: one loop that waits for whatever comes first and acts on it.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::planner::{Deed, Planner, Settled, Start};
use super::scheduler::{Scheduler, SchedulerError};
use super::systemd::Systemd;
use super::ticks::Ticks;
use super::work::{CarryOut, Order, Stage, Work};
use crate::alert::{self, Alerts};
use crate::clock::SharedClock;
use crate::ledger::{KeptSchedule, Ledger, LedgerError, RequestEnd, RequestId};
use crate::model::RunResult;

/// How often requests are looked for, and everything that depends on time but the schedule.
const BEAT: Duration = Duration::from_millis(500);

/// How long a pass may go on after it was asked to stop: the answer to a last request may take minutes. Beyond that
/// something hangs.
const OVERDUE: Duration = Duration::from_mins(5);

/// How long the scheduler may go without asking what is due.
const SILENCE: Duration = Duration::from_secs(10);

/// How long passes may go on when the daemon is to stop. What is open then stays open, and is found out by the next run.
const DRAIN: Duration = Duration::from_secs(30);

const DAY: TimeDelta = TimeDelta::days(1);

/// Reads the configuration again; what is wrong with it, a line each, when it cannot be used.
pub type Reload = Box<dyn Fn() -> Result<Work, Vec<String>> + Send>;

/// Why the daemon ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The scheduler.
    #[error(transparent)]
    Scheduler(#[from] SchedulerError),
    /// The ledger belongs to another process, or is gone.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// Signals.
    #[error("signals cannot be received: {0}")]
    Signals(std::io::Error),
}

/// What the daemon needs.
pub struct Daemon {
    /// The ledger, held for life.
    pub ledger: Arc<Ledger>,
    /// Wall time.
    pub clock: SharedClock,
    /// What there is to do.
    pub work: Work,
    /// Reads the configuration again.
    pub reload: Reload,
    /// Asks to stop.
    pub stop: CancellationToken,
}

/// A deed that is being done.
struct Active {
    job: String,
    is_pass: bool,
    stage: Stage,
    deadline: Instant,
}

/// A deed that is over, and not noted in the ledger yet.
struct Over {
    job: String,
    is_pass: bool,
    settled: Settled,
    end: RequestEnd,
}

/// The daemon at work.
pub(super) struct Service {
    pub(super) ledger: Arc<Ledger>,
    pub(super) clock: SharedClock,
    keep_history: Duration,
    carry_out: CarryOut,
    pub(super) scheduler: Scheduler,
    pub(super) ticks: Ticks,
    pub(super) planner: Planner,
    pub(super) kept: BTreeMap<String, KeptSchedule>,
    alerts: Alerts,
    deeds: JoinSet<RequestEnd>,
    active: HashMap<Id, Active>,
    over: VecDeque<Over>,
    /// How the last pass of each job ended, if not well.
    pub(super) troubles: BTreeMap<String, RunResult>,
    /// Asks all deeds to stop.
    cancel: CancellationToken,
    /// Asks them to leave everything as it is.
    give_up: CancellationToken,
    systemd: Systemd,
    /// When a sign of life for the watchdog was last due.
    fed: Instant,
    pruned: Option<DateTime<Utc>>,
}

impl Daemon {
    /// Runs until it is asked to stop, or the ledger cannot be held any longer.
    pub async fn run(self) -> Result<(), DaemonError> {
        let Self { ledger, clock, work, reload, stop } = self;
        let mut hang_up = signal(SignalKind::hangup()).map_err(DaemonError::Signals)?;
        let ticks = Ticks::new(clock.clone());
        let mut service = Service {
            kept: ledger.kept_schedules().await?,
            alerts: Alerts::start(ledger.clone(), clock.clone(), work.alerts),
            ledger,
            clock,
            keep_history: work.keep_history,
            carry_out: work.carry_out,
            scheduler: Scheduler::start(ticks.clone()).await?,
            ticks,
            planner: Planner::default(),
            deeds: JoinSet::new(),
            active: HashMap::new(),
            over: VecDeque::new(),
            troubles: BTreeMap::new(),
            cancel: CancellationToken::new(),
            give_up: CancellationToken::new(),
            systemd: Systemd::default(),
            fed: Instant::now(),
            pruned: None,
        };
        service.ledger.serve_requests().await?;
        service.configure(work.jobs).await?;
        service.begin();
        service.systemd.ready(&service.told());
        info!("ready: {}", service.told());
        let mut beat = interval(BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let survived = tokio::select! {
                () = stop.cancelled() => break,
                _ = hang_up.recv() => service.reload(&reload).await,
                () = service.scheduler.due() => service.take_ticks().await,
                Some(ended) = service.deeds.join_next_with_id() => service.ended(ended).await,
                _ = beat.tick() => service.beat().await,
            };
            tolerate(survived)?;
            service.begin();
            service.systemd.status(&service.told());
        }
        service.drain(&stop).await
    }
}

impl Service {
    /// Begins what can begin.
    fn begin(&mut self) {
        for Start { job, deed, timeout } in self.planner.start(self.clock.now()) {
            let is_pass = matches!(deed, Deed::Pass { .. });
            let stage = Stage::default();
            let (cancel, give_up) = (self.cancel.child_token(), self.give_up.child_token());
            let order = Order { job: job.clone(), deed, cancel, give_up, stage: stage.clone() };
            let carry_out = self.carry_out.clone();
            let id = self.deeds.spawn_blocking(move || carry_out(&order)).id();
            self.active.insert(id, Active { job, is_pass, stage, deadline: Instant::now() + timeout + OVERDUE });
        }
    }

    /// A deed is over, by itself or by a panic.
    async fn ended(&mut self, ended: Result<(Id, RequestEnd), JoinError>) -> Result<(), DaemonError> {
        let id = ended.as_ref().map_or_else(JoinError::id, |(id, _)| *id);
        let Some(Active { job, is_pass, .. }) = self.active.remove(&id) else { return Ok(()) };
        let settled = self.planner.ended(&job);
        let end = match ended {
            Ok((_, end)) => end,
            Err(error) => {
                let message = format!("a mistake in bcsync itself ended this: {}", panic_text(error));
                RequestEnd { result: RunResult::Failed, message: Some(message), run: None }
            }
        };
        if is_pass {
            tell(&job, &end);
            match end.result {
                RunResult::Done => self.troubles.remove(&job),
                result => self.troubles.insert(job.clone(), result),
            };
        }
        self.over.push_back(Over { job, is_pass, settled, end });
        self.note().await
    }

    /// Notes in the ledger what is over. What cannot be noted now is tried again with the next beat: somebody may wait for
    /// it, in another process.
    async fn note(&mut self) -> Result<(), DaemonError> {
        while let Some(over) = self.over.pop_front() {
            if let Err(error) = self.conclude(&over).await {
                self.over.push_front(over);
                return Err(error);
            }
        }
        Ok(())
    }

    async fn conclude(&mut self, Over { job, is_pass, settled, end }: &Over) -> Result<(), DaemonError> {
        self.ledger.finish_requests(&settled.requests, end).await?;
        if !is_pass {
            return Ok(());
        }
        if end.run.is_none() {
            // Whatever it had begun in the ledger is over.
            self.ledger.give_up_runs(job, end.result, end.message.as_deref().unwrap_or_default()).await?;
        }
        // A pass that was stopped is made up for.
        if end.result != RunResult::Interrupted {
            self.keep(job, settled).await?;
        }
        Ok(self.alerts.pass_ended(job, end.result).await?)
    }

    async fn beat(&mut self) -> Result<(), DaemonError> {
        self.feed_watchdog();
        self.note().await?;
        self.take_requests().await?;
        let now = self.clock.now();
        if self.pruned.is_none_or(|pruned| now < pruned || now >= pruned + DAY) {
            self.pruned = Some(now);
            let runs = self.ledger.prune_history(self.keep_history).await?;
            info!(runs, "the history was pruned");
            // What no pass brings about, such as a secret that expires while all jobs pause.
            self.alerts.look();
        }
        Ok(())
    }

    /// A sign of life, as long as the scheduler asks what is due and no deed hangs.
    fn feed_watchdog(&mut self) {
        let Some(every) = Systemd::watchdog() else { return };
        if self.fed.elapsed() < every.saturating_sub(BEAT) {
            return;
        }
        self.fed = Instant::now();
        if let Some(active) = self.active.values().find(|active| active.deadline < Instant::now()) {
            error!(job = %active.job, "its pass hangs; the watchdog gets no sign of life");
        } else if self.ticks.silence() > SILENCE {
            error!("the scheduler hangs; the watchdog gets no sign of life");
        } else {
            Systemd::alive();
        }
    }

    async fn take_requests(&mut self) -> Result<(), DaemonError> {
        for request in self.ledger.take_requests().await? {
            info!(job = %request.asked.job, kind = %request.asked.kind, "a request");
            if let Some(unknown) = self.planner.ask(request, self.clock.now()) {
                let message = format!(
                    "the daemon runs no job `{}`; after a change of the configuration it has to be reloaded",
                    unknown.asked.job
                );
                self.finish(&[unknown.id], RunResult::Refused, &message).await?;
            }
        }
        Ok(())
    }

    /// Ends requests for which nothing was done.
    pub(super) async fn finish(
        &self,
        requests: &[RequestId],
        result: RunResult,
        message: &str,
    ) -> Result<(), DaemonError> {
        let end = RequestEnd { result, message: Some(message.to_owned()), run: None };
        Ok(self.ledger.finish_requests(requests, &end).await?)
    }

    /// Takes over another configuration, if there is nothing wrong with it. What is running ends under the old one.
    async fn reload(&mut self, reload: &Reload) -> Result<(), DaemonError> {
        Systemd::reloading();
        let reloaded = match reload() {
            Ok(work) => {
                self.keep_history = work.keep_history;
                self.carry_out = work.carry_out;
                crate::fault!("K17: half of another configuration in force");
                self.alerts.configure(work.alerts);
                let configured = self.configure(work.jobs).await;
                info!("the configuration was reloaded");
                configured
            }
            Err(problems) => {
                for problem in problems {
                    error!("{problem}");
                }
                error!("the configuration was not reloaded; the one before stays in force");
                Ok(())
            }
        };
        self.systemd.ready(&self.told());
        reloaded
    }

    /// What the daemon is doing, in words.
    fn told(&self) -> String {
        let mut parts: Vec<_> =
            self.active.values().map(|active| format!("{}: {}", active.job, active.stage.told())).collect();
        parts.sort();
        if parts.is_empty() {
            parts.push(match self.ticks.next() {
                Some((job, next)) => format!("idle, next {job} at {}", next.format("%Y-%m-%d %H:%M:%SZ")),
                None => "idle, no job has a schedule".to_owned(),
            });
        }
        parts.extend(self.troubles.iter().map(|(job, result)| format!("last pass of {job}: {}", result.as_str())));
        parts.join("; ")
    }

    /// Ends, since `stop` is cancelled: nothing new begins, what was sent is seen to its end for a while.
    async fn drain(mut self, stop: &CancellationToken) -> Result<(), DaemonError> {
        self.systemd.stopping(DRAIN + alert::FAREWELL + BEAT * 10);
        info!(running = self.active.len(), "stopping");
        tolerate(self.ledger.stop_serving().await.map_err(DaemonError::from))?;
        self.scheduler.stop().await;
        self.cancel.cancel();
        let limit = Instant::now() + DRAIN;
        while let Ok(Some(ended)) = tokio::time::timeout_at(limit, self.deeds.join_next_with_id()).await {
            let ended = self.ended(ended).await;
            tolerate(ended)?;
        }
        self.give_up.cancel();
        while let Some(ended) = self.deeds.join_next_with_id().await {
            let ended = self.ended(ended).await;
            tolerate(ended)?;
        }
        let left = self.planner.configure(Vec::new());
        let finished = self.finish(&left, RunResult::Interrupted, "the daemon was stopped; ask again").await;
        tolerate(finished)?;
        self.alerts.finish(stop).await;
        Ok(())
    }
}

/// Only a ledger that is no longer ours ends the daemon; any other trouble with it may pass, and is told.
fn tolerate(result: Result<(), DaemonError>) -> Result<(), DaemonError> {
    match result {
        Err(DaemonError::Ledger(error)) if !matches!(error, LedgerError::Fenced | LedgerError::Replaced { .. }) => {
            error!("{error}");
            Ok(())
        }
        result => result,
    }
}

/// Logs what there is to say about the end of a pass.
fn tell(job: &str, end: &RequestEnd) {
    let Some(message) = &end.message else { return };
    let result = end.result.as_str();
    match end.result {
        RunResult::Done => info!(%job, result, "{message}"),
        RunResult::Attention | RunResult::Held | RunResult::Interrupted => warn!(%job, result, "{message}"),
        RunResult::Failed | RunResult::Denied | RunResult::Refused => error!(%job, result, "{message}"),
    }
}

/// What a panic said.
fn panic_text(error: JoinError) -> String {
    let Ok(panic) = error.try_into_panic() else { return "it was taken from its thread".to_owned() };
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default()
}
