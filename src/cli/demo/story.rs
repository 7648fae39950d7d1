//! What the demo tells of each pass.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::Path;

use tokio_util::sync::CancellationToken;

use super::super::exit::{Exit, Failed};
use super::super::run::{exit_of, tell};
use super::super::view;
use crate::app::{self, App, AppError, RunOptions};
use crate::config::{self, Environment, ProcessEnvironment};
use crate::model::View;
use crate::simulator::Simulator;

/// The actors.
pub(super) struct Story<'a> {
    pub(super) config: &'a Path,
    pub(super) simulator: &'a Simulator,
    pub(super) cancel: CancellationToken,
}

/// What a pass cost Business Central.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cost {
    pub(super) requests: u64,
    pub(super) writes: u64,
}

/// The process's environment with the simulator's secret in it.
struct WithSecret;

impl Environment for WithSecret {
    fn variable(&self, name: &str) -> Option<OsString> {
        if name == "BC_CLIENT_SECRET" { Some("simulator-secret".into()) } else { ProcessEnvironment.variable(name) }
    }

    fn groups(&self) -> Vec<u32> {
        ProcessEnvironment.groups()
    }
}

impl Story<'_> {
    /// Makes a pass of both jobs and tells of it.
    pub(super) async fn pass(&mut self) -> Result<Cost, Failed> {
        let mut config = config::load(self.config, &WithSecret).map_err(|report| Failed::of_report(&report))?;
        let mappings = app::check(&mut config).map_err(|failed| AppError::Check(*failed))?;
        let app = App::new(&config, &WithSecret);
        self.simulator.reset_stats();
        let options =
            RunOptions { jobs: &[], full: false, cause: "command", cancel: self.cancel.clone(), progress: &|_, _| {} };
        let mut text = Vec::new();
        let finished = app::run(&app, mappings, options, |finished| {
            let _ = tell(&mut text, finished);
        })
        .await?;
        let mut out = anstream::stdout();
        for line in String::from_utf8_lossy(&text).lines() {
            writeln!(out, "  {line}")?;
        }
        for job in &finished {
            let exit = exit_of(job);
            if !matches!(exit, Exit::Done | Exit::Attention) {
                return Err(Failed::new(exit, format!("the pass of {} did not end well", job.job)));
            }
        }
        let stats = self.simulator.stats();
        Ok(Cost { requests: stats.requests, writes: stats.writes() })
    }

    /// Shows which properties the latest passes changed.
    pub(super) async fn fields(&self) -> Result<(), Failed> {
        let config = config::load_to_look(self.config, &WithSecret).map_err(|report| Failed::of_report(&report))?;
        let app = App::new(&config, &WithSecret);
        let mut table = app.view(View::FieldChanges, None, 100).await?;
        let column = |name: &str| table.columns.iter().position(|column| column == name);
        if let (Some(outcome), Some(job)) = (column("outcome"), column("job")) {
            table.rows.retain(|row| row[outcome].text() == "updated");
            let keep = [Some(job), column("key"), column("property"), column("old"), column("new")];
            let keep: Vec<usize> = keep.into_iter().flatten().collect();
            for row in &mut table.rows {
                *row = keep.iter().map(|index| row[*index].clone()).collect();
            }
            table.columns = keep.iter().map(|index| table.columns[*index].clone()).collect();
        }
        let mut out = anstream::stdout();
        for line in view::draw(&table).lines() {
            writeln!(out, "    {}", line.trim_end())?;
        }
        Ok(())
    }
}
