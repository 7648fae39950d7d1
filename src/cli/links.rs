//! `links import` and `links export`.

use std::fs::File;
use std::io::{Read, Write as _};

use super::args::{Global, Links};
use super::exit::{Exit, Failed};
use super::interrupt::Interrupt;
use super::outside::{load, load_to_look};
use crate::app::{self, App, AppError, LinksError};
use crate::config::ProcessEnvironment;

/// Imports or exports links.
pub(super) async fn links(global: &Global, command: &Links) -> Result<Exit, Failed> {
    match command {
        Links::Export { job } => {
            let config = load_to_look(global, &ProcessEnvironment)?;
            let app = App::new(&config, &ProcessEnvironment);
            app::export_links(&app, job.as_deref(), std::io::stdout().lock()).await?;
        }
        Links::Import { job, file } => {
            let mut config = load(global, &ProcessEnvironment)?;
            let mappings = app::check(&mut config).map_err(|failed| AppError::Check(*failed))?;
            let app = App::new(&config, &ProcessEnvironment);
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
            LinksError::Ledger(AppError::Busy(_)) => Exit::Busy,
            _ => Exit::of(error.result()),
        };
        Self::new(exit, error.to_string())
    }
}
