//! One read-only connection to any of the databases: describe a query, fetch JSON texts, open and close a snapshot.
//!
//! Every wait has a limit. Errors are classified here, where they are understood; the connection URL is in none of them.

use std::sync::Arc;
use std::time::Duration;

use sqlx::mysql::{MySqlConnection, MySqlDatabaseError};
use sqlx::postgres::{PgConnection, PgDatabaseError};
use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, Column as _, Executor, Statement as _, TypeInfo as _};

use super::super::{Position, ShapeError, SourceError};
use super::dialect::{Column, Dialect};
use super::{SqlSource, mysql, postgres, sqlite};

/// How long a database may take to accept a connection and to set up the session.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);

/// How long a database may take for one page.
pub(super) const STATEMENT_TIMEOUT: Duration = Duration::from_mins(10);

/// The value of a parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Bind {
    Null,
    /// For SQLite, which compares by the type of the value. The others cast a text.
    Integer(i64),
    Text(String),
}

/// Why the database did not do what it was asked for.
#[derive(Debug)]
pub(super) enum Failure {
    /// It may do it later.
    Transient(String),
    /// A person has to change something. Holds the place in the statement, counted in characters from 1.
    Refused { message: String, character: Option<usize> },
    /// The answer is not what a row looks like.
    Shape(ShapeError),
}

impl Failure {
    /// As the error of `stream` while connecting.
    pub(super) fn connecting(self, stream: &str) -> SourceError {
        let stream = stream.to_owned();
        match self {
            Self::Transient(message) => SourceError::Unreachable { stream, message },
            Self::Refused { message, .. } => {
                SourceError::Refused { stream, what: "the connection", message, position: None }
            }
            Self::Shape(problem) => SourceError::Shape { stream, problem },
        }
    }

    /// As the error of `stream` while `what` ran; `query` is its text when the database saw it as it was configured.
    pub(super) fn running(self, stream: &str, what: &'static str, query: Option<&str>) -> SourceError {
        let stream = stream.to_owned();
        match self {
            Self::Transient(message) => SourceError::Interrupted { stream, message },
            Self::Refused { message, character } => {
                let position = query.zip(character).map(|(query, nth)| Position::of(query, nth));
                SourceError::Refused { stream, what, message, position }
            }
            Self::Shape(problem) => SourceError::Shape { stream, problem },
        }
    }
}

/// What a database's own error means.
pub(super) struct Verdict {
    pub(super) transient: bool,
    pub(super) message: String,
    pub(super) character: Option<usize>,
}

/// A connection whose session is set up.
pub(super) enum Connection {
    Sqlite(Box<SqliteConnection>),
    Postgres(Box<PgConnection>),
    MySql(Box<MySqlConnection>),
}

/// Runs `$body` with `$connection` bound to whichever connection this is.
macro_rules! on {
    ($self:expr, $connection:ident => $body:expr) => {
        match $self {
            Connection::Sqlite($connection) => $body,
            Connection::Postgres($connection) => $body,
            Connection::MySql($connection) => $body,
        }
    };
}

impl Connection {
    /// Connects, and sets the session up: read-only, in UTC.
    pub(super) async fn open(source: &SqlSource) -> Result<Self, Failure> {
        within(CONNECT_TIMEOUT, async {
            Ok(match source {
                SqlSource::Sqlite { path } => Self::Sqlite(Box::new(sqlite::connect(path).await?)),
                SqlSource::Postgres { url } => Self::Postgres(Box::new(postgres::connect(url).await?)),
                SqlSource::MySql { url } => Self::MySql(Box::new(mysql::connect(url).await?)),
            })
        })
        .await
    }

    pub(super) fn dialect(&self) -> Dialect {
        match self {
            Self::Sqlite(_) => Dialect::Sqlite,
            Self::Postgres(_) => Dialect::Postgres,
            Self::MySql(_) => Dialect::MySql,
        }
    }

    /// The columns that `query` gives, without running it.
    pub(super) async fn describe(&mut self, query: &str) -> Result<Vec<Column>, Failure> {
        let sql = AssertSqlSafe(query.to_owned());
        within(STATEMENT_TIMEOUT, async {
            on!(self, connection => {
                let statement = connection.prepare(sqlx::SqlSafeStr::into_sql_str(sql)).await.map_err(classify)?;
                Ok(statement
                    .columns()
                    .iter()
                    .map(|column| Column {
                        name: column.name().to_owned(),
                        type_name: column.type_info().name().to_owned(),
                    })
                    .collect())
            })
        })
        .await
    }

    /// The first column of the rows of `sql`, without nulls.
    pub(super) async fn fetch(&mut self, sql: &Arc<str>, binds: Vec<Bind>) -> Result<Vec<String>, Failure> {
        let sql = AssertSqlSafe(Arc::clone(sql));
        let rows: Vec<Option<String>> = within(STATEMENT_TIMEOUT, async {
            on!(self, connection => {
                let mut query = sqlx::query_scalar(sql);
                for bind in binds {
                    query = match bind {
                        Bind::Null => query.bind(None::<String>),
                        Bind::Integer(value) => query.bind(value),
                        Bind::Text(text) => query.bind(text),
                    };
                }
                query.fetch_all(&mut **connection).await.map_err(classify)
            })
        })
        .await?;
        Ok(rows.into_iter().flatten().collect())
    }

    /// Runs `sql`, which gives no rows.
    pub(super) async fn execute(&mut self, sql: &'static str) -> Result<(), Failure> {
        within(STATEMENT_TIMEOUT, async {
            on!(self, connection => {
                connection.execute(sqlx::raw_sql(sql)).await.map_err(classify)?;
            });
            Ok(())
        })
        .await
    }
}

/// Waits for `work` no longer than `limit`.
async fn within<T>(limit: Duration, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    match tokio::time::timeout(limit, work).await {
        Ok(done) => done,
        Err(_) => Err(Failure::Transient(format!("no answer within {} seconds", limit.as_secs()))),
    }
}

/// What an error of the driver means.
pub(super) fn classify(error: sqlx::Error) -> Failure {
    match error {
        sqlx::Error::Database(error) => {
            let verdict = if let Some(error) = error.try_downcast_ref::<PgDatabaseError>() {
                postgres::verdict(error)
            } else if let Some(error) = error.try_downcast_ref::<MySqlDatabaseError>() {
                mysql::verdict(error)
            } else {
                sqlite::verdict(error.as_ref())
            };
            let Verdict { transient, message, character } = verdict;
            if transient { Failure::Transient(message) } else { Failure::Refused { message, character } }
        }
        sqlx::Error::Io(error) => Failure::Transient(error.to_string()),
        error @ (sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed) => Failure::Transient(error.to_string()),
        error @ (sqlx::Error::Decode(_) | sqlx::Error::ColumnDecode { .. }) => {
            Failure::Shape(ShapeError::Row(error.to_string()))
        }
        error => Failure::Refused { message: error.to_string(), character: None },
    }
}
