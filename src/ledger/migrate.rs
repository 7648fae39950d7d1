//! The versions of the ledger's tables.
//!
//! A file of a newer version is refused untouched. Before the tables of an older one are changed, a copy of the file is
//! kept beside it. Each migration is one transaction together with the note that it was made.

use std::path::Path;

use sqlx::SqlitePool;
use sqlx::migrate::{Migration, MigrationType, Migrator};

use super::LedgerError;
use super::copy::copy;
use super::file::beside;

/// The migrations, oldest first.
pub(super) fn migrations() -> Vec<Migration> {
    vec![migration(1, "ledger", include_str!("../../migrations/0001_ledger.sql"))]
}

fn migration(version: i64, name: &'static str, sql: &'static str) -> Migration {
    Migration::new(version, name.into(), MigrationType::Simple, sqlx::SqlStr::from_static(sql), false)
}

/// The newest version that the file's tables have; `None` when none was made.
pub(super) async fn version(pool: &SqlitePool) -> Result<Option<i64>, LedgerError> {
    Ok(sqlx::query_scalar("SELECT max(version) FROM _sqlx_migrations").fetch_one(pool).await?)
}

/// Refuses tables of a version that these migrations do not lead to.
pub(super) fn refuse_newer(path: &Path, found: i64, migrations: &[Migration]) -> Result<(), LedgerError> {
    let known = migrations.last().map_or(0, |newest| newest.version);
    if found <= known {
        return Ok(());
    }
    Err(LedgerError::Newer { path: path.to_owned(), found, known, next: known + 1 })
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
    Migrator::with_migrations(migrations).run(pool).await.map_err(|error| LedgerError::Unusable {
        path: path.to_owned(),
        cause: format!("its tables cannot be brought up to date: {error}"),
    })
}
