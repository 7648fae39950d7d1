//! How a stream will be read, decided once from what the database says of its columns. No I/O.

use super::column::{Column, check_names, find};
use super::connection::Bind;
use super::cursor::Watermark;
use super::dialect::Dialect;
use super::placeholders::{Piece, Query, Slot};
use super::rows::{Key, Layout};
use super::spec::StreamSpec;
use super::wrap::{Paging, Selection, Statement};
use crate::model::Columns;
use crate::source::error::ShapeError;
use crate::source::page::Start;

/// How a read goes through its stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Everything, by key.
    Full,
    /// What changed, by cursor and key.
    Since,
    /// As the query itself says, page by page.
    Custom,
    /// As the query itself says, all at once.
    CustomWhole,
}

/// What the database was asked before a read.
pub(super) struct Facts<'a> {
    pub(super) columns: &'a [Column],
    /// Whether the key's collation takes only equal texts for equal.
    pub(super) deterministic: bool,
    /// The server's clock; only asked for when there is a cursor.
    pub(super) now: Option<&'a str>,
}

/// Everything about a read that does not change while it goes on.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) mode: Mode,
    pub(super) dialect: Dialect,
    pub(super) key_name: String,
    pub(super) columns: Columns,
    pub(super) paging: Paging,
    pub(super) layout: Layout,
    pub(super) first: Statement,
    pub(super) next: Statement,
    /// Rows without a key, which come with the first page.
    pub(super) without_key: Option<Statement>,
    /// The cursor at which the read begins.
    pub(super) lower_bound: Bind,
}

impl Plan {
    /// Decides how `query` is read from `start`, and from where the cursor is followed.
    pub(super) fn new(
        dialect: Dialect,
        query: Query,
        facts: &Facts<'_>,
        spec: &StreamSpec,
        start: &Start,
    ) -> Result<(Self, Option<Watermark>), ShapeError> {
        let Facts { columns, deterministic, now } = *facts;
        check_names(columns)?;
        let key = dialect.key(find(columns, "key", &spec.key)?, deterministic)?;
        let mode = mode(&query, spec, start)?;

        let (mut cursor, mut watermark, mut lower_bound) = (None, None, Bind::Null);
        if let Some(wanted) = &spec.cursor {
            let (operand, domain) = dialect.cursor(find(columns, "cursor", &wanted.column)?)?;
            let stored = match start {
                Start::Since(stored) => Some(stored.as_str()),
                Start::Full => None,
            };
            let mark = Watermark::new(wanted.clone(), domain, now.unwrap_or_default(), stored)?;
            if let Some(stored) = stored {
                lower_bound = dialect.bind(&mark.lower_bound(stored)?);
            }
            (cursor, watermark) = (Some(operand), Some(mark));
        }

        let page_size = spec.page_size.max(1);
        let paging = Paging {
            selection: Selection::new(dialect, query, columns)?,
            key,
            cursor,
            // One more than a page, to see whether there are more, and whether the last key has more rows.
            limit: if mode.is_custom() { page_size } else { page_size + 1 },
        };
        let (first, next, without_key) = match (mode, &paging.cursor) {
            (Mode::Since, Some(cursor)) => {
                (paging.since_first(cursor), paging.since_next(cursor), Some(paging.without_key(Some(cursor))))
            }
            (Mode::Custom | Mode::CustomWhole, _) => (paging.custom(), paging.custom(), None),
            _ => (paging.full_first(), paging.full_next(), Some(paging.without_key(None))),
        };
        let plan = Self {
            mode,
            dialect,
            key_name: spec.key.clone(),
            columns: columns.iter().map(|column| column.name.clone()).collect(),
            layout: if mode == Mode::Full { paging.full_layout() } else { paging.layout() },
            paging,
            first,
            next,
            without_key,
            lower_bound,
        };
        Ok((plan, watermark))
    }
}

impl Mode {
    pub(super) fn is_custom(self) -> bool {
        matches!(self, Self::Custom | Self::CustomWhole)
    }
}

fn mode(query: &Query, spec: &StreamSpec, start: &Start) -> Result<Mode, ShapeError> {
    if query.is_custom() {
        if !query.has(Piece::Limit) {
            return Ok(Mode::CustomWhole);
        }
        if query.has(Piece::Slot(Slot::Key)) || query.has(Piece::Slot(Slot::Cursor)) {
            return Ok(Mode::Custom);
        }
        return Err(ShapeError::Paging("it has `:limit`, but neither `:key` nor `:cursor` to go on from".to_owned()));
    }
    Ok(if spec.cursor.is_some() && *start != Start::Full { Mode::Since } else { Mode::Full })
}

impl Dialect {
    /// `text`, a cursor or key, as a parameter.
    fn bind(self, text: &str) -> Bind {
        match text.parse() {
            Ok(integer) if self == Self::Sqlite => Bind::Integer(integer),
            _ => Bind::Text(text.to_owned()),
        }
    }

    /// `key` as a parameter; `None` when it cannot be compared with.
    pub(super) fn bind_key(self, key: &Key<'_>) -> Option<Bind> {
        match key {
            Key::Integer(digits) => Some(self.bind(digits)),
            Key::Text(text) => Some(Bind::Text(text.clone().into_owned())),
            Key::Null | Key::Unusable(_) => None,
        }
    }
}
