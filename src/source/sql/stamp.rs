//! Time stamps as a source writes them: taken apart, and put together again in the same form.

use chrono::{NaiveDate, NaiveDateTime, NaiveTime};

/// How finely a stamp is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Precision {
    Day,
    Minute,
    Second,
}

/// A time stamp as the source writes it. Stamps with one form sort by time when they are compared as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp<'a> {
    /// As written, in whatever zone.
    pub(super) time: NaiveDateTime,
    precision: Precision,
    /// Between date and time.
    separator: char,
    /// The number of digits after the seconds.
    digits: usize,
    /// What follows: nothing, `Z` or an offset such as `+02:00`.
    pub(super) suffix: &'a str,
}

impl<'a> Stamp<'a> {
    /// Reads `text`; `None` when it is no time stamp in one of the forms that sort by time.
    pub(super) fn parse(text: &'a str) -> Option<Self> {
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
    pub(super) fn sorts_with(&self, other: &Stamp<'_>) -> bool {
        self.precision == other.precision && self.separator == other.separator && self.suffix == other.suffix
    }

    /// `time` in this form.
    pub(super) fn write(&self, time: NaiveDateTime) -> String {
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
    pub(super) fn write_prefix(&self, time: NaiveDateTime) -> String {
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
pub(super) fn suffix_seconds(suffix: &str) -> Option<i32> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_are_read_and_written_in_their_own_form() {
        for text in [
            "2026-01-31",
            "2026-01-31 23:59",
            "2026-01-31 23:59:58",
            "2026-01-31T23:59:58.5",
            "2026-01-31T23:59:58.123456Z",
            "2026-01-31T23:59:58.123456789+00:00",
            "2026-01-31 23:59:58-05",
            "2026-01-31 23:59:58+0530",
            "0001-01-01 00:00:00",
        ] {
            let stamp = Stamp::parse(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(stamp.write(stamp.time), text);
        }
        for text in [
            "",
            "2026",
            "2026-1-31",
            "2026-02-30",
            "2026-01-31T",
            "2026-01-31x23:59:58",
            "2026-01-31 24:00:00",
            "2026-01-31 23:59:58 CET",
            "2026-01-31 23:59:58.5Zulu",
            "20260131",
            "infinity",
            "31.01.2026 12:00:00",
            "2026-01-31 23h59",
            "2026-01-31 23:59:58+1",
            "２０２６-01-31",
        ] {
            assert_eq!(Stamp::parse(text), None, "{text}");
        }
    }
}
