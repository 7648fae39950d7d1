//! SIGINT and SIGTERM: the first asks to stop, the second ends at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::exit::Exit;

/// Watches for signals until dropped.
pub(super) struct Interrupt {
    cancel: CancellationToken,
    terminated: Arc<AtomicBool>,
    watcher: Option<tokio::task::JoinHandle<()>>,
}

impl Interrupt {
    /// Begins to watch: from here on a signal asks. Without signals, as in a stripped-down sandbox, nothing can be asked.
    pub(super) fn watch() -> Self {
        let cancel = CancellationToken::new();
        let terminated = Arc::new(AtomicBool::new(false));
        let signals = signal(SignalKind::interrupt()).and_then(|first| Ok((first, signal(SignalKind::terminate())?)));
        let watcher = signals.ok().map(|signals| tokio::spawn(listen(signals, cancel.clone(), terminated.clone())));
        Self { cancel, terminated, watcher }
    }

    /// Is cancelled by the first signal.
    pub(super) fn token(&self) -> CancellationToken {
        self.cancel.clone()
    }

    /// How a command that was interrupted ends; `None` when it was not.
    pub(super) fn exit(&self) -> Option<Exit> {
        self.cancel.is_cancelled().then(|| self.reason())
    }

    fn reason(&self) -> Exit {
        if self.terminated.load(Ordering::Relaxed) { Exit::Terminated } else { Exit::Interrupted }
    }
}

impl Drop for Interrupt {
    fn drop(&mut self) {
        if let Some(watcher) = &self.watcher {
            watcher.abort();
        }
    }
}

async fn listen(
    (mut interrupt, mut terminate): (Signal, Signal),
    cancel: CancellationToken,
    terminated: Arc<AtomicBool>,
) {
    loop {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => terminated.store(true, Ordering::Relaxed),
        }
        if cancel.is_cancelled() {
            let exit = if terminated.load(Ordering::Relaxed) { Exit::Terminated } else { Exit::Interrupted };
            #[expect(
                clippy::exit,
                reason = "the second signal asks for exactly this; intents in the ledger make it safe"
            )]
            std::process::exit(exit.code().into());
        }
        warn!("stopping: what was sent is seen to its end; a second signal ends at once");
        cancel.cancel();
        crate::fault!("K16: asked to stop");
    }
}
