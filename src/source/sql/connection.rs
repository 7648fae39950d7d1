//! One read-only connection to any of the databases: describe a query, fetch JSON texts, open and close a snapshot.
//!
//! Every wait has a limit.

use std::sync::Arc;
use std::time::Duration;

use sqlx::mysql::MySqlConnection;
use sqlx::postgres::PgConnection;
use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, Column as _, Executor, Statement as _, TypeInfo as _};

use super::column::Column;
use super::dialect::Dialect;
use super::failure::{Failure, classify};
use super::spec::SqlSource;
use super::{mysql, postgres, sqlite};
use crate::source::error::ShapeError;

/// How long a database may take to accept a connection and to set up the session.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);

/// How long a database may take for one page.
const STATEMENT_TIMEOUT: Duration = Duration::from_mins(10);

/// The value of a parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Bind {
    Null,
    /// For SQLite, which compares by the type of the value. The others cast a text.
    Integer(i64),
    Text(String),
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
                SqlSource::Postgres { url } => {
                    Self::Postgres(Box::new(postgres::connect(url, STATEMENT_TIMEOUT).await?))
                }
                SqlSource::MySql { url } => Self::MySql(Box::new(mysql::connect(url, STATEMENT_TIMEOUT).await?)),
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

    /// The columns that `query`, which has no parameters, gives. Does not run it.
    pub(super) async fn describe(&mut self, query: &str) -> Result<Vec<Column>, Failure> {
        let sql = AssertSqlSafe(query.to_owned());
        within(STATEMENT_TIMEOUT, async {
            on!(self, connection => {
                let statement = connection.prepare(sqlx::SqlSafeStr::into_sql_str(sql)).await.map_err(classify)?;
                let parameters = statement.parameters().map_or(0, |found| found.either(<[_]>::len, |count| count));
                // One would be filled with a value meant for another.
                if parameters > 0 {
                    return Err(Failure::Shape(ShapeError::Parameters(parameters)));
                }
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
