//! The versions of the ledger's tables.
//!
//! A file of a newer version is refused untouched. Before the tables of an older one are changed, a copy of the file is
//! kept beside it. Each migration is one transaction together with the note that it was made.

use std::collections::BTreeSet;
use std::path::Path;

use sqlx::SqlitePool;
use sqlx::migrate::{Migration, MigrationType, Migrator};
#[cfg(feature = "fault")]
use sqlx::sqlite::SqliteOperation;

use super::LedgerError;
use super::copy::copy;
use super::file::beside;
use super::pool::pool_of;

/// The migrations, oldest first.
pub(super) fn migrations() -> Vec<Migration> {
    vec![migration(1, "ledger", include_str!("../../migrations/0001_ledger.sql"))]
}

fn migration(version: i64, name: &'static str, sql: &'static str) -> Migration {
    Migration::new(version, name.into(), MigrationType::Simple, sqlx::SqlStr::from_static(sql), false)
}

/// The version of the last of the migrations.
pub(super) fn newest(migrations: &[Migration]) -> i64 {
    migrations.last().map_or(0, |newest| newest.version)
}

/// The newest version that the file's tables have; `None` when none was made.
pub(super) async fn version(pool: &SqlitePool) -> Result<Option<i64>, LedgerError> {
    Ok(sqlx::query_scalar("SELECT max(version) FROM _sqlx_migrations").fetch_one(pool).await?)
}

/// Refuses tables of a version that these migrations do not lead to.
pub(super) fn refuse_newer(path: &Path, found: i64, migrations: &[Migration]) -> Result<(), LedgerError> {
    let known = newest(migrations);
    if found <= known {
        return Ok(());
    }
    Err(LedgerError::Newer { path: path.to_owned(), found, known, next: known + 1 })
}

/// Compares the tables, indexes and views of the file with those that the migrations up to `version` make. What people
/// added is left alone. A damaged definition would be believed: a constraint that allows everything, an index of nothing.
pub(super) async fn verify(pool: &SqlitePool, version: i64, mut migrations: Vec<Migration>) -> Result<(), LedgerError> {
    migrations.retain(|migration| migration.version <= version);
    let model = pool_of(1).connect("sqlite::memory:").await?;
    Migrator::with_migrations(migrations).run(&model).await.map_err(sqlx::Error::from)?;
    let (expected, found) = (definitions(&model).await?, definitions(pool).await?);
    model.close().await;
    match expected.difference(&found).next() {
        None => Ok(()),
        Some((name, _)) => Err(LedgerError::Damaged { finding: format!("`{name}` is not defined as it was") }),
    }
}

/// Name and definition of everything that was defined, in hexadecimal digits where it may be no text any more.
async fn definitions(pool: &SqlitePool) -> Result<BTreeSet<(String, String)>, LedgerError> {
    // A name is told as far as it is one.
    let all =
        "SELECT iif(name GLOB '*[^a-z0-9_]*', hex(name), name), hex(sql) FROM sqlite_schema WHERE sql IS NOT NULL";
    let all: Vec<(String, String)> = sqlx::query_as(all).fetch_all(pool).await?;
    Ok(all.into_iter().collect())
}

/// Brings the tables up to date. `version` is theirs, when there are any; then a copy is kept before they change.
pub(super) async fn migrate(
    pool: &SqlitePool,
    path: &Path,
    version: Option<i64>,
    migrations: Vec<Migration>,
) -> Result<(), LedgerError> {
    if let Some(version) = version
        && let Some(next) = migrations.iter().find(|migration| migration.version > version)
    {
        let kept = beside(path, &format!(".before-{}", next.version));
        // An earlier attempt at the same migration kept the same.
        if !kept.exists() {
            copy(pool, &kept).await?;
        }
    }
    #[cfg(feature = "fault")]
    pool.acquire().await?.lock_handle().await?.set_update_hook(|update| {
        // The note that it was made is written last, in the same transaction.
        if update.operation == SqliteOperation::Insert && update.table == "_sqlx_migrations" {
            crate::fault!("K0: inside a migration");
        }
    });
    Migrator::with_migrations(migrations).run(pool).await.map_err(|error| LedgerError::Unusable {
        path: path.to_owned(),
        cause: format!("its tables cannot be brought up to date: {error}"),
    })?;
    #[cfg(feature = "fault")]
    pool.acquire().await?.lock_handle().await?.remove_update_hook();
    Ok(())
}
