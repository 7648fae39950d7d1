//! SQL databases as a source: SQLite, PostgreSQL, MariaDB and MySQL.
//!
//! The configured query is wrapped so that the server pages it by key ([`wrap`]) and hands each row over as a JSON array,
//! which keeps every digit of a decimal and needs no knowledge of the drivers' types. Parents and lines of a page are read
//! in one snapshot. Connections are read-only.
//!
//! SQLite and MariaDB hand truth values over as 0 and 1, because that is what they store.

mod assemble;
mod column;
mod connection;
mod cursor;
mod dialect;
mod failure;
mod lines;
mod mysql;
mod placeholders;
mod plan;
mod postgres;
mod rows;
mod spec;
mod sqlite;
mod stamp;
mod stream;
mod wrap;

pub use dialect::Dialect;
pub(super) use placeholders::Query;
pub use spec::{CursorSpec, LinesSpec, Overlap, SqlSource, StreamSpec};
pub use stream::SqlStream;
