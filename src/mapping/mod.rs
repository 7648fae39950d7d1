//! From a record to a draft: what Business Central is to hold for it.
//!
//! A mapping is compiled once from the configuration, and every mistake that can be found without data is found then:
//! unknown properties, columns, filters and tables, what may not be written, what is missing to create a row. Mapping a
//! record then either gives a draft in BC's own value forms, or all problems of the record, or says that it is filtered
//! out. References to other records and to code tables stay symbolic. Pure: no I/O, no clock, no state.

mod compile;
mod convert;
mod expression;
mod filters;
mod lines;
mod mapped;
mod names;
mod reference;
mod row;
mod rules;
mod scan;
mod spec;
mod target;

pub use mapped::{MapContext, Mapped, Mapping, match_value};
pub use spec::{ColumnUse, CompileError, LinesMapping, MappingSpec, NameUse, Place};
