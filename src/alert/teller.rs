//! The task that tells: it looks at the ledger when it is asked to, and tells what has changed since it told last.
//!
//! It goes on beside the passes. What it is asked while it is busy it does at once afterwards, however often it was asked.

use std::sync::Arc;
use std::time::Duration;

use chrono::NaiveDate;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::change::{Change, Memory, changes};
use super::command;
use super::condition::{BACKLOG_AGE, Condition, Kind, Scope, conditions};
use super::endpoint::Endpoint;
use super::message::json;
use crate::clock::SharedClock;
use crate::ledger::{Ledger, LedgerError};
use crate::model::RunResult;

/// How long a command may take.
const COMMAND_LIMIT: Duration = Duration::from_secs(30);

/// How long what is on its way may take when everything else is done.
const PATIENCE: Duration = Duration::from_mins(1);

/// How long it may take when the process is to stop.
pub const FAREWELL: Duration = Duration::from_secs(5);

/// Who is told, and about what.
#[derive(Clone, Default)]
pub struct Settings {
    /// A program and its arguments. Empty: none.
    pub command: Vec<String>,
    /// Where alerts are posted to.
    pub webhook: Option<Endpoint>,
    /// What is called after every pass that came to its end.
    pub heartbeat: Option<Endpoint>,
    /// The jobs that are of concern.
    pub jobs: Vec<String>,
    /// The targets that are of concern and whose secrets expire, and when.
    pub secrets: Vec<(String, NaiveDate)>,
}

/// Tells people of changes, beside everything else.
pub struct Alerts {
    ledger: Arc<Ledger>,
    inbox: UnboundedSender<Message>,
    task: JoinHandle<()>,
}

/// What the task is asked.
enum Message {
    /// To tell as this says from now on.
    Settings(Box<Settings>),
    /// To look whether there is something to tell.
    Look,
    /// To call the heartbeat.
    Beat,
}

impl Alerts {
    /// Begins to tell what changes in `ledger`, by the time of `clock`.
    #[must_use]
    pub fn start(ledger: Arc<Ledger>, clock: SharedClock, settings: Settings) -> Self {
        let (sender, inbox) = unbounded_channel();
        let teller = Teller { ledger: ledger.clone(), clock, settings };
        Self { ledger, inbox: sender, task: tokio::spawn(teller.work(inbox)) }
    }

    /// From now on tells as `settings` say.
    pub fn configure(&self, settings: Settings) {
        self.ask(Message::Settings(Box::new(settings)));
    }

    /// Looks whether there is something to tell.
    pub fn look(&self) {
        self.ask(Message::Look);
    }

    /// A pass of `job` is over. The heartbeat is called when it came to its end, also one that found records which need a
    /// person or was held by the brake: those have alerts of their own, and this is about whether anything works at all.
    ///
    /// # Errors
    /// When that cannot be noted in the ledger.
    pub async fn pass_ended(&self, job: &str, result: RunResult) -> Result<(), LedgerError> {
        self.ledger.note_pass(job, result).await?;
        self.ask(if result.is_failure() || result == RunResult::Interrupted { Message::Look } else { Message::Beat });
        Ok(())
    }

    /// Ends. What there is still to tell is told within a minute, or a few seconds from when `stop` is cancelled.
    pub async fn finish(self, stop: &CancellationToken) {
        let Self { ledger: _, inbox, mut task } = self;
        drop(inbox);
        let too_long = async {
            let _ = tokio::time::timeout(PATIENCE, stop.cancelled()).await;
            tokio::time::sleep(FAREWELL).await;
        };
        tokio::select! {
            _ = &mut task => {}
            () = too_long => {
                warn!("an alert takes too long and is given up; it is tried again after the next pass");
                task.abort();
                // Its end lets go of the ledger.
                let _ = task.await;
            }
        }
    }

    fn ask(&self, message: Message) {
        // The task ends before its inbox only by a mistake in itself, which tokio has told of.
        let _ = self.inbox.send(message);
    }
}

struct Teller {
    ledger: Arc<Ledger>,
    clock: SharedClock,
    settings: Settings,
}

impl Teller {
    async fn work(mut self, mut inbox: UnboundedReceiver<Message>) {
        while let Some(first) = inbox.recv().await {
            let mut beat = false;
            let mut next = Some(first);
            while let Some(message) = next {
                match message {
                    Message::Settings(settings) => self.settings = *settings,
                    Message::Look => {}
                    Message::Beat => beat = true,
                }
                next = inbox.try_recv().ok();
            }
            let ((), told) = tokio::join!(self.beat(beat), self.tell());
            if let Err(cause) = told {
                error!("it cannot be found out whether there is something to tell: {cause}");
            }
        }
    }

    async fn beat(&self, wanted: bool) {
        let Some(heartbeat) = self.settings.heartbeat.as_ref().filter(|_| wanted) else { return };
        if let Err(cause) = heartbeat.get().await {
            warn!("the heartbeat could not be called: {cause}");
        }
    }

    /// Looks at the ledger and tells what has changed, each way by itself: a command that hangs does not keep a webhook.
    async fn tell(&self) -> Result<(), LedgerError> {
        let Settings { command, webhook, secrets, .. } = &self.settings;
        let command = (!command.is_empty()).then_some(Channel::Command(command));
        let webhook = webhook.as_ref().map(Channel::Webhook);
        if command.is_none() && webhook.is_none() {
            return Ok(());
        }
        let now = self.clock.now();
        let conditions = conditions(&self.ledger.troubles(now - BACKLOG_AGE).await?, secrets, now);
        let by = async |channel: Option<Channel<'_>>| match channel {
            Some(channel) => self.tell_by(&channel, &conditions).await,
            None => Ok(()),
        };
        let (command, webhook) = tokio::join!(by(command), by(webhook));
        command.and(webhook)
    }

    async fn tell_by(&self, channel: &Channel<'_>, conditions: &[Condition]) -> Result<(), LedgerError> {
        let name = channel.name();
        let told = self.ledger.told_alerts(name).await?;
        for Change { event, memory } in changes(&told, conditions, |kind, subject| self.is_of_concern(kind, subject)) {
            if let Some(event) = event {
                let json = json(&event, self.clock.now());
                if let Err(cause) = channel.deliver(&json).await {
                    warn!(
                        channel = name,
                        "an alert could not be delivered, and is tried again after the next pass: {cause}"
                    );
                    // The next one would most likely fail as well, and may take as long.
                    return Ok(());
                }
                info!(channel = name, "told: {}", event.message);
            }
            match memory {
                Memory::Keep(told) => self.ledger.note_told(name, &told).await?,
                Memory::Forget { condition, subject } => self.ledger.forget_told(name, &condition, &subject).await?,
            }
        }
        Ok(())
    }

    fn is_of_concern(&self, kind: Kind, subject: &str) -> bool {
        match kind.scope() {
            Scope::Job => self.settings.jobs.iter().any(|job| job == subject),
            Scope::Target => self.settings.secrets.iter().any(|(target, _)| target == subject),
            Scope::Ledger => true,
        }
    }
}

/// A way of telling.
enum Channel<'a> {
    Command(&'a [String]),
    Webhook(&'a Endpoint),
}

impl Channel<'_> {
    /// The word in the ledger.
    fn name(&self) -> &'static str {
        match self {
            Self::Command(_) => "command",
            Self::Webhook(_) => "webhook",
        }
    }

    /// Tells. The error is for people.
    async fn deliver(&self, json: &str) -> Result<(), String> {
        match self {
            Self::Command(words) => command::run(words, json, COMMAND_LIMIT).await.map_err(|cause| cause.to_string()),
            Self::Webhook(endpoint) => endpoint.post(json).await.map_err(|cause| cause.to_string()),
        }
    }
}
