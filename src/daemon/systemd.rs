//! What systemd is told: that the daemon is ready, reloads, stops, is alive, and what it is doing. Without systemd nobody is.

use std::time::Duration;

use sd_notify::NotifyState;
use tracing::debug;

/// The line to systemd.
#[derive(Debug, Default)]
pub(super) struct Systemd {
    /// What `systemctl status` shows by now.
    status: String,
}

impl Systemd {
    /// How often the watchdog wants a sign of life, if there is one: three times as often as it would give up.
    pub(super) fn watchdog() -> Option<Duration> {
        sd_notify::watchdog_enabled().map(|limit| limit / 3)
    }

    /// Configuration, lock and ledger are in order. That the source and BC can be reached does not matter: an outage at
    /// boot must not become a crash loop.
    pub(super) fn ready(&mut self, status: &str) {
        tell(&[NotifyState::Ready]);
        self.status(status);
    }

    /// The configuration is about to be read again; [`Self::ready`] ends that.
    pub(super) fn reloading() {
        // Without the time, `Type=notify-reload` waits until it gives up.
        match NotifyState::monotonic_usec_now() {
            Ok(now) => tell(&[NotifyState::Reloading, now]),
            Err(error) => debug!(%error, "the monotonic clock cannot be read"),
        }
    }

    /// The daemon is about to end, which may take up to `limit`.
    pub(super) fn stopping(&mut self, limit: Duration) {
        let extend = u32::try_from(limit.as_micros()).unwrap_or(u32::MAX);
        tell(&[NotifyState::Stopping, NotifyState::ExtendTimeoutUsec(extend)]);
        self.status("stopping: what was sent is seen to its end");
    }

    /// What it is doing, in words; told only when that has changed.
    pub(super) fn status(&mut self, status: &str) {
        if self.status != status {
            status.clone_into(&mut self.status);
            tell(&[NotifyState::Status(status)]);
        }
    }

    /// The daemon is alive.
    pub(super) fn alive() {
        tell(&[NotifyState::Watchdog]);
    }
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        debug!(%error, "systemd cannot be told");
    }
}
