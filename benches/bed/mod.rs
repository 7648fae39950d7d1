//! What the benchmarks share: a folder, a simulator, the real executable, and the kernel's figures of a process.

#![expect(dead_code, reason = "each benchmark uses its part")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use bcsync::simulator::{Limits, Options, Settings, Simulator};

/// Where one benchmark works.
pub(crate) struct Bed {
    folder: tempfile::TempDir,
    pub(crate) simulator: Simulator,
}

/// What one process took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Took {
    pub(crate) wall: Duration,
    /// Most memory held at once, in MiB.
    pub(crate) peak_mib: f64,
    pub(crate) ok: bool,
}

impl Bed {
    /// A simulator whose operations inside a batch take `operation_ms`, and which runs five requests at once.
    pub(crate) async fn new(operation_ms: u64) -> Self {
        let limits = Limits { requests: usize::MAX, ..Limits::default() };
        let settings = Settings { operation_ms, limits, ..Settings::default() };
        let simulator = Simulator::start(Options { settings, ..Options::default() }).await.expect("loopback is there");
        Self { folder: tempfile::tempdir().expect("a folder for temporary files"), simulator }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes the configuration for a job over the table `customer` of `crm.db`.
    pub(crate) fn configure(&self, concurrency: u32) {
        let job = job("customers", "SELECT * FROM customer", "");
        fs::write(self.path("config.toml"), self.head(concurrency) + &job).expect("the folder can be written");
    }

    /// Writes the configuration for so many jobs with a schedule, each over its share of `rows` customers.
    pub(crate) fn configure_scheduled(&self, jobs: u64, rows: u64, schedule: &str) {
        let share = rows / jobs;
        let job = |number: u64| {
            let query =
                format!("SELECT * FROM customer WHERE id > {} AND id <= {}", number * share, (number + 1) * share);
            job(&format!("customers-{number}"), &query, &format!("schedule = \"{schedule}\""))
        };
        let jobs: String = (0..jobs).map(job).collect();
        fs::write(self.path("config.toml"), self.head(5) + &jobs).expect("the folder can be written");
    }

    /// Everything but the jobs.
    fn head(&self, concurrency: u32) -> String {
        format!(
            r#"
[ledger]
path = "{ledger}"
[targets.main]
tenant = "contoso.onmicrosoft.com"
environment = "production"
company = "CRONUS USA, Inc."
client_id = "11111111-2222-3333-4444-555555555555"
client_secret = {{ env = "BC_CLIENT_SECRET" }}
login_url = "{url}"
base_url = "{url}"
settle_window = "20s"
[targets.main.limits]
concurrency = {concurrency}
requests_per_5_minutes = 1000000
[sources.crm]
type = "sqlite"
path = "{crm}"
"#,
            ledger = self.path("ledger.db").display(),
            crm = self.path("crm.db").display(),
            url = self.simulator.base_url(),
        )
    }

    /// Makes `crm.db` with `rows` customers of 14 columns and at least 200 bytes each.
    pub(crate) fn make_crm(&self, rows: u64) {
        let _ = fs::remove_file(self.path("crm.db"));
        let sql = format!(
            "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;
             CREATE TABLE customer (id INTEGER PRIMARY KEY, number TEXT, name TEXT, street TEXT, street2 TEXT, city TEXT,
                 state TEXT, zip TEXT, country TEXT, phone TEXT, email TEXT, website TEXT, credit_limit TEXT, note TEXT);
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})
             INSERT INTO customer SELECT i, printf('C%08d', i), 'Customer number ' || i || ' Trading Company',
                 i || ' Long Meadow Street', 'Building ' || (i % 97), 'Springfield', 'Oregon', printf('Z%05d', i % 89999),
                 'US', printf('+1 555 %07d', i), 'office' || i || '@customer.example',
                 'https://customer' || i || '.example', printf('%d.50', i % 10000),
                 'Nothing is known of this customer but that it pays in time and likes its deliveries early.' FROM n;"
        );
        let done = Command::new("sqlite3").arg(self.path("crm.db")).arg(sql).stdout(Stdio::null()).status();
        assert!(done.expect("the sqlite3 shell is installed").success(), "crm.db is made");
    }

    /// One pass by the real executable.
    pub(crate) async fn pass(&self) -> Took {
        self.run(&[]).await
    }

    /// One pass that also walks the ids in Business Central.
    pub(crate) async fn full_pass(&self) -> Took {
        self.run(&["--full"]).await
    }

    async fn run(&self, options: &[&str]) -> Took {
        let mut command = self.command(&["--json", "run"]);
        command.args(options).stdout(Stdio::null());
        watch(command).await
    }

    /// The real executable with these arguments, ready to be started.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bcsync"));
        command.arg("--config").arg(self.path("config.toml")).args(arguments);
        command.env("BC_CLIENT_SECRET", "simulator-secret");
        command
    }
}

/// A job over the customers that `query` gives.
fn job(name: &str, query: &str, more: &str) -> String {
    format!(
        r#"
[jobs.{name}]
source = "crm"
entity = "customers"
query = "{query}"
key = "id"
match_on = "number"
on_conflict = "source_wins"
{more}
[jobs.{name}.fields]
number = "number"
displayName = "name"
addressLine1 = "street"
addressLine2 = "street2"
city = "city"
state = "state"
postalCode = "zip"
country = "country"
phoneNumber = "phone"
email = "email"
website = "website"
creditLimit = "credit_limit"
"#
    )
}

/// Runs `command` to its end and watches its memory.
pub(crate) async fn watch(mut command: Command) -> Took {
    let started = Instant::now();
    let mut child = command.spawn().expect("the program starts");
    let status = format!("/proc/{}/status", child.id());
    let mut peak_kib = 0;
    let exit = loop {
        peak_kib = peak_kib.max(high_water(Path::new(&status)));
        if let Some(exit) = child.try_wait().expect("a child of ours") {
            break exit;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    Took { wall: started.elapsed(), peak_mib: peak_kib as f64 / 1024.0, ok: exit.success() }
}

/// The most memory that the process has held so far, in KiB; 0 when it is gone.
fn high_water(status: &Path) -> u64 {
    fs::read_to_string(status).map_or(0, |text| figure(&text, "VmHWM:"))
}

/// A figure of `/proc/PID/status`; 0 when it has none of that name.
pub(crate) fn figure(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// The middle one of an odd number of durations.
pub(crate) fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// The CPU time that a process, such as `self`, has used, in seconds.
pub(crate) fn cpu_seconds(process: &str) -> f64 {
    let text = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let fields: Vec<_> = text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |index: usize| fields.get(index).and_then(|ticks| ticks.parse::<f64>().ok()).unwrap_or(0.0);
    // User and system time, in ticks of 10 ms.
    (ticks(11) + ticks(12)) / 100.0
}
