//! Cursor values: how far a read has seen the source, and from where the next one must begin.
//!
//! The next cursor is the smaller of the greatest value seen and the source's clock at the start of the read less the
//! lag, because a row may become visible after its stamp. A read begins at the stored cursor less the overlap, and
//! includes that value. Texts are compared by the source; here a stamp is only taken apart and put together again in
//! the form in which the source writes it, because SQLite compares stamps as text.

use chrono::{NaiveDate, NaiveDateTime, NaiveTime, Offset, TimeDelta, TimeZone};

use super::dialect::CursorDomain;
use super::spec::{CursorSpec, Overlap};
use super::stamp::{Stamp, suffix_seconds};
use crate::source::error::ShapeError;

/// What is known of the cursor of one read.
#[derive(Debug)]
pub(super) struct Watermark {
    spec: CursorSpec,
    domain: CursorDomain,
    /// The source's clock before the first page, in UTC, less the lag.
    horizon: NaiveDateTime,
    greatest: Option<String>,
    unusable: u64,
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
        let horizon = now.checked_sub_signed(lag).unwrap_or_else(dawn).max(dawn());
        let watermark = Self { spec, domain, horizon, greatest: stored.map(str::to_owned), unusable: 0 };
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

    /// Takes note of one row's cursor, a JSON value.
    pub(super) fn observe(&mut self, raw: &str) -> Result<(), ShapeError> {
        let usable = match raw.as_bytes().first() {
            Some(b'n') => false,
            Some(b'"') => self.observe_stamp(&raw[1..raw.len() - 1])?,
            Some(b'-' | b'0'..=b'9') => self.observe_integer(raw)?,
            _ => return Err(self.unfit("boolean")),
        };
        self.unusable += u64::from(!usable);
        Ok(())
    }

    /// Whether `text` sorts by time with the stamps seen before. When it does not, the greatest text counts all the
    /// same, because it is what the source compares with.
    fn observe_stamp(&mut self, text: &str) -> Result<bool, ShapeError> {
        let Some(stamp) = Stamp::parse(text) else { return Ok(false) };
        let Some(greatest) = self.greatest.as_deref() else {
            self.check_overlap(false)?;
            self.greatest = Some(text.to_owned());
            return Ok(true);
        };
        let Some(sorts) = Stamp::parse(greatest).map(|greatest| greatest.sorts_with(&stamp)) else {
            return Ok(false);
        };
        if !sorts && self.domain != CursorDomain::Untyped {
            // All rows are of one form here: it is the stored cursor that is of another.
            return Err(ShapeError::StoredCursor { column: self.spec.column.clone(), stored: greatest.to_owned() });
        }
        if text > greatest {
            self.greatest = Some(text.to_owned());
        }
        Ok(sorts)
    }

    fn observe_integer(&mut self, digits: &str) -> Result<bool, ShapeError> {
        let Ok(value) = digits.parse::<i64>() else { return Err(self.unfit("number that is no 64-bit integer")) };
        match self.greatest.as_deref().map(str::parse::<i64>) {
            None => self.check_overlap(true)?,
            Some(Err(_)) => return Ok(false),
            Some(Ok(greatest)) if greatest >= value => return Ok(true),
            Some(Ok(_)) => {}
        }
        self.greatest = Some(digits.to_owned());
        Ok(true)
    }

    fn unfit(&self, type_name: &str) -> ShapeError {
        ShapeError::CursorType { column: self.spec.column.clone(), type_name: type_name.to_owned() }
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

    /// How many rows had no cursor that sorts with the others.
    pub(super) fn unusable(&self) -> u64 {
        self.unusable
    }
}

/// The earliest time that the forms can write: years have four digits.
fn dawn() -> NaiveDateTime {
    NaiveDate::from_ymd_opt(1, 1, 1).unwrap_or(NaiveDate::MIN).and_time(NaiveTime::MIN)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use chrono_tz::Tz;

    use super::*;

    fn spec(overlap: Overlap, timezone: Option<Tz>) -> CursorSpec {
        CursorSpec { column: "at".to_owned(), overlap, lag: Duration::from_secs(10), timezone }
    }

    fn minutes(minutes: u64) -> Overlap {
        Overlap::Time(Duration::from_secs(60 * minutes))
    }

    fn watermark(domain: CursorDomain, now: &str, timezone: Option<Tz>) -> Watermark {
        Watermark::new(spec(minutes(5), timezone), domain, now, None).unwrap()
    }

    #[test]
    fn the_lower_bound_sorts_before_every_stamp_of_its_second() {
        for (stored, expected) in [
            ("2026-01-31 12:00:00", "2026-01-31 11:55:00"),
            ("2026-01-31T12:00:00.987Z", "2026-01-31T11:55:00"),
            ("2026-01-31T12:00:00+02:00", "2026-01-31T11:55:00"),
            ("2026-01-31 00:04", "2026-01-30 23:59"),
            ("2026-01-31", "2026-01-30"),
        ] {
            let mark = watermark(CursorDomain::Untyped, "2026-06-01T00:00:00", None);
            assert_eq!(mark.lower_bound(stored).unwrap(), expected);
        }
        let ages = spec(Overlap::Time(Duration::MAX), None);
        let mark = Watermark::new(ages, CursorDomain::Untyped, "2026-06-01", None).unwrap();
        assert_eq!(mark.lower_bound("2026-01-31 12:00:00").unwrap(), "0001-01-01 00:00:00");
        assert!(mark.lower_bound("7").is_err());
    }

    #[test]
    fn the_checkpoint_is_the_greatest_value_or_the_horizon() {
        let now = "2026-06-01T12:00:00.250000";
        for (seen, expected) in [
            ("2026-05-31 10:00:00", "2026-05-31 10:00:00"),
            ("2026-06-01 11:59:50", "2026-06-01 11:59:50"),
            ("2026-06-01 11:59:51", "2026-06-01 11:59:50"),
            ("2026-06-01T11:59:58.1Z", "2026-06-01T11:59:50.2Z"),
            ("2026-06-01T13:59:58.123+02:00", "2026-06-01T13:59:50.250+02:00"),
            ("2999-01-01", "2026-06-01"),
        ] {
            let mut mark = watermark(CursorDomain::Untyped, now, None);
            mark.observe(&format!("\"{seen}\"")).unwrap();
            assert_eq!(mark.checkpoint().as_deref(), Some(expected), "{seen}");
        }
    }

    #[test]
    fn stamps_without_zone_are_compared_with_the_clock_of_their_zone() {
        let future = "\"2999-01-01 00:00:00\"";
        let berlin = Some(chrono_tz::Europe::Berlin);
        for (domain, timezone, now, expected) in [
            (CursorDomain::LocalStamp, None, "2026-06-01T12:00:10", "2026-06-01 12:00:00"),
            (CursorDomain::LocalStamp, berlin, "2026-06-01T12:00:10", "2026-06-01 14:00:00"),
            (CursorDomain::LocalStamp, berlin, "2026-01-01T12:00:10", "2026-01-01 13:00:00"),
            (CursorDomain::UtcStamp, berlin, "2026-06-01T12:00:10", "2026-06-01 12:00:00"),
            // Clocks are set back at 01:00 UTC: what is written from then on starts again at 02:00.
            (CursorDomain::LocalStamp, berlin, "2026-10-24T23:30:10", "2026-10-25 01:30:00"),
            (CursorDomain::LocalStamp, berlin, "2026-10-25T00:30:10", "2026-10-25 01:30:00"),
            (CursorDomain::LocalStamp, berlin, "2026-10-25T01:30:10", "2026-10-25 02:30:00"),
        ] {
            let mut mark = watermark(domain, now, timezone);
            mark.observe(future).unwrap();
            assert_eq!(mark.checkpoint().as_deref(), Some(expected), "{domain:?} {now}");
        }
    }

    #[test]
    fn rows_whose_cursor_does_not_sort_with_the_others_are_counted() {
        let mut mark = watermark(CursorDomain::Untyped, "2026-06-01", None);
        for raw in ["\"2026-01-01\"", "\"2026-01-02 00:00:00\"", "\"2026-01-02 00:00:00.5\"", "\"2026-01-01 23:00:00\""]
        {
            mark.observe(raw).unwrap();
        }
        assert_eq!((mark.unusable(), mark.greatest()), (1, Some("2026-01-02 00:00:00.5")));
        for raw in ["null", "\"\"", "\"0000-00-00 00:00:00\"", "\"soon\"", "17", "\"2026-01-02 00:00:00Z\""] {
            mark.observe(raw).unwrap();
        }
        assert_eq!((mark.unusable(), mark.greatest()), (7, Some("2026-01-02 00:00:00Z")));
        assert!(mark.observe("1.5").is_err() && mark.observe("true").is_err());
    }

    #[test]
    fn a_stored_cursor_of_another_form_is_refused_where_columns_are_typed() {
        let stored = Some("2026-05-01T00:00:00");
        let mut mark = Watermark::new(spec(minutes(5), None), CursorDomain::UtcStamp, "2026-06-01", stored).unwrap();
        let error = mark.observe("\"2026-05-01T00:00:00+00:00\"").unwrap_err();
        assert!(matches!(error, ShapeError::StoredCursor { .. }), "{error}");
    }

    #[test]
    fn a_stored_cursor_is_not_undercut() {
        let stored = Some("2026-05-01 00:00:00");
        let mut mark = Watermark::new(spec(minutes(5), None), CursorDomain::Untyped, "2026-06-01", stored).unwrap();
        mark.observe("\"2026-04-30 23:58:00\"").unwrap();
        assert_eq!(mark.checkpoint().as_deref(), stored);
    }

    #[test]
    fn integers_are_compared_by_value() {
        let count = spec(Overlap::Count(10), None);
        let mut mark = Watermark::new(count.clone(), CursorDomain::Integer, "2026-06-01", Some("99")).unwrap();
        assert_eq!(mark.lower_bound("99").unwrap(), "89");
        mark.observe("100").unwrap();
        mark.observe("98").unwrap();
        assert_eq!(mark.checkpoint().as_deref(), Some("100"));
        assert!(Watermark::new(count, CursorDomain::LocalStamp, "2026-06-01", None).is_err());
        assert!(Watermark::new(spec(minutes(1), None), CursorDomain::Untyped, "2026-06-01", Some("7")).is_err());
    }
}
