//! What schedulers are known to do wrong with passes, tried on the daemon itself: with the real crate under it, a ledger in
//! a file, and a clock that is moved. What they do wrong with times is tried where those are kept, in `ticks` and `year`.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::TimeDelta;
use sqlx::Connection as _;
use sqlx::sqlite::SqliteConnection;
use tokio::runtime::Handle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::made_up::{at, trigger};
use super::{CarryOut, Daemon, JobPlan, Order, Reload, Triggers, Work};
use crate::alert;
use crate::clock::{Clock as _, ManualClock};
use crate::ledger::{Ledger, OpenOptions, RequestEnd};
use crate::model::RunResult;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// What daemons have in common that follow each other.
struct Scene {
    folder: tempfile::TempDir,
    clock: Arc<ManualClock>,
    ledger: Arc<Ledger>,
    /// The jobs whose passes were begun.
    begun: Arc<Mutex<Vec<String>>>,
}

impl Scene {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = OpenOptions { path: folder.path().join("ledger.db"), store_values: true, redact: Vec::new() };
        let clock = Arc::new(ManualClock::new(at("2026-06-01T12:00:30Z")));
        let ledger = Arc::new(Ledger::open(options, clock.clone()).await.unwrap());
        Self { folder, clock, ledger, begun: Arc::default() }
    }

    /// A daemon whose jobs are due every minute. `pass` gives how a pass ends.
    fn daemon(
        &self,
        jobs: &[&str],
        stop: &CancellationToken,
        pass: impl Fn(&Order) -> RunResult + Send + Sync + 'static,
    ) -> Daemon {
        let begun = self.begun.clone();
        let carry_out: CarryOut = Arc::new(move |order| {
            begun.lock().unwrap().push(order.job.clone());
            RequestEnd { result: pass(order), message: None, run: None }
        });
        let jobs = jobs.iter().map(|&name| every_minute(name)).collect();
        let alerts = alert::Settings::default();
        let work = Work { jobs, keep_history: Duration::from_hours(24), alerts, carry_out };
        let reload: Reload = Box::new(|| Err(Vec::new()));
        Daemon { ledger: self.ledger.clone(), clock: self.clock.clone(), work, reload, stop: stop.clone() }
    }

    /// The jobs whose passes were begun, in the order of their names.
    fn begun(&self) -> Vec<String> {
        let mut begun = self.begun.lock().unwrap().clone();
        begun.sort();
        begun
    }

    /// Waits until so many passes were begun.
    async fn begins(&self, passes: usize) {
        until(async || self.begun().len() >= passes).await;
    }

    /// Waits until the schedules of so many jobs were kept until now.
    async fn keeps(&self, jobs: usize) {
        until(async || {
            let kept = self.ledger.kept_schedules().await.unwrap();
            kept.len() == jobs && kept.values().all(|kept| kept.pass_until >= self.clock.now())
        })
        .await;
    }

    /// How many times of the schedule were left out.
    async fn skipped(&self) -> i64 {
        let url = format!("sqlite://{}?mode=ro", self.folder.path().join("ledger.db").display());
        let mut connection = SqliteConnection::connect(&url).await.unwrap();
        sqlx::query_scalar("SELECT coalesce(sum(skipped), 0) FROM schedule").fetch_one(&mut connection).await.unwrap()
    }

    fn minute(&self) {
        self.clock.advance(TimeDelta::minutes(1));
    }
}

fn every_minute(name: &str) -> JobPlan {
    JobPlan {
        name: name.to_owned(),
        target: name.to_owned(),
        after: Vec::new(),
        triggers: Triggers { pass: Some(trigger("* * * * *", "UTC")), full: None },
        jitter: Duration::ZERO,
        catch_up: true,
        timeout: Duration::from_mins(1),
        pause: None,
    }
}

async fn until(condition: impl AsyncFn() -> bool) {
    let start = Instant::now();
    while !condition().await {
        assert!(start.elapsed() < PATIENCE, "it does not come");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_pass_that_panics_fails_alone_and_its_job_stays_on_schedule() {
    let (scene, stop) = (Scene::new().await, CancellationToken::new());
    let daemon = scene.daemon(&["broken", "sound"], &stop, |order| {
        assert!(order.job != "broken", "this job always panics");
        RunResult::Done
    });
    let minutes = async {
        scene.keeps(2).await;
        for _ in 0..3 {
            scene.minute();
            // Both are over by then; otherwise the next minute would be skipped.
            scene.keeps(2).await;
        }
        stop.cancel();
    };
    let (ended, ()) = tokio::join!(daemon.run(), minutes);
    ended.unwrap();
    assert_eq!(scene.begun(), ["broken", "broken", "broken", "sound", "sound", "sound"]);
}

#[tokio::test]
async fn a_pass_that_takes_longer_than_its_period_is_joined_by_no_other() {
    let (scene, stop) = (Scene::new().await, CancellationToken::new());
    // Whatever waits at the gate goes on when `open` is gone.
    let (open, gate) = std::sync::mpsc::channel();
    let gate = Mutex::new(gate);
    let daemon = scene.daemon(&["slow"], &stop, move |_| {
        let _ = gate.lock().unwrap().recv();
        RunResult::Done
    });
    let minutes = async {
        scene.keeps(1).await;
        scene.minute();
        scene.begins(1).await;
        for skipped in 1..=3 {
            scene.minute();
            until(async || scene.skipped().await == skipped).await;
        }
        assert_eq!(scene.begun(), ["slow"]);
        open.send(()).unwrap();
        // The minutes that were skipped are over with it.
        scene.keeps(1).await;
        scene.minute();
        scene.begins(2).await;
        open.send(()).unwrap();
        scene.keeps(1).await;
        stop.cancel();
    };
    let (ended, ()) = tokio::join!(daemon.run(), minutes);
    ended.unwrap();
    assert_eq!(scene.begun(), ["slow", "slow"]);
    assert_eq!(scene.skipped().await, 3);
}

#[tokio::test]
async fn a_pass_that_was_stopped_is_made_up_for_by_the_next_daemon_once() {
    let scene = Scene::new().await;
    let stop = CancellationToken::new();
    let stopped = scene.daemon(&["job"], &stop, {
        let stop = stop.clone();
        move |_| {
            Handle::current().block_on(stop.cancelled());
            RunResult::Interrupted
        }
    });
    let stop = stop.drop_guard();
    let minute = async {
        scene.keeps(1).await;
        scene.minute();
        scene.begins(1).await;
        drop(stop);
    };
    let (ended, ()) = tokio::join!(stopped.run(), minute);
    ended.unwrap();
    for passes in [2, 2] {
        let stop = CancellationToken::new();
        let next = scene.daemon(&["job"], &stop, |_| RunResult::Done);
        let end = async {
            scene.keeps(1).await;
            stop.cancel();
        };
        let (ended, ()) = tokio::join!(next.run(), end);
        ended.unwrap();
        assert_eq!(scene.begun().len(), passes, "the clock stands still");
    }
}
