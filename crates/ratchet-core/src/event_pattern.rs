//! Patterns of events, as `EventBridge` has them: parsed whole, and matched against an event without asking anybody.

use std::net::IpAddr;

use serde_json::{Map, Value};
use thiserror::Error;

/// What an event must look like.
#[derive(Debug, Clone, PartialEq)]
pub struct EventPattern {
    fields: Vec<(String, Rule)>,
    /// Of each of these lists one pattern matches.
    alternatives: Vec<Vec<Self>>,
}

/// What is wrong with a pattern, and where: the names and positions that lead there.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct PatternError {
    /// Where.
    pub path: Vec<String>,
    /// What.
    pub message: String,
}

/// What a field must be.
#[derive(Debug, Clone, PartialEq)]
enum Rule {
    /// A map that looks like this.
    Map(EventPattern),
    /// A value that one of these is true of.
    AnyOf(Vec<Test>),
}

/// What is true of a value.
#[derive(Debug, Clone, PartialEq)]
enum Test {
    Equals(Value),
    Text(TextTest),
    /// None of these is true of it.
    AnythingBut(Vec<Test>),
    /// All of these are true of it.
    Numeric(Vec<(Comparison, f64)>),
    Exists(bool),
    Cidr(IpAddr, u32),
}

/// What is true of a text.
#[derive(Debug, Clone, PartialEq)]
enum TextTest {
    Prefix(String),
    PrefixIgnoringCase(String),
    Suffix(String),
    SuffixIgnoringCase(String),
    EqualsIgnoringCase(String),
    /// The parts between the stars.
    Wildcard(Vec<String>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// The greatest number that a numeric test may name.
const NUMBER_MAX: f64 = 5.0e9;

impl EventPattern {
    /// Reads a pattern.
    pub fn parse(pattern: &Value) -> Result<Self, PatternError> {
        let Value::Object(fields) = pattern else { return Err(error("a pattern is a map of fields")) };
        Self::of(fields)
    }

    fn of(map: &Map<String, Value>) -> Result<Self, PatternError> {
        if map.is_empty() {
            return Err(error("a pattern names at least one field"));
        }
        let mut pattern = Self { fields: Vec::new(), alternatives: Vec::new() };
        for (name, value) in map {
            let parsed = match (name.as_str(), value) {
                ("$or", value) => alternatives(value).map(|found| pattern.alternatives.push(found)),
                (_, Value::Object(inner)) => {
                    Self::of(inner).map(|inner| pattern.fields.push((name.clone(), Rule::Map(inner))))
                }
                (_, Value::Array(tests)) => {
                    any_of(tests).map(|tests| pattern.fields.push((name.clone(), Rule::AnyOf(tests))))
                }
                _ => Err(error("the values that a field may have are a list")),
            };
            parsed.map_err(|error| error.within(name))?;
        }
        Ok(pattern)
    }

    /// Whether an event looks like this, or the path of the first field that does not.
    pub fn check(&self, event: &Value) -> Result<(), String> {
        for (name, rule) in &self.fields {
            let value = event.get(name);
            match rule {
                Rule::AnyOf(tests) => {
                    if !tests.iter().any(|test| test.holds_somewhere(value)) {
                        return Err(name.clone());
                    }
                }
                Rule::Map(inner) => {
                    let below = |path: String| format!("{name}.{path}");
                    match value {
                        // Of several, one looks like it.
                        Some(Value::Array(items)) if !items.iter().any(|item| inner.check(item).is_ok()) => {
                            return Err(name.clone());
                        }
                        Some(Value::Array(_)) => {}
                        // What is not there may be what is asked for.
                        other => inner.check(other.unwrap_or(&Value::Null)).map_err(below)?,
                    }
                }
            }
        }
        for patterns in &self.alternatives {
            if !patterns.iter().any(|pattern| pattern.check(event).is_ok()) {
                return Err("$or".to_owned());
            }
        }
        Ok(())
    }
}

impl PatternError {
    fn within(mut self, name: &str) -> Self {
        self.path.insert(0, name.to_owned());
        self
    }
}

fn error(message: impl Into<String>) -> PatternError {
    PatternError { path: Vec::new(), message: message.into() }
}

fn alternatives(value: &Value) -> Result<Vec<EventPattern>, PatternError> {
    match value {
        Value::Array(patterns) if patterns.len() > 1 => patterns
            .iter()
            .enumerate()
            .map(|(position, pattern)| {
                EventPattern::parse(pattern).map_err(|error| error.within(&position.to_string()))
            })
            .collect(),
        _ => Err(error("`$or` is a list of at least two patterns")),
    }
}

fn any_of(values: &[Value]) -> Result<Vec<Test>, PatternError> {
    if values.is_empty() {
        return Err(error("the list of values is empty, so that nothing could match"));
    }
    values.iter().enumerate().map(|(at, value)| test(value).map_err(|error| error.within(&at.to_string()))).collect()
}

fn test(value: &Value) -> Result<Test, PatternError> {
    let map = match value {
        Value::Object(map) => map,
        Value::Array(_) => return Err(error("a list cannot stand in a list of values")),
        scalar => return Ok(Test::Equals(scalar.clone())),
    };
    let mut entries = map.iter();
    let (Some((name, value)), None) = (entries.next(), entries.next()) else {
        return Err(error(format!("a test is a map with one of {NAMES}")));
    };
    let parsed = match name.as_str() {
        "anything-but" => anything_but(value),
        "numeric" => numeric(value),
        "exists" => value.as_bool().map(Test::Exists).ok_or_else(|| error("`exists` is true or false")),
        "cidr" => cidr(value),
        _ => text_test(name, value).map(Test::Text),
    };
    parsed.map_err(|error| error.within(name))
}

/// The tests by their names.
const NAMES: &str =
    "`prefix`, `suffix`, `equals-ignore-case`, `wildcard`, `anything-but`, `numeric`, `exists` or `cidr`";

fn text_test(name: &str, value: &Value) -> Result<TextTest, PatternError> {
    let ignoring_case = || match value {
        Value::Object(map) if map.len() == 1 => map.get("equals-ignore-case").and_then(Value::as_str).map(folded),
        _ => None,
    };
    let text = || value.as_str().map(str::to_owned).ok_or_else(|| error(format!("`{name}` takes a text")));
    let not_empty = |text: String| {
        if text.is_empty() { Err(error(format!("`{name}` takes a text that is not empty"))) } else { Ok(text) }
    };
    match name {
        "prefix" => match ignoring_case() {
            Some(text) => not_empty(text).map(TextTest::PrefixIgnoringCase),
            None => text().and_then(not_empty).map(TextTest::Prefix),
        },
        "suffix" => match ignoring_case() {
            Some(text) => not_empty(text).map(TextTest::SuffixIgnoringCase),
            None => text().and_then(not_empty).map(TextTest::Suffix),
        },
        "equals-ignore-case" => text().map(|text| TextTest::EqualsIgnoringCase(folded(&text))),
        "wildcard" => text().and_then(|text| wildcard(&text)),
        _ => Err(error(format!("there is no test `{name}`: it is one of {NAMES}"))),
    }
}

fn wildcard(text: &str) -> Result<TextTest, PatternError> {
    let mut parts = vec![String::new()];
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '*' if characters.peek() == Some(&'*') => {
                return Err(error("two stars beside each other mean no more than one"));
            }
            '*' => parts.push(String::new()),
            '\\' => match characters.next() {
                Some(escaped @ ('*' | '\\')) => parts.last_mut().into_iter().for_each(|part| part.push(escaped)),
                _ => return Err(error("a backslash stands before a star or another backslash")),
            },
            other => parts.last_mut().into_iter().for_each(|part| part.push(other)),
        }
    }
    Ok(TextTest::Wildcard(parts))
}

fn anything_but(value: &Value) -> Result<Test, PatternError> {
    let scalars = |values: &[Value]| {
        let is_one_kind = values.iter().all(Value::is_string) || values.iter().all(Value::is_number);
        if values.is_empty() || !is_one_kind {
            return Err(error("`anything-but` takes texts alone or numbers alone, at least one"));
        }
        Ok(Test::AnythingBut(values.iter().cloned().map(Test::Equals).collect()))
    };
    match value {
        Value::Array(values) => scalars(values),
        Value::String(_) | Value::Number(_) => scalars(std::slice::from_ref(value)),
        Value::Object(map) if map.len() == 1 => {
            let mut tests = Vec::new();
            for (name, value) in map {
                let values = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
                if values.is_empty() {
                    return Err(error("the list of values is empty").within(name));
                }
                for value in values {
                    tests.push(Test::Text(text_test(name, value).map_err(|error| error.within(name))?));
                }
            }
            Ok(Test::AnythingBut(tests))
        }
        _ => Err(error(
            "`anything-but` takes a value, a list of values, or one of `prefix`, `suffix`, `equals-ignore-case` and `wildcard`",
        )),
    }
}

fn numeric(value: &Value) -> Result<Test, PatternError> {
    let wrong = || {
        error(
            "`numeric` takes a comparison and a number, as in `[\">\", 0]`, or two of them, as in `[\">\", 0, \"<=\", 5]`",
        )
    };
    let items = value.as_array().filter(|items| matches!(items.len(), 2 | 4)).ok_or_else(wrong)?;
    let mut comparisons = Vec::new();
    for pair in items.chunks(2) {
        let comparison = match pair[0].as_str() {
            Some("=") => Comparison::Equal,
            Some("<") => Comparison::Less,
            Some("<=") => Comparison::LessOrEqual,
            Some(">") => Comparison::Greater,
            Some(">=") => Comparison::GreaterOrEqual,
            _ => return Err(wrong()),
        };
        let number = pair[1].as_f64().filter(|number| number.abs() <= NUMBER_MAX);
        comparisons.push((
            comparison,
            number.ok_or_else(|| error(format!("the number is from -{NUMBER_MAX:e} to {NUMBER_MAX:e}")))?,
        ));
    }
    if let [(first, least), (second, most)] = comparisons[..] {
        let is_range = matches!(first, Comparison::Greater | Comparison::GreaterOrEqual)
            && matches!(second, Comparison::Less | Comparison::LessOrEqual);
        if !is_range || least >= most {
            return Err(error(
                "a range begins with `>` or `>=` and the lesser number, and ends with `<` or `<=` and the greater",
            ));
        }
    }
    Ok(Test::Numeric(comparisons))
}

fn cidr(value: &Value) -> Result<Test, PatternError> {
    let parsed = value.as_str().and_then(|text| {
        let (address, bits) = text.split_once('/')?;
        let (address, bits): (IpAddr, u32) = (address.parse().ok()?, bits.parse().ok()?);
        let most = if address.is_ipv4() { 32 } else { 128 };
        (bits <= most).then_some(Test::Cidr(address, bits))
    });
    parsed.ok_or_else(|| error("`cidr` takes a block of addresses, such as `10.0.0.0/24`"))
}

impl Test {
    /// Whether it is true of a field's value, or of one of its values where there are several.
    fn holds_somewhere(&self, value: Option<&Value>) -> bool {
        match (self, value) {
            (Self::Exists(expected), found) => found.is_some_and(|found| !found.is_object()) == *expected,
            (_, None) => false,
            (_, Some(Value::Array(items))) => items.iter().any(|item| self.holds_somewhere(Some(item))),
            (_, Some(value)) => self.holds(value),
        }
    }

    fn holds(&self, value: &Value) -> bool {
        match self {
            Self::Equals(expected) => expected == value,
            Self::Text(test) => value.as_str().is_some_and(|text| test.holds(text)),
            Self::AnythingBut(tests) => !value.is_object() && !tests.iter().any(|test| test.holds(value)),
            Self::Numeric(comparisons) => value.as_f64().is_some_and(|number| {
                comparisons.iter().all(|(comparison, other)| match comparison {
                    Comparison::Equal => number.total_cmp(other).is_eq(),
                    Comparison::Less => number < *other,
                    Comparison::LessOrEqual => number <= *other,
                    Comparison::Greater => number > *other,
                    Comparison::GreaterOrEqual => number >= *other,
                })
            }),
            Self::Exists(expected) => *expected,
            Self::Cidr(block, bits) => {
                value.as_str().and_then(|text| text.parse().ok()).is_some_and(|address| is_in(address, *block, *bits))
            }
        }
    }
}

impl TextTest {
    fn holds(&self, text: &str) -> bool {
        match self {
            Self::Prefix(prefix) => text.starts_with(prefix.as_str()),
            Self::PrefixIgnoringCase(prefix) => folded(text).starts_with(prefix.as_str()),
            Self::Suffix(suffix) => text.ends_with(suffix.as_str()),
            Self::SuffixIgnoringCase(suffix) => folded(text).ends_with(suffix.as_str()),
            Self::EqualsIgnoringCase(other) => folded(text) == *other,
            Self::Wildcard(parts) => wildcard_holds(parts, text),
        }
    }
}

fn wildcard_holds(parts: &[String], text: &str) -> bool {
    let [first, middle @ .., last] = parts else { return parts.first().is_some_and(|only| only == text) };
    let Some(mut rest) = text.strip_prefix(first.as_str()) else { return false };
    for part in middle {
        match rest.find(part.as_str()) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last.as_str())
}

fn folded(text: &str) -> String {
    text.to_lowercase()
}

fn is_in(address: IpAddr, block: IpAddr, bits: u32) -> bool {
    match (address, block) {
        (IpAddr::V4(address), IpAddr::V4(block)) => {
            (address.to_bits() ^ block.to_bits()).checked_shr(32 - bits).unwrap_or(0) == 0
        }
        (IpAddr::V6(address), IpAddr::V6(block)) => {
            (address.to_bits() ^ block.to_bits()).checked_shr(128 - bits).unwrap_or(0) == 0
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn events_are_told_apart() {
        let event = json!({
            "source": "aws.ec2", "detail-type": "State", "null": null, "empty": "",
            "detail": {
                "state": "running", "count": 3, "ratio": 2.5, "flag": true, "address": "10.0.0.17", "six": "2001:db8::5",
                "path": "images/cat.PNG", "tags": ["a", "b"], "list": [{"k": 1, "v": "x"}, {"k": 2, "v": "y"}],
                "map": {"inner": 1},
            },
        });
        let cases = [
            (json!({"source": ["aws.ec2"]}), "yes"),
            (json!({"source": ["aws.s3", "aws.ec2"], "detail": {"state": ["running"]}}), "yes"),
            (json!({"source": ["aws.s3"]}), "source"),
            (json!({"source": ["aws.ec2"], "detail": {"state": ["stopped"]}}), "detail.state"),
            (json!({"missing": ["x"]}), "missing"),
            (json!({"missing": {"deep": ["x"]}}), "missing.deep"),
            (json!({"null": [null]}), "yes"),
            (json!({"empty": [null]}), "empty"),
            (json!({"empty": [""]}), "yes"),
            (json!({"detail": {"flag": [true]}}), "yes"),
            (json!({"detail": {"count": ["3"]}}), "detail.count"),
            (json!({"detail": {"count": [3]}}), "yes"),
            (json!({"detail": {"path": [{"prefix": "images/"}]}}), "yes"),
            (json!({"detail": {"path": [{"prefix": "Images/"}]}}), "detail.path"),
            (json!({"detail": {"path": [{"prefix": {"equals-ignore-case": "IMAGES/"}}]}}), "yes"),
            (json!({"detail": {"path": [{"suffix": ".png"}]}}), "detail.path"),
            (json!({"detail": {"path": [{"suffix": {"equals-ignore-case": ".png"}}]}}), "yes"),
            (json!({"detail": {"state": [{"equals-ignore-case": "RUNNING"}]}}), "yes"),
            (json!({"detail": {"path": [{"wildcard": "images/*.PNG"}]}}), "yes"),
            (json!({"detail": {"path": [{"wildcard": "*cat*"}]}}), "yes"),
            (json!({"detail": {"path": [{"wildcard": "*dog*"}]}}), "detail.path"),
            (json!({"detail": {"path": [{"wildcard": "images/cat.PNG"}]}}), "yes"),
            (json!({"detail": {"path": [{"wildcard": "images/ca*at.PNG"}]}}), "detail.path"),
            (json!({"detail": {"state": [{"anything-but": "stopped"}]}}), "yes"),
            (json!({"detail": {"state": [{"anything-but": ["stopped", "running"]}]}}), "detail.state"),
            (json!({"detail": {"count": [{"anything-but": [1, 2]}]}}), "yes"),
            (json!({"detail": {"state": [{"anything-but": {"prefix": "run"}}]}}), "detail.state"),
            (json!({"detail": {"state": [{"anything-but": {"suffix": ["ed", "x"]}}]}}), "yes"),
            (json!({"detail": {"state": [{"anything-but": {"wildcard": "*nn*"}}]}}), "detail.state"),
            (json!({"detail": {"absent": [{"anything-but": "x"}]}}), "detail.absent"),
            (json!({"detail": {"count": [{"numeric": ["=", 3]}]}}), "yes"),
            (json!({"detail": {"count": [{"numeric": [">", 0, "<=", 3]}]}}), "yes"),
            (json!({"detail": {"count": [{"numeric": [">", 3]}]}}), "detail.count"),
            (json!({"detail": {"ratio": [{"numeric": [">=", 2.5, "<", 2.6]}]}}), "yes"),
            (json!({"detail": {"state": [{"numeric": [">", 0]}]}}), "detail.state"),
            (json!({"detail": {"state": [{"exists": true}], "absent": [{"exists": false}]}}), "yes"),
            (json!({"detail": {"state": [{"exists": false}]}}), "detail.state"),
            (json!({"detail": {"map": [{"exists": true}]}}), "detail.map"),
            (json!({"none": {"deep": [{"exists": false}]}}), "yes"),
            (json!({"detail": {"address": [{"cidr": "10.0.0.0/24"}]}}), "yes"),
            (json!({"detail": {"address": [{"cidr": "10.0.1.0/24"}]}}), "detail.address"),
            (json!({"detail": {"address": [{"cidr": "0.0.0.0/0"}]}}), "yes"),
            (json!({"detail": {"six": [{"cidr": "2001:db8::/32"}]}}), "yes"),
            (json!({"detail": {"six": [{"cidr": "10.0.0.0/8"}]}}), "detail.six"),
            (json!({"detail": {"tags": ["b"]}}), "yes"),
            (json!({"detail": {"tags": ["c"]}}), "detail.tags"),
            (json!({"detail": {"tags": [{"anything-but": "a"}]}}), "yes"),
            (json!({"detail": {"list": {"k": [1], "v": ["x"]}}}), "yes"),
            (json!({"detail": {"list": {"k": [1], "v": ["y"]}}}), "detail.list"),
            (json!({"$or": [{"source": ["aws.s3"]}, {"detail": {"count": [3]}}]}), "yes"),
            (json!({"$or": [{"source": ["aws.s3"]}, {"detail": {"count": [4]}}]}), "$or"),
            (json!({"detail": {"$or": [{"count": [4]}, {"state": ["running"]}]}}), "yes"),
            (json!({"source": ["aws.s3"], "$or": [{"source": ["aws.ec2"]}, {"detail": {"count": [3]}}]}), "source"),
        ];
        for (pattern, expected) in cases {
            let parsed = EventPattern::parse(&pattern).unwrap_or_else(|error| panic!("{pattern}: {error}"));
            let told = parsed.check(&event).map_or_else(|path| path, |()| "yes".to_owned());
            assert_eq!(told, expected, "{pattern}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_told_with_its_place() {
        let cases = [
            (json!([]), ""),
            (json!({}), ""),
            (json!({"a": "x"}), "a"),
            (json!({"a": []}), "a"),
            (json!({"a": {}}), "a"),
            (json!({"a": [["x"]]}), "a.0"),
            (json!({"a": ["x", {"like": "y"}]}), "a.1.like"),
            (json!({"a": [{"prefix": "x", "suffix": "y"}]}), "a.0"),
            (json!({"a": [{}]}), "a.0"),
            (json!({"a": [{"prefix": 1}]}), "a.0.prefix"),
            (json!({"a": [{"prefix": ""}]}), "a.0.prefix"),
            (json!({"a": [{"exists": "yes"}]}), "a.0.exists"),
            (json!({"a": [{"cidr": "10.0.0.0/33"}]}), "a.0.cidr"),
            (json!({"a": [{"cidr": "10.0.0.0"}]}), "a.0.cidr"),
            (json!({"a": [{"numeric": [">", "1"]}]}), "a.0.numeric"),
            (json!({"a": [{"numeric": [">", 1, ">", 2]}]}), "a.0.numeric"),
            (json!({"a": [{"numeric": [">", 2, "<", 1]}]}), "a.0.numeric"),
            (json!({"a": [{"numeric": ["!=", 2]}]}), "a.0.numeric"),
            (json!({"a": [{"numeric": [">", 6e9]}]}), "a.0.numeric"),
            (json!({"a": [{"anything-but": []}]}), "a.0.anything-but"),
            (json!({"a": [{"anything-but": ["x", 1]}]}), "a.0.anything-but"),
            (json!({"a": [{"anything-but": {"numeric": [">", 1]}}]}), "a.0.anything-but.numeric"),
            (json!({"a": [{"wildcard": "a**b"}]}), "a.0.wildcard"),
            (json!({"a": [{"wildcard": "a\\b"}]}), "a.0.wildcard"),
            (json!({"$or": [{"a": ["x"]}]}), "$or"),
            (json!({"$or": [{"a": ["x"]}, {"a": "y"}]}), "$or.1.a"),
        ];
        for (pattern, path) in cases {
            let error = EventPattern::parse(&pattern).expect_err("no pattern");
            assert_eq!(error.path.join("."), path, "{pattern}: {error}");
        }
    }
}
