//! What a mapping is compiled from, and how a mistake in it is reported.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use chrono_tz::Tz;

use crate::model::EntityName;

/// A job's mapping as configured: pairs of BC property and expression.
#[derive(Debug, Clone)]
pub struct MappingSpec {
    /// What the job writes to.
    pub entity: EntityName,
    /// Whether the job may create rows.
    pub creates: bool,
    /// Properties that the job owns.
    pub fields: Vec<(String, String)>,
    /// Properties that are sent on creation only.
    pub create_only: Vec<(String, String)>,
    /// Which records take part; all, when there is none.
    pub where_: Option<String>,
    /// The lines of documents.
    pub lines: Option<LinesMapping>,
    /// The tables of `translate`.
    pub maps: BTreeMap<String, BTreeMap<String, String>>,
    /// The properties by which a row is found again in BC.
    pub match_on: Vec<String>,
    /// Where dates of stamps are taken.
    pub timezone: Tz,
    /// BC's property for a row's total, and what it is to be.
    pub total: Option<(String, String)>,
}

/// The lines of a document as configured.
#[derive(Debug, Clone)]
pub struct LinesMapping {
    /// The entity set of the lines.
    pub entity: String,
    /// The column of a line that is its key.
    pub key: String,
    /// Where a record holds its lines: a column such as `lines`, or a pointer such as `/order/line_items`.
    pub path: String,
    /// Properties of a line.
    pub fields: Vec<(String, String)>,
}

/// A place in a job's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// `entity`
    Entity,
    /// `fields` as a whole
    Fields,
    /// `fields.NAME`
    Field(String),
    /// `create_only.NAME`
    CreateOnly(String),
    /// `where`
    Where,
    /// `match_on`
    MatchOn,
    /// `check_total.property`
    TotalProperty,
    /// `check_total.equals`
    Total,
    /// `lines.entity`
    LinesEntity,
    /// `lines.key`
    LinesKey,
    /// `lines.path`
    LinesPath,
    /// `lines.fields.NAME`
    LinesField(String),
}

impl Place {
    /// The keys that lead to the place, from the job's table on.
    #[must_use]
    pub fn keys(&self) -> Vec<&str> {
        match self {
            Self::Entity => vec!["entity"],
            Self::Fields => vec!["fields"],
            Self::Field(name) => vec!["fields", name],
            Self::CreateOnly(name) => vec!["create_only", name],
            Self::Where => vec!["where"],
            Self::MatchOn => vec!["match_on"],
            Self::TotalProperty => vec!["check_total", "property"],
            Self::Total => vec!["check_total", "equals"],
            Self::LinesEntity => vec!["lines", "entity"],
            Self::LinesKey => vec!["lines", "key"],
            Self::LinesPath => vec!["lines", "path"],
            Self::LinesField(name) => vec!["lines", "fields", name],
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.keys().join("."))
    }
}

/// A mistake in a mapping.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {message}{}", hint.as_ref().map(|hint| format!("; {hint}")).unwrap_or_default())]
pub struct CompileError {
    /// Where it is.
    pub place: Place,
    /// Which bytes of the text at that place are meant; all, when not known.
    pub range: Option<Range<usize>>,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

/// A mistake somewhere in one text, whose place the caller knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mistake {
    pub(super) range: Option<Range<usize>>,
    pub(super) message: String,
    pub(super) hint: Option<String>,
}

impl Mistake {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self { range: None, message: message.into(), hint: None }
    }

    pub(super) fn at(self, range: Range<usize>) -> Self {
        Self { range: Some(range), ..self }
    }

    pub(super) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// "did you mean …?", when there is something to suggest.
    pub(super) fn meant(self, suggestion: Option<&str>) -> Self {
        match suggestion {
            Some(name) => self.hint(format!("did you mean `{name}`?")),
            None => self,
        }
    }

    pub(super) fn in_place(self, place: Place) -> CompileError {
        CompileError { place, range: self.range, message: self.message, hint: self.hint }
    }
}

/// A column that a mapping reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnUse {
    /// Its name.
    pub name: String,
    /// Where it is used.
    pub place: Place,
    /// Which bytes of the text there name it.
    pub range: Range<usize>,
}

/// A job or an entity set that a mapping refers to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameUse {
    /// Its name.
    pub name: String,
    /// Where it is used.
    pub place: Place,
    /// Which bytes of the text there name it.
    pub range: Range<usize>,
}
