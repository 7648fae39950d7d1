//! Stories of the daemon: the real executable, its signals, and what other processes ask of it.

mod alerts;
mod requests;
mod restarts;
mod schedule;
mod signals;
mod soak;
mod storm;
mod systemd;
mod units;

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::bed::TestBed;

/// How long anything may take before a story fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// A daemon that runs. Killed when a story fails.
struct Running {
    child: Child,
    log: PathBuf,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Running {
    /// Starts a daemon with the configuration of the bed.
    fn start(bed: &TestBed) -> Self {
        Self::start_with(bed, |_| {})
    }

    /// Starts a daemon whose command was adjusted.
    fn start_with(bed: &TestBed, adjust: impl FnOnce(&mut Command)) -> Self {
        let number = fs::read_dir(bed.folder()).unwrap().count();
        let log = bed.folder().join(format!("daemon-{number}.log"));
        let mut command = bed.command(&["daemon", "-v"]);
        command.stdout(Stdio::null()).stderr(File::create(&log).unwrap());
        adjust(&mut command);
        Self { child: command.spawn().unwrap(), log }
    }

    /// Everything that was logged so far.
    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// Waits until `text` is in the log so many times.
    async fn logs(&self, text: &str, times: usize) {
        until(|| self.log().matches(text).count() >= times, || format!("no {times} x {text:?} in {}", self.log()))
            .await;
    }

    /// Waits until it is ready.
    async fn ready(self) -> Self {
        self.logs("ready:", 1).await;
        self
    }

    /// Sends a signal, such as `TERM`.
    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([format!("-{name}"), self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Waits for its end and gives the exit code; `None` when a signal ended it.
    async fn ends(mut self) -> Option<i32> {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(start.elapsed() < PATIENCE * 2, "it does not end: {}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Asks it to stop, and expects that it does.
    async fn stops(self) {
        self.signal("TERM");
        assert_eq!(self.ends().await, Some(0));
    }
}

/// Waits until `condition` holds.
async fn until(condition: impl Fn() -> bool, told: impl Fn() -> String) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "{}", told());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until a query on the ledger gives `value`.
async fn until_ledger(bed: &TestBed, sql: &str, value: &str) {
    let start = Instant::now();
    while !bed.folder().join("ledger.db").exists() || bed.ledger(sql).await != [value] {
        assert!(start.elapsed() < PATIENCE, "{sql} is not {value}: {:?}", bed.ledger(sql).await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
