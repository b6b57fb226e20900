//! Filters.

use minijinja::{Error, Value, value::ValueKind};
use regex::RegexBuilder;

use crate::evaluate::{
    Reason,
    value::{text_of, to_json},
};

/// The most memory that a pattern may take, compiled.
const PATTERN_MAX: usize = 1 << 20;

/// `… | string`: the text of a value, as a template writes it.
pub(super) fn string(value: &Value) -> Result<String, Error> {
    text_of(value)
}

/// `… | join(',')`: the texts of a list's items, with the text between them.
pub(super) fn join(value: &Value, between: Option<&str>) -> Result<String, Error> {
    let texts: Result<Vec<String>, Error> = value.try_iter()?.checked().map(|item| text_of(&item?)).collect();
    Ok(texts?.join(between.unwrap_or_default()))
}

/// `… | json`: as JSON on one line.
pub(super) fn json(value: &Value) -> Result<String, Error> {
    Ok(to_json(value)?.to_string())
}

/// `… | json_pretty`: as JSON, indented.
pub(super) fn json_pretty(value: &Value) -> Result<String, Error> {
    Ok(format!("{:#}", to_json(value)?))
}

/// `… | dirname`: what stands before the last `/`; `.` where there is none.
pub(super) fn dirname(value: &Value) -> Result<String, Error> {
    let path = text_of(value)?;
    let trimmed = path.trim_end_matches('/');
    if trimmed.is_empty() {
        return Ok(if path.is_empty() { "." } else { "/" }.to_owned());
    }
    Ok(match trimmed.rsplit_once('/') {
        None => ".".to_owned(),
        Some((parent, _)) => match parent.trim_end_matches('/') {
            "" => "/".to_owned(),
            parent => parent.to_owned(),
        },
    })
}

/// `… | basename` or `… | basename('.xml')`: what stands after the last `/`, without the ending.
pub(super) fn basename(value: &Value, ending: Option<&str>) -> Result<String, Error> {
    let path = text_of(value)?;
    let trimmed = path.trim_end_matches('/');
    let name = if trimmed.is_empty() { path.get(..1).unwrap_or_default() } else { trimmed };
    let name = name.rsplit_once('/').map_or(name, |(_, name)| if name.is_empty() { "/" } else { name });
    let shorter = ending.and_then(|ending| name.strip_suffix(ending)).filter(|shorter| !shorter.is_empty());
    Ok(shorter.unwrap_or(name).to_owned())
}

/// `… | shell_quote`: a word that a shell reads as the text; of a list, one word an item.
pub(super) fn shell_quote(value: &Value) -> Result<String, Error> {
    if matches!(value.kind(), ValueKind::Seq | ValueKind::Iterable) {
        let words: Result<Vec<String>, Error> =
            value.try_iter()?.checked().map(|item| text_of(&item?).map(|text| quoted(&text))).collect();
        return Ok(words?.join(" "));
    }
    text_of(value).map(|text| quoted(&text))
}

/// A text as one word of a shell.
pub(crate) fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "@%+=:,./-_".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

/// `… | regex_search(pattern)`: the first match (its first group, where it has one), or null.
pub(super) fn regex_search(value: &Value, pattern: &str) -> Result<Value, Error> {
    let text = text_of(value)?;
    let pattern = RegexBuilder::new(pattern).size_limit(PATTERN_MAX).build().map_err(|error| {
        let line = error.to_string().lines().last().unwrap_or_default().trim().to_owned();
        Error::from(Reason::new("RT-0124", format!("this is no regular expression: {line}")))
    })?;
    Ok(pattern.captures(&text).map_or(Value::from(()), |found| {
        found.get(1).or_else(|| found.get(0)).map_or(Value::from(()), |part| Value::from(part.as_str()))
    }))
}
