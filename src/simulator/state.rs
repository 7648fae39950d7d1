//! Everything that the parts of a running simulator share.
//!
//! Each piece has its own lock, held only for the moment and never across an await.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Duration, Utc};
use tokio::sync::watch;

use super::call::Surroundings;
use super::entra::Entra;
use super::faults::Faults;
use super::limits::Gate;
use super::options::Options;
use super::settings::Settings;
use super::stats::Stats;
use super::store::Store;

/// The state of a running simulator.
#[derive(Debug)]
pub(super) struct State {
    /// How it was started.
    pub(super) options: Options,
    /// `http://127.0.0.1:PORT`.
    pub(super) base_url: String,
    /// Limits of the principal.
    pub(super) gate: Arc<Gate>,
    open_work: watch::Sender<usize>,
    store: Mutex<Store>,
    settings: Mutex<Settings>,
    faults: Mutex<Faults>,
    stats: Mutex<Stats>,
    entra: Mutex<Entra>,
}

impl State {
    /// The state of a simulator that is about to listen at `base_url`.
    pub(super) fn new(options: Options, base_url: String, store: Store) -> Self {
        let mut settings = options.settings.clone();
        if !options.manual_numbers {
            settings.manual_numbers.clear();
        }
        let state = Self {
            base_url,
            gate: Arc::default(),
            open_work: watch::Sender::new(0),
            store: Mutex::new(store),
            faults: Mutex::new(Faults::new(options.seed)),
            stats: Mutex::default(),
            entra: Mutex::new(Entra::new(&options)),
            settings: Mutex::new(settings.clone()),
            options,
        };
        state.configure(settings);
        state
    }

    /// The rows.
    pub(super) fn store(&self) -> MutexGuard<'_, Store> {
        lock(&self.store)
    }

    /// The rules that say what goes wrong.
    pub(super) fn faults(&self) -> MutexGuard<'_, Faults> {
        lock(&self.faults)
    }

    /// The counts.
    pub(super) fn stats(&self) -> MutexGuard<'_, Stats> {
        lock(&self.stats)
    }

    /// The directory.
    pub(super) fn entra(&self) -> MutexGuard<'_, Entra> {
        lock(&self.entra)
    }

    /// The switches as they stand.
    pub(super) fn settings(&self) -> Settings {
        lock(&self.settings).clone()
    }

    /// Sets all switches and hands those that concern a company on to it.
    pub(super) fn configure(&self, settings: Settings) {
        for company in &mut self.store().companies {
            company.setup.template = settings.template;
            company.setup.manual_numbers.clone_from(&settings.manual_numbers);
        }
        *lock(&self.settings) = settings;
        self.gate.reconsider();
    }

    /// The simulator's time.
    pub(super) fn now(&self) -> DateTime<Utc> {
        self.options.clock.now() + Duration::seconds(lock(&self.settings).clock_offset_seconds)
    }

    /// Counts a request as being worked on until the result is dropped.
    pub(super) fn begin_work(self: &Arc<Self>) -> OpenWork {
        self.open_work.send_modify(|open| *open += 1);
        OpenWork(Arc::clone(self))
    }

    /// Waits until nothing is being worked on, late commits included.
    pub(super) async fn settled(&self) {
        let mut open_work = self.open_work.subscribe();
        // The sender lives as long as this state.
        let _ = open_work.wait_for(|open| *open == 0).await;
    }

    /// Path of the API root.
    pub(super) fn api_path(&self) -> String {
        format!("/v2.0/{}/{}/api/v2.0", self.options.tenant, self.options.environment)
    }

    /// What stands around an operation that runs now.
    pub(super) fn surroundings(&self) -> Surroundings {
        let settings = self.settings();
        let path = self.api_path();
        let link_host = settings.next_link_host.as_deref().unwrap_or(&self.base_url);
        Surroundings {
            root: format!("{}{path}", self.base_url),
            link_root: format!("{link_host}{path}"),
            now: self.now(),
            denied: settings.denied,
            read_only: settings.read_only,
        }
    }
}

/// A request that is being worked on, with or without someone who waits for the answer.
#[derive(Debug)]
pub(super) struct OpenWork(Arc<State>);

impl Drop for OpenWork {
    fn drop(&mut self) {
        self.0.open_work.send_modify(|open| *open -= 1);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
