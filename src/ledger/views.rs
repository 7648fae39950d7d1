//! The views, read for people as they stand in the migrations.

use sqlx::{Column as _, Row as _};

use super::{Ledger, LedgerError};
use crate::model::{Table, View};

impl Ledger {
    /// At most `limit` rows of `view`, of one job or of all, in the order of the view.
    pub async fn view(&self, view: View, job: Option<&str>, limit: u32) -> Result<Table, LedgerError> {
        let statement = match view {
            View::JobStatus => "SELECT * FROM job_status WHERE ?1 IS NULL OR job = ?1 LIMIT ?2",
            View::SyncHistory => "SELECT * FROM sync_history WHERE ?1 IS NULL OR job = ?1 LIMIT ?2",
            View::FailedRecords => "SELECT * FROM failed_records WHERE ?1 IS NULL OR job = ?1 LIMIT ?2",
            View::PendingRecords => "SELECT * FROM pending_records WHERE ?1 IS NULL OR job = ?1 LIMIT ?2",
            View::FieldChanges => "SELECT * FROM field_changes WHERE ?1 IS NULL OR job = ?1 LIMIT ?2",
        };
        let rows = sqlx::query(statement).bind(job).bind(limit).fetch_all(&self.readers).await?;
        let mut table = Table::default();
        for row in rows {
            if table.columns.is_empty() {
                table.columns = row.columns().iter().map(|column| column.name().to_owned()).collect();
            }
            // SQLite turns any value into text by itself; the check of the type would refuse integers.
            let values = (0..row.len()).map(|index| row.try_get_unchecked(index)).collect::<Result<_, _>>()?;
            table.rows.push(values);
        }
        Ok(table)
    }
}
