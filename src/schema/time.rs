//! Dates and stamps: ISO 8601 text in, BC's form out.

use chrono::{DateTime, NaiveDate, NaiveDateTime, Timelike, Utc};
use chrono_tz::Tz;

/// BC's empty date.
pub const EMPTY_DATE: &str = "0001-01-01";
pub(super) const EMPTY_STAMP: &str = "0001-01-01T00:00:00Z";

/// The date that `text` stands for: an ISO date, or an ISO stamp, of which one with a zone or an offset is first brought
/// into `zone`.
#[must_use]
pub fn date(text: &str, zone: Tz) -> Option<NaiveDate> {
    let text = text.trim();
    if text.len() == 10 {
        return NaiveDate::parse_from_str(text, "%Y-%m-%d").ok();
    }
    match (zoned(text), local(text)) {
        (Some(stamp), _) => Some(stamp.with_timezone(&zone).date_naive()),
        (None, Some(stamp)) => Some(stamp.date()),
        (None, None) => None,
    }
}

/// The instant that `text` stands for, in BC's form; a stamp without a zone is one of `zone`.
pub(super) fn stamp(text: &str, zone: Tz) -> Option<String> {
    let text = text.trim();
    let stamp = match zoned(text) {
        Some(stamp) => stamp,
        None => local(text)?.and_local_timezone(zone).earliest()?.with_timezone(&Utc),
    };
    let seconds = stamp.format("%Y-%m-%dT%H:%M:%S");
    // BC gives milliseconds without trailing zeros.
    let fraction = format!("{:03}", stamp.nanosecond() / 1_000_000 % 1_000);
    match fraction.trim_end_matches('0') {
        "" => Some(format!("{seconds}Z")),
        digits => Some(format!("{seconds}.{digits}Z")),
    }
}

fn zoned(text: &str) -> Option<DateTime<Utc>> {
    let text = text.replacen(' ', "T", 1);
    let text = match text.strip_suffix(['Z', 'z']) {
        Some(stamp) => format!("{stamp}+00:00"),
        None => text.replacen(" +", "+", 1),
    };
    // `%#z` also takes `+01`, as PostgreSQL writes it.
    let stamp = DateTime::parse_from_str(&text, "%Y-%m-%dT%H:%M:%S%.f%#z")
        .or_else(|_| DateTime::parse_from_str(&text, "%Y-%m-%dT%H:%M%#z"));
    stamp.ok().map(|stamp| stamp.with_timezone(&Utc))
}

fn local(text: &str) -> Option<NaiveDateTime> {
    let text = text.replacen(' ', "T", 1);
    ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%dT%H:%M"].iter().find_map(|form| NaiveDateTime::parse_from_str(&text, form).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read_from_dates_and_stamps() {
        let berlin = chrono_tz::Europe::Berlin;
        for (text, expected) in [
            ("2026-01-31", Some("2026-01-31")),
            ("2026-01-31T23:30:00Z", Some("2026-02-01")),
            ("2026-01-31 23:30:00.123456+00", Some("2026-02-01")),
            ("2026-01-31T23:30:00-05:00", Some("2026-02-01")),
            ("2026-01-31T23:30:00", Some("2026-01-31")),
            ("2026-01-31 23:30", Some("2026-01-31")),
            ("2026-01-31T23:30Z", Some("2026-02-01")),
            ("2026-02-30", None),
            ("31.01.2026", None),
            ("0000-00-00", None),
            ("", None),
        ] {
            assert_eq!(date(text, berlin).map(|date| date.to_string()).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn stamps_are_brought_to_utc() {
        let berlin = chrono_tz::Europe::Berlin;
        for (text, expected) in [
            ("2026-07-01T12:00:00+02:00", "2026-07-01T10:00:00Z"),
            ("2026-07-01T12:00:00", "2026-07-01T10:00:00Z"),
            ("2026-07-01T10:00:00.250Z", "2026-07-01T10:00:00.25Z"),
            ("2026-07-01T10:00:00.0009Z", "2026-07-01T10:00:00Z"),
        ] {
            assert_eq!(stamp(text, berlin).as_deref(), Some(expected), "{text}");
        }
        // This hour does not exist.
        assert_eq!(stamp("2026-03-29T02:30:00", berlin), None);
    }
}
