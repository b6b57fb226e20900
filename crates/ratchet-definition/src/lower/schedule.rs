//! The expressions of a schedule, as `EventBridge` Scheduler reads them.

use std::{num::NonZeroU32, ops::RangeInclusive};

use ratchet_core::trigger::{RateUnit, ScheduleTime};

/// One field of a cron expression.
struct Field {
    name: &'static str,
    range: RangeInclusive<u32>,
    /// Names that stand for its numbers, from the least one on.
    names: &'static [&'static str],
    /// What it takes besides numbers, lists and ranges.
    more: More,
}

/// What only some fields take.
#[derive(Clone, Copy, PartialEq)]
enum More {
    /// `/`.
    Step,
    /// `/`, `?`, `L`, `W`.
    DayOfMonth,
    /// `?`, `L`, `#`.
    DayOfWeek,
}

const MONTHS: &[&str] = &["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const DAYS: &[&str] = &["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

const FIELDS: [Field; 6] = [
    Field { name: "minutes", range: 0..=59, names: &[], more: More::Step },
    Field { name: "hours", range: 0..=23, names: &[], more: More::Step },
    Field { name: "day of the month", range: 1..=31, names: &[], more: More::DayOfMonth },
    Field { name: "month", range: 1..=12, names: MONTHS, more: More::Step },
    Field { name: "day of the week", range: 1..=7, names: DAYS, more: More::DayOfWeek },
    Field { name: "year", range: 1970..=2199, names: &[], more: More::Step },
];

/// Reads an expression, or says what is wrong with it.
pub(super) fn parse(text: &str) -> Result<ScheduleTime, String> {
    let text = text.trim();
    let inside = |name: &str| text.strip_prefix(name)?.strip_prefix('(')?.strip_suffix(')');
    if let Some(rate) = inside("rate") {
        return self::rate(rate);
    }
    if let Some(cron) = inside("cron") {
        return self::cron(cron);
    }
    if inside("at").is_some() {
        return Err("`at(…)` is one moment, and a workflow's schedule goes on: write `rate(…)` or `cron(…)`".to_owned());
    }
    let is_bare = matches!(text.split_whitespace().count(), 5 | 6);
    Err(if is_bare {
        "a cron expression stands in `cron(…)` and has six fields, the last of them the year".to_owned()
    } else {
        "a time is `rate(…)`, as in `rate(12 hours)`, or `cron(…)`, as in `cron(0 3 * * ? *)`".to_owned()
    })
}

fn rate(text: &str) -> Result<ScheduleTime, String> {
    let wrong =
        || "a rate is a whole number above zero and `minutes`, `hours` or `days`, as in `rate(12 hours)`".to_owned();
    let [number, unit] = text.split_whitespace().collect::<Vec<_>>()[..] else { return Err(wrong()) };
    let every = number.bytes().all(|byte| byte.is_ascii_digit()).then(|| number.parse::<NonZeroU32>().ok()).flatten();
    let unit = match unit {
        "minute" | "minutes" => RateUnit::Minutes,
        "hour" | "hours" => RateUnit::Hours,
        "day" | "days" => RateUnit::Days,
        _ => return Err(wrong()),
    };
    Ok(ScheduleTime::Rate { every: every.ok_or_else(wrong)?, unit })
}

fn cron(text: &str) -> Result<ScheduleTime, String> {
    let fields: Vec<&str> = text.split_whitespace().collect();
    let Ok(fields) = <[&str; 6]>::try_from(fields) else {
        return Err("a cron expression has six fields: minutes, hours, day of the month, month, day of the week, year"
            .to_owned());
    };
    for (field, text) in FIELDS.iter().zip(fields) {
        field.check(text).map_err(|reason| format!("the field {} is `{text}`: {reason}", field.name))?;
    }
    match (fields[2], fields[4]) {
        ("?", "?") => Err("only one of the two fields of days is `?`".to_owned()),
        (month, week) if month != "?" && week != "?" => {
            Err("one of the two fields of days is `?`: the other one says which days".to_owned())
        }
        _ => Ok(ScheduleTime::Cron(fields.map(str::to_owned))),
    }
}

impl Field {
    fn check(&self, text: &str) -> Result<(), String> {
        let has_days = self.more != More::Step;
        if text == "*" || (text == "?" && has_days) {
            return Ok(());
        }
        text.split(',').try_for_each(|part| self.check_part(part))
    }

    fn check_part(&self, part: &str) -> Result<(), String> {
        match self.more {
            More::DayOfMonth if matches!(part, "L" | "LW") => return Ok(()),
            More::DayOfMonth if let Some(day) = part.strip_suffix('W') => return self.number(day).map(drop),
            More::DayOfMonth if let Some(before) = part.strip_prefix("L-") => {
                return match before.parse::<u32>() {
                    Ok(1..=30) => Ok(()),
                    _ => Err("`L-3` is three days before the last".to_owned()),
                };
            }
            More::DayOfWeek if part == "L" => return Ok(()),
            More::DayOfWeek if let Some((day, which)) = part.split_once('#') => {
                self.number(day)?;
                return match which.parse::<u32>() {
                    Ok(1..=5) => Ok(()),
                    _ => Err("`3#2` is the second Tuesday, and a month has at most five".to_owned()),
                };
            }
            More::DayOfWeek if let Some(day) = part.strip_suffix('L') => return self.number(day).map(drop),
            _ => {}
        }
        let (range, step) = match part.split_once('/') {
            Some((range, step)) if self.more != More::DayOfWeek => (range, Some(step)),
            Some(_) => return Err("days of the week have no `/`".to_owned()),
            None => (part, None),
        };
        if let Some(step) = step
            && !step.parse::<u32>().is_ok_and(|step| step > 0 && step <= *self.range.end())
        {
            return Err("after `/` stands a whole number above zero that fits the field".to_owned());
        }
        match range.split_once('-') {
            _ if range == "*" && step.is_some() => Ok(()),
            Some((first, last)) => {
                let (first, last) = (self.number(first)?, self.number(last)?);
                if first > last { Err(format!("{first} comes after {last}")) } else { Ok(()) }
            }
            None => self.number(range).map(drop),
        }
    }

    fn number(&self, text: &str) -> Result<u32, String> {
        if let Some(position) = self.names.iter().position(|name| name.eq_ignore_ascii_case(text)) {
            return Ok(self.range.start() + u32::try_from(position).unwrap_or_default());
        }
        let number = text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten();
        number.filter(|number| self.range.contains(number)).ok_or_else(|| {
            let names = match self.names {
                [first, .., last] => format!(", or {first} to {last}"),
                _ => String::new(),
            };
            format!("it takes {} to {}{names}", self.range.start(), self.range.end())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_read_as_the_scheduler_reads_them() {
        for text in [
            "rate(1 minute)",
            "rate(5 minutes)",
            "rate( 12 hours )",
            "rate(7 days)",
            "cron(0 10 * * ? *)",
            "cron(15 12 * * ? *)",
            "cron(0 18 ? * MON-FRI *)",
            "cron(0 8 1 * ? *)",
            "cron(0/15 * * * ? *)",
            "cron(*/10 * ? * mon-fri *)",
            "cron(0 9 ? * 2#1 *)",
            "cron(0 9 ? * FRI#5 2026-2030)",
            "cron(0 0 L * ? *)",
            "cron(0 0 LW * ? *)",
            "cron(0 0 L-3 * ? *)",
            "cron(0 0 15W * ? *)",
            "cron(0 0 ? * 6L *)",
            "cron(0 0 ? * L *)",
            "cron(5,35 14 * * ? *)",
            "cron(0 22-23/1 * JAN,JUN ? *)",
            "cron(0 0 1,15 * ? 2026)",
        ] {
            let time = parse(text).unwrap_or_else(|reason| panic!("{text}: {reason}"));
            assert_eq!(parse(&time.expression()).as_ref(), Ok(&time), "{text}");
        }
        for (text, reason) in [
            ("rate(0 minutes)", "above zero"),
            ("rate(-1 minutes)", "above zero"),
            ("rate(1.5 hours)", "above zero"),
            ("rate(5 weeks)", "above zero"),
            ("rate(5minutes)", "above zero"),
            ("at(2026-01-01T00:00:00)", "one moment"),
            ("0 3 * * *", "stands in `cron(…)`"),
            ("daily", "a time is"),
            ("cron(0 3 * * *)", "six fields"),
            ("cron(0 3 * * * *)", "one of the two"),
            ("cron(0 3 ? * ? *)", "only one"),
            ("cron(60 3 * * ? *)", "0 to 59"),
            ("cron(0 24 * * ? *)", "0 to 23"),
            ("cron(0 0 0 * ? *)", "1 to 31"),
            ("cron(0 0 * 13 ? *)", "1 to 12, or JAN to DEC"),
            ("cron(0 0 ? * 0 *)", "1 to 7, or SUN to SAT"),
            ("cron(0 0 ? * MON/2 *)", "no `/`"),
            ("cron(0 0 ? * MON#6 *)", "at most five"),
            ("cron(0 0 ? * FRI-MON *)", "comes after"),
            ("cron(0 0 * * ? 1969)", "1970 to 2199"),
            ("cron(? 0 * * ? *)", "0 to 59"),
            ("cron(0/0 0 * * ? *)", "above zero"),
            ("cron(L 0 * * ? *)", "0 to 59"),
            ("cron(1,,2 0 * * ? *)", "0 to 59"),
            ("cron(+1 0 * * ? *)", "0 to 59"),
        ] {
            let told = parse(text).expect_err(text);
            assert!(told.contains(reason), "{text}: {told}");
        }
    }
}
