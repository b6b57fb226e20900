//! What a scalar means.

use super::{Kind, Style};

/// What a scalar without a tag means: only one without quotes can be anything but text.
pub(super) fn resolve(text: &str, style: Style) -> Kind {
    if style != Style::Plain {
        return Kind::Text;
    }
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Kind::Null,
        "true" | "True" | "TRUE" => Kind::Boolean(true),
        "false" | "False" | "FALSE" => Kind::Boolean(false),
        _ => number(text).unwrap_or(Kind::Text),
    }
}

/// The number that a text stands for. Infinities and what is not a number stay text: no field takes them, and JSON has none.
fn number(text: &str) -> Option<Kind> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if let Some(digits) = text.strip_prefix("0x") {
        return i64::from_str_radix(digits, 16).ok().map(Kind::Integer);
    }
    if let Some(digits) = text.strip_prefix("0o") {
        return i64::from_str_radix(digits, 8).ok().map(Kind::Integer);
    }
    if !unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        || !unsigned.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '-' | '+'))
    {
        return None;
    }
    if let Ok(value) = text.parse::<i64>() {
        return Some(Kind::Integer(value));
    }
    text.parse::<f64>().ok().filter(|value| value.is_finite()).map(Kind::Float)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_scalars_mean_what_the_core_schema_says() {
        let cases = [
            ("", Kind::Null),
            ("~", Kind::Null),
            ("null", Kind::Null),
            ("nULL", Kind::Text),
            ("true", Kind::Boolean(true)),
            ("FALSE", Kind::Boolean(false)),
            ("yes", Kind::Text),
            ("on", Kind::Text),
            ("0", Kind::Integer(0)),
            ("-12", Kind::Integer(-12)),
            ("+12", Kind::Integer(12)),
            ("0x1f", Kind::Integer(31)),
            ("0o17", Kind::Integer(15)),
            ("1.0", Kind::Float(1.0)),
            (".5", Kind::Float(0.5)),
            ("1e3", Kind::Float(1000.0)),
            ("9223372036854775808", Kind::Float(9_223_372_036_854_775_808.0)),
            ("1.2.3", Kind::Text),
            ("1-2", Kind::Text),
            (".", Kind::Text),
            (".inf", Kind::Text),
            ("nan", Kind::Text),
            ("1e999", Kind::Text),
            ("12:30", Kind::Text),
            ("0b1", Kind::Text),
        ];
        for (text, expected) in cases {
            assert_eq!(resolve(text, Style::Plain), expected, "{text:?}");
            assert_eq!(resolve(text, Style::Double), Kind::Text, "{text:?} in quotes");
        }
    }
}
