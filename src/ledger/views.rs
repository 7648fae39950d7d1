//! The views, read for people as they stand in the migrations.

use sqlx::sqlite::SqliteRow;
use sqlx::{Column as _, Row as _, TypeInfo as _, ValueRef as _};

use super::{Ledger, LedgerError};
use crate::model::{Cell, Table, View};

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
            table.rows.push((0..row.len()).map(|index| cell(&row, index)).collect::<Result<_, _>>()?);
        }
        Ok(table)
    }
}

fn cell(row: &SqliteRow, index: usize) -> sqlx::Result<Cell> {
    let raw = row.try_get_raw(index)?;
    if raw.is_null() {
        return Ok(Cell::Null);
    }
    let is_integer = raw.type_info().name() == "INTEGER";
    // SQLite turns any other value into text by itself; the check of the type would refuse it.
    if is_integer { row.try_get(index).map(Cell::Integer) } else { row.try_get_unchecked(index).map(Cell::Text) }
}
