//! `status` and `history`: the ledger's views, as tables or as JSON.

use std::io::Write as _;

use comfy_table::Table as Drawn;

use super::args::{Global, History, Status};
use super::exit::{Exit, Failed};
use super::outside::load_to_look;
use crate::app::App;
use crate::config::ProcessEnvironment;
use crate::model::{Table, View};

/// Where each job stands.
pub(super) async fn status(global: &Global, command: &Status) -> Result<Exit, Failed> {
    show(global, View::JobStatus, command.job.as_deref(), u32::MAX).await
}

/// What was done, what changed, what is wrong.
pub(super) async fn history(global: &Global, command: &History) -> Result<Exit, Failed> {
    let view = match (command.fields, command.failed, command.pending) {
        (true, _, _) => View::FieldChanges,
        (_, true, _) => View::FailedRecords,
        (_, _, true) => View::PendingRecords,
        _ => View::SyncHistory,
    };
    show(global, view, command.job.as_deref(), command.limit).await
}

async fn show(global: &Global, view: View, job: Option<&str>, limit: u32) -> Result<Exit, Failed> {
    let config = load_to_look(global, &ProcessEnvironment)?;
    let app = App::new(&config, &ProcessEnvironment);
    let table = app.view(view, job, limit).await?;
    let mut out = anstream::stdout();
    if global.json {
        for row in &table.rows {
            let object: serde_json::Map<_, _> =
                table.columns.iter().cloned().zip(row.iter().map(|value| value.clone().into())).collect();
            writeln!(out, "{}", serde_json::Value::Object(object))?;
        }
    } else if table.rows.is_empty() {
        writeln!(out, "nothing to show")?;
    } else {
        writeln!(out, "{}", draw(&table))?;
    }
    Ok(Exit::Done)
}

/// The table as text; columns in which nothing stands but null or 0 are left out, so that it fits a screen.
pub(super) fn draw(table: &Table) -> Drawn {
    let says = |column: usize| {
        table
            .rows
            .iter()
            .any(|row| row.get(column).and_then(Option::as_deref).is_some_and(|value| !matches!(value, "" | "0")))
    };
    let shown: Vec<usize> = (0..table.columns.len()).filter(|column| says(*column)).collect();
    let mut drawn = Drawn::new();
    drawn.load_style(comfy_table::presets::NOTHING);
    drawn.set_header(shown.iter().map(|column| table.columns[*column].to_uppercase()));
    for row in &table.rows {
        drawn.add_row(shown.iter().map(|column| one_line(row[*column].as_deref().unwrap_or_default())));
    }
    drawn
}

/// Text of a record, without what would move a terminal's cursor.
fn one_line(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}
