//! Business Central: what is read from it, what is written to it, and what its answers mean.
//!
//! [`Reader`] can build nothing but reading requests, also inside `$batch`; [`Writer`] is another type, and only what
//! applies a plan holds one. Errors are classified here, once, and everything behind acts on the class.

mod address;
mod batch;
mod connection;
mod error;
mod filter;
mod reader;
mod row;
mod their_clock;
mod writer;

pub use address::{Api, ApiRoute};
pub use batch::{Operation, Part};
pub use connection::Connection;
pub use error::{BcError, Failure, Sent, classify};
pub use reader::{Company, Query, Reader, Walk};
pub use row::Row;
pub use writer::{Answer, Mode, Writer};
