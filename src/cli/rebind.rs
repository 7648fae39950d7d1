//! `rebind`: says what binding a target anew does, asks, and does it.

use std::io::Write as _;

use super::args::{Global, Rebind};
use super::consent;
use super::exit::{Exit, Failed};
use super::interrupt::Interrupt;
use super::outside::load;
use crate::app::{self, App, AppError, RebindError, Rebinding};
use crate::config::ProcessEnvironment;

/// Binds a target anew.
pub(super) async fn rebind(global: &Global, command: &Rebind) -> Result<Exit, Failed> {
    let config = load(global, &ProcessEnvironment)?;
    let app = App::new(&config, &ProcessEnvironment);
    let interrupt = Interrupt::watch();
    let Rebind { target, restored, yes } = command;
    let mut refused = false;
    let agree = |rebinding: &Rebinding| {
        let _ = tell(target, rebinding);
        let agreed = *yes || *rebinding == Rebinding::Nothing || consent::ask() == Some(true);
        refused = !agreed;
        agreed
    };
    let copy = app::rebind(&app, target, *restored, &interrupt.token(), agree).await?;
    if refused {
        return Err(Failed::new(Exit::Usage, "nothing was changed; say `--yes` to agree where nobody can be asked"));
    }
    if let Some(copy) = copy {
        let copy = copy.display();
        writeln!(anstream::stderr(), "done; the ledger as it was is kept in {copy}. The next run reads everything")?;
    }
    Ok(Exit::Done)
}

fn tell(target: &str, rebinding: &Rebinding) -> std::io::Result<()> {
    let mut err = anstream::stderr();
    match rebinding {
        Rebinding::Nothing => writeln!(err, "target `{target}` is bound to that company already; nothing to do"),
        Rebinding::Moved { from, to } => {
            writeln!(err, "target `{target}` moves from {from} to {to}: the same company, so that all links stay")
        }
        Rebinding::Other { from, to, counts } => writeln!(
            err,
            "target `{target}` changes from {from} to {to}, another company: {} links, {} records in the outbox and {} \
             requests with an open outcome are given up, and every record is matched in the other company, by `match_on` \
             and `adopt`, as if it were new",
            counts.links, counts.queued, counts.open
        ),
        Rebinding::Restored(jobs) => {
            writeln!(err, "the company of target `{target}` was restored from a backup:")?;
            for (job, lost) in jobs {
                writeln!(err, "  {job}: {lost} records whose rows are missing are matched, and made again")?;
            }
            writeln!(err, "  rows that were written since then are compared with their records in full")
        }
    }
}

impl From<RebindError> for Failed {
    fn from(error: RebindError) -> Self {
        let exit = match &error {
            RebindError::NoTarget(_) | RebindError::Unused(_) | RebindError::OtherCompany(_) => Exit::Usage,
            RebindError::Ledger(AppError::Busy(_)) => Exit::Busy,
            _ => Exit::of(error.result()),
        };
        Self::new(exit, error.to_string())
    }
}
