//! A clock that jumps while a pass runs, at each instant at which the pass looks at it.
//!
//! The machine slept, or somebody set its clock: what was noted before is older by then than the program could know.

use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bcsync::app::{self, App, RunOptions};
use bcsync::clock::{Clock, SystemClock};
use bcsync::config;
use bcsync::model::RunResult;
use chrono::{DateTime, TimeDelta, Utc};
use tokio_util::sync::CancellationToken;

use crate::bed::{Secrets, TestBed, bed};

/// By how much the clock jumps: more than may lie between the note of a request and its leaving.
const JUMP: TimeDelta = TimeDelta::seconds(10);

/// The time, which jumps when it is looked at for the `at`th time.
#[derive(Debug)]
struct Jumping {
    at: u64,
    looks: AtomicU64,
}

impl Clock for Jumping {
    fn now(&self) -> DateTime<Utc> {
        let look = 1 + self.looks.fetch_add(1, Ordering::Relaxed);
        SystemClock.now() + if look < self.at { TimeDelta::zero() } else { JUMP }
    }
}

/// What is logged, in memory.
#[derive(Debug, Default, Clone)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn said(&self, text: &str) -> bool {
        String::from_utf8_lossy(&self.0.lock().unwrap()).contains(text)
    }
}

/// A pass of the customers in this process; gives how often it looked at the clock and what it logged.
async fn pass(bed: &TestBed, at: u64) -> (u64, Log) {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).finish();
    let listening = tracing::subscriber::set_default(subscriber);
    let mut config = config::load(&bed.config_path(), &Secrets).unwrap();
    let mappings = app::check(&mut config).unwrap();
    let clock = Arc::new(Jumping { at, looks: AtomicU64::new(0) });
    let app = App::new(&config, &Secrets).with_clock(clock.clone());
    let jobs = ["customers".to_owned()];
    let options = RunOptions {
        jobs: &jobs,
        full: false,
        cause: "command",
        cancel: CancellationToken::new(),
        progress: &|_, _| {},
    };
    let finished = app::run(&app, mappings, options, |_| {}).await.unwrap();
    drop(listening);
    let report = finished[0].outcome.as_ref().unwrap();
    assert_eq!((report.result, report.counters.created), (RunResult::Done, 1), "{report:?}");
    (clock.looks.load(Ordering::Relaxed), log)
}

#[tokio::test]
async fn a_request_whose_note_is_old_before_it_leaves_is_noted_again() {
    bed(async |bed| {
        bed.accounts([1]).await;
        let (looks, log) = pass(bed, u64::MAX).await;
        assert!(!log.said("noted again"));
        let mut noted_again = 0;
        for at in 1..=looks {
            bed.accounts([1 + i64::try_from(at).unwrap()]).await;
            let (_, log) = pass(bed, at).await;
            noted_again += u64::from(log.said("it is noted again before it is sent"));
        }
        // It jumped while the note was written, or behind it.
        assert!(noted_again > 0, "of {looks} looks");
        assert_eq!(bed.rows("customers").len() as u64, 1 + looks);
    })
    .await;
}
