//! The test bed of the stories: a real SQLite CRM, a simulated Business Central, a configuration file, and the real
//! executable in a process of its own.
//!
//! [`bed`] hands a bed to a story and always finishes it: nothing may be left to write, every record must be in exactly
//! one counter, no request may be unresolved, every row in Business Central must be a linked one or one that was there
//! before, none of them twice, and no secret may have come out anywhere.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use bcsync::config::Environment;
use bcsync::simulator::{FaultMatch, Options, Simulator};
use serde_json::{Value, json};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool, SqliteRow};
use sqlx::{AssertSqlSafe, Column as _, ConnectOptions as _, Row as _};
use tempfile::TempDir;

use crate::process::output_of;

mod company;
mod end;
mod pass;

pub(crate) use pass::{Pass, pass_of};

/// The client secret of the beds; it must come out nowhere.
pub(crate) const SECRET: &str = "canary-0f6c1b7e-client-secret";

/// The surroundings of a pass that runs in this process.
pub(crate) struct Secrets;

impl Environment for Secrets {
    fn variable(&self, name: &str) -> Option<OsString> {
        (name == "BCSYNC_TEST_SECRET").then(|| SECRET.into())
    }

    fn groups(&self) -> Vec<u32> {
        Vec::new()
    }
}

const CONFIG: &str = r#"
[ledger]
path = "@FOLDER@/ledger.db"

[retry]
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

[targets.main.limits]
batch_size = 100

[sources.crm]
type = "sqlite"
path = "@FOLDER@/crm.db"

[jobs.customers]
source = "crm"
entity = "customers"
query = "SELECT * FROM account"
key = "id"
match_on = "number"
adopt = "update"
on_conflict = "source_wins"
rename = false

[jobs.customers.fields]
number = "no"
displayName = "name"
country = "country"
postalCode = "zip"
city = "city"
email = "email"
creditLimit = "credit"

[jobs.customers.create_only]
salespersonCode = "'LM'"

[jobs.orders]
source = "crm"
entity = "salesOrders"
after = ["customers"]
query = "SELECT * FROM sales_order"
key = "id"
match_on = "externalDocumentNumber"
adopt = "never"
on_conflict = "hold"
check_total = { property = "totalAmountExcludingTax", equals = "total", tolerance = "0.01" }

[jobs.orders.fields]
externalDocumentNumber = "'WEB-' ~ id"
customerId = "link('customers', account_id)"
orderDate = "ordered_on | date"
currencyCode = "currency"
email = "email"

[jobs.orders.lines]
entity = "salesOrderLines"
query = "SELECT order_id, line_no, sku, qty, price, text FROM order_line ORDER BY position"
parent = "order_id"
key = "line_no"

[jobs.orders.lines.fields]
lineType = "'Item'"
itemId = "lookup('items', sku)"
description = "text"
quantity = "qty"
unitPrice = "price"
"#;

const TABLES: &str = "
CREATE TABLE account (
    id INTEGER PRIMARY KEY, no TEXT, name TEXT, country TEXT, zip TEXT, city TEXT, email TEXT, credit TEXT,
    updated_at TEXT DEFAULT '2026-01-01 00:00:00');
CREATE TABLE sales_order (
    id INTEGER PRIMARY KEY, account_id INTEGER, ordered_on TEXT DEFAULT '2026-02-03', currency TEXT DEFAULT '',
    email TEXT DEFAULT '', total TEXT);
CREATE TABLE order_line (
    order_id INTEGER, line_no INTEGER, sku TEXT, qty TEXT, price TEXT, text TEXT, position INTEGER,
    PRIMARY KEY (order_id, line_no));
CREATE TRIGGER total_of_new AFTER INSERT ON order_line BEGIN
    UPDATE sales_order SET total = (SELECT sum(qty * price) FROM order_line WHERE order_id = NEW.order_id)
    WHERE id = NEW.order_id; END;
CREATE TRIGGER total_of_changed AFTER UPDATE ON order_line BEGIN
    UPDATE sales_order SET total = (SELECT sum(qty * price) FROM order_line WHERE order_id = NEW.order_id)
    WHERE id = NEW.order_id; END;
CREATE TRIGGER total_of_removed AFTER DELETE ON order_line BEGIN
    UPDATE sales_order SET total = (SELECT sum(qty * price) FROM order_line WHERE order_id = OLD.order_id)
    WHERE id = OLD.order_id; END;";

/// Everything that a story needs.
pub(crate) struct TestBed {
    /// The simulated Business Central.
    pub(crate) simulator: Simulator,
    folder: TempDir,
    config: String,
    crm: SqlitePool,
    /// Ids of rows that are in Business Central without our doing.
    foreign: BTreeSet<String>,
    /// Everything that the executable ever said.
    said: Vec<u8>,
}

/// Hands a fresh bed to `story`, and finishes it.
pub(crate) async fn bed(story: impl AsyncFnOnce(&mut TestBed)) {
    bed_with(Options::default(), story).await;
}

/// Hands a fresh bed, whose simulator is started with `options`, to `story`, and finishes it.
pub(crate) async fn bed_with(options: Options, story: impl AsyncFnOnce(&mut TestBed)) {
    let mut bed = TestBed::make(options).await;
    story(&mut bed).await;
    bed.finish().await;
}

impl TestBed {
    async fn make(options: Options) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let simulator = Simulator::start(Options { client_secret: SECRET.to_owned(), ..options }).await.unwrap();
        let item = |n| json!({ "number": format!("ITEM-{n}"), "displayName": "Item", "unitPrice": 1 });
        let items: Value = (1..=9).map(item).collect();
        simulator.load("items", &items.to_string()).unwrap();
        let crm = SqliteConnectOptions::new().filename(folder.path().join("crm.db")).create_if_missing(true);
        let crm = SqlitePool::connect_with(crm).await.unwrap();
        let config = CONFIG
            .replace("@FOLDER@", &folder.path().display().to_string())
            .replace("@LOGIN_URL@", &simulator.login_url())
            .replace("@BASE_URL@", &simulator.base_url());
        let bed = Self { simulator, folder, config, crm, foreign: BTreeSet::new(), said: Vec::new() };
        bed.write_config();
        bed.crm(TABLES).await;
        bed
    }

    // ---- the source -------------------------------------------------------------------------------------------------

    /// Executes SQL in the CRM.
    pub(crate) async fn crm(&self, sql: &str) {
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&self.crm).await.unwrap();
    }

    /// Rows of a query on the CRM, each as its values joined by `|`.
    pub(crate) async fn source(&self, sql: &str) -> Vec<String> {
        told(&sqlx::query(AssertSqlSafe(sql.to_owned())).fetch_all(&self.crm).await.unwrap())
    }

    /// Adds accounts with these ids; account 1 becomes customer C1.
    pub(crate) async fn accounts(&self, ids: impl IntoIterator<Item = i64>) {
        let row = |id: i64| {
            format!("({id}, 'C{id}', 'Customer {id}', 'NO', '0150', 'Oslo', 'office@c{id}.example', '{id}00.50')")
        };
        let rows: Vec<_> = ids.into_iter().map(row).collect();
        let columns = "id, no, name, country, zip, city, email, credit";
        self.crm(&format!("INSERT INTO account ({columns}) VALUES {}", rows.join(","))).await;
    }

    /// Adds orders with these ids, each for the account with the same id and with so many lines.
    pub(crate) async fn orders(&self, ids: impl IntoIterator<Item = i64>, lines: i64) {
        let ids: Vec<_> = ids.into_iter().collect();
        let orders: Vec<_> = ids.iter().map(|id| format!("({id}, {id}, '0')")).collect();
        let line = |id: i64, line: i64| {
            format!(
                "({id}, {line}, 'ITEM-{}', '{}', '{}.25', 'Line {line}', {line})",
                1 + line % 9,
                1 + line % 3,
                1 + id % 5
            )
        };
        let lines: Vec<_> = ids.iter().flat_map(|id| (1..=lines).map(move |number| line(*id, number))).collect();
        self.crm(&format!(
            "BEGIN; INSERT INTO sales_order (id, account_id, total) VALUES {};
             INSERT INTO order_line VALUES {}; COMMIT",
            orders.join(","),
            lines.join(",")
        ))
        .await;
    }

    // ---- the configuration ------------------------------------------------------------------------------------------

    /// Replaces text of the configuration, everywhere.
    #[track_caller]
    pub(crate) fn configure(&mut self, old: &str, new: &str) {
        assert!(self.config.contains(old), "the configuration does not have {old:?}");
        self.config = self.config.replace(old, new);
        self.write_config();
    }

    /// The configuration as it stands.
    pub(crate) fn config_text(&self) -> &str {
        &self.config
    }

    fn write_config(&self) {
        fs::write(self.config_path(), &self.config).unwrap();
    }

    /// Where the configuration is.
    pub(crate) fn config_path(&self) -> PathBuf {
        self.folder.path().join("config.toml")
    }

    /// The folder that everything is in.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    // ---- the executable ---------------------------------------------------------------------------------------------

    /// The executable with these arguments, ready to be started.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bcsync"));
        command
            .env_clear()
            .env("BCSYNC_TEST_SECRET", SECRET)
            .arg("--config")
            .arg(self.config_path())
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs the executable with these arguments to its end.
    pub(crate) async fn bcsync(&mut self, arguments: &[&str]) -> Output {
        let output = output_of(self.command(arguments)).await;
        self.said.extend_from_slice(&output.stdout);
        self.said.extend_from_slice(&output.stderr);
        output
    }

    /// Runs the executable with these arguments and gives what it put out.
    pub(crate) async fn output(&mut self, arguments: &[&str]) -> String {
        let output = self.bcsync(arguments).await;
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// One pass of all jobs.
    pub(crate) async fn run(&mut self) -> Pass {
        self.run_with(&[]).await
    }

    /// One pass with further arguments.
    pub(crate) async fn run_with(&mut self, arguments: &[&str]) -> Pass {
        let arguments: Vec<_> = ["run", "--json"].iter().chain(arguments).copied().collect();
        let output = self.bcsync(&arguments).await;
        pass_of(&output)
    }

    // ---- the ledger -------------------------------------------------------------------------------------------------

    /// Rows of a query on the ledger, each as its values joined by `|`.
    pub(crate) async fn ledger(&self, sql: &str) -> Vec<String> {
        let path = self.folder.path().join("ledger.db");
        let mut connection = SqliteConnectOptions::new().filename(path).read_only(true).connect().await.unwrap();
        let rows = told(&sqlx::query(AssertSqlSafe(sql.to_owned())).fetch_all(&mut connection).await.unwrap());
        sqlx::Connection::close(connection).await.unwrap();
        rows
    }

    /// Executes SQL in the ledger, which nobody has open.
    pub(crate) async fn write_ledger(&self, sql: &str) {
        let path = self.folder.path().join("ledger.db");
        let mut connection = SqliteConnectOptions::new().filename(path).connect().await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut connection).await.unwrap();
        sqlx::Connection::close(connection).await.unwrap();
    }

    /// The only value of a query on the ledger.
    pub(crate) async fn ledger_value(&self, sql: &str) -> String {
        let mut rows = self.ledger(sql).await;
        assert_eq!(rows.len(), 1, "{sql}: {rows:?}");
        rows.remove(0)
    }

    /// Which properties were changed from what to what by updates so far, oldest first.
    pub(crate) async fn field_changes(&self, job: &str) -> Vec<String> {
        self.ledger(&format!(
            "SELECT key, property, old, new FROM field_changes WHERE job = '{job}' AND outcome = 'updated' \
             ORDER BY run_id, at, key, property"
        ))
        .await
    }

    /// Why the record is in the outbox: its state and reason.
    pub(crate) async fn reason(&self, job: &str, key: &str) -> String {
        self.ledger_value(&format!(
            "SELECT state || ': ' || coalesce(reason, '') FROM outbox JOIN job USING (job_id) \
             WHERE job.name = '{job}' AND key = '{key}'"
        ))
        .await
    }
}

/// Rows of SQLite, each as its values joined by `|`.
fn told(rows: &[SqliteRow]) -> Vec<String> {
    let text = |row: &SqliteRow| {
        let value = |at: usize| row.try_get_unchecked::<Option<String>, _>(at).unwrap().unwrap_or_default();
        row.columns().iter().map(|column| value(column.ordinal())).collect::<Vec<_>>().join("|")
    };
    rows.iter().map(text).collect()
}

/// Matches operations with `method` on `set`.
pub(crate) fn writes(method: &str, set: &str) -> FaultMatch {
    FaultMatch { method: Some(method.to_owned()), set: Some(set.to_owned()), ..FaultMatch::default() }
}
