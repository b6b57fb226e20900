//! How long something may take, as authors write it.

use std::time::Duration;

/// The longest duration that a workflow can name: a year.
pub(crate) const DURATION_MAX: Duration = Duration::from_hours(366 * 24);

/// The same pattern for the JSON Schema.
pub(crate) const DURATION_PATTERN: &str = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h|d))+$";

/// Reads `90s`, `15m`, `1h30m`, `500ms`, `1.5h`. `None` where it is none, or longer than a year.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let mut total = Duration::ZERO;
    let mut rest = text.trim();
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let number_end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(number_end);
        let unit_end = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let (unit, next) = after.split_at(unit_end);
        let seconds = match unit {
            "ms" => 0.001,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            "d" => 86400.0,
            _ => return None,
        };
        total += seconds_of(number.parse::<f64>().ok()? * seconds)?;
        rest = next;
    }
    (total <= DURATION_MAX).then_some(total)
}

/// A duration as authors write it, or a number of seconds.
pub fn duration_or_seconds(text: &str) -> Option<Duration> {
    parse_duration(text).or_else(|| text.trim().parse().ok().and_then(seconds_of))
}

/// A number of seconds. `None` where it is negative, or longer than a year.
pub(crate) fn seconds_of(seconds: f64) -> Option<Duration> {
    (0.0..=DURATION_MAX.as_secs_f64()).contains(&seconds).then(|| Duration::from_secs_f64(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let cases = [
            ("90s", Some(90_000)),
            ("15m", Some(900_000)),
            ("2h", Some(7_200_000)),
            ("1h30m", Some(5_400_000)),
            ("500ms", Some(500)),
            ("1.5h", Some(5_400_000)),
            ("1d", Some(86_400_000)),
            ("366d", Some(31_622_400_000)),
            ("0s", Some(0)),
            ("367d", None),
            ("90", None),
            ("s", None),
            ("", None),
            ("1 h", None),
            ("-1s", None),
            ("1h x", None),
            ("1..5s", None),
            ("99999999999999999999999999d", None),
        ];
        for (text, milliseconds) in cases {
            assert_eq!(parse_duration(text), milliseconds.map(Duration::from_millis), "{text:?}");
        }
    }
}
