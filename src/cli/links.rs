//! `links import` and `links export`.

use std::fs::File;
use std::io::{Read, Write as _};

use super::args::{Global, Links};
use super::exit::{Exit, Failed};
use super::interrupt::Interrupt;
use super::{Outside, load, load_to_look};
use crate::app::{self, App, AppError, LinksError};

/// Imports or exports links.
pub(super) async fn links(global: &Global, command: &Links) -> Result<Exit, Failed> {
    let outside = Outside::new();
    match command {
        Links::Export { job } => {
            let config = load_to_look(global, &outside.environment)?;
            let app = App { config: &config, environment: &outside.environment, clock: outside.clock.clone() };
            app::export_links(&app, job.as_deref(), std::io::stdout().lock()).await?;
        }
        Links::Import { job, file } => {
            let mut config = load(global, &outside.environment)?;
            let mappings = app::check(&mut config).map_err(|failed| AppError::Check(*failed))?;
            let app = App { config: &config, environment: &outside.environment, clock: outside.clock.clone() };
            let input: Box<dyn Read> = match file {
                Some(path) => Box::new(File::open(path).map_err(|error| {
                    Failed::new(Exit::Configuration, format!("cannot read {}: {error}", path.display()))
                })?),
                None => Box::new(std::io::stdin()),
            };
            let interrupt = Interrupt::watch();
            let (stored, left) = app::import_links(&app, &mappings, job, input, &interrupt.token()).await?;
            let mut err = anstream::stderr();
            writeln!(err, "{stored} links stored; the next pass compares these rows in full")?;
            if !left.is_empty() {
                writeln!(err, "{} were linked already and left alone: {}", left.len(), left.join(", "))?;
            }
        }
    }
    Ok(Exit::Done)
}

impl From<LinksError> for Failed {
    fn from(error: LinksError) -> Self {
        let exit = match &error {
            LinksError::NoJob(_) => Exit::Usage,
            LinksError::Ledger(crate::ledger::LedgerError::Busy { .. }) => Exit::Busy,
            _ => Exit::of(error.result()),
        };
        Self::new(exit, error.to_string())
    }
}
