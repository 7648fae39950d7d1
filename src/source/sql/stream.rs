//! One read of one stream, page by page.

use std::sync::Arc;

use super::assemble::{Assembly, repeated, settled};
use super::column::Column;
use super::connection::{Bind, Connection};
use super::cursor::Watermark;
use super::dialect::Dialect;
use super::failure::Failure;
use super::lines::{Lines, key_list};
use super::placeholders::{Query, Slot};
use super::plan::{Facts, Mode, Plan};
use super::rows::{Key, Layout, Row};
use super::spec::{SqlSource, StreamSpec};
use super::wrap::Statement;
use crate::model::Columns;
use crate::source::error::{ShapeError, SourceError};
use crate::source::page::{Page, ReadSummary, Start};

/// A read of one stream. After an error it is at its end, and incomplete.
pub struct SqlStream {
    name: String,
    connection: Connection,
    plan: Plan,
    lines: Option<Lines>,
    line_columns: Columns,
    watermark: Option<Watermark>,
    /// Cursor and key of the last row of the page before.
    position: Option<Position>,
    state: State,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Position {
    cursor: Bind,
    key: Bind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Reading,
    Complete,
    Failed,
}

impl std::fmt::Debug for SqlStream {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("SqlStream")
            .field("name", &self.name)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

impl SqlStream {
    /// Connects to `source`, checks the columns of the stream, and prepares to read from `start`.
    ///
    /// A query that has the placeholders `:cursor`, `:key` or `:limit` pages itself. They stand for the cursor and the
    /// key of the last row of the page before, both null before the first page of a full read; before the first page of
    /// an incremental read the cursor is where the read begins, inclusive, and the key is null. `:limit` is the size of a
    /// page; a query without it is read as a single page. Such a query must sort by what it compares.
    pub async fn open(source: &SqlSource, spec: StreamSpec, start: Start) -> Result<Self, SourceError> {
        let name = spec.name.as_str();
        let mut connection = Connection::open(source).await.map_err(|failure| failure.connecting(name))?;
        let dialect = connection.dialect();
        let query = Query::parse(&spec.query, dialect);
        let described = connection.describe(&query.sample()).await;
        let as_configured = (!query.is_custom()).then(|| query.text());
        let columns = described.map_err(|failure| failure.running(name, "the query", as_configured))?;
        let key = columns.iter().find(|column| column.name == spec.key);
        let deterministic = match key {
            Some(key) if dialect == Dialect::Postgres => is_deterministic(&mut connection, name, &query, key).await?,
            _ => true,
        };
        let now = match &spec.cursor {
            Some(_) => {
                let now = connection.fetch(&Arc::from(dialect.now()), Vec::new()).await;
                now.map_err(|failure| failure.connecting(name))?.pop()
            }
            None => None,
        };
        let lines = match &spec.lines {
            Some(lines) => Some(Lines::open(&mut connection, name, lines).await?),
            None => None,
        };
        let facts = Facts { columns: &columns, deterministic, now: now.as_deref() };
        let (plan, watermark) = Plan::new(dialect, query, &facts, &spec, &start)
            .map_err(|problem| SourceError::Shape { stream: name.to_owned(), problem })?;
        Ok(Self {
            name: spec.name,
            connection,
            plan,
            line_columns: lines.as_ref().map_or_else(|| Columns::from([]), |lines| Arc::clone(&lines.columns)),
            lines,
            watermark,
            position: None,
            state: State::Reading,
        })
    }

    /// The names of the columns.
    #[must_use]
    pub fn columns(&self) -> &Columns {
        &self.plan.columns
    }

    /// The names of the columns of the lines; empty without a child collection.
    #[must_use]
    pub fn line_columns(&self) -> &Columns {
        &self.line_columns
    }

    /// How far the read came.
    #[must_use]
    pub fn summary(&self) -> ReadSummary {
        let complete = self.state == State::Complete;
        let watermark = self.watermark.as_ref();
        ReadSummary {
            null_cursors: watermark.map_or(0, Watermark::unusable),
            max_cursor: watermark.and_then(Watermark::greatest).map(str::to_owned),
            complete,
            next_cursor: watermark.filter(|_| complete).and_then(Watermark::checkpoint),
        }
    }

    /// The next page; `None` at the end. That it was the end of the stream, and not that of a read that failed, is what
    /// [`ReadSummary::complete`] says.
    pub async fn next_page(&mut self) -> Result<Option<Page>, SourceError> {
        if self.state != State::Reading {
            return Ok(None);
        }
        // It stays so on an error, and when this future is dropped half-way: the transaction is open then.
        self.state = State::Failed;
        let begin = self.connection.execute(self.plan.dialect.begin()).await;
        begin.map_err(|failure| failure.running(&self.name, "the transaction", None))?;
        let (page, more) = self.read_page().await?;
        let commit = self.connection.execute("COMMIT").await;
        commit.map_err(|failure| failure.running(&self.name, "the transaction", None))?;
        self.state = if more { State::Reading } else { State::Complete };
        Ok((more || !page.records.is_empty() || !page.rejects.is_empty()).then_some(page))
    }

    /// Reads one page inside the transaction, and tells whether there are more.
    async fn read_page(&mut self) -> Result<(Page, bool), SourceError> {
        let mut page = Page::default();
        let statement = if self.position.is_none() { &self.plan.first } else { &self.plan.next };
        let statement = statement.clone();
        let texts = self.fetch(&statement).await?;
        let mut rows = self.split(&texts, self.plan.layout)?;
        let more = self.plan.mode != Mode::CustomWhole && rows.len() >= self.plan.paging.limit;
        match self.plan.mode {
            Mode::Full if more => rows.truncate(settled(&rows).map_err(|problem| self.shape(problem))?),
            Mode::Since if more => rows.truncate(self.plan.paging.limit - 1),
            _ => {}
        }
        let position = if more { Some(self.position_after(&rows)?) } else { None };

        let mut twice = repeated(&rows);
        if self.plan.mode == Mode::Since {
            twice.extend(self.repeated_in_query(&rows).await?);
        }
        let lines = match &self.lines {
            Some(lines) => {
                let parents = usable_keys(&rows);
                Some(lines.read(&mut self.connection, &self.name, &parents).await?)
            }
            None => None,
        };
        let without_key = match &self.plan.without_key {
            Some(statement) if self.position.is_none() => {
                let statement = statement.clone();
                self.fetch(&statement).await?
            }
            _ => Vec::new(),
        };
        rows.extend(self.split(&without_key, self.plan.paging.layout())?);

        let mut assembly = Assembly {
            key_name: &self.plan.key_name,
            columns: &self.plan.columns,
            line_columns: &self.line_columns,
            repeated: twice,
            lines,
        };
        for row in &rows {
            if let Some(watermark) = &mut self.watermark {
                watermark.observe(row.cursor).map_err(|problem| shape(&self.name, problem))?;
            }
            assembly.add(row, &mut page);
        }
        self.position = position;
        if self.plan.mode == Mode::Since || !more {
            page.checkpoint = self.watermark.as_ref().and_then(Watermark::checkpoint);
        }
        Ok((page, more))
    }

    async fn fetch(&mut self, statement: &Statement) -> Result<Vec<String>, SourceError> {
        let binds = statement.slots.iter().map(|slot| self.bind(*slot)).collect();
        match self.connection.fetch(&statement.sql, binds).await {
            Ok(texts) => Ok(texts),
            Err(failure) => Err(self.explain(failure).await),
        }
    }

    fn bind(&self, slot: Slot) -> Bind {
        match (slot, &self.position) {
            (Slot::Cursor, Some(position)) => position.cursor.clone(),
            (Slot::Key, Some(position)) => position.key.clone(),
            (Slot::Cursor, None) => self.plan.lower_bound.clone(),
            (Slot::Key, None) => Bind::Null,
        }
    }

    fn split<'a>(&self, texts: &'a [String], layout: Layout) -> Result<Vec<Row<'a>>, SourceError> {
        let mut rows = Vec::with_capacity(self.plan.paging.limit);
        for text in texts {
            for row in self.plan.dialect.rows(text) {
                rows.push(Row::split(row, layout).map_err(|problem| self.shape(problem))?);
            }
        }
        Ok(rows)
    }

    /// Where the page after `rows` begins.
    fn position_after(&self, rows: &[Row<'_>]) -> Result<Position, SourceError> {
        let dialect = self.plan.dialect;
        let last = rows.iter().rev().find_map(|row| {
            let key = dialect.bind_key(&row.key)?;
            let cursor = Key::read(row.cursor).ok().and_then(|cursor| dialect.bind_key(&cursor));
            Some(Position { cursor: cursor.unwrap_or(Bind::Null), key })
        });
        match last {
            Some(position) if self.position.as_ref() != Some(&position) => Ok(position),
            Some(_) => Err(self.shape(ShapeError::Paging(
                "a page ends where the one before it ended; sort by what `:cursor` and `:key` are compared with"
                    .to_owned(),
            ))),
            None => {
                let message = format!("a whole page has no row whose `{}` is an integer or text", self.plan.key_name);
                Err(self.shape(ShapeError::Paging(message)))
            }
        }
    }

    /// Which keys of `rows` have more rows in the whole query, changed or not.
    async fn repeated_in_query(&mut self, rows: &[Row<'_>]) -> Result<Vec<String>, SourceError> {
        let keys = usable_keys(rows);
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let sql = Arc::from(self.plan.paging.repeated(keys.len()));
        let texts = self.connection.fetch(&sql, key_list(self.plan.dialect, &keys)).await;
        let texts = texts.map_err(|failure| failure.running(&self.name, "the query", None))?;
        let found = self.split(&texts, Layout::default())?;
        Ok(found.iter().filter_map(|row| row.key.as_str()).map(str::to_owned).collect())
    }

    /// `failure` as an error; a BLOB in SQLite with the column that holds it.
    async fn explain(&mut self, failure: Failure) -> SourceError {
        if failure.is_blob()
            && let Ok(flags) = self.connection.fetch(&Arc::from(self.plan.paging.selection.blobs()), Vec::new()).await
            && let Some(index) = flags.first().and_then(|flags| flags.bytes().position(|flag| flag == b'1'))
        {
            return self.shape(ShapeError::UnsupportedColumn {
                column: self.plan.columns[index].clone(),
                type_name: "BLOB".to_owned(),
                remedy: "leave it out, or use hex(…) or CAST(… AS TEXT)",
            });
        }
        failure.running(&self.name, "the query", None)
    }

    fn shape(&self, problem: ShapeError) -> SourceError {
        shape(&self.name, problem)
    }
}

fn shape(stream: &str, problem: ShapeError) -> SourceError {
    SourceError::Shape { stream: stream.to_owned(), problem }
}

fn usable_keys<'r, 'a>(rows: &'r [Row<'a>]) -> Vec<&'r Key<'a>> {
    rows.iter().map(|row| &row.key).filter(|key| key.as_str().is_some()).collect()
}

/// Whether the collation of the column `key` takes only equal texts for equal. Asks PostgreSQL, where that is so unless
/// the collation was declared otherwise.
async fn is_deterministic(
    connection: &mut Connection,
    stream: &str,
    query: &Query,
    key: &Column,
) -> Result<bool, SourceError> {
    if !matches!(key.type_name.as_str(), "TEXT" | "VARCHAR" | "CHAR") {
        return Ok(true);
    }
    let column = Dialect::Postgres.column(key);
    let sql = format!(
        "SELECT CAST(collisdeterministic AS text) FROM pg_collation WHERE oid = \
         CAST(pg_collation_for((SELECT {column} FROM ({}\n) q LIMIT 0)) AS regcollation)",
        query.sample()
    );
    match connection.fetch(&Arc::from(sql), Vec::new()).await {
        Ok(answer) => Ok(answer.first().is_some_and(|answer| answer == "true")),
        // A server that cannot tell: the order by bytes is always right, only slower.
        Err(Failure::Refused { .. } | Failure::Shape(_)) => Ok(false),
        Err(failure) => Err(failure.running(stream, "the query", None)),
    }
}
