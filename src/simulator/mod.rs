//! A Business Central (API v2.0) and a Microsoft Entra ID on a loopback address, for rehearsals, demonstrations and tests.
//!
//! It behaves as Microsoft documents the real ones and as people have observed them, oddities included: filters that are
//! silently ignored, rolled-back batches that still answer 201, orders that vanish when they are posted. Faults can be
//! asked for, from lost answers to late commits. What it does not imitate: extensions, posting beyond documents, webhooks.
//!
//! It shares neither wire code nor field knowledge with the client, so that one misreading cannot hide in both, and it
//! never listens anywhere but on loopback.
//!
//! ```text
//! server ──admit, limits, faults──▶ engine ──▶ service ──▶ masterdata · documents · lines · posting
//!    │                                 │           │                        │
//! entra, control                     batch    route, query, filter        rules ──▶ store ──▶ table ──▶ record
//! ```

mod answer;
mod batch;
mod body;
mod call;
mod certificate;
mod companies;
mod connection;
mod control;
mod control_routes;
mod documents;
mod engine;
mod entra;
mod errors;
mod faults;
mod fields;
mod filter;
mod json;
mod limits;
mod lines;
mod masterdata;
mod metadata;
mod options;
mod persist;
mod postcodes;
mod posting;
mod query;
mod record;
mod response;
mod route;
mod rules;
mod seed;
mod server;
mod service;
mod settings;
mod state;
mod stats;
mod store;
mod table;
mod value;

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use rust_decimal::Decimal;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

pub use control::{Deed, Person};
pub use faults::{Fault, FaultKind, FaultMatch};
pub use options::Options;
pub use settings::{Limits, Settings};
pub use stats::{Operations, Stats};

use connection::{CuttableListener, Scissors};
use state::State;
use store::Setup;

/// How long open requests may take to end when the simulator stops.
const GRACE: Duration = Duration::from_millis(200);

/// A running simulator. Dropping it without [`Simulator::stop`] leaves it running until the runtime ends.
#[derive(Debug)]
pub struct Simulator {
    state: Arc<State>,
    stop: oneshot::Sender<()>,
    server: JoinHandle<io::Result<()>>,
    connections: Scissors,
}

impl Simulator {
    /// Starts to listen. Rows come from the data file when there is one, else from the built-in code tables.
    ///
    /// # Errors
    /// When the address is not a loopback address or is taken, or the data file cannot be read.
    pub async fn start(options: Options) -> io::Result<Self> {
        if !options.listen.ip().is_loopback() {
            let text = format!("the simulator listens on loopback addresses only, not on {}", options.listen.ip());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let listener = TcpListener::bind(options.listen).await?;
        let base_url = format!("http://{}", listener.local_addr()?);
        let setup = Setup {
            local_currency: options.local_currency.clone(),
            tax_percent: options.tax_percent,
            template: true,
            manual_numbers: std::collections::BTreeSet::new(),
        };
        let store = match &options.data_file {
            Some(path) if path.exists() => persist::read(path, &setup)?,
            _ => seed::store(&options.companies, &setup, options.clock.now()),
        };
        let state = Arc::new(State::new(options, base_url, store));
        let connections = Scissors::default();
        let listener = CuttableListener::new(listener, connections.clone());
        let service = server::router(Arc::clone(&state)).into_make_service_with_connect_info::<Scissors>();
        let (stop, stopped) = oneshot::channel::<()>();
        let serve = axum::serve(listener, service).with_graceful_shutdown(async move {
            // A dropped sender means that nobody will ever stop it.
            if stopped.await.is_err() {
                std::future::pending::<()>().await;
            }
        });
        let server = tokio::spawn(serve.into_future());
        Ok(Self { state, stop, server, connections })
    }

    /// `http://127.0.0.1:PORT`: what stands before `/v2.0/...` in the API's URLs.
    #[must_use]
    pub fn base_url(&self) -> String {
        self.state.base_url.clone()
    }

    /// What stands before `/{tenant}/oauth2/v2.0/token`.
    #[must_use]
    pub fn login_url(&self) -> String {
        self.state.base_url.clone()
    }

    /// The API root: `{base_url}/v2.0/{tenant}/{environment}/api/v2.0`.
    #[must_use]
    pub fn api_url(&self) -> String {
        format!("{}{}", self.state.base_url, self.state.api_path())
    }

    /// Id of the first company.
    #[must_use]
    pub fn company_id(&self) -> String {
        self.state.store().companies[0].id.to_string()
    }

    /// Stops: open requests get a moment, then every connection is cut; rows go to the data file when there is one.
    ///
    /// # Errors
    /// When the data file cannot be written.
    pub async fn stop(self) -> io::Result<()> {
        let _ = self.stop.send(());
        let mut server = self.server;
        if timeout(GRACE, &mut server).await.is_err() {
            self.connections.cut();
            server.abort();
        }
        persist::save(&self.state).map(drop)
    }

    /// Writes the rows to the data file and gives their number; 0 without a data file.
    ///
    /// # Errors
    /// When the data file cannot be written.
    pub fn save(&self) -> io::Result<usize> {
        persist::save(&self.state)
    }

    /// Waits until no request is being worked on and no late commit is outstanding.
    pub async fn settled(&self) {
        self.state.settled().await;
    }

    /// Counts since the start or the last reset.
    #[must_use]
    pub fn stats(&self) -> Stats {
        control::stats(&self.state)
    }

    /// Sets all counts to zero.
    pub fn reset_stats(&self) {
        control::reset_stats(&self.state);
    }

    /// The switches as they stand.
    #[must_use]
    pub fn settings(&self) -> Settings {
        self.state.settings()
    }

    /// Changes switches.
    pub fn configure(&self, change: impl FnOnce(&mut Settings)) {
        let mut settings = self.state.settings();
        change(&mut settings);
        self.state.configure(settings);
    }

    /// Puts a fault into force.
    pub fn inject(&self, fault: Fault) {
        self.state.faults().add(fault);
    }

    /// Takes all faults out of force.
    pub fn clear_faults(&self) {
        self.state.faults().clear(None);
    }

    /// The faults that can still strike.
    #[must_use]
    pub fn faults(&self) -> Vec<Fault> {
        self.state.faults().list()
    }

    /// Makes every token that was issued worthless.
    pub fn revoke_tokens(&self) {
        self.state.entra().revoke();
    }

    /// Rows of a set of the first company as the API would show them.
    ///
    /// # Errors
    /// When there is no such set.
    pub fn rows(&self, set: &str) -> Result<Vec<serde_json::Value>, String> {
        let lines = control::rows(&self.state, None, set)?;
        lines.iter().map(|line| serde_json::from_str(line).map_err(|error| error.to_string())).collect()
    }

    /// Number of rows of a set of the first company.
    ///
    /// # Errors
    /// When there is no such set.
    pub fn count(&self, set: &str) -> Result<usize, String> {
        control::count(&self.state, None, set)
    }

    /// Creates the rows of a JSON array in the first company as if each had been posted, all or none.
    ///
    /// # Errors
    /// The text of the first refusal.
    pub fn load(&self, set: &str, json: &str) -> Result<usize, String> {
        control::load(&self.state, None, set, json)
    }

    /// Values of a property that more than one row of the first company has, with how many.
    ///
    /// # Errors
    /// When there is no such set or property.
    pub fn duplicates(&self, set: &str, property: &str) -> Result<BTreeMap<String, usize>, String> {
        control::duplicates(&self.state, None, set, property)
    }

    /// Sum of a decimal property over the rows of the first company.
    ///
    /// # Errors
    /// When there is no such set or property.
    pub fn total(&self, set: &str, property: &str) -> Result<Decimal, String> {
        control::total(&self.state, None, set, property)
    }

    /// Lets a person do something to a row, and gives it as it was before.
    ///
    /// # Errors
    /// When there is no such row, or BC would refuse.
    pub fn person(&self, person: &Person) -> Result<serde_json::Value, String> {
        let before = control::person(&self.state, person)?;
        serde_json::from_str(&before).map_err(|error| error.to_string())
    }
}
