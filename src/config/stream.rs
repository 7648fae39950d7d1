//! What a job reads: the query, the key of its records, and the cursor that spares it what it has read before.

use std::time::Duration;

use chrono_tz::Tz;

use super::duration;
use super::reader::{Table, Value};
use super::schedule;
use super::text::Located;

/// What a job reads of its source.
#[derive(Debug, Clone)]
pub struct Stream {
    /// The query.
    pub query: Located<String>,
    /// The column that tells records apart.
    pub key: Located<String>,
    /// How a pass goes on where the last one ended; without it every pass reads everything.
    pub cursor: Option<Cursor>,
}

/// A column that grows whenever a record changes.
#[derive(Debug, Clone)]
pub struct Cursor {
    /// The column.
    pub column: Located<String>,
    /// The time zone of stamps that carry none.
    pub timezone: Option<Tz>,
    /// How much of what was read is read again.
    pub overlap: Overlap,
    /// How far behind the source's clock the cursor stays, for what is committed late. Only for stamps.
    pub lag: Duration,
}

/// How much of what was read is read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overlap {
    /// For a cursor of stamps.
    Time(Duration),
    /// For a cursor that counts.
    Count(u64),
}

/// The reading part of a job, if it can be used.
pub(super) fn read(job: &mut Table<'_>) -> Option<Stream> {
    let query = job.required("query", Value::text);
    let key = job.required("key", Value::text);
    let has_cursor = job.has("cursor");
    let column = job.optional("cursor", Value::text);
    let timezone = job.optional("cursor_timezone", schedule::read_timezone);
    let overlap = job.optional("overlap", read_overlap);
    let lag = job.optional("lag", duration::read);

    let of_stamps: Vec<_> = timezone.iter().map(Located::place).chain(lag.iter().map(Located::place)).collect();
    if !has_cursor {
        for place in of_stamps.into_iter().chain(overlap.iter().map(Located::place)) {
            job.findings().push(place.error("this has no meaning without `cursor`"));
        }
    } else if matches!(overlap, Some(Located { value: Overlap::Count(_), .. })) {
        for place in of_stamps {
            let problem =
                place.error("this is for a cursor of time stamps, but the number in `overlap` is for one that counts");
            job.findings().push(problem.hint("leave it out, or write `overlap` as a length of time"));
        }
    }
    let cursor = column.map(|column| Cursor {
        column,
        timezone: timezone.map(Located::into_value),
        overlap: overlap.map_or(Overlap::Time(Duration::from_mins(5)), Located::into_value),
        lag: lag.map_or(Duration::from_secs(10), Located::into_value),
    });
    Some(Stream { query: query?, key: key?, cursor })
}

fn read_overlap(value: &Value<'_>) -> Option<Overlap> {
    if value.is_integer() {
        return value.integer(0..=u64::MAX).map(Overlap::Count);
    }
    duration::read(value).map(Overlap::Time)
}
