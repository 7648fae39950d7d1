//! The real executable and its surroundings: a simulated Business Central, a CRM in a SQLite file, a configuration.

use std::path::{Path, PathBuf};
use std::process::Command;

use bcsync::simulator::{Options, Simulator};
use serde_json::Value;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, Connection, Executor};

use crate::process::output_of;

/// A target that is the simulator, for the beginning of a configuration.
pub(crate) const TARGET: &str = r#"
[ledger]
path = "@FOLDER@/ledger.db"

[retry]
attempts = 2
initial = "10ms"

[targets.main]
tenant = "contoso.onmicrosoft.com"
environment = "production"
company = "CRONUS USA, Inc."
client_id = "11111111-2222-3333-4444-555555555555"
client_secret = { env = "BC_CLIENT_SECRET" }
login_url = "@BC@"
base_url = "@BC@"
settle_window = "20s"
"#;

/// What nobody may ever read in an output.
const SECRETS: [&str; 2] = ["simulator-secret", crate::databases::PASSWORD];

/// A folder, a simulator, and the executable to run between them.
pub(crate) struct Scene {
    pub(crate) simulator: Simulator,
    folder: tempfile::TempDir,
    variables: Vec<(String, String)>,
}

/// A process that has ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) exit: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Scene {
    /// A scene with the configuration `config`, in which `@FOLDER@` and `@BC@` are filled in.
    pub(crate) async fn new(config: &str) -> Self {
        let simulator = Simulator::start(Options::default()).await.unwrap();
        let variables = vec![("BC_CLIENT_SECRET".to_owned(), "simulator-secret".to_owned())];
        let scene = Self { simulator, folder: tempfile::tempdir().unwrap(), variables };
        scene.configure(config);
        scene
    }

    /// Writes the configuration anew.
    pub(crate) fn configure(&self, config: &str) {
        std::fs::write(self.path("config.toml"), self.fill(config)).unwrap();
    }

    /// `text` with the folder and the simulator's address filled in.
    pub(crate) fn fill(&self, text: &str) -> String {
        text.replace("@FOLDER@", self.folder().to_str().unwrap()).replace("@BC@", &self.simulator.base_url())
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder().join(name)
    }

    /// Sets an environment variable of the processes to come.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.variables.retain(|(known, _)| known != name);
        self.variables.push((name.to_owned(), value.to_owned()));
    }

    /// Runs statements in the CRM, `crm.db`, which is made at the first time.
    pub(crate) async fn crm(&self, statements: &str) {
        let options = SqliteConnectOptions::new().filename(self.path("crm.db")).create_if_missing(true);
        let mut crm = SqliteConnection::connect_with(&options).await.unwrap();
        crm.execute(sqlx::raw_sql(AssertSqlSafe(statements.to_owned()))).await.unwrap();
        crm.close().await.unwrap();
    }

    /// The executable with these arguments and this scene's configuration, ready to start in the scene's folder.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bcsync"));
        command.args(arguments).current_dir(self.folder()).env_clear();
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Runs the executable to its end.
    pub(crate) async fn run_to_end(&self, arguments: &[&str]) -> Ran {
        let output = output_of(self.command(arguments)).await;
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Ran { exit: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }

    /// The same; what it says is searched for secrets.
    pub(crate) async fn run(&self, arguments: &[&str]) -> Ran {
        let ran = self.run_to_end(arguments).await;
        for secret in SECRETS {
            assert!(!ran.out.contains(secret) && !ran.err.contains(secret), "{ran}");
        }
        ran
    }

    /// The values of `property` over all rows of a set in Business Central, in order.
    pub(crate) fn column(&self, set: &str, property: &str) -> Vec<String> {
        let text = |row: &Value| row[property].as_str().map_or_else(|| row[property].to_string(), str::to_owned);
        let mut values: Vec<_> = self.simulator.rows(set).unwrap().iter().map(text).collect();
        values.sort();
        values
    }

    /// Makes another pass and fails unless everything is in Business Central already: no write, no look-up of a row.
    #[track_caller]
    pub(crate) fn nothing_is_left(&self) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        async move {
            self.simulator.reset_stats();
            let ran = self.run(&["run"]).await;
            let stats = self.simulator.stats();
            assert_eq!((ran.exit, stats.writes()), (Some(0), 0), "{caller}: {ran}");
            assert!(stats.tokens <= 1 && stats.requests <= 1, "{caller}: more than token and company: {stats:?}");
        }
    }
}

impl std::fmt::Display for Ran {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "exit {:?}\n--- stdout\n{}\n--- stderr\n{}", self.exit, self.out, self.err)
    }
}

impl Ran {
    /// Fails unless it ended with this code.
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(self.exit, Some(code), "{self}");
        self
    }

    /// Fails unless one of its streams has this text.
    #[track_caller]
    pub(crate) fn says(self, text: &str) -> Self {
        assert!(self.out.contains(text) || self.err.contains(text), "`{text}` is missing: {self}");
        self
    }

    /// Fails if one of its streams has this text.
    #[track_caller]
    pub(crate) fn never_says(self, text: &str) -> Self {
        assert!(!self.out.contains(text) && !self.err.contains(text), "`{text}` is there: {self}");
        self
    }
}
