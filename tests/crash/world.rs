//! The world around the process: a CRM in a SQLite file and those who work with it, a Business Central in this process,
//! the configuration, the ledger.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bcsync::simulator::{FaultMatch, Options, Simulator};
use serde_json::{Value, json};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions};
use sqlx::{AssertSqlSafe, Column as _, ConnectOptions as _, Row as _};
use tempfile::TempDir;

use crate::people::{Edits, Entered, Place, RowName};
use crate::process;
use crate::wire::Wire;

mod crm;

const CONFIG: &str = r#"
[ledger]
path = "@LEDGER@"

[retry]
attempts = 3
initial = "5ms"
max = "20ms"

[targets.main]
tenant = "contoso.onmicrosoft.com"
environment = "production"
company = "CRONUS USA, Inc."
client_id = "11111111-2222-3333-4444-555555555555"
client_secret = { env = "BCSYNC_TEST_SECRET" }
login_url = "@LOGIN_URL@"
base_url = "@BASE_URL@"
settle_window = "2s"

[targets.main.limits]
batch_size = 20

[sources.crm]
type = "sqlite"
path = "@CRM@"

[jobs.customers]
source = "crm"
entity = "customers"
query = "SELECT * FROM account"
key = "id"
cursor = "version"
overlap = 0
match_on = "number"
on_conflict = "hold"

[jobs.customers.fields]
number = "no"
displayName = "name"
email = "email"
creditLimit = "credit"

[jobs.orders]
source = "crm"
entity = "salesOrders"
after = ["customers"]
query = "SELECT * FROM sales_order"
key = "id"
cursor = "version"
overlap = 0
match_on = "externalDocumentNumber"
adopt = "never"
on_conflict = "hold"

[jobs.orders.fields]
externalDocumentNumber = "no"
customerId = "link('customers', account_id)"
email = "email"

[jobs.orders.lines]
entity = "salesOrderLines"
query = "SELECT order_id, line_no, sku, qty, price, text FROM order_line ORDER BY line_no"
parent = "order_id"
key = "line_no"

[jobs.orders.lines.fields]
lineType = "'Item'"
itemId = "lookup('items', sku)"
description = "text"
quantity = "qty"
unitPrice = "price"
"#;

/// `version` counts all changes of the CRM, so that each table has a cursor that no change is behind of.
const TABLES: &str = "
CREATE TABLE tick (n INTEGER);
INSERT INTO tick VALUES (0);
CREATE TABLE account (id INTEGER PRIMARY KEY, no TEXT, name TEXT, email TEXT, credit TEXT, version INTEGER);
CREATE TABLE sales_order (id INTEGER PRIMARY KEY, no TEXT, account_id INTEGER, email TEXT, version INTEGER);
CREATE TABLE order_line (
    order_id INTEGER, line_no INTEGER, sku TEXT, qty INTEGER, price TEXT, text TEXT, PRIMARY KEY (order_id, line_no));";

/// Everything around the process.
pub(crate) struct World {
    pub(crate) simulator: Arc<Simulator>,
    /// What the process is called with instead of the simulator itself.
    pub(crate) wire: Option<Wire>,
    folder: TempDir,
    ledger: PathBuf,
    crm: SqlitePool,
    config: String,
    mutant: Option<&'static str>,
    /// Customers and orders that the CRM has, numbered from 1.
    pub(crate) accounts: i64,
    pub(crate) orders: i64,
    /// What people entered in Business Central last, where it must still stand.
    pub(crate) entered: BTreeMap<Place, Entered>,
    /// The edits so far.
    pub(crate) edits: Edits,
    /// What the source changed last that people change too.
    pub(crate) edited_last: Option<Place>,
    /// Ids of rows in Business Central.
    pub(crate) ids: BTreeMap<RowName, String>,
}

impl World {
    /// A world with so many customers and orders in the CRM and nothing in Business Central.
    pub(crate) async fn new(accounts: i64, orders: i64) -> Self {
        Self::seeded(accounts, orders, 1).await
    }

    /// The same, in which the faults of Business Central are drawn from `seed`.
    pub(crate) async fn seeded(accounts: i64, orders: i64, seed: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let simulator = Arc::new(Simulator::start(Options { seed, ..Options::default() }).await.unwrap());
        let item = |n| json!({ "number": format!("ITEM-{n}"), "displayName": "Item", "unitPrice": 1 });
        let items: Value = (1..=9).map(item).collect();
        simulator.load("items", &items.to_string()).unwrap();
        let crm = SqliteConnectOptions::new()
            .filename(folder.path().join("crm.db"))
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(sqlx::sqlite::SqliteSynchronous::Off);
        let crm = SqlitePoolOptions::new()
            .max_connections(1)
            .max_lifetime(None)
            .idle_timeout(None)
            .connect_with(crm)
            .await
            .unwrap();
        let ledger = folder.path().join("ledger.db");
        let mut world = Self {
            simulator,
            wire: None,
            folder,
            ledger,
            crm,
            config: CONFIG.to_owned(),
            mutant: None,
            accounts: 0,
            orders: 0,
            entered: BTreeMap::new(),
            edits: Edits::default(),
            edited_last: None,
            ids: BTreeMap::new(),
        };
        sqlx::raw_sql(TABLES).execute(&world.crm).await.unwrap();
        world.add_accounts(accounts).await;
        world.add_orders(orders).await;
        world.configure();
        world
    }

    /// The same with a wire between process and simulator, on which tests can act.
    pub(crate) async fn with_wire(accounts: i64, orders: i64) -> Self {
        let mut world = Self::new(accounts, orders).await;
        world.wire = Some(Wire::to(&world.simulator.base_url()).await);
        world.configure();
        world
    }

    /// Has every process to come take a decision wrongly.
    pub(crate) fn mutate(&mut self, mutant: Option<&'static str>) {
        self.mutant = mutant;
    }

    /// Puts the ledger elsewhere.
    pub(crate) fn keep_ledger_in(&mut self, folder: &Path) {
        self.ledger = folder.join("ledger.db");
        self.configure();
    }

    /// Replaces text of the configuration.
    pub(crate) fn reconfigure(&mut self, old: &str, new: &str) {
        assert!(self.config.contains(old), "the configuration does not have {old:?}");
        self.config = self.config.replace(old, new);
        self.configure();
    }

    fn configure(&self) {
        let base_url = self.wire.as_ref().map_or_else(|| self.simulator.base_url(), |wire| wire.url.clone());
        let config = self
            .config
            .replace("@LEDGER@", &self.ledger.display().to_string())
            .replace("@CRM@", &self.folder.path().join("crm.db").display().to_string())
            .replace("@LOGIN_URL@", &self.simulator.login_url())
            .replace("@BASE_URL@", &base_url);
        fs::write(self.folder.path().join("config.toml"), config).unwrap();
    }

    // ---- Business Central -------------------------------------------------------------------------------------------

    /// All rows of a set.
    pub(crate) fn rows(&self, set: &str) -> Vec<Value> {
        self.simulator.rows(set).unwrap()
    }

    /// Waits until nothing is on its way any more, and moves Business Central's clock past every settle window.
    pub(crate) async fn let_windows_pass(&self) {
        self.simulator.settled().await;
        self.simulator.configure(|settings| settings.clock_offset_seconds += 10);
    }

    // ---- the process and its ledger ---------------------------------------------------------------------------------

    /// Starts a pass, with further arguments and variables.
    pub(crate) fn start(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Child {
        self.start_command("run", arguments, variables)
    }

    /// Starts any command.
    pub(crate) fn start_command(&self, name: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Child {
        let said = File::options().create(true).append(true).open(self.folder.path().join("said.log")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_bcsync"));
        command.env_clear().env("BCSYNC_TEST_SECRET", Options::default().client_secret);
        command.envs(variables.iter().copied()).envs(self.mutant.map(|name| ("BCSYNC_MUTANT", name)));
        command.arg("--config").arg(self.folder.path().join("config.toml")).arg(name).args(arguments);
        command.stdin(Stdio::null()).stdout(said.try_clone().unwrap()).stderr(said);
        let child = command.spawn().unwrap();
        if let Some(wire) = &self.wire {
            wire.belongs_to(child.id());
        }
        child
    }

    /// Makes a pass that must end by itself.
    pub(crate) async fn pass(&self) {
        let status = self.run(&[], &[]).await;
        assert!(ended_well(status), "a pass ended with {status}: {}", self.said());
    }

    /// Makes a pass that must die at a crash point.
    pub(crate) async fn crash(&self, point: &str) {
        let status = self.run(&[], &[("BCSYNC_CRASH_AT", point)]).await;
        assert!(was_killed(status), "{point}: the pass ended with {status}: {}", self.said());
    }

    /// Makes a pass and waits for its end.
    pub(crate) async fn run(&self, arguments: &[&str], variables: &[(&str, &str)]) -> ExitStatus {
        ended(self.start(arguments, variables)).await
    }

    /// Waits until a process has said `text`.
    pub(crate) async fn hears(&self, text: &str) {
        let heard = async {
            while !self.said().contains(text) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        process::in_time(text, heard).await;
    }

    /// The folder that everything but the ledger is in.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The end of what the processes said, for a failing test.
    pub(crate) fn said(&self) -> String {
        let said = fs::read_to_string(self.folder.path().join("said.log")).unwrap_or_default();
        let lines: Vec<_> = said.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    /// Deletes the ledger, and what says beside it that there was one.
    pub(crate) fn forget_everything(&self) {
        fs::remove_file(&self.ledger).unwrap();
        fs::remove_file(self.ledger.with_extension("db.lock")).unwrap();
    }

    /// Leaves everything where it is for whoever looks into a failure; gives the folder.
    pub(crate) fn keep(self) -> PathBuf {
        self.folder.keep()
    }

    /// Whether the ledger of a process that died knows of requests whose outcome is open. One that cannot be looked into
    /// without changing it has not come so far, or was being closed.
    pub(crate) async fn has_open_intents(&self) -> bool {
        let options = SqliteConnectOptions::new().filename(&self.ledger).read_only(true);
        let Ok(mut connection) = options.connect().await else { return false };
        let found = sqlx::query("SELECT intent_id FROM intent LIMIT 1").fetch_optional(&mut connection).await;
        found.is_ok_and(|row| row.is_some())
    }

    /// Executes SQL in the ledger, which no process has open.
    pub(crate) async fn change_ledger(&self, sql: &str) {
        rows_of(SqliteConnectOptions::new().filename(&self.ledger), sql).await;
    }

    /// Rows of a query on the ledger, each as its values joined by `|`.
    pub(crate) async fn ledger(&self, sql: &str) -> Vec<String> {
        rows_of(SqliteConnectOptions::new().filename(&self.ledger).read_only(true), sql).await
    }
}

/// Whether a process was killed, rather than ended.
pub(crate) fn was_killed(status: ExitStatus) -> bool {
    status.signal() == Some(9)
}

/// Whether a process ended by itself in one of the ways that are documented and that a test here may bring about: done
/// (0); done, with records in conflict because people and the source changed the same (1); or not done, since the faults
/// outlasted the few attempts that the configuration allows (3). Neither the configuration nor the ledger needs a person
/// (78), nobody else holds the ledger (75) or takes away permissions (77), and a panic (101) is always a mistake.
pub(crate) fn ended_well(status: ExitStatus) -> bool {
    matches!(status.code(), Some(0 | 1 | 3))
}

/// What matches operations with `method` on `set`.
pub(crate) fn on(method: &str, set: &str) -> FaultMatch {
    FaultMatch { method: Some(method.to_owned()), set: Some(set.to_owned()), ..FaultMatch::default() }
}

/// Waits for a process without keeping the simulator from working, and not without end.
pub(crate) async fn ended(process: Child) -> ExitStatus {
    process::ended(process).await.status
}

/// Rows of a query on a SQLite file, each as its values joined by `|`.
pub(crate) async fn rows_of(file: SqliteConnectOptions, sql: &str) -> Vec<String> {
    let mut connection = file.connect().await.unwrap();
    let rows = sqlx::query(AssertSqlSafe(sql.to_owned())).fetch_all(&mut connection).await.unwrap();
    rows.iter().map(told).collect()
}

fn told(row: &sqlx::sqlite::SqliteRow) -> String {
    let value = |at: usize| row.try_get_unchecked::<Option<String>, _>(at).unwrap().unwrap_or_default();
    row.columns().iter().map(|column| value(column.ordinal())).collect::<Vec<_>>().join("|")
}
