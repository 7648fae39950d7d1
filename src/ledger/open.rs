//! Opening and closing: the lock, the migrations, the pragmas.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::pool::PoolOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqliteSynchronous};
use sqlx::{Sqlite, Transaction};

use super::LedgerError;
use crate::clock::SharedClock;

/// "bcsy" in ASCII: tells our files from other SQLite files.
const APPLICATION_ID: i64 = 0x6263_7379;

/// Where the ledger is and what its history may hold.
#[derive(Debug, Clone)]
pub struct OpenOptions {
    /// The file; its folder must exist.
    pub path: PathBuf,
    /// Whether the history keeps old and new values.
    pub store_values: bool,
    /// Properties whose values the history never keeps.
    pub redact: Vec<String>,
}

/// The open ledger. Cheap to share by reference; the process holds the only writing one.
#[derive(Debug)]
pub struct Ledger {
    pub(super) writer: SqlitePool,
    pub(super) readers: SqlitePool,
    pub(super) clock: SharedClock,
    pub(super) options: OpenOptions,
    pub(super) epoch: i64,
    /// Held for the life of the ledger; the kernel frees it when the process dies.
    lock: Option<File>,
}

impl Ledger {
    /// Opens the ledger for writing, making it when there is none, and marks runs of dead processes as interrupted.
    pub async fn open(options: OpenOptions, clock: SharedClock) -> Result<Self, LedgerError> {
        // Looked at first, so that nothing is left beside a file that is not ours.
        let known = inspect(&options.path).await?;
        let lock = lock(&options.path)?;
        let writer = pool(&options.path, 1, false).await?;
        if !known {
            restrict(&options.path);
        }
        migrator().run(&writer).await.map_err(|error| LedgerError::Unusable {
            path: options.path.clone(),
            cause: format!("its tables cannot be brought up to date: {error}"),
        })?;
        let epoch = next_epoch(&writer).await?;
        let readers = pool(&options.path, 4, true).await?;
        Ok(Self { writer, readers, clock, options, epoch, lock: Some(lock) })
    }

    /// Opens an existing ledger for looking only; works beside a process that writes.
    pub async fn open_read_only(options: OpenOptions, clock: SharedClock) -> Result<Self, LedgerError> {
        if !inspect(&options.path).await? {
            return Err(LedgerError::None { path: options.path });
        }
        let readers = pool(&options.path, 1, true).await?;
        Ok(Self { writer: readers.clone(), readers, clock, options, epoch: 0, lock: None })
    }

    /// Closes the file so that a reader without write permission can open it: no write-ahead log stays behind.
    pub async fn close(self) {
        self.readers.close().await;
        if self.lock.is_some() {
            // A failure here costs nothing but the convenience: the next start sets the mode again.
            let _ = sqlx::query("PRAGMA optimize").execute(&self.writer).await;
            let _ = sqlx::query("PRAGMA journal_mode = DELETE").execute(&self.writer).await;
        }
        self.writer.close().await;
    }

    /// Begins a writing transaction. Immediate, because a reading one that turns into a writing one fails at once
    /// when someone else writes, in spite of the busy time-out.
    pub(super) async fn write(&self) -> Result<Transaction<'static, Sqlite>, LedgerError> {
        Ok(self.writer.begin_with("BEGIN IMMEDIATE").await?)
    }

    /// The current time as the ledger writes it.
    pub(super) fn now(&self) -> String {
        crate::clock::iso(self.clock.now())
    }
}

fn migrator() -> Migrator {
    let migration = |version, name: &'static str, sql: &'static str| {
        Migration::new(version, name.into(), MigrationType::Simple, sqlx::SqlStr::from_static(sql), false)
    };
    Migrator::with_migrations(vec![migration(1, "ledger", include_str!("../../migrations/0001_ledger.sql"))])
}

fn lock(path: &Path) -> Result<File, LedgerError> {
    let beside = beside(path, "lock");
    let unusable = |cause: std::io::Error| LedgerError::Unusable { path: path.to_owned(), cause: cause.to_string() };
    let open = File::options().create(true).truncate(false).write(true).open(&beside);
    let file = open.map_err(|error| match (error.kind(), path.parent()) {
        (std::io::ErrorKind::NotFound, Some(folder)) => LedgerError::Unusable {
            path: path.to_owned(),
            cause: format!("there is no folder {}; make it, or change `path` in [ledger]", folder.display()),
        },
        (std::io::ErrorKind::PermissionDenied, Some(folder)) => LedgerError::Unusable {
            path: path.to_owned(),
            cause: format!("this user may not write to its folder {}", folder.display()),
        },
        _ => unusable(error),
    })?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(LedgerError::Busy { path: path.to_owned() }),
        Err(TryLockError::Error(error)) => Err(unusable(error)),
    }
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    PathBuf::from(name)
}

/// Whether the ledger exists; an error when the file is something else. An empty file counts as none.
async fn inspect(path: &Path) -> Result<bool, LedgerError> {
    let unusable = |cause: String| LedgerError::Unusable { path: path.to_owned(), cause };
    match std::fs::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(unusable(error.to_string())),
        Ok(meta) if meta.is_dir() => {
            return Err(unusable("it is a folder; `path` in [ledger] names a file".to_owned()));
        }
        Ok(meta) if meta.len() == 0 => return Ok(false),
        Ok(_) => {}
    }
    let foreign = |found: String| LedgerError::Foreign { path: path.to_owned(), found };
    let pool = pool(path, 1, true).await.map_err(|error| match error {
        LedgerError::Sqlite(sqlx::Error::Database(refusal)) => foreign(refusal.message().to_owned()),
        other => other,
    })?;
    let application: Result<i64, _> = sqlx::query_scalar("PRAGMA application_id").fetch_one(&pool).await;
    pool.close().await;
    match application {
        Ok(APPLICATION_ID) => Ok(true),
        Ok(other) => Err(foreign(format!("a SQLite file with application id {other}"))),
        Err(sqlx::Error::Database(refusal)) => Err(foreign(refusal.message().to_owned())),
        Err(error) => Err(error.into()),
    }
}

async fn pool(path: &Path, connections: u32, read_only: bool) -> Result<SqlitePool, LedgerError> {
    let mut options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(!read_only)
        .read_only(read_only)
        .busy_timeout(Duration::from_secs(5))
        .foreign_keys(true)
        .pragma("trusted_schema", "OFF")
        .pragma("cell_size_check", "ON")
        // In KiB. Both sides of a pass go through the file in key order, so that a page is rarely wanted twice.
        .pragma("cache_size", "-1024");
    if !read_only {
        // FULL: a commit that was answered survives a power cut; NORMAL loses the newest ones.
        options = options.journal_mode(SqliteJournalMode::Wal).synchronous(SqliteSynchronous::Full);
    }
    PoolOptions::new().max_connections(connections).connect_with(options).await.map_err(|error| match error {
        sqlx::Error::Database(ref refusal) if refusal.message().contains("unable to open") => {
            LedgerError::Unusable { path: path.to_owned(), cause: refusal.message().to_owned() }
        }
        other => other.into(),
    })
}

/// A new ledger is readable by its group, so that operators can look, and by nobody else.
fn restrict(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    let _ = std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o640));
}

async fn next_epoch(writer: &SqlitePool) -> Result<i64, LedgerError> {
    let mut tx = writer.begin_with("BEGIN IMMEDIATE").await?;
    let epoch: i64 = sqlx::query_scalar(
        "UPDATE meta SET value = CAST(CAST(value AS INTEGER) + 1 AS TEXT) WHERE name = 'epoch' \
         RETURNING CAST(value AS INTEGER)",
    )
    .fetch_one(&mut *tx)
    .await?;
    sqlx::query(
        "UPDATE run SET result = 'interrupted', message = 'the process ended during this run' WHERE result = 'running'",
    )
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(epoch)
}
