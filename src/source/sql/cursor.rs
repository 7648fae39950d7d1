//! Cursor values: how far a read has seen the source, and from where the next one must begin.
//!
//! The next cursor is the smaller of the greatest value seen and the source's clock at the start of the read less the
//! lag, because a row may become visible after its stamp. A read begins at the stored cursor less the overlap, and
//! includes that value. Texts are compared by the source; here a stamp is only taken apart and put together again in
//! the form in which the source writes it, because SQLite compares stamps as text.

use std::time::Duration;

use chrono::{NaiveDate, NaiveDateTime, NaiveTime, Offset, TimeDelta, TimeZone};
use chrono_tz::Tz;

use super::super::ShapeError;
use super::dialect::CursorDomain;
use crate::model::Problem;

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

/// How finely a stamp is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Precision {
    Day,
    Minute,
    Second,
}

/// A time stamp as the source writes it. Stamps with one form sort by time when they are compared as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp<'a> {
    /// As written, in whatever zone.
    time: NaiveDateTime,
    precision: Precision,
    /// Between date and time.
    separator: char,
    /// The number of digits after the seconds.
    digits: usize,
    /// What follows: nothing, `Z` or an offset such as `+02:00`.
    suffix: &'a str,
}

impl<'a> Stamp<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let date = date(text.get(..10)?)?;
        let whole_day = Stamp {
            time: date.and_time(NaiveTime::MIN),
            precision: Precision::Day,
            separator: 'T',
            digits: 0,
            suffix: "",
        };
        let Some(rest) = text.get(11..) else {
            return (text.len() == 10).then_some(whole_day);
        };
        let separator = char::from(text.as_bytes()[10]);
        if !matches!(separator, 'T' | ' ') {
            return None;
        }
        let (hour, minute) = (two_digits(rest, 0)?, two_digits(rest, 3)?);
        if rest.as_bytes().get(2) != Some(&b':') {
            return None;
        }
        let (precision, second, rest) = if rest.as_bytes().get(5) == Some(&b':') {
            (Precision::Second, two_digits(rest, 6)?, &rest[8..])
        } else {
            (Precision::Minute, 0, &rest[5..])
        };
        let fraction = rest
            .strip_prefix('.')
            .map_or("", |after| &after[..after.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(after.len())]);
        let suffix = if fraction.is_empty() { rest } else { &rest[1 + fraction.len()..] };
        suffix_seconds(suffix)?;
        let nanoseconds = fraction_nanoseconds(fraction)?;
        let time = NaiveTime::from_hms_nano_opt(hour, minute, second, nanoseconds)?;
        Some(Stamp { time: date.and_time(time), precision, separator, digits: fraction.len(), suffix })
    }

    /// Whether texts of this form and of `other` sort by time among each other. The number of digits may differ: what
    /// that does to the order stays within one second.
    fn sorts_with(&self, other: &Stamp<'_>) -> bool {
        self.precision == other.precision && self.separator == other.separator && self.suffix == other.suffix
    }

    /// `time` in this form.
    fn write(&self, time: NaiveDateTime) -> String {
        let mut text = self.write_prefix(time);
        if self.precision == Precision::Second && self.digits > 0 {
            let nanoseconds = format!("{:09}", time.and_utc().timestamp_subsec_nanos());
            text.push('.');
            text.push_str(&nanoseconds[..self.digits.min(9)]);
        }
        text.push_str(self.suffix);
        text
    }

    /// `time` in this form without fraction and suffix: as text not greater than any stamp of that second.
    fn write_prefix(&self, time: NaiveDateTime) -> String {
        match self.precision {
            Precision::Day => time.format("%Y-%m-%d").to_string(),
            Precision::Minute => format!("{}{}{}", time.date(), self.separator, time.format("%H:%M")),
            Precision::Second => format!("{}{}{}", time.date(), self.separator, time.format("%H:%M:%S")),
        }
    }
}

fn date(text: &str) -> Option<NaiveDate> {
    let bytes = text.as_bytes();
    if bytes[4] != b'-' || bytes[7] != b'-' {
        return None;
    }
    let year = two_digits(text, 0)? * 100 + two_digits(text, 2)?;
    NaiveDate::from_ymd_opt(i32::try_from(year).ok()?, two_digits(text, 5)?, two_digits(text, 8)?)
}

fn two_digits(text: &str, at: usize) -> Option<u32> {
    match text.as_bytes().get(at..at + 2)? {
        &[tens @ b'0'..=b'9', ones @ b'0'..=b'9'] => Some(u32::from(tens - b'0') * 10 + u32::from(ones - b'0')),
        _ => None,
    }
}

/// The fraction of a second that the digits `fraction` stand for.
fn fraction_nanoseconds(fraction: &str) -> Option<u32> {
    if fraction.is_empty() {
        return Some(0);
    }
    let digits = &fraction[..fraction.len().min(9)];
    let scale = 10_u32.pow(9 - u32::try_from(digits.len()).ok()?);
    Some(digits.parse::<u32>().ok()? * scale)
}

/// The seconds east of UTC that the end of a stamp stands for; 0 when it is empty. `None` when it is none.
fn suffix_seconds(suffix: &str) -> Option<i32> {
    let (sign, rest) = match suffix.as_bytes() {
        [] | [b'Z'] => return Some(0),
        [b'+', ..] => (1, &suffix[1..]),
        [b'-', ..] => (-1, &suffix[1..]),
        _ => return None,
    };
    let minutes = match rest.len() {
        2 => 0,
        4 => two_digits(rest, 2)?,
        5 if rest.as_bytes()[2] == b':' => two_digits(rest, 3)?,
        _ => return None,
    };
    let seconds = i32::try_from(two_digits(rest, 0)? * 3600 + minutes * 60).ok()?;
    Some(sign * seconds)
}

/// What is known of the cursor of one read.
#[derive(Debug)]
pub(super) struct Watermark {
    spec: CursorSpec,
    domain: CursorDomain,
    /// The source's clock before the first page, in UTC, less the lag.
    horizon: NaiveDateTime,
    greatest: Option<String>,
    nulls: u64,
}

impl Watermark {
    /// The state before the first row. `now` is the source's clock in UTC; `stored` the cursor to begin with.
    pub(super) fn new(
        spec: CursorSpec,
        domain: CursorDomain,
        now: &str,
        stored: Option<&str>,
    ) -> Result<Self, ShapeError> {
        let now =
            Stamp::parse(now).ok_or_else(|| ShapeError::Row("the source's clock is not a time stamp".to_owned()))?.time;
        let lag = TimeDelta::from_std(spec.lag).unwrap_or(TimeDelta::MAX);
        let horizon = now.checked_sub_signed(lag).unwrap_or(NaiveDateTime::MIN);
        let watermark = Self { spec, domain, horizon, greatest: stored.map(str::to_owned), nulls: 0 };
        match (stored, domain) {
            (Some(stored), CursorDomain::Untyped) => watermark.check_overlap(stored.parse::<i64>().is_ok())?,
            (None, CursorDomain::Untyped) => {}
            (_, domain) => watermark.check_overlap(domain == CursorDomain::Integer)?,
        }
        Ok(watermark)
    }

    fn check_overlap(&self, integer: bool) -> Result<(), ShapeError> {
        let (holds, expected) = match (self.spec.overlap, integer) {
            (Overlap::Time(_), false) | (Overlap::Count(_), true) => return Ok(()),
            (Overlap::Time(_), true) => ("integers", "a number"),
            (Overlap::Count(_), false) => ("time stamps", "a duration"),
        };
        Err(ShapeError::Overlap { column: self.spec.column.clone(), holds, expected })
    }

    /// The value at which the read begins, inclusive: `stored` less the overlap.
    pub(super) fn lower_bound(&self, stored: &str) -> Result<String, ShapeError> {
        let misfit = || ShapeError::StoredCursor { column: self.spec.column.clone(), stored: stored.to_owned() };
        match self.spec.overlap {
            Overlap::Count(overlap) => {
                let stored: i64 = stored.parse().map_err(|_| misfit())?;
                Ok(stored.saturating_sub(overlap).to_string())
            }
            Overlap::Time(overlap) => {
                let stamp = Stamp::parse(stored).ok_or_else(misfit)?;
                let overlap = TimeDelta::from_std(overlap).unwrap_or(TimeDelta::MAX);
                let bound = stamp.time.checked_sub_signed(overlap).unwrap_or_else(dawn);
                Ok(stamp.write_prefix(bound.max(dawn())))
            }
        }
    }

    /// Takes note of one row's cursor, a JSON value. A value that does not sort with the others is a problem of its row.
    pub(super) fn observe(&mut self, raw: &str) -> Result<Option<Problem>, ShapeError> {
        let first = self.greatest.is_none();
        match raw.as_bytes().first() {
            Some(b'n') => self.nulls += 1,
            Some(b'"') => {
                let text = &raw[1..raw.len() - 1];
                // MySQL's way to write "no date" where null is not allowed.
                if text.is_empty() || text.starts_with("0000-00-00") {
                    self.nulls += 1;
                    return Ok(None);
                }
                let Some(stamp) = Stamp::parse(text) else {
                    return Ok(Some(self.problem("is not a time stamp such as 2026-01-31 12:00:00")));
                };
                let Some(greatest) = &self.greatest else {
                    self.check_overlap(false)?;
                    self.greatest = Some(text.to_owned());
                    return Ok(None);
                };
                if !Stamp::parse(greatest).is_some_and(|greatest| greatest.sorts_with(&stamp)) {
                    return Ok(Some(self.problem(
                        "is written in another form than that of other rows, so that they do not sort by time",
                    )));
                }
                if text > greatest.as_str() {
                    self.greatest = Some(text.to_owned());
                }
            }
            Some(b'-' | b'0'..=b'9') => {
                let Ok(value) = raw.parse::<i64>() else {
                    let (column, type_name) = (self.spec.column.clone(), "number with a fraction".to_owned());
                    return Err(ShapeError::CursorType { column, type_name });
                };
                if first {
                    self.check_overlap(true)?;
                }
                match self.greatest.as_deref().map(str::parse::<i64>) {
                    Some(Err(_)) => return Ok(Some(self.problem("is a number, where other rows have time stamps"))),
                    Some(Ok(greatest)) if greatest >= value => {}
                    _ => self.greatest = Some(raw.to_owned()),
                }
            }
            _ => {
                let (column, type_name) = (self.spec.column.clone(), "boolean".to_owned());
                return Err(ShapeError::CursorType { column, type_name });
            }
        }
        Ok(None)
    }

    fn problem(&self, what: &str) -> Problem {
        Problem::of(&self.spec.column, format!("the cursor {what}; only full reads would see this row"))
    }

    /// Where the next read may begin, given that everything up to the greatest value seen was read.
    pub(super) fn checkpoint(&self) -> Option<String> {
        let greatest = self.greatest.as_deref()?;
        let Some(stamp) = Stamp::parse(greatest) else {
            return Some(greatest.to_owned());
        };
        let horizon = self.horizon_for(&stamp);
        if stamp.time <= horizon { Some(greatest.to_owned()) } else { Some(stamp.write(horizon)) }
    }

    /// The horizon as a clock that writes stamps like `stamp` shows it.
    fn horizon_for(&self, stamp: &Stamp<'_>) -> NaiveDateTime {
        let seconds = match (stamp.suffix, self.domain, self.spec.timezone) {
            ("", CursorDomain::UtcStamp, _) | ("", _, None) => 0,
            ("", _, Some(zone)) => {
                let offset = |at: NaiveDateTime| zone.offset_from_utc_datetime(&at).fix().local_minus_utc();
                // When clocks are about to be set back, local stamps of the next hour repeat those of this one.
                let soon = self.horizon.checked_add_signed(TimeDelta::hours(1)).unwrap_or(self.horizon);
                offset(self.horizon).min(offset(soon))
            }
            (suffix, _, _) => suffix_seconds(suffix).unwrap_or(0),
        };
        self.horizon.checked_add_signed(TimeDelta::seconds(seconds.into())).unwrap_or(self.horizon)
    }

    /// The greatest value seen, or the one that the read began with.
    pub(super) fn greatest(&self) -> Option<&str> {
        self.greatest.as_deref()
    }

    /// How many rows had no cursor value.
    pub(super) fn nulls(&self) -> u64 {
        self.nulls
    }
}

/// The earliest time that the forms can write: years have four digits.
fn dawn() -> NaiveDateTime {
    NaiveDate::from_ymd_opt(1, 1, 1).unwrap_or(NaiveDate::MIN).and_time(NaiveTime::MIN)
}
