//! Reads records from the systems that we synchronise from.
//!
//! A source hands over [`Page`]s of records, streamed: no more than one page is in memory. It never writes to the system
//! it reads, never drops a row silently (what cannot be a record comes as a [`Reject`] with its problem), and never hands
//! out a cursor beyond which unseen changes may still turn up.

mod columns;
mod error;
mod page;
mod sql;

pub use columns::declared_columns;
pub use error::{Position, ShapeError, SourceError};
pub use page::{Page, ReadSummary, Reject, Start};
pub use sql::{CursorSpec, Dialect, LinesSpec, Overlap, SqlSource, SqlStream, StreamSpec};
