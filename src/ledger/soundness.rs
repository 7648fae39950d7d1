//! Whether the file is sound, asked of SQLite before anything is sent because of it.
//!
//! Beside the structure this finds values that a constraint of their table forbids, and rows that an index does not know:
//! an intent that its index has lost would be taken for one that never was, and a record whose time was damaged would
//! never be due. The wide rows are not compared with their
//! indexes, which would take longer than all the rest; each of them carries a checksum instead.

use std::sync::Arc;
use std::time::Duration;

use sqlx::SqlitePool;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::LedgerError;

/// How long a check holds for a process that goes on working with the file.
const LASTS: Duration = Duration::from_hours(24);

/// The checks: all of the structure, and the indexes of the narrow tables, on which hangs whether something is sent.
const CHECKS: [&str; 7] = [
    "PRAGMA quick_check(3)",
    "PRAGMA integrity_check(meta)",
    "PRAGMA integrity_check(job)",
    "PRAGMA integrity_check(link)",
    "PRAGMA integrity_check(outbox)",
    "PRAGMA integrity_check(intent)",
    "PRAGMA integrity_check(match_claims)",
];

/// When the file was found sound last. Whoever asks while it is being checked waits for the answer.
#[derive(Debug, Default, Clone)]
pub(super) struct Soundness(Arc<Mutex<Option<Instant>>>);

impl Soundness {
    /// Checks the file, unless that was done lately.
    pub(super) async fn ensure(&self, pool: &SqlitePool) -> Result<(), LedgerError> {
        let mut checked = self.0.lock().await;
        if checked.is_some_and(|at| at.elapsed() < LASTS) {
            return Ok(());
        }
        for check in CHECKS {
            let findings: Vec<String> = sqlx::query_scalar(check).fetch_all(pool).await?;
            if findings != ["ok"] {
                return Err(LedgerError::Damaged { finding: findings.join("; ") });
            }
        }
        *checked = Some(Instant::now());
        Ok(())
    }

    /// Begins to check the file beside everything else.
    pub(super) fn begin(&self, pool: &SqlitePool) {
        let (soundness, pool) = (self.clone(), pool.clone());
        tokio::spawn(async move {
            // Whoever needs the answer asks again, and tells of it.
            let _ = soundness.ensure(&pool).await;
        });
    }
}
