//! What Business Central's entities allow, and the one normal form of every value.
//!
//! Compiled-in facts about the standard API v2.0: which properties an entity has, of which type and length, which may be
//! written, in which order they are sent. On top of them, [`normalise()`] brings a value into the form in which BC stores
//! it, or says why BC would refuse it, and [`same`] compares with what BC answers. No I/O, no state.

mod compare;
mod entity;
mod facts;
mod normalise;
mod suggest;
mod text;
mod time;

pub use compare::same;
pub use entity::{Access, EntitySchema, Kind, LinesFact, Overwrites, PropertySchema, Rule};
pub use facts::{standard, standard_sets};
pub use normalise::{EMPTY_GUID, Locale, NORMALISER_VERSION, is_blank, normalise};
pub use suggest::closest;
pub use text::code;
pub use time::{EMPTY_DATE, date};
