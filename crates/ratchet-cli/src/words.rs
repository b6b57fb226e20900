//! Quantities as people read them.

use std::time::Duration;

use jiff::Timestamp;

/// A time that passed: `850ms`, `12.3s`, `4m05s`, `2h10m`.
pub(crate) fn elapsed(duration: Duration) -> String {
    let millis = duration.as_millis();
    let seconds = duration.as_secs();
    match seconds {
        0 => format!("{millis}ms"),
        1..60 => format!("{}.{}s", seconds, millis % 1000 / 100),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h{:02}m", seconds / 3600, seconds % 3600 / 60),
    }
}

/// The time between two moments; none where a clock went back.
pub(crate) fn between(from: Timestamp, to: Timestamp) -> Duration {
    to.duration_since(from).try_into().unwrap_or(Duration::ZERO)
}

/// How long ago something was: `now`, `5m ago`, `3h ago`, `12d ago`.
pub(crate) fn ago(at: Timestamp, now: Timestamp) -> String {
    let minutes = between(at, now).as_secs() / 60;
    match minutes {
        0 => "now".to_owned(),
        1..60 => format!("{minutes}m ago"),
        60..2880 => format!("{}h ago", minutes / 60),
        _ => format!("{}d ago", minutes / 1440),
    }
}

/// A moment to the second, in UTC.
pub(crate) fn moment(at: Timestamp) -> String {
    at.round(jiff::Unit::Second).unwrap_or(at).to_string()
}

/// Bytes: `312 B`, `4.2 KB`, `1.3 GB`.
pub(crate) fn bytes(count: u64) -> String {
    let units = ["KB", "MB", "GB", "TB"];
    if count < 1000 {
        return format!("{count} B");
    }
    let mut tenths = count / 100;
    let mut unit = 0;
    while tenths >= 10_000 && unit + 1 < units.len() {
        tenths /= 1000;
        unit += 1;
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, units[unit])
}

/// US dollars: `$0.42`, and small amounts exactly enough: `$0.0031`.
pub(crate) fn dollars(amount: f64) -> String {
    if amount > 0.0 && amount < 0.01 { format!("${amount:.4}") } else { format!("${amount:.2}") }
}

/// A part of a whole: `62 %`; nothing where there is no whole.
pub(crate) fn percent(part: Option<f64>) -> String {
    part.map(|part| format!("{:.0} %", part * 100.0)).unwrap_or_default()
}

/// A count with its noun: `1 step`, `3 steps`.
pub(crate) fn counted(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

/// Alternatives: `a`, `a or b`, `a, b or c`.
pub(crate) fn one_of(all: &[&str]) -> String {
    match all {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [rest @ .., last] => format!("{} or {last}", rest.join(", ")),
    }
}

/// Text from a process on one line, with nothing in it that moves a terminal's cursor.
pub(crate) fn one_line(text: &str) -> String {
    let plain = console::strip_ansi_codes(text);
    plain.trim().chars().map(|character| if character.is_control() { ' ' } else { character }).collect()
}

/// Text from a process as it is, but for what moves a terminal's cursor or changes its state.
pub(crate) fn harmless(text: &str) -> String {
    let plain = console::strip_ansi_codes(text);
    plain.chars().filter(|character| !character.is_control() || matches!(character, '\n' | '\t')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_read_well() {
        let times = [0, 850, 12_345, 245_000, 7_800_000].map(|millis| elapsed(Duration::from_millis(millis)));
        assert_eq!(times, ["0ms", "850ms", "12.3s", "4m05s", "2h10m"]);
        assert_eq!([0, 999, 4_200, 1_300_000_000].map(bytes), ["0 B", "999 B", "4.2 KB", "1.3 GB"]);
        assert_eq!([0.0, 0.0031, 0.42, 12.0].map(dollars), ["$0.00", "$0.0031", "$0.42", "$12.00"]);
        assert_eq!([one_of(&["a"]), one_of(&["a", "b", "c"])], ["a", "a, b or c"]);
        assert_eq!([counted(1, "step"), counted(0, "step")], ["1 step", "0 steps"]);
    }

    #[test]
    fn what_a_process_wrote_cannot_move_the_cursor() {
        assert_eq!(one_line("\u{1b}[2J\u{1b}[31mred\u{1b}[0m\tx\r\n"), "red x");
        assert_eq!(harmless("a\u{1b}]0;title\u{7}b\u{8}\nc"), "ab\nc");
    }
}
