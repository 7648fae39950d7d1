//! `status` and `history`: the ledger's views, as tables or as JSON.

use std::io::Write as _;

use comfy_table::Table as Drawn;

use super::args::{Global, History, Status};
use super::exit::{Exit, Failed};
use super::outside::load_to_look;
use crate::app::{App, AppError};
use crate::config::ProcessEnvironment;
use crate::model::{Cell, Table, View};

/// Where each job stands.
pub(super) async fn status(global: &Global, command: &Status) -> Result<Exit, Failed> {
    let config = load_to_look(global, &ProcessEnvironment)?;
    let app = App::new(&config, &ProcessEnvironment);
    show(global, &app, View::JobStatus, command.job.as_deref(), u32::MAX).await?;
    for expiry in app.expiring_secrets() {
        writeln!(anstream::stderr(), "{expiry}")?;
    }
    Ok(Exit::Done)
}

/// What was done, what changed, what is wrong.
pub(super) async fn history(global: &Global, command: &History) -> Result<Exit, Failed> {
    let view = match (command.fields, command.failed, command.pending) {
        (true, _, _) => View::FieldChanges,
        (_, true, _) => View::FailedRecords,
        (_, _, true) => View::PendingRecords,
        _ => View::SyncHistory,
    };
    let config = load_to_look(global, &ProcessEnvironment)?;
    show(global, &App::new(&config, &ProcessEnvironment), view, command.job.as_deref(), command.limit).await?;
    Ok(Exit::Done)
}

async fn show(global: &Global, app: &App<'_>, view: View, job: Option<&str>, limit: u32) -> Result<(), Failed> {
    let table = match app.view(view, job, limit).await {
        // Before the first run there is nothing wrong, and nothing to show.
        Err(AppError::NoLedger(reason)) => {
            writeln!(anstream::stderr(), "{reason}")?;
            Table::default()
        }
        table => table?,
    };
    let mut out = anstream::stdout();
    if global.json {
        for row in &table.rows {
            let object: serde_json::Map<_, _> = table.columns.iter().cloned().zip(row.iter().map(json)).collect();
            writeln!(out, "{}", serde_json::Value::Object(object))?;
        }
    } else if table.rows.is_empty() {
        writeln!(out, "nothing to show")?;
    } else {
        for line in draw(&table).lines() {
            writeln!(out, "{}", line.trim_end())?;
        }
    }
    Ok(())
}

fn json(cell: &Cell) -> serde_json::Value {
    match cell {
        Cell::Null => serde_json::Value::Null,
        Cell::Integer(count) => (*count).into(),
        Cell::Text(text) => text.as_str().into(),
    }
}

/// Columns for programs and for `sqlite3`: as long as a record, or said in words by another one.
const LEFT_OUT: [&str; 4] = ["record", "correlation_id", "staged_at", "retry_at"];

/// Columns that hold sentences: behind all others, where they may be as long as they are.
const SENTENCES: [&str; 4] = ["reason", "next", "message", "last_message"];

/// The table as text; columns in which nothing stands but null or 0 are left out, so that it fits a screen.
pub(super) fn draw(table: &Table) -> String {
    let says = |column: usize| table.rows.iter().any(|row| !matches!(row[column].text().as_ref(), "" | "0"));
    let name = |column: usize| table.columns[column].as_str();
    let shown = (0..table.columns.len()).filter(|column| says(*column) && !LEFT_OUT.contains(&name(*column)));
    let (sentences, columns): (Vec<_>, Vec<_>) = shown.partition(|column| SENTENCES.contains(&name(*column)));
    let shown: Vec<_> = columns.into_iter().chain(sentences).collect();
    let mut drawn = Drawn::new();
    drawn.load_style(comfy_table::presets::NOTHING);
    drawn.set_header(shown.iter().map(|column| name(*column).to_uppercase()));
    for row in &table.rows {
        drawn.add_row(shown.iter().map(|column| one_line(&row[*column].text())));
    }
    drawn.to_string()
}

/// Text of a record, without what would move a terminal's cursor.
fn one_line(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}
