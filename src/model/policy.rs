//! What the operator decided: for cases in which more than one thing would be right, and how patiently to repeat.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What happens with a row that matches but was not made by this program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Adopt {
    /// It is linked and brought up to date.
    Update,
    /// It is linked if it already is as wanted.
    IfEqual,
    /// It is not linked: the record is quarantined with what was found.
    Never,
}

/// Which writes a job may make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// It makes rows and changes them.
    Upsert,
    /// It makes rows and never changes them.
    CreateOnly,
    /// It changes rows and never makes them.
    UpdateOnly,
}

/// Who wins when someone changed our properties in Business Central.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnConflict {
    /// The source: the change is overwritten, and recorded.
    SourceWins,
    /// Business Central: the change stays.
    BcWins,
    /// Nobody, until a person decides.
    Hold,
}

/// Whose values a person takes to end a conflict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Take {
    /// The source's: they are sent.
    Source,
    /// Business Central's: what it holds counts as what we wanted, until the source changes again.
    Bc,
}

impl Take {
    /// The word in the ledger and on the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Bc => "bc",
        }
    }

    /// The decision in words.
    #[must_use]
    pub fn told(self) -> &'static str {
        match self {
            Self::Source => "the source is right, as a person decided",
            Self::Bc => "Business Central is right, as a person decided",
        }
    }

    /// Reads the word.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Source, Self::Bc].into_iter().find(|take| take.as_str() == text)
    }
}

/// What becomes of the row of a record that was deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnDelete {
    /// It stays.
    Keep,
    /// It is blocked.
    Block,
    /// It is deleted.
    Delete,
}

impl OnDelete {
    /// The word in the configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.removal().map_or("keep", Removal::as_str)
    }

    /// What is done with such a row; `None`: nothing.
    #[must_use]
    pub fn removal(self) -> Option<Removal> {
        match self {
            Self::Keep => None,
            Self::Block => Some(Removal::Block),
            Self::Delete => Some(Removal::Delete),
        }
    }
}

/// How a row is taken out of use whose record the source has lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// It is blocked.
    Block,
    /// It is deleted.
    Delete,
}

impl Removal {
    /// The word in the ledger.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Block => "block",
            Self::Delete => "delete",
        }
    }

    /// Reads the word in the ledger.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Block, Self::Delete].into_iter().find(|removal| removal.as_str() == text)
    }
}

/// What becomes of a record whose row Business Central no longer has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnMissing {
    /// It is closed.
    Close,
    /// Its row is made again.
    Recreate,
}

/// How long records are left alone that cannot go through for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// How long a record may wait for another one, or for a code, before a person is asked.
    pub waiting_for: Duration,
    /// After how long a quarantined record is tried again by itself.
    pub retry_quarantined: Duration,
}

/// How often and how patiently to repeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// How many times a thing is tried in all.
    pub attempts: u32,
    /// The delay after the first failure, give or take half of it; doubles with every further one. Not zero.
    pub initial: Duration,
    /// The longest delay of our own choosing.
    pub max: Duration,
    /// No attempt is begun later than this after the first one, also none of those that do not count as attempts.
    pub patience: Duration,
}

impl Default for RetryPolicy {
    /// Five attempts within a quarter of an hour, one to sixty seconds apart.
    fn default() -> Self {
        Self {
            attempts: 5,
            initial: Duration::from_secs(1),
            max: Duration::from_mins(1),
            patience: Duration::from_mins(15),
        }
    }
}
