//! `backup`: writes a copy of the ledger.

use std::io::Write as _;

use super::args::{Backup, Global};
use super::exit::{Exit, Failed};
use super::outside::load_to_look;
use crate::app::App;
use crate::config::ProcessEnvironment;
use crate::ops;

/// Writes the copy, also while another process works with the ledger.
pub(super) async fn backup(global: &Global, command: &Backup) -> Result<Exit, Failed> {
    let config = load_to_look(global, &ProcessEnvironment)?;
    let ledger = App::new(&config, &ProcessEnvironment).look_into_ledger().await?;
    let copied = ops::backup(&ledger, &command.file).await;
    ledger.close().await;
    copied?;
    if !global.quiet {
        writeln!(anstream::stderr(), "the ledger was copied to {}", command.file.display())?;
    }
    Ok(Exit::Done)
}
