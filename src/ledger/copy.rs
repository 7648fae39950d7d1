//! Copies of the ledger: whole, consistent, and complete under their name or not there at all.
//!
//! Made by SQLite itself beside whoever writes, never by copying bytes: those of a file in use are of several moments.

use std::path::Path;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode};
use sqlx::{ConnectOptions as _, Connection as _, SqlitePool};

use super::LedgerError;
use super::file::{beside, restrict};
use super::restored::COPIED;

/// Writes a copy of the database to `to`, through another name, so that half a copy is never taken for one.
pub(super) async fn copy(pool: &SqlitePool, to: &Path) -> Result<(), LedgerError> {
    let failed = |cause: String| LedgerError::Copy { path: to.to_owned(), cause };
    if to.try_exists().map_err(|error| failed(error.to_string()))? {
        return Err(failed("there is something of that name already, and it is not overwritten".to_owned()));
    }
    let unfinished = beside(to, ".unfinished");
    let made = write(pool, &unfinished, &failed).await.and_then(|()| {
        crate::fault!("K14: copy written, not named");
        let renamed = std::fs::rename(&unfinished, to).and_then(|()| sync_folder(to));
        renamed.map_err(|error| failed(error.to_string()))
    });
    if made.is_err() {
        // The error says what happened; whether the half copy can be removed does not matter any more.
        let _ = std::fs::remove_file(&unfinished);
    }
    made
}

async fn write(pool: &SqlitePool, to: &Path, failed: impl Fn(String) -> LedgerError) -> Result<(), LedgerError> {
    // What an interrupted copy left behind.
    match std::fs::remove_file(to) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error.to_string())),
        _ => {}
    }
    let name = to.to_str().ok_or_else(|| failed("SQLite takes names in UTF-8 only".to_owned()))?;
    // Made first, so that nobody else can read it at any moment; SQLite writes into an empty file.
    let file = std::fs::File::create_new(to).map_err(|error| failed(error.to_string()))?;
    restrict(to).map_err(|error| failed(error.to_string()))?;
    sqlx::query("VACUUM INTO ?1").bind(name).execute(pool).await?;
    // Whoever opens it for writing is to know that it is a copy. A copy that is not whole has no name yet.
    let options = SqliteConnectOptions::new().filename(to).journal_mode(SqliteJournalMode::Memory);
    let mut copy = options.connect().await?;
    let marked = sqlx::query("UPDATE meta SET value = CAST(?1 AS TEXT) WHERE name = 'epoch'");
    marked.bind(COPIED).execute(&mut copy).await?;
    copy.close().await?;
    file.sync_all().map_err(|error| failed(error.to_string()))
}

fn sync_folder(path: &Path) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::File::open(folder)?.sync_all()
}
