//! What is to be read, as plain values.

use std::path::PathBuf;
use std::time::Duration;

use chrono_tz::Tz;
use secrecy::SecretString;

/// A database.
#[derive(Debug, Clone)]
pub enum SqlSource {
    /// A SQLite file.
    Sqlite {
        /// Where the file is.
        path: PathBuf,
    },
    /// A PostgreSQL server.
    Postgres {
        /// `postgres://user:password@host:port/database?sslmode=…`.
        url: SecretString,
    },
    /// A MariaDB or MySQL server.
    MySql {
        /// `mysql://user:password@host:port/database?ssl-mode=…`.
        url: SecretString,
    },
}

/// What is read from a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamSpec {
    /// How messages call the stream.
    pub name: String,
    /// The query. With `:cursor`, `:key` or `:limit` in it, it pages itself: see [`SqlStream::open`](super::SqlStream::open).
    pub query: String,
    /// The column that holds the key: an integer or text, different for every row. A full read asks for one range of it
    /// after the other, so it should have an index.
    pub key: String,
    /// The column that tells what changed; `None` makes every read a full one.
    pub cursor: Option<CursorSpec>,
    /// The child collection.
    pub lines: Option<LinesSpec>,
    /// How many records a page has at most; 1,000 is a good number.
    pub page_size: usize,
}

/// How much is read again every time, below the stored cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overlap {
    /// For time stamps.
    Time(Duration),
    /// For integers.
    Count(i64),
}

/// The column that tells what changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CursorSpec {
    /// The column of the query.
    pub column: String,
    /// How much is read again every time.
    pub overlap: Overlap,
    /// How far the cursor stays behind the source's clock. Without effect on integers.
    pub lag: Duration,
    /// The zone of stamps that carry none; UTC when left out.
    pub timezone: Option<Tz>,
}

/// Where the lines of a stream come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinesSpec {
    /// The query, without paging and placeholders.
    pub query: String,
    /// Its column that holds the key of the parent.
    pub parent: String,
    /// Its column that tells the lines of one parent apart: an integer or text.
    pub key: String,
}
