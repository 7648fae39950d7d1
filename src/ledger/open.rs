//! Opening and closing: the lock, the pragmas, the epoch.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use sqlx::migrate::Migration;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};
use sqlx::{ConnectOptions as _, Connection as _, Sqlite, Transaction};
use tracing::warn;

use super::copy::copy;
use super::file::{self, APPLICATION_ID, Found, Identity, Reached};
use super::letter_box::LetterBox;
use super::migrate;
use super::pool::{BUSY_TIMEOUT, pool};
use super::restored::{distrust, part_from_logs, restored_at};
use super::room;
use super::soundness::Soundness;
use super::{LedgerError, RunId};
use crate::clock::SharedClock;

/// Reads something, which undoes what a process left half done.
const READ: &str = "SELECT count(*) FROM sqlite_schema";

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
    /// Used by [`Ledger::write`] only, so that nothing is written past the epoch.
    writer: SqlitePool,
    pub(super) readers: SqlitePool,
    pub(super) clock: SharedClock,
    pub(super) options: OpenOptions,
    pub(super) epoch: i64,
    restored_at: Option<DateTime<Utc>>,
    soundness: Soundness,
    pub(super) letter_box: LetterBox,
    /// Of the file that was opened.
    identity: Option<Identity>,
    /// Held for the life of the ledger; the kernel frees it when the process dies.
    lock: Mutex<Option<File>>,
}

impl Ledger {
    /// Opens the ledger for writing, making it when there is none, and marks runs of dead processes as interrupted.
    pub async fn open(options: OpenOptions, clock: SharedClock) -> Result<Self, LedgerError> {
        Self::open_with(options, clock, migrate::migrations()).await
    }

    async fn open_with(
        options: OpenOptions,
        clock: SharedClock,
        migrations: Vec<Migration>,
    ) -> Result<Self, LedgerError> {
        let path = options.path.as_path();
        let held = part_from_logs(path, migrate::newest(&migrations)).await?;
        let undone = roll_back(path).await?;
        // Looked at first, so that nothing is left beside a file that is not ours.
        let (found, version) = inspect(path, &migrations).await?;
        let lock = held.map_or_else(|| file::lock(path), Ok)?;
        crate::fault!("K0: locked, nothing opened");
        if version.is_none() {
            file::refuse_lost(path, found)?;
        }
        let writer = pool(path, 1, false).await?;
        if found == Found::Nothing {
            // Whoever cannot change the mode keeps the one that the umask gives.
            let _ = file::restrict(path);
        }
        let soundness = Soundness::default();
        if version.is_some() && (undone || found == (Found::Database { unclean: true })) {
            warn!(ledger = %path.display(), "the last process did not close the ledger; it is checked first");
            soundness.ensure(&writer).await?;
        }
        migrate::migrate(&writer, path, version, migrations).await?;
        crate::fault!("K0: migrated, no trace beside the file");
        let unusable =
            |error: std::io::Error| LedgerError::Unusable { path: path.to_owned(), cause: error.to_string() };
        let known = file::reached(&lock).map_err(unusable)?;
        file::leave_trace(&lock, known).map_err(unusable)?;
        crate::fault!("K0: migrated, epoch not counted");
        let reached = next_epoch(&writer, known, &crate::clock::iso(clock.now())).await?;
        file::leave_trace(&lock, reached).map_err(unusable)?;
        let restored_at = restored_at(&writer).await?;
        let readers = pool(path, 4, true).await?;
        let identity = Identity::of(path);
        let letter_box = LetterBox::default();
        Ok(Self {
            writer,
            readers,
            clock,
            options,
            epoch: reached.epoch,
            restored_at,
            soundness,
            letter_box,
            identity,
            lock: Mutex::new(Some(lock)),
        })
    }

    /// Opens an existing ledger for looking only; works beside a process that writes.
    pub async fn open_read_only(options: OpenOptions, clock: SharedClock) -> Result<Self, LedgerError> {
        if file::has_logs(&options.path) {
            part_from_logs(&options.path, migrate::newest(&migrate::migrations())).await?;
        }
        roll_back(&options.path).await?;
        if version(&options.path).await?.is_none() {
            return Err(LedgerError::None { path: options.path });
        }
        let readers = pool(&options.path, 1, true).await?;
        Ok(Self {
            writer: readers.clone(),
            readers,
            clock,
            options,
            epoch: 0,
            restored_at: None,
            soundness: Soundness::default(),
            letter_box: LetterBox::default(),
            identity: None,
            lock: Mutex::new(None),
        })
    }

    /// Closes the file so that a reader without write permission can open it: no write-ahead log stays behind.
    pub async fn close(self) {
        self.readers.close().await;
        if self.lock().is_some() {
            // A failure here costs nothing but the convenience: the next start sets the mode again.
            let _ = sqlx::query("PRAGMA optimize").execute(&self.writer).await;
            crate::fault!("K14: before the log is folded in");
            if sqlx::query("PRAGMA journal_mode = DELETE").execute(&self.writer).await.is_err() {
                // What that has begun is undone by the next who reads, and the next one may not be allowed to.
                let _ = sqlx::query(READ).execute(&self.writer).await;
            }
            crate::fault!("K14: log folded in");
        }
        self.writer.close().await;
    }

    /// Begins a writing transaction. Refused when another process has opened the ledger for writing since, or the file
    /// is no longer the one under its name: then nothing that is written here would be seen.
    ///
    /// Immediate, because a reading transaction that turns into a writing one fails at once when someone else writes, in
    /// spite of the busy time-out.
    pub(super) async fn write(&self) -> Result<Transaction<'static, Sqlite>, LedgerError> {
        if Identity::of(&self.options.path) != self.identity {
            return Err(LedgerError::Replaced { path: self.options.path.clone() });
        }
        let mut tx = match self.writer.begin_with("BEGIN IMMEDIATE").await {
            // A disk that fails makes SQLite undo a transaction by itself. The pool goes on taking it for begun: that
            // connection is of no use any more.
            Err(sqlx::Error::InvalidSavePointStatement) => {
                self.writer.acquire().await?.close().await?;
                self.writer.begin_with("BEGIN IMMEDIATE").await?
            }
            begun => begun?,
        };
        let epoch: i64 = sqlx::query_scalar("SELECT CAST(value AS INTEGER) FROM meta WHERE name = 'epoch'")
            .fetch_one(&mut *tx)
            .await?;
        if epoch == self.epoch { Ok(tx) } else { Err(LedgerError::Fenced) }
    }

    /// Makes sure that there is room for a pass, and begins to check the file beside everything else. The first request
    /// that is noted waits for the result.
    pub fn prepare(&self) -> Result<(), LedgerError> {
        room::ensure(&self.options.path)?;
        self.soundness.begin(&self.readers);
        Ok(())
    }

    /// Waits until the file is known to be sound.
    pub async fn sound(&self) -> Result<(), LedgerError> {
        self.soundness.ensure(&self.readers).await
    }

    /// Writes a copy of the ledger as it is now to `to`, where nothing must be yet. Works beside a process that writes.
    pub async fn copy_to(&self, to: &Path) -> Result<(), LedgerError> {
        copy(&self.readers, to).await
    }

    /// Keeps a copy of the ledger beside it, named for `why` and the time. Gives its place.
    pub async fn keep_copy(&self, why: &str) -> Result<PathBuf, LedgerError> {
        let kept = file::beside(&self.options.path, &format!(".{why}-{}", self.now().replace(':', "")));
        self.copy_to(&kept).await?;
        Ok(kept)
    }

    /// When the ledger was found to be an older copy of itself, which a person had put in place; `None`: it never was.
    #[must_use]
    pub fn restored_at(&self) -> Option<DateTime<Utc>> {
        self.restored_at
    }

    fn lock(&self) -> MutexGuard<'_, Option<File>> {
        self.lock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes into the lock that this run was begun, and is in the ledger.
    pub(super) fn has_begun(&self, run: RunId) -> Result<(), LedgerError> {
        let lock = self.lock();
        let Some(file) = lock.as_ref() else { return Ok(()) };
        let written = file::reached(file)
            .and_then(|before| file::leave_trace(file, Reached { epoch: self.epoch, run: before.run.max(run.0) }));
        written.map_err(|error| LedgerError::Unusable { path: self.options.path.clone(), cause: error.to_string() })
    }

    /// The current time as the ledger writes it.
    pub(super) fn now(&self) -> String {
        crate::clock::iso(self.clock.now())
    }
}

/// The version of the ledger's tables; `None` when there are none yet.
pub(super) async fn version(path: &Path) -> Result<Option<i64>, LedgerError> {
    Ok(inspect(path, &migrate::migrations()).await?.1)
}

/// What lies under the ledger's name, and the version of its tables when it is a ledger; an error when it is something
/// else or was made by a newer program. An empty database counts as none: a first run was killed at its very beginning.
async fn inspect(path: &Path, migrations: &[Migration]) -> Result<(Found, Option<i64>), LedgerError> {
    let found = file::look(path)?;
    if found == Found::Nothing {
        return Ok((found, None));
    }
    let foreign = |found: String| LedgerError::Foreign { path: path.to_owned(), found };
    let pool = pool(path, 1, true).await?;
    let application: i64 = sqlx::query_scalar("PRAGMA application_id").fetch_one(&pool).await?;
    let version = if application == APPLICATION_ID {
        let version = migrate::version(&pool).await?;
        migrate::refuse_newer(path, version.unwrap_or_default(), migrations)?;
        migrate::verify(&pool, version.unwrap_or_default(), migrations.to_vec()).await?;
        version
    } else {
        // The table of the migrations, with its index, is made before the first one.
        let others = "SELECT count(*) FROM sqlite_schema WHERE tbl_name <> '_sqlx_migrations'";
        let tables: i64 = sqlx::query_scalar(others).fetch_one(&pool).await?;
        if application != 0 || tables > 0 {
            return Err(foreign(format!("a SQLite file with application id {application}")));
        }
        None
    };
    pool.close().await;
    Ok((found, version))
}

/// Lets SQLite undo what a process began that died while it switched the journal mode, at its start or end. Until then
/// nobody can read the file, not even to see whose it is. What a living process is about to do is left alone: its lock tells
/// SQLite. Gives whether there was something to undo.
async fn roll_back(path: &Path) -> Result<bool, LedgerError> {
    if file::look(path)? == Found::Nothing || !file::has_journal(path) {
        return Ok(false);
    }
    let mut connection = SqliteConnectOptions::new().filename(path).busy_timeout(BUSY_TIMEOUT).connect().await?;
    let undone = sqlx::query(READ).execute(&mut connection).await;
    connection.close().await?;
    undone.map_err(|error| LedgerError::of_undoing(path, error))?;
    Ok(true)
}

/// Begins the epoch after all that were, of which the lock knows one. A file that is behind what the lock knows is an
/// older copy. Gives how far it has come.
async fn next_epoch(writer: &SqlitePool, known: Reached, now: &str) -> Result<Reached, LedgerError> {
    let mut tx = writer.begin_with("BEGIN IMMEDIATE").await?;
    let last: i64 =
        sqlx::query_scalar("SELECT CAST(value AS INTEGER) FROM meta WHERE name = 'epoch'").fetch_one(&mut *tx).await?;
    let run: i64 = sqlx::query_scalar("SELECT coalesce(max(run_id), 0) FROM run").fetch_one(&mut *tx).await?;
    let epoch = last.max(known.epoch).saturating_add(1);
    let statement = sqlx::query("UPDATE meta SET value = CAST(?1 AS TEXT) WHERE name = 'epoch'");
    statement.bind(epoch).execute(&mut *tx).await?;
    if last < known.epoch || run < known.run {
        warn!("the ledger is an older copy of itself: everything is read and compared again before anything is sent");
        distrust(&mut tx, now).await?;
    }
    sqlx::query(
        "UPDATE run SET result = 'interrupted', message = 'the process ended during this run' WHERE result = 'running'",
    )
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(Reached { epoch, run })
}

#[cfg(test)]
mod tests {
    use sqlx::migrate::MigrationType;

    use super::super::{JobId, RunStart};
    use super::*;
    use crate::clock::SystemClock;

    #[tokio::test]
    async fn a_file_whose_first_migration_was_never_made_is_begun() {
        let folder = tempfile::tempdir().unwrap();
        let (living, killed) = (folder.path().join("living.db"), folder.path().join("killed.db"));
        let writer = pool(&living, 1, false).await.unwrap();
        migrate::migrate(&writer, &living, None, Vec::new()).await.unwrap();
        // As a process leaves it that is killed right before its first migration.
        for ending in ["", "-wal"] {
            std::fs::copy(file::beside(&living, ending), file::beside(&killed, ending)).unwrap();
        }
        let options = OpenOptions { path: killed, store_values: true, redact: Vec::new() };
        let clock: SharedClock = std::sync::Arc::new(SystemClock);
        Ledger::open(options, clock).await.unwrap().close().await;
    }

    #[tokio::test]
    async fn who_may_not_undo_what_was_left_half_done_is_told_so() {
        let folder = tempfile::tempdir().unwrap();
        let (living, killed) = (folder.path().join("living.db"), folder.path().join("killed.db"));
        let options = |path: &Path| SqliteConnectOptions::new().filename(path);
        let mut connection = options(&living).create_if_missing(true).connect().await.unwrap();
        let much = "BEGIN; WITH RECURSIVE row(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM row WHERE n < 500) \
                    INSERT INTO junk SELECT hex(randomblob(1000)) FROM row";
        for sql in ["CREATE TABLE junk (text)", "PRAGMA cache_size = 1", much] {
            sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
        }
        for ending in ["", "-journal"] {
            std::fs::copy(file::beside(&living, ending), file::beside(&killed, ending)).unwrap();
        }
        let mut looking = options(&killed).read_only(true).connect().await.unwrap();
        let error = LedgerError::of_undoing(&killed, sqlx::query(READ).execute(&mut looking).await.unwrap_err());
        assert!(matches!(&error, LedgerError::HalfDone { path } if *path == killed), "{error}");
        assert!(roll_back(&killed).await.unwrap());
        sqlx::query(READ).execute(&mut looking).await.unwrap();
        // A living process is not disturbed.
        let mut other = options(&living).busy_timeout(std::time::Duration::ZERO).connect().await.unwrap();
        sqlx::query(READ).execute(&mut other).await.unwrap_err();
        sqlx::query("COMMIT").execute(&mut connection).await.unwrap();
    }

    #[tokio::test]
    async fn a_copy_of_the_same_epoch_is_an_older_ledger_when_a_pass_began_since() {
        let folder = tempfile::tempdir().unwrap();
        let (path, copied) = (folder.path().join("ledger.db"), folder.path().join("copy.db"));
        let options = OpenOptions { path: path.clone(), store_values: true, redact: Vec::new() };
        let clock: SharedClock = std::sync::Arc::new(SystemClock);
        let ledger = Ledger::open(options.clone(), clock.clone()).await.unwrap();
        let bind = "INSERT INTO target VALUES (1, 'main', '', '', '', '', '', '', NULL, x''); \
                    INSERT INTO job (name, target_id, entity, mapping) VALUES ('customers', 1, 'customers', x'')";
        sqlx::raw_sql(bind).execute(&ledger.writer).await.unwrap();
        let start = || RunStart { job: JobId(1), cause: "command", full: true };
        ledger.begin_run(start()).await.unwrap();
        // By another program, which does not say in it that it is a copy.
        sqlx::query("VACUUM INTO ?1").bind(copied.to_str().unwrap()).execute(&ledger.readers).await.unwrap();
        ledger.begin_run(start()).await.unwrap();
        ledger.close().await;
        std::fs::copy(&copied, &path).unwrap();
        let ledger = Ledger::open(options.clone(), clock.clone()).await.unwrap();
        let noticed = ledger.restored_at();
        assert!(noticed.is_some());
        ledger.close().await;
        // Once, not at every start.
        let ledger = Ledger::open(options, clock).await.unwrap();
        assert_eq!(ledger.restored_at(), noticed);
        ledger.close().await;
    }

    #[tokio::test]
    async fn a_copy_is_kept_before_the_tables_change_and_a_newer_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.db");
        let options = OpenOptions { path: path.clone(), store_values: true, redact: Vec::new() };
        let clock: SharedClock = std::sync::Arc::new(SystemClock);
        Ledger::open(options.clone(), clock.clone()).await.unwrap().close().await;

        let newer = || {
            let sql = sqlx::SqlStr::from_static("CREATE TABLE more (one TEXT) STRICT");
            let mut migrations = migrate::migrations();
            migrations.push(Migration::new(9, "more".into(), MigrationType::Simple, sql, false));
            migrations
        };
        let ledger = Ledger::open_with(options.clone(), clock.clone(), newer()).await.unwrap();
        assert_eq!(migrate::version(&ledger.readers).await.unwrap(), Some(9));
        ledger.close().await;
        let before = std::fs::read(&path).unwrap();
        for refused in [
            Ledger::open(options.clone(), clock.clone()).await.unwrap_err(),
            Ledger::open_read_only(options.clone(), clock.clone()).await.unwrap_err(),
        ] {
            assert!(matches!(refused, LedgerError::Newer { found: 9, known: 1, .. }), "{refused}");
        }
        assert_eq!(std::fs::read(&path).unwrap(), before);

        let kept = file::beside(&path, ".before-9");
        let copy = OpenOptions { path: kept.clone(), ..options };
        assert_eq!(inspect(&kept, &migrate::migrations()).await.unwrap().1, Some(1));
        Ledger::open_with(copy, clock, newer()).await.unwrap().close().await;
    }
}
