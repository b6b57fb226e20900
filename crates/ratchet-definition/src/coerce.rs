//! Values turned into the type that was declared for them.

use ratchet_core::{output::Output, workflow::ValueType};
use serde_json::{Number, Value};
use thiserror::Error;

use crate::check::values::described;

/// The longest value that an error repeats, in characters.
const SHOWN_MAX: usize = 80;
/// Whole numbers up to here are exact as floating-point numbers.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

/// A value that is not of its declared type.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct CoercionError {
    /// Stable, `RT-nnnn`; its page is `docs/errors/RT-nnnn.md`.
    pub code: &'static str,
    /// What is wrong: the value, shortened, and the type.
    pub message: String,
}

/// Turns a value into its declared type. Text is read as [`coerce_text`] reads it; a number or a boolean may become text; null stays null: it is what
/// the outputs of a step that did not run are.
pub fn coerce(value_type: ValueType, output: Output) -> Result<Output, CoercionError> {
    match (value_type, output) {
        (_, Output::Json(Value::Null)) => Ok(Output::Json(Value::Null)),
        (ValueType::File | ValueType::Artifact, file @ Output::File(_)) => Ok(file),
        (ValueType::Array, list @ Output::Each(_)) => Ok(list),
        (_, Output::Json(Value::String(text))) => coerce_text(value_type, &text),
        (_, Output::Json(json)) => coerce_json(value_type, json).map(Output::Json),
        (_, Output::File(file)) => Err(mismatch(value_type, &format!("the file {}", file.path))),
        (_, Output::Each(entries)) => Err(mismatch(value_type, &format!("a list of {}", entries.len()))),
        (_, Output::Stored(content)) => Err(mismatch(value_type, &format!("the stored value {}", content.digest))),
    }
}

/// Reads text as a value of a type: a string as it stands, everything else trimmed, arrays and objects as JSON.
pub fn coerce_text(value_type: ValueType, text: &str) -> Result<Output, CoercionError> {
    let trimmed = text.trim();
    let value = match value_type {
        ValueType::String => Some(Value::from(text)),
        ValueType::File | ValueType::Artifact => (!trimmed.is_empty()).then(|| Value::from(trimmed)),
        ValueType::Number => number_of(trimmed),
        ValueType::Integer => number_of(trimmed).filter(is_integer),
        ValueType::Boolean => match trimmed.to_ascii_lowercase().as_str() {
            "true" => Some(Value::Bool(true)),
            "false" => Some(Value::Bool(false)),
            _ => None,
        },
        ValueType::Array => serde_json::from_str(trimmed).ok().filter(Value::is_array),
        ValueType::Object => serde_json::from_str(trimmed).ok().filter(Value::is_object),
    };
    value.map(Output::Json).ok_or_else(|| mismatch(value_type, &format!("`{}`", shown(trimmed))))
}

fn coerce_json(value_type: ValueType, json: Value) -> Result<Value, CoercionError> {
    let found = match (value_type, &json) {
        (ValueType::String, Value::Number(_) | Value::Bool(_)) => Some(Value::from(json.to_string())),
        (ValueType::Number, Value::Number(number)) => Some(integral(number)),
        (ValueType::Integer, Value::Number(number)) => Some(integral(number)).filter(is_integer),
        (ValueType::Boolean, Value::Bool(_))
        | (ValueType::Array, Value::Array(_))
        | (ValueType::Object, Value::Object(_)) => return Ok(json),
        _ => None,
    };
    found.ok_or_else(|| mismatch(value_type, &format!("`{}`", shown(&json.to_string()))))
}

/// A number as people write it (`90`, `.5`, `1e3`), a whole one without a fraction.
fn number_of(text: &str) -> Option<Value> {
    if let Ok(Value::Number(number)) = serde_json::from_str(text) {
        return Some(integral(&number));
    }
    // What JSON does not know: a leading plus sign or point. `inf` and `nan` are no numbers here.
    let looks_like_one = text.starts_with(['+', '.', '-']) && text.ends_with(|c: char| c.is_ascii_digit());
    let number: f64 = text.parse().ok().filter(|_| looks_like_one)?;
    Number::from_f64(number).map(|number| integral(&number))
}

/// The same number, as an integer where it is one.
fn integral(number: &Number) -> Value {
    match number.as_f64() {
        #[expect(clippy::cast_possible_truncation, reason = "a whole number within the range that is exact")]
        Some(float) if number.is_f64() && float.fract() == 0.0 && float.abs() <= EXACT_MAX => Value::from(float as i64),
        _ => Value::Number(number.clone()),
    }
}

fn is_integer(value: &Value) -> bool {
    value.is_i64() || value.is_u64()
}

fn mismatch(value_type: ValueType, found: &str) -> CoercionError {
    let json = if matches!(value_type, ValueType::Array | ValueType::Object) { ", as JSON" } else { "" };
    CoercionError { code: "RT-0130", message: format!("{found} is not {}{json}", described(value_type)) }
}

/// A value as an error repeats it.
pub(crate) fn shown(text: &str) -> String {
    let mut shown: String = text.chars().take(SHOWN_MAX).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use ratchet_core::{
        ids::Digest,
        output::{BlobRef, FileValue},
    };
    use serde_json::json;

    use super::*;

    #[test]
    fn text_becomes_the_declared_type() {
        let cases = [
            (ValueType::String, " a ", Ok(json!(" a "))),
            (ValueType::String, "90", Ok(json!("90"))),
            (ValueType::Number, " 90 \n", Ok(json!(90))),
            (ValueType::Number, "90.0", Ok(json!(90))),
            (ValueType::Number, "-1.5e1", Ok(json!(-15))),
            (ValueType::Number, ".5", Ok(json!(0.5))),
            (ValueType::Number, "+5", Ok(json!(5))),
            (ValueType::Number, "18446744073709551615", Ok(json!(u64::MAX))),
            (ValueType::Number, "ninety", Err("`ninety` is not a number")),
            (ValueType::Number, "90%", Err("`90%` is not a number")),
            (ValueType::Number, "inf", Err("`inf` is not a number")),
            (ValueType::Number, "-inf", Err("`-inf` is not a number")),
            (ValueType::Number, "", Err("`` is not a number")),
            (ValueType::Integer, "3.0", Ok(json!(3))),
            (ValueType::Integer, "3.5", Err("`3.5` is not a whole number")),
            (ValueType::Boolean, " True ", Ok(json!(true))),
            (ValueType::Boolean, "yes", Err("`yes` is not `true` or `false`")),
            (ValueType::Array, "[1, \"a\"]", Ok(json!([1, "a"]))),
            (ValueType::Array, "a,b", Err("`a,b` is not a list, as JSON")),
            (ValueType::Object, "{\"a\": 1}", Ok(json!({"a": 1}))),
            (ValueType::Object, "[]", Err("`[]` is not a map, as JSON")),
            (ValueType::File, " a/b.txt\n", Ok(json!("a/b.txt"))),
            (ValueType::File, " ", Err("`` is not the path of a file")),
        ];
        for (value_type, text, expected) in cases {
            let found = coerce_text(value_type, text).map_err(|error| error.message);
            assert_eq!(found, expected.map(Output::Json).map_err(str::to_owned), "{value_type:?} {text:?}");
        }
    }

    #[test]
    fn values_become_the_declared_type() {
        let content = BlobRef { digest: Digest::new("00"), size: 1 };
        let file = || Output::File(FileValue { path: "a.xml".to_owned(), content: content.clone() });
        let each = || Output::Each(vec![Some(file()), None]);
        let cases = [
            (ValueType::Number, Output::Json(json!(null)), Ok(Output::Json(json!(null)))),
            (ValueType::Number, Output::Json(json!("7")), Ok(Output::Json(json!(7)))),
            (ValueType::Number, Output::Json(json!(7.0)), Ok(Output::Json(json!(7)))),
            (ValueType::Number, Output::Json(json!([7])), Err("`[7]` is not a number")),
            (ValueType::Integer, Output::Json(json!(7.5)), Err("`7.5` is not a whole number")),
            (ValueType::String, Output::Json(json!(7)), Ok(Output::Json(json!("7")))),
            (ValueType::String, Output::Json(json!(true)), Ok(Output::Json(json!("true")))),
            (ValueType::String, Output::Json(json!({})), Err("`{}` is not text")),
            (ValueType::Array, each(), Ok(each())),
            (ValueType::Object, each(), Err("a list of 2 is not a map, as JSON")),
            (ValueType::Artifact, file(), Ok(file())),
            (ValueType::String, file(), Err("the file a.xml is not text")),
            (ValueType::Boolean, Output::Stored(content.clone()), Err("the stored value 00 is not `true` or `false`")),
        ];
        for (value_type, value, expected) in cases {
            let found = coerce(value_type, value.clone()).map_err(|error| error.message);
            assert_eq!(found, expected.map_err(str::to_owned), "{value_type:?} {value:?}");
        }
    }

    #[test]
    fn an_error_does_not_repeat_all_of_a_long_value() {
        let error = coerce_text(ValueType::Number, &"x".repeat(10_000)).unwrap_err();
        assert!(error.message.len() < 200, "{error}");
    }
}
