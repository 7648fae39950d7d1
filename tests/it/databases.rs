//! Real databases for tests: SQLite files, and PostgreSQL and MariaDB servers that the test starts itself.
//!
//! A server lives in a temporary directory, listens on a free port of the loopback address, is shared by the tests of a
//! process that run at the same time, and dies with the last of them, also when the process is killed. A server that is
//! not installed is no failure outside CI: the test says that it was not run.

use std::fmt;
use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::str::FromStr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak, mpsc};

use sqlx::mysql::{MySqlConnectOptions, MySqlConnection};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor};

/// The password of the servers' user `bcsync`. Tests look for it in what must not contain it.
pub(crate) const PASSWORD: &str = "fixture-passw0rd";

/// A kind of database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Engine {
    Sqlite,
    Postgres,
    MariaDb,
}

/// Why a server cannot be had on this machine.
#[derive(Debug)]
struct NotRun(String);

impl fmt::Display for NotRun {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "not run: {}", self.0)
    }
}

/// An empty database of its own, and a connection that may write to it.
pub(crate) struct Database {
    engine: Engine,
    url: String,
    writer: Writer,
    // The last fields: the connection is closed before the server goes.
    server: Option<Arc<Server>>,
    _directory: Option<tempfile::TempDir>,
}

enum Writer {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
    MariaDb(MySqlConnection),
}

impl Database {
    /// An empty database; `None` when its server is not installed, which is said on standard error, and is a failure in
    /// CI.
    #[expect(clippy::print_stderr, reason = "whoever runs the tests is to know what did not run")]
    pub(crate) async fn start(engine: Engine) -> Option<Self> {
        match Self::create(engine).await {
            Ok(database) => Some(database),
            Err(reason) if std::env::var_os("CI").is_none() => {
                eprintln!("{reason}");
                None
            }
            Err(reason) => panic!("{reason}"),
        }
    }

    async fn create(engine: Engine) -> Result<Self, NotRun> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("crm{}", COUNT.fetch_add(1, Ordering::Relaxed));
        if engine == Engine::Sqlite {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("crm.db");
            let options = SqliteConnectOptions::new().filename(&path).create_if_missing(true);
            let writer = Writer::Sqlite(SqliteConnection::connect_with(&options).await.unwrap());
            let url = path.to_str().unwrap().to_owned();
            return Ok(Self { engine, url, writer, server: None, _directory: Some(directory) });
        }
        let server = Server::shared(engine)?;
        Self::run(&mut server.connect("").await, &format!("CREATE DATABASE {name}")).await;
        let writer = server.connect(&name).await;
        Ok(Self { engine, url: server.url(&name), writer, server: Some(server), _directory: None })
    }

    pub(crate) fn engine(&self) -> Engine {
        self.engine
    }

    /// The URL of the database with user and password; the path of a SQLite file.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Runs statements that give no rows.
    pub(crate) async fn execute(&mut self, sql: &str) {
        Self::run(&mut self.writer, sql).await;
    }

    /// Another connection to the same database, for a second transaction.
    pub(crate) async fn second_writer(&self) -> Self {
        let writer = match self.engine {
            Engine::Sqlite => {
                let options = SqliteConnectOptions::new().filename(&self.url);
                Writer::Sqlite(SqliteConnection::connect_with(&options).await.unwrap())
            }
            _ => Writer::connect(self.engine, &self.url).await,
        };
        Self { engine: self.engine, url: self.url.clone(), writer, server: self.server.clone(), _directory: None }
    }

    async fn run(writer: &mut Writer, sql: &str) {
        let statement = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()));
        let outcome = match writer {
            Writer::Sqlite(connection) => connection.execute(statement).await.map(drop),
            Writer::Postgres(connection) => connection.execute(statement).await.map(drop),
            Writer::MariaDb(connection) => connection.execute(statement).await.map(drop),
        };
        outcome.unwrap_or_else(|error| panic!("{error}: {sql}"));
    }
}

impl Writer {
    async fn connect(engine: Engine, url: &str) -> Self {
        match engine {
            Engine::Postgres => Self::Postgres(PgConnectOptions::from_str(url).unwrap().connect().await.unwrap()),
            _ => Self::MariaDb(MySqlConnectOptions::from_str(url).unwrap().connect().await.unwrap()),
        }
    }
}

/// A running server. Killed when the last test lets go of it.
struct Server {
    engine: Engine,
    port: u16,
    child: Child,
    _directory: tempfile::TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        // There is nothing worth a clean stop.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    fn shared(engine: Engine) -> Result<Arc<Self>, NotRun> {
        static POSTGRES: Mutex<Weak<Server>> = Mutex::new(Weak::new());
        static MARIADB: Mutex<Weak<Server>> = Mutex::new(Weak::new());
        let slot = if engine == Engine::Postgres { &POSTGRES } else { &MARIADB };
        let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(server) = slot.upgrade() {
            return Ok(server);
        }
        let server = Arc::new(if engine == Engine::Postgres { Self::postgres()? } else { Self::mariadb()? });
        *slot = Arc::downgrade(&server);
        Ok(server)
    }

    fn url(&self, database: &str) -> String {
        let scheme = if self.engine == Engine::Postgres { "postgres" } else { "mysql" };
        let database = if database.is_empty() && self.engine == Engine::Postgres { "postgres" } else { database };
        format!("{scheme}://bcsync:{PASSWORD}@127.0.0.1:{}/{database}", self.port)
    }

    async fn connect(&self, database: &str) -> Writer {
        Writer::connect(self.engine, &self.url(database)).await
    }

    fn postgres() -> Result<Self, NotRun> {
        let initdb = program("initdb", "PostgreSQL")?;
        let postgres = program("postgres", "PostgreSQL")?;
        let account = Account::named("postgres")?;
        let directory = account.directory();
        let data = directory.path().join("data");
        let password_file = directory.path().join("password");
        std::fs::write(&password_file, PASSWORD).unwrap();
        let mut command = account.command(&initdb);
        command.arg("-D").arg(&data).args(["-U", "bcsync", "-A", "scram-sha-256", "--no-sync", "-E", "UTF8"]);
        // An order of texts that is not the order of their bytes.
        command.args(["--locale=C.UTF-8", "--locale-provider=icu", "--icu-locale=en"]);
        run(command.arg("--pwfile").arg(&password_file));

        let port = free_port();
        let mut command = account.command(&postgres);
        command.arg("-D").arg(&data).arg("-p").arg(port.to_string());
        for setting in ["listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off", "shared_buffers=16MB"] {
            command.args(["-c", setting]);
        }
        let child = start(command, "ready to accept connections");
        Ok(Self { engine: Engine::Postgres, port, child, _directory: directory })
    }

    fn mariadb() -> Result<Self, NotRun> {
        let install = program("mariadb-install-db", "MariaDB")?;
        let mariadbd = program("mariadbd", "MariaDB")?;
        let account = Account::named("mysql")?;
        let directory = account.directory();
        let data = directory.path().join("data");
        let mut command = account.command(&install);
        // Servers delete each other's temporary tables where they share a directory for them.
        command.env("TMPDIR", directory.path());
        command.arg("--no-defaults").arg("--skip-test-db").arg("--auth-root-authentication-method=normal");
        run(command.arg(format!("--datadir={}", data.display())));

        let users = directory.path().join("users.sql");
        let statements = format!(
            "CREATE USER 'bcsync'@'%' IDENTIFIED BY '{PASSWORD}';\nGRANT ALL ON *.* TO 'bcsync'@'%';\n\
             DROP USER IF EXISTS ''@'localhost';\nFLUSH PRIVILEGES;\n"
        );
        std::fs::write(&users, statements).unwrap();
        let port = free_port();
        let mut command = account.command(&mariadbd);
        command.env("TMPDIR", directory.path());
        command.arg("--no-defaults").arg(format!("--datadir={}", data.display()));
        command.arg(format!("--init-file={}", users.display()));
        command.arg(format!("--socket={}", directory.path().join("socket").display()));
        command.args([&format!("--port={port}"), "--bind-address=127.0.0.1", "--skip-name-resolve"]);
        command.args(["--character-set-server=utf8mb4", "--innodb-flush-log-at-trx-commit=0"]);
        let child = start(command, "ready for connections");
        Ok(Self { engine: Engine::MariaDb, port, child, _directory: directory })
    }
}

/// The account that a server runs under: servers refuse to run as root.
struct Account {
    /// Name, user id and group id, when we are root and can choose.
    chosen: Option<(&'static str, u32, u32)>,
}

impl Account {
    fn named(name: &'static str) -> Result<Self, NotRun> {
        let id = |arguments: &[&str]| {
            let output = Command::new("id").args(arguments).stderr(Stdio::null()).output().ok()?;
            String::from_utf8(output.stdout).ok()?.trim().parse::<u32>().ok()
        };
        if id(&["-u"]) != Some(0) {
            return Ok(Self { chosen: None });
        }
        match (id(&["-u", name]), id(&["-g", name])) {
            (Some(user), Some(group)) => Ok(Self { chosen: Some((name, user, group)) }),
            _ => Err(NotRun(format!("there is no account `{name}` to run the server under"))),
        }
    }

    /// `program`, run under this account, and killed when this process dies.
    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("setpriv");
        if let Some((_, user, group)) = self.chosen {
            command.args([format!("--reuid={user}"), format!("--regid={group}"), "--clear-groups".to_owned()]);
        }
        command.arg("--pdeathsig=KILL").arg(program);
        command
    }

    /// A directory that belongs to this account.
    fn directory(&self) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o755)).unwrap();
        if let Some((_, user, group)) = self.chosen {
            chown(directory.path(), Some(user), Some(group)).unwrap();
        }
        directory
    }
}

/// The executable `name`: on the path, or where Debian keeps what only administrators call.
fn program(name: &str, product: &str) -> Result<PathBuf, NotRun> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut directories: Vec<PathBuf> = std::env::split_paths(&path).collect();
    directories.push("/usr/sbin".into());
    if let Ok(versions) = std::fs::read_dir("/usr/lib/postgresql") {
        directories.extend(versions.flatten().map(|version| version.path().join("bin")));
    }
    let found = directories.iter().map(|directory| directory.join(name)).find(|candidate| candidate.is_file());
    found.ok_or_else(|| NotRun(format!("{product} is not installed (`{name}` was not found)")))
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Starts a server, and waits until it says `ready` on its standard error.
fn start(mut command: Command, ready: &'static str) -> Child {
    let (sender, receiver) = mpsc::channel();
    // The thread that starts a process is the one whose end kills it: this one lives as long as the server.
    std::thread::spawn(move || {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut seen = String::new();
        while !seen.contains(ready) {
            if log.read_line(&mut seen).unwrap_or(0) == 0 {
                let _ = child.wait();
                let _ = sender.send(Err(seen));
                return;
            }
        }
        let _ = sender.send(Ok(child));
        let _ = std::io::copy(&mut log.by_ref(), &mut std::io::sink());
    });
    match receiver.recv() {
        Ok(Ok(child)) => child,
        Ok(Err(log)) => panic!("the server did not start:\n{log}"),
        Err(error) => panic!("the server did not start: {error}"),
    }
}
