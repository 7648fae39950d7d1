//! Exit codes, and how a failure is told.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use crate::app::AppError;
use crate::config::Report;
use crate::model::RunResult;
use crate::ops::OpsError;

/// How the process ends. The numbers are documented in `--help` and in the README.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exit {
    /// Every record is accounted for and nobody has to look.
    Done,
    /// Done, but some records were quarantined or are in conflict.
    Attention,
    /// Wrong usage.
    Usage,
    /// The source or Business Central could not be reached or gave up.
    Failed,
    /// Held by the brake.
    Held,
    /// Another process holds the ledger.
    Busy,
    /// Credentials, consent or permissions.
    Denied,
    /// A person must put configuration or ledger right.
    Configuration,
    /// SIGINT.
    Interrupted,
    /// SIGTERM.
    Terminated,
}

impl Exit {
    /// The number.
    pub(super) fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Attention => 1,
            Self::Usage => 2,
            Self::Failed => 3,
            Self::Held => 4,
            Self::Busy => 75,
            Self::Denied => 77,
            Self::Configuration => 78,
            Self::Interrupted => 130,
            Self::Terminated => 143,
        }
    }

    /// What a run that ended so means for the exit code.
    pub(super) fn of(result: RunResult) -> Self {
        match result {
            RunResult::Done => Self::Done,
            RunResult::Attention => Self::Attention,
            RunResult::Held => Self::Held,
            RunResult::Failed => Self::Failed,
            RunResult::Denied => Self::Denied,
            RunResult::Refused => Self::Configuration,
            RunResult::Interrupted => Self::Interrupted,
        }
    }

    /// Of several, the one that a person must hear of first.
    pub(super) fn gravest(self, other: Self) -> Self {
        let rank = |exit: Self| match exit {
            Self::Terminated => 0,
            Self::Interrupted => 1,
            Self::Usage => 2,
            Self::Busy => 3,
            Self::Configuration => 4,
            Self::Denied => 5,
            Self::Held => 6,
            Self::Failed => 7,
            Self::Attention => 8,
            Self::Done => 9,
        };
        if rank(other) < rank(self) { other } else { self }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        exit.code().into()
    }
}

/// A command that came to nothing, with what to tell.
#[derive(Debug)]
pub(super) struct Failed {
    exit: Exit,
    text: String,
}

impl Failed {
    /// Fails with one sentence.
    pub(super) fn new(exit: Exit, message: impl AsRef<str>) -> Self {
        Self { exit, text: format!("error: {}\n", message.as_ref()) }
    }

    /// Fails with all that is wrong with the configuration.
    pub(super) fn of_report(report: &Report) -> Self {
        Self { exit: Exit::Configuration, text: format!("{}\n", report.render(colour())) }
    }

    /// Tells it on stderr.
    pub(super) fn report(&self) -> ExitCode {
        let _ = anstream::stderr().write_all(self.text.as_bytes());
        self.exit.into()
    }
}

impl From<AppError> for Failed {
    fn from(error: AppError) -> Self {
        match error {
            AppError::Busy(_) | AppError::NotTaken => Self::new(Exit::Busy, error.to_string()),
            AppError::Ledger(_) | AppError::NoLedger(_) | AppError::Daemon(_) => {
                Self::new(Exit::Configuration, error.to_string())
            }
            AppError::HolderEnded => Self::new(Exit::Failed, error.to_string()),
            AppError::Check(report) => Self::of_report(&report.0),
            AppError::NoJob { .. } | AppError::Disabled { .. } | AppError::Ops(_) | AppError::Declined(_) => {
                Self::new(Exit::Usage, error.to_string())
            }
        }
    }
}

impl From<OpsError> for Failed {
    fn from(error: OpsError) -> Self {
        AppError::from(error).into()
    }
}

impl From<std::io::Error> for Failed {
    fn from(error: std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            // Nobody reads on: `bcsync history | head` is no failure.
            return Self { exit: Exit::Done, text: String::new() };
        }
        Self::new(Exit::Failed, error.to_string())
    }
}

/// Whether stderr is a terminal that wants colours.
pub(super) fn colour() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gravest_of_several_wins() {
        let order = [Exit::Configuration, Exit::Denied, Exit::Held, Exit::Failed, Exit::Attention, Exit::Done];
        for (place, graver) in order.iter().enumerate() {
            for lighter in &order[place..] {
                assert_eq!(graver.gravest(*lighter), *graver);
                assert_eq!(lighter.gravest(*graver), *graver);
            }
        }
    }

    #[test]
    fn the_codes_are_as_documented() {
        let help = <super::super::args::Args as clap::CommandFactory>::command().render_help().to_string();
        for exit in [
            Exit::Done,
            Exit::Attention,
            Exit::Usage,
            Exit::Failed,
            Exit::Held,
            Exit::Busy,
            Exit::Denied,
            Exit::Configuration,
            Exit::Interrupted,
        ] {
            assert!(help.contains(&format!(" {}  ", exit.code())), "{exit:?}");
        }
        assert!(help.contains("143 by SIGTERM"));
    }
}
