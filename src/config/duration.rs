//! Lengths of time, written as `"90s"`, `"20m"` or `"7d"`.

use std::time::Duration;

use super::reader::Value;

const ALLOWED: &str = "a whole number and a unit: ms, s, m, h or d, such as \"90s\", \"20m\", \"7d\"";

/// A length of time, which may be zero.
pub(super) fn read(value: &Value<'_>) -> Option<Duration> {
    if value.is_integer() {
        return value.reject(value.problem("a length of time needs its unit").allowed(ALLOWED));
    }
    let text = value.any_text()?;
    match parse(&text) {
        Some(duration) => Some(duration),
        None => value.reject(value.problem(format!("`{text}` is not a length of time")).allowed(ALLOWED)),
    }
}

/// A length of time above zero.
pub(super) fn read_positive(value: &Value<'_>) -> Option<Duration> {
    let duration = read(value)?;
    if duration.is_zero() {
        return value.reject(value.problem("this must be longer than zero"));
    }
    Some(duration)
}

fn parse(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let number: u64 = text[..digits].parse().ok()?;
    let milliseconds = match &text[digits..] {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    // A century is more than anyone means, and far from what time arithmetic cannot hold.
    let total = number.checked_mul(milliseconds).filter(|total| *total <= 36_525 * 86_400_000)?;
    Some(Duration::from_millis(total))
}

/// `duration` as the configuration writes it, in its largest whole unit.
pub(super) fn show(duration: Duration) -> String {
    let milliseconds = duration.as_millis();
    let units = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)];
    match units.into_iter().find(|(_, unit)| milliseconds > 0 && milliseconds.is_multiple_of(*unit)) {
        Some((name, unit)) => format!("{}{name}", milliseconds / unit),
        None => format!("{milliseconds}ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_of_time_is_a_whole_number_and_a_unit() {
        for (text, seconds) in [("90s", 90), ("20m", 1_200), ("2h", 7_200), ("7d", 604_800), ("0s", 0)] {
            assert_eq!(parse(text), Some(Duration::from_secs(seconds)), "{text}");
        }
        assert_eq!(parse("250ms"), Some(Duration::from_millis(250)));
        for text in ["", "s", "20", "-1s", "1.5h", "1h30m", "5 m", "5min", "99999999999999999999s", "40000d", "٣s"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_shown_reads_back_as_the_same() {
        for text in ["90s", "20m", "2h", "7d", "250ms", "0ms"] {
            assert_eq!(show(parse(text).unwrap()), text);
        }
    }
}
