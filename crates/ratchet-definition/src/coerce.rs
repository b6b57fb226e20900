//! Values turned into the type that was declared for them.

use ratchet_core::{output::Output, workflow::ValueType};
use serde_json::Value;
use thiserror::Error;

/// A value that is not of its declared type.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct CoercionError {
    /// Stable, `RT-nnnn`; its page is `docs/errors/RT-nnnn.md`.
    pub code: &'static str,
    /// What is wrong.
    pub message: String,
}

/// Turns a value into its declared type: text is read as [`coerce_text`] reads it, everything else must be of the type already.
pub fn coerce(value_type: ValueType, output: Output) -> Result<Output, CoercionError> {
    let fits = match (&output, value_type) {
        (Output::File(_), ValueType::File | ValueType::Artifact)
        | (Output::Each(_), ValueType::Array)
        | (Output::Json(Value::String(_)), ValueType::String | ValueType::File | ValueType::Artifact)
        | (Output::Json(Value::Number(_)), ValueType::Number)
        | (Output::Json(Value::Bool(_)), ValueType::Boolean)
        | (Output::Json(Value::Array(_)), ValueType::Array)
        | (Output::Json(Value::Object(_)), ValueType::Object) => true,
        (Output::Json(Value::Number(number)), ValueType::Integer) => number.is_i64() || number.is_u64(),
        _ => false,
    };
    match output {
        output if fits => Ok(output),
        Output::Json(Value::String(text)) => coerce_text(value_type, &text),
        other => Err(mismatch(value_type, &format!("{other:?}"))),
    }
}

/// Reads text as a value of a type: trimmed; JSON for arrays and objects.
pub fn coerce_text(value_type: ValueType, text: &str) -> Result<Output, CoercionError> {
    let trimmed = text.trim();
    let parsed = || serde_json::from_str::<Value>(trimmed).ok();
    let value = match value_type {
        ValueType::String | ValueType::File | ValueType::Artifact => Some(Value::String(text.to_owned())),
        ValueType::Number => parsed().filter(Value::is_number),
        ValueType::Integer => parsed().filter(|value| value.is_i64() || value.is_u64()),
        ValueType::Boolean => parsed().filter(Value::is_boolean),
        ValueType::Array => parsed().filter(Value::is_array),
        ValueType::Object => parsed().filter(Value::is_object),
    };
    value.map(Output::Json).ok_or_else(|| mismatch(value_type, trimmed))
}

fn mismatch(value_type: ValueType, found: &str) -> CoercionError {
    let found: String = found.chars().take(80).collect();
    let message = format!("a value of type {value_type:?} is needed, and this is {found}").to_lowercase();
    CoercionError { code: "RT-0140", message }
}
