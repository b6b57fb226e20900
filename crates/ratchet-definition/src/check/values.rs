//! Whether a constant value is what a declaration asks for.

use ratchet_core::workflow::{InputValidation, ValueType};
use regex::Regex;
use serde_json::Value;

/// The type of this name.
pub(crate) fn value_type(name: &str) -> Option<ValueType> {
    ValueType::ALL.into_iter().find(|known| known.word() == name)
}

/// What a value of a type is, in words.
pub(crate) fn described(value_type: ValueType) -> &'static str {
    match value_type {
        ValueType::String => "text",
        ValueType::Number => "a number",
        ValueType::Integer => "a whole number",
        ValueType::Boolean => "`true` or `false`",
        ValueType::Array => "a list",
        ValueType::Object => "a map",
        ValueType::File | ValueType::Artifact => "the path of a file",
    }
}

/// Whether a constant is of a type as it stands: in a file nothing is turned from text into something else.
pub(crate) fn is_of_type(value: &Value, value_type: ValueType) -> bool {
    match value_type {
        ValueType::String | ValueType::File | ValueType::Artifact => value.is_string(),
        ValueType::Number => value.is_number(),
        ValueType::Integer => {
            value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|number| number.fract() == 0.0)
        }
        ValueType::Boolean => value.is_boolean(),
        ValueType::Array => value.is_array(),
        ValueType::Object => value.is_object(),
    }
}

/// Why a value of the right type does not satisfy a validation.
pub(crate) fn violation(value: &Value, validation: &InputValidation) -> Option<String> {
    if !validation.allowed.is_empty() && !validation.allowed.iter().any(|allowed| same(allowed, value)) {
        return Some("it is not one of the values under `enum`".into());
    }
    if let (Some(pattern), Some(text)) = (&validation.pattern, value.as_str())
        && Regex::new(pattern).is_ok_and(|pattern| !pattern.is_match(text))
    {
        return Some(format!("it does not match the pattern `{pattern}`"));
    }
    #[expect(clippy::cast_precision_loss, reason = "no text in memory is so long that its length loses precision")]
    let (size, unit) = match value {
        Value::String(text) => (text.chars().count() as f64, " characters"),
        other => (other.as_f64()?, ""),
    };
    match (validation.min, validation.max) {
        (Some(min), _) if size < min => Some(format!("it is less than {min}{unit}")),
        (_, Some(max)) if size > max => Some(format!("it is more than {max}{unit}")),
        _ => None,
    }
}

/// Whether two values are the same; 1 and 1.0 are.
fn same(left: &Value, right: &Value) -> bool {
    left == right || left.as_f64().zip(right.as_f64()).is_some_and(|(left, right)| left.total_cmp(&right).is_eq())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn constants_are_of_their_types_or_not() {
        let cases = [
            (json!("a"), ValueType::String, true),
            (json!(1), ValueType::String, false),
            (json!(1.5), ValueType::Number, true),
            (json!(1.5), ValueType::Integer, false),
            (json!(2.0), ValueType::Integer, true),
            (json!("true"), ValueType::Boolean, false),
            (json!([1]), ValueType::Array, true),
            (json!({}), ValueType::Array, false),
            (json!({}), ValueType::Object, true),
            (json!("./a"), ValueType::File, true),
            (json!(null), ValueType::String, false),
        ];
        for (value, value_type, expected) in cases {
            assert_eq!(is_of_type(&value, value_type), expected, "{value} {value_type:?}");
        }
    }

    #[test]
    fn validations_hold_or_say_why() {
        let validation = InputValidation {
            pattern: Some("^[a-z]+$".into()),
            min: Some(2.0),
            max: Some(4.0),
            allowed: vec![json!("ab"), json!("A"), json!("abcde"), json!("a"), json!(3), json!(9)],
        };
        let cases = [
            (json!("ab"), None),
            (json!("x"), Some("it is not one of the values under `enum`")),
            (json!("A"), Some("it does not match the pattern `^[a-z]+$`")),
            (json!("a"), Some("it is less than 2 characters")),
            (json!("abcde"), Some("it is more than 4 characters")),
            (json!(3), None),
            (json!(9), Some("it is more than 4")),
        ];
        for (value, expected) in cases {
            assert_eq!(violation(&value, &validation).as_deref(), expected, "{value}");
        }
    }
}
