//! The words of the program as types: values, records, drafts, links, actions, outcomes.
//!
//! Everything here is plain data without I/O. A type that two stages of the pipeline share lives here, so that the
//! stages need not know each other.

mod action;
mod brake;
mod draft;
mod entity;
mod fingerprint;
mod link;
mod outcome;
mod plan;
mod policy;
mod problem;
mod record;
mod value;
mod view;

pub use action::{Action, LineChange, NewLine, NewRow, OrderChange, PropertyChange};
pub use brake::{Allowed, Brake, BrakeLimit};
pub use draft::{Draft, DraftLine, DraftValue, Property, Reference, Resolved, ResolvedLine, Values};
pub use entity::EntityName;
pub use fingerprint::{Fingerprint, Fingerprinter};
pub use link::{LinkedLine, Snapshot};
pub use outcome::{Counters, ErrorClass, Outcome, Progress, RecordState, Retried, RunResult};
pub use plan::{Counts, Plan, Planner, Step};
pub use policy::{Adopt, Mode, OnConflict, OnDelete, OnMissing, Patience, Removal, RetryPolicy, Take};
pub use problem::Problem;
pub use record::{Columns, Record, RecordError};
pub use value::{Value, ValueError};
pub use view::{Cell, Table, View};
