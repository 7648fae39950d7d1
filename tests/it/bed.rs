//! The test bed of the stories: a real SQLite CRM, a simulated Business Central, a configuration file, and the real
//! executable in a process of its own.
//!
//! [`bed`] hands a bed to a story and always finishes it: nothing may be left to write, every record must be in exactly
//! one counter, no request may be unresolved, every row in Business Central must be a linked one or one that was there
//! before, none of them twice, and no secret may have come out anywhere.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bcsync::config::Environment;
use bcsync::simulator::{Deed, Fault, FaultKind, FaultMatch, Options, Person, Simulator};
use serde_json::{Value, json};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool, SqliteRow};
use sqlx::{AssertSqlSafe, Column as _, ConnectOptions as _, Row as _};
use tempfile::TempDir;

use crate::process::{in_time, output_of};

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

/// One pass of all jobs, as `run --json` told it.
#[derive(Debug)]
pub(crate) struct Pass {
    code: Option<i32>,
    stderr: String,
    pub(crate) jobs: BTreeMap<String, Value>,
}

impl Pass {
    /// Fails unless the process ended with this code.
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}", self.details());
        self
    }

    /// Fails unless the counters of `job` that are not 0 are these, as in "1 staged, 1 created". The two that are the
    /// sums of the others are left out.
    #[track_caller]
    pub(crate) fn did(self, job: &str, counters: &str) -> Self {
        assert_eq!(self.counters(job), counters, "job {job}: {}", self.details());
        self
    }

    /// The counters of `job` that are not 0, without the two sums.
    #[track_caller]
    pub(crate) fn counters(&self, job: &str) -> String {
        let report = self.jobs.get(job).unwrap_or_else(|| panic!("no report of {job}: {}", self.details()));
        let counters: BTreeMap<String, u64> = serde_json::from_value(report["counters"].clone()).unwrap_or_default();
        let shown = COUNTERS.iter().filter_map(|name| match counters.get(*name) {
            Some(count @ 1..) => Some(format!("{count} {name}")),
            _ => None,
        });
        shown.collect::<Vec<_>>().join(", ")
    }

    /// One counter of `job`.
    pub(crate) fn count(&self, job: &str, counter: &str) -> u64 {
        self.jobs.get(job).and_then(|report| report["counters"][counter].as_u64()).unwrap_or_default()
    }

    /// What was said of the pass of `job`; empty when it did all it was to do.
    pub(crate) fn message(&self, job: &str) -> String {
        self.jobs.get(job).and_then(|report| report["message"].as_str()).unwrap_or_default().to_owned()
    }

    /// Everything, for a failing test.
    pub(crate) fn details(&self) -> String {
        let mut text = format!("exit {:?}\n", self.code);
        for job in self.jobs.values() {
            let _ = writeln!(text, "{job}");
        }
        text + &self.stderr
    }
}

/// The counters in the order of the documentation, without the two sums.
const COUNTERS: [&str; 18] = [
    "unchanged",
    "filtered",
    "queued",
    "staged",
    "refused",
    "created",
    "adopted",
    "updated",
    "equal",
    "closed",
    "deleted",
    "blocked",
    "waiting",
    "pending",
    "held",
    "locked",
    "conflict",
    "quarantined",
];

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

    // ---- Business Central -------------------------------------------------------------------------------------------

    /// All rows of a set.
    pub(crate) fn rows(&self, set: &str) -> Vec<Value> {
        self.simulator.rows(set).unwrap()
    }

    /// The values of `property` over all rows of a set, in order.
    pub(crate) fn column(&self, set: &str, property: &str) -> Vec<String> {
        let mut values: Vec<_> =
            self.rows(set).iter().map(|row| row[property].as_str().unwrap_or_default().to_owned()).collect();
        values.sort();
        values
    }

    /// The only row of `set` whose `property` is `value`.
    #[track_caller]
    pub(crate) fn row(&self, set: &str, property: &str, value: &str) -> Value {
        let mut rows = self.rows(set);
        rows.retain(|row| row[property] == value);
        assert_eq!(rows.len(), 1, "{set} where {property} is {value}: {rows:#?}");
        rows.remove(0)
    }

    /// The customer with this number.
    #[track_caller]
    pub(crate) fn customer(&self, number: &str) -> Value {
        self.row("customers", "number", number)
    }

    /// The order of the source's order with this id.
    #[track_caller]
    pub(crate) fn order(&self, id: i64) -> Value {
        self.row("salesOrders", "externalDocumentNumber", &format!("WEB-{id}"))
    }

    /// The lines of that order in their sequence.
    #[track_caller]
    pub(crate) fn lines(&self, order: i64) -> Vec<Value> {
        let id = self.order(order)["id"].clone();
        let mut lines = self.rows("salesOrderLines");
        lines.retain(|line| line["documentId"] == id);
        lines.sort_by_key(|line| line["sequence"].as_i64());
        lines
    }

    /// The lines of that order, each as `sequence quantity description`.
    #[track_caller]
    pub(crate) fn told_lines(&self, order: i64) -> Vec<String> {
        let text = |line: &Value| {
            format!("{} {} {}", line["sequence"], line["quantity"], line["description"].as_str().unwrap_or_default())
        };
        self.lines(order).iter().map(text).collect()
    }

    /// Puts rows into Business Central without our doing.
    #[track_caller]
    pub(crate) fn load(&mut self, set: &str, rows: &Value) {
        let before: BTreeSet<_> = self.rows(set).iter().map(id).collect();
        self.simulator.load(set, &rows.to_string()).unwrap();
        self.foreign.extend(self.rows(set).iter().map(id).filter(|id| !before.contains(id)));
    }

    /// From now on the row counts as somebody else's.
    pub(crate) fn disown(&mut self, row: &Value) {
        self.foreign.insert(id(row));
    }

    /// Lets a person do something to the row whose number or id is given.
    #[track_caller]
    pub(crate) fn person(&self, set: &str, row: &Value, action: Deed) {
        self.deed(set, row, action, &json!({}));
    }

    /// Lets a person edit the row.
    #[track_caller]
    pub(crate) fn edit(&self, set: &str, row: &Value, changes: &Value) {
        self.deed(set, row, Deed::Edit, changes);
    }

    #[track_caller]
    fn deed(&self, set: &str, row: &Value, action: Deed, changes: &Value) {
        let person = Person {
            company: None,
            set: set.to_owned(),
            row: id(row),
            action,
            changes: changes.as_object().unwrap().clone(),
        };
        self.simulator.person(&person).unwrap();
    }

    /// Adds a line to the order with this id through the API, as another program would.
    #[expect(clippy::disallowed_methods, reason = "another program does not use the product's own client")]
    pub(crate) async fn insert_line(&self, order: &str, line: &Value) {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let options = Options::default();
        let url = format!("{}/{}/oauth2/v2.0/token", self.simulator.login_url(), options.tenant);
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", &options.client_id),
            ("client_secret", SECRET),
            ("scope", "https://api.businesscentral.dynamics.com/.default"),
        ];
        let token: Value =
            serde_json::from_str(&http.post(url).form(&form).send().await.unwrap().text().await.unwrap()).unwrap();
        let (api, company) = (self.simulator.api_url(), self.simulator.company_id());
        let url = format!("{api}/companies({company})/salesOrders({order})/salesOrderLines");
        let request = http.post(url).bearer_auth(token["access_token"].as_str().unwrap());
        let request = request.header("content-type", "application/json").body(line.to_string());
        assert_eq!(request.send().await.unwrap().status().as_u16(), 201);
    }

    /// Deletes the ledger.
    pub(crate) fn forget_everything(&self) {
        for name in ["ledger.db", "ledger.db.lock"] {
            fs::remove_file(self.folder.path().join(name)).unwrap();
        }
    }

    /// Arms a fault that strikes the next write of `method` to `set`, once.
    pub(crate) fn strike(&self, method: &str, set: &str, kind: FaultKind) {
        self.simulator.inject(Fault::once(kind, writes(method, set)));
    }

    /// Moves the clock of Business Central on, so that windows which are measured on it pass.
    pub(crate) fn let_time_pass(&self, seconds: i64) {
        self.simulator.configure(|settings| settings.clock_offset_seconds += seconds);
    }

    /// Operations since the last look: creates, updates, deletes and refused ones of a set.
    pub(crate) fn sent(&self, set: &str) -> (u64, u64, u64, u64) {
        let operations = self.simulator.stats().set(set);
        self.simulator.reset_stats();
        (operations.creates, operations.updates, operations.deletes, operations.refused)
    }

    // ---- the end ----------------------------------------------------------------------------------------------------

    async fn finish(mut self) {
        self.simulator.clear_faults();
        let pass = self.run_quietly().await;
        if pass.count("customers", "waiting") + pass.count("orders", "waiting") > 0 {
            self.run_quietly().await;
        }
        if !self.folder.path().join("ledger.db").exists() {
            return;
        }
        assert_eq!(self.ledger("SELECT job_id, key, kind FROM intent").await, [""; 0], "open intents");
        assert_eq!(self.ledger("SELECT * FROM run WHERE result = 'running'").await, [""; 0], "unfinished runs");
        assert_eq!(self.ledger("PRAGMA integrity_check").await, ["ok"]);
        assert_eq!(self.ledger("PRAGMA foreign_key_check").await, [""; 0]);
        self.compare_rows().await;
        self.look_for_secrets();
        in_time("closing the source", self.crm.close()).await;
        in_time("stopping the simulator", self.simulator.stop()).await.unwrap();
    }

    /// A pass that must have nothing to do.
    async fn run_quietly(&mut self) -> Pass {
        self.simulator.reset_stats();
        let pass = self.run().await;
        let failed: u64 = pass.jobs.values().filter_map(|report| report["failed"].as_u64()).sum();
        let pass = pass.exits(i32::from(failed > 0));
        let stats = self.simulator.stats();
        assert_eq!(stats.writes(), 0, "the last pass wrote: {:#?}\n{}", stats.sets, pass.details());
        for job in pass.jobs.keys() {
            for counter in COUNTERS {
                let quiet = matches!(counter, "unchanged" | "filtered" | "queued" | "waiting" | "locked");
                assert!(quiet || pass.count(job, counter) == 0, "the last pass of {job}: {}", pass.details());
            }
            if pass.count(job, "taken") == 0 {
                let set = if job == "orders" { "salesOrders" } else { "customers" };
                assert_eq!(stats.set(set).reads, 0, "unchanged records of {job} were asked for");
            }
        }
        pass
    }

    /// Every linked record is a row, every row is linked or foreign, and no row is there twice.
    async fn compare_rows(&self) {
        for (set, unique) in [("customers", "number"), ("salesOrders", "externalDocumentNumber")] {
            let rows: BTreeSet<_> = self.rows(set).iter().map(id).collect();
            let linked = format!("SELECT bc_id FROM links WHERE entity = '{set}' AND state = 'linked'");
            let linked: BTreeSet<_> = self.ledger(&linked).await.into_iter().collect();
            let nowhere: Vec<_> = linked.difference(&rows).collect();
            assert!(nowhere.is_empty(), "{set}: linked, but not in Business Central: {nowhere:?}");
            let known = format!("SELECT bc_id FROM links WHERE entity = '{set}'");
            let known: BTreeSet<_> = self.ledger(&known).await.into_iter().collect();
            let unknown: Vec<_> = rows.difference(&known).filter(|id| !self.foreign.contains(*id)).collect();
            assert!(unknown.is_empty(), "{set}: in Business Central, but not linked: {unknown:?}");
            let twice = self.simulator.duplicates(set, unique).unwrap();
            assert!(twice.is_empty() || !self.foreign.is_empty(), "{set}: twice in Business Central: {twice:?}");
        }
    }

    /// Neither the client secret nor a token may be in anything that was put out or stored.
    fn look_for_secrets(&self) {
        let token = URL_SAFE_NO_PAD.encode(r#"{"typ":"JWT""#);
        let mut places = vec![("the output".to_owned(), self.said.clone())];
        for entry in fs::read_dir(self.folder.path()).unwrap() {
            let path = entry.unwrap().path();
            places.push((path.display().to_string(), fs::read(path).unwrap()));
        }
        for (place, bytes) in places {
            for secret in [SECRET, token.trim_end_matches('=')] {
                let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
                assert!(!found, "a secret is in {place}");
            }
        }
    }
}

/// What `run --json` put out. Its counters must add up.
pub(crate) fn pass_of(output: &Output) -> Pass {
    let stdout = String::from_utf8_lossy(&output.stdout);
    let mut pass = Pass {
        code: output.status.code(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        jobs: BTreeMap::new(),
    };
    for line in stdout.lines() {
        let report: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line}"));
        pass.jobs.insert(report["job"].as_str().unwrap().to_owned(), report);
    }
    for job in pass.jobs.keys() {
        let sum = |names: &[&str]| names.iter().map(|name| pass.count(job, name)).sum::<u64>();
        assert_eq!(pass.count(job, "read"), sum(&COUNTERS[..5]), "read does not add up: {}", pass.details());
        assert_eq!(pass.count(job, "taken"), sum(&COUNTERS[5..]), "taken does not add up: {}", pass.details());
    }
    pass
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

/// The id of a row.
fn id(row: &Value) -> String {
    row["id"].as_str().unwrap_or_else(|| panic!("a row without id: {row}")).to_owned()
}
