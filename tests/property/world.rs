//! The program under test and its surroundings: a SQLite source, a ledger file, a simulated Business Central.
//!
//! A pass is the library's own `app::run` on a runtime of its own. A crash drops that runtime in the middle of a pass,
//! with everything that runs on it; what it had sent is still with Business Central.

use std::cell::Cell;
use std::ffi::OsString;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bcsync::app::{self, App, Finished, RunOptions};
use bcsync::clock::{Clock as _, ManualClock, SystemClock};
use bcsync::config::{self, Config, Environment};
use bcsync::simulator::{Fault, FaultMatch, Options, Simulator};
use chrono::TimeDelta;
use serde_json::{Value, json};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, Column as _, ConnectOptions as _, Connection as _, Row as _};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;

use super::model::{Source, Step};
use super::people::People;
use super::verdict;

const CONFIG: &str = r#"
[ledger]
path = "@FOLDER@/ledger.db"

[retry]
attempts = 2
initial = "1ms"
max = "4ms"

[targets.main]
tenant = "contoso.onmicrosoft.com"
environment = "production"
company = "CRONUS USA, Inc."
client_id = "11111111-2222-3333-4444-555555555555"
client_secret = { env = "SECRET" }
login_url = "@BC@"
base_url = "@BC@"

[sources.crm]
type = "sqlite"
path = "@FOLDER@/crm.db"

[jobs.customers]
source = "crm"
entity = "customers"
query = "SELECT * FROM account"
key = "id"
@CURSOR@
match_on = "number"
adopt = "update"
on_conflict = "@CUSTOMERS@"
rename = false

[jobs.customers.fields]
number = "no"
displayName = "'Customer ' ~ id"
country = "country"
postalCode = "zip"
city = "city"
email = "email"

[jobs.orders]
source = "crm"
entity = "salesOrders"
after = ["customers"]
query = "SELECT * FROM sales_order"
key = "id"
@CURSOR@
match_on = "externalDocumentNumber"
adopt = "never"
on_conflict = "@ORDERS@"
@CHECK_TOTAL@

[jobs.orders.fields]
externalDocumentNumber = "'WEB-' ~ id"
customerId = "link('customers', account_id)"
orderDate = "'2026-02-03' | date"
email = "email"

[jobs.orders.lines]
entity = "salesOrderLines"
query = "SELECT * FROM order_line"
parent = "order_id"
key = "line_no"

[jobs.orders.lines.fields]
lineType = "'Item'"
itemId = "lookup('items', sku)"
description = "'Line ' ~ line_no"
quantity = "qty"
unitPrice = "'2.50'"
"#;

const TABLES: &str = "
CREATE TABLE account (id INTEGER PRIMARY KEY, no TEXT, country TEXT, zip TEXT, city TEXT, email TEXT, rev INTEGER);
CREATE TABLE sales_order (id INTEGER PRIMARY KEY, account_id INTEGER, email TEXT, total TEXT, rev INTEGER);
CREATE TABLE order_line (order_id INTEGER, line_no INTEGER, sku TEXT, qty INTEGER, PRIMARY KEY (order_id, line_no));";

/// Everything around one history.
pub(crate) struct World {
    pub(crate) simulator: Simulator,
    pub(crate) people: People,
    /// The passes of this step that came to their end.
    pub(crate) reports: Vec<Finished>,
    pub(crate) bc: Runtime,
    folder: TempDir,
    config: Cell<Option<Config>>,
    pub(crate) clock: Arc<ManualClock>,
}

/// The surroundings of the configuration.
struct Surroundings;

impl Environment for Surroundings {
    fn variable(&self, name: &str) -> Option<OsString> {
        (name == "SECRET").then(|| "simulator-secret".into())
    }

    fn groups(&self) -> Vec<u32> {
        Vec::new()
    }
}

/// A future that is given up when it was polled so often.
struct Fuse<F> {
    future: Pin<Box<F>>,
    polls: u32,
}

impl<F: Future> Future for Fuse<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(polls) = self.polls.checked_sub(1) else { return Poll::Ready(None) };
        self.polls = polls;
        self.future.as_mut().poll(context).map(Some)
    }
}

impl World {
    pub(crate) fn new(source: &Source) -> Self {
        let bc = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let simulator = bc.block_on(Simulator::start(Options::default())).unwrap();
        simulator.configure(|settings| settings.clock_offset_seconds = source.clock_ahead);
        let items: Value = (1..=9).map(|n| json!({ "number": format!("ITEM-{n}"), "displayName": "Item" })).collect();
        simulator.load("items", &items.to_string()).unwrap();
        let older = |no: &u8| json!({ "number": format!("C{no}"), "displayName": "Older", "phoneNumber": "555 0000" });
        simulator.load("customers", &source.older_customers.iter().map(older).collect::<Value>().to_string()).unwrap();
        // In memory where there is such a folder: a case makes thousands of durable commits.
        let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let config = CONFIG
            .replace("@FOLDER@", &folder.path().display().to_string())
            .replace("@BC@", &simulator.base_url())
            .replace("@CUSTOMERS@", source.customers_policy.name())
            .replace("@ORDERS@", source.orders_policy.name())
            .replace("@CURSOR@", if source.cursor { "cursor = \"rev\"\noverlap = 0" } else { "" })
            .replace("@CHECK_TOTAL@", if source.check_total { CHECK_TOTAL } else { "" });
        let path = folder.path().join("config.toml");
        std::fs::write(&path, config).unwrap();
        let config = config::load(&path, &Surroundings).unwrap_or_else(|report| panic!("{report}"));
        let clock = Arc::new(ManualClock::new(SystemClock.now()));
        let people = People::default();
        let mut world =
            Self { simulator, people, reports: Vec::new(), bc, folder, config: Cell::new(Some(config)), clock };
        for no in &source.older_customers {
            world.people.phones.insert(("customers", *no), "555 0000".to_owned());
        }
        world.crm(TABLES);
        for id in source.accounts.keys() {
            world.put_account(source, *id);
        }
        for id in source.orders.keys() {
            world.put_order(source, *id);
        }
        world
    }

    /// Takes a step; `source` is as it is afterwards.
    pub(crate) fn take(&mut self, source: &Source, step: &Step) {
        self.reports.clear();
        self.people.source_took(source, step);
        match step {
            Step::Account(id) | Step::DropAccount(id) | Step::Email(id, _) | Step::Country(id) => {
                self.put_account(source, *id);
            }
            Step::Renumber(one, other) | Step::SwapNumbers(one, other) => {
                self.put_account(source, *one);
                self.put_account(source, *other);
            }
            Step::Order(id, _)
            | Step::DropOrder(id)
            | Step::OrderEmail(id, _)
            | Step::Move(id, _)
            | Step::Line(id, _, _)
            | Step::DropLine(id, _) => self.put_order(source, *id),
            Step::LaterStamp => {}
            Step::Person(person) => self.person(person),
            Step::Fault(strike) => {
                let matching = FaultMatch {
                    method: Some(strike.method.to_owned()),
                    set: Some(strike.set.to_owned()),
                    ..FaultMatch::default()
                };
                let fault = Fault::with_probability(strike.kind.clone(), matching, strike.probability);
                self.simulator.inject(Fault { times: Some(strike.times), ..fault });
            }
            Step::NoFaults => self.simulator.clear_faults(),
            Step::Pass { full } => self.pass(source, *full),
            Step::Crash { polls, full } => self.run(*full, *polls),
            Step::Window => self.let_the_window_pass(),
            Step::OurClock(minutes) => self.clock.advance(TimeDelta::minutes(i64::from(*minutes))),
        }
    }

    // ---- the program ------------------------------------------------------------------------------------------------

    /// One pass of all jobs to its end.
    pub(crate) fn pass(&mut self, source: &Source, full: bool) {
        self.run(full, u32::MAX);
        let read = self.reports.iter().filter(|job| verdict::has_read_all(job, source));
        let read: Vec<_> = read.filter_map(|job| Some(job.outcome.as_ref().ok()?.job.clone())).collect();
        let left = self.ledger(
            "SELECT job.name, key FROM outbox JOIN job USING (job_id) \
             UNION SELECT job.name, key FROM intent JOIN job USING (job_id)",
        );
        let is_settled = |property| {
            let (job, key) = verdict::record_of(source, property);
            read.iter().any(|read| read == job) && !left.contains(&format!("{job}|{key}"))
        };
        let mut people = std::mem::take(&mut self.people);
        people.settle(is_settled, |property, claim| {
            let held = self.held(property);
            // Overwritten as it may be, whatever the source says later.
            let is_lost = held.as_ref() != Some(&claim.value) && !claim.is_protected(verdict::policy(source, property));
            is_lost || held == verdict::wanted(source, property)
        });
        self.people = people;
    }

    fn run(&mut self, full: bool, polls: u32) {
        let mut config = self.config.take().unwrap();
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let mut finished = Vec::new();
        {
            let mappings = app::check(&mut config).unwrap();
            let app = App::new(&config, &Surroundings).with_clock(self.clock.clone());
            let options = RunOptions {
                jobs: &[],
                full,
                cause: "command",
                cancel: CancellationToken::new(),
                progress: &|_, _| {},
            };
            let future = Box::pin(app::run(&app, mappings, options, |_| {}));
            if let Some(ended) = runtime.block_on(Fuse { future, polls }) {
                finished = ended.unwrap_or_else(|error| panic!("{error}"));
            }
        }
        runtime.shutdown_background();
        self.let_the_dead_end();
        self.config.set(Some(config));
        self.reports = finished;
    }

    /// SQLite works on threads of its own: a statement that was begun when a pass was cut off ends by itself. A process
    /// that dies takes it along.
    fn let_the_dead_end(&self) {
        let path = self.folder.path().join("ledger.db");
        if path.exists() {
            self.bc.block_on(async {
                let mut ledger = SqliteConnectOptions::new().filename(path).connect().await.unwrap();
                sqlx::raw_sql("BEGIN EXCLUSIVE; COMMIT").execute(&mut ledger).await.unwrap();
                ledger.close().await.unwrap();
            });
        }
    }

    /// Rows of a query on the ledger, each as its values joined by `|`.
    pub(crate) fn ledger(&self, sql: &str) -> Vec<String> {
        let path = self.folder.path().join("ledger.db");
        if !path.exists() {
            return Vec::new();
        }
        self.bc.block_on(async {
            let mut ledger = SqliteConnectOptions::new().filename(path).connect().await.unwrap();
            let rows = sqlx::query(AssertSqlSafe(sql.to_owned())).fetch_all(&mut ledger).await;
            ledger.close().await.unwrap();
            // A pass may have ended before it made the tables.
            let Ok(rows) = rows else { return Vec::new() };
            let text = |row: &sqlx::sqlite::SqliteRow| {
                let value = |at| row.try_get_unchecked::<Option<String>, _>(at).unwrap().unwrap_or_default();
                row.columns().iter().map(|column| value(column.ordinal())).collect::<Vec<_>>().join("|")
            };
            rows.iter().map(text).collect()
        })
    }

    /// Whether the program knows the row of a record by now, or has sent what makes it.
    pub(crate) fn is_known(&self, job: &str, match_value: &str) -> bool {
        let sql = format!(
            "SELECT 1 FROM link JOIN link_detail USING (link_id) JOIN job USING (job_id) \
             WHERE job.name = '{job}' AND link_detail.match_value = '{match_value}'"
        );
        !self.ledger(&sql).is_empty()
    }

    /// Whether the program knows a line of an order as one of its own by now.
    pub(crate) fn is_line_known(&self, id: u8, number: u8) -> bool {
        let sql = format!(
            "SELECT 1 FROM link JOIN link_detail USING (link_id) JOIN job USING (job_id), \
                 json_each(link_detail.snapshot, '$.lines') AS line \
             WHERE job.name = 'orders' AND link.key = '{id}' AND line.value ->> 'key' = '{number}'"
        );
        !self.ledger(&sql).is_empty()
    }

    // ---- the source -------------------------------------------------------------------------------------------------

    fn crm(&self, sql: &str) {
        let path = self.folder.path().join("crm.db");
        self.bc.block_on(async {
            let options = SqliteConnectOptions::new().filename(path).create_if_missing(true);
            let mut crm: SqliteConnection = options.connect().await.unwrap();
            sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut crm).await.unwrap();
            crm.close().await.unwrap();
        });
    }

    fn put_account(&self, source: &Source, id: u8) {
        let row = source.accounts.get(&id).map(|account| {
            let (no, country, revision) =
                (account.no, ["NO", "SE", "DK"][usize::from(account.country)], account.revision);
            let email = verdict::email(account.email.now);
            format!("INSERT INTO account VALUES ({id}, 'C{no}', '{country}', '0150', 'Oslo', '{email}', {revision});")
        });
        self.crm(&format!("BEGIN; DELETE FROM account WHERE id = {id}; {} COMMIT", row.unwrap_or_default()));
    }

    fn put_order(&self, source: &Source, id: u8) {
        let rows = source.orders.get(&id).map(|order| {
            let line = |(number, quantity): (&u8, &super::model::Cell)| {
                format!("INSERT INTO order_line VALUES ({id}, {number}, 'ITEM-{number}', {});", quantity.now)
            };
            let lines: String = order.lines.iter().map(line).collect();
            let quantity: u32 = order.lines.values().map(|quantity| quantity.now).sum();
            let total = format!("{}.{}", quantity * 5 / 2, if quantity.is_multiple_of(2) { 0 } else { 5 });
            let (account, email, revision) = (order.account, verdict::email(order.email.now), order.revision);
            format!("INSERT INTO sales_order VALUES ({id}, {account}, '{email}', '{total}', {revision}); {lines}")
        });
        self.crm(&format!(
            "BEGIN; DELETE FROM sales_order WHERE id = {id}; DELETE FROM order_line WHERE order_id = {id}; {} COMMIT",
            rows.unwrap_or_default()
        ));
    }
}

const CHECK_TOTAL: &str =
    "check_total = { property = \"totalAmountExcludingTax\", equals = \"total\", tolerance = \"0.01\" }";
