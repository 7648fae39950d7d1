//! Asking the person at the terminal whether to go ahead.

use std::io::{BufRead as _, IsTerminal as _, Write as _};

/// Whether the person agrees; `None` without a terminal, where nobody can be asked.
pub(super) fn ask() -> Option<bool> {
    if !std::io::stdin().is_terminal() {
        return None;
    }
    let _ = write!(anstream::stderr(), "Go ahead? [y/N] ");
    let mut answer = String::new();
    Some(std::io::stdin().lock().read_line(&mut answer).is_ok() && matches!(answer.trim(), "y" | "Y" | "yes"))
}
