//! What a workflow takes and what it gives.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::workflow::Expression;

/// The type of an input or output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ValueType {
    /// Text.
    String,
    /// Any number.
    Number,
    /// A whole number.
    Integer,
    /// True or false.
    Boolean,
    /// A list.
    Array,
    /// A map.
    Object,
    /// A file of the workspace.
    File,
    /// A file that is kept as a versioned artifact.
    Artifact,
}

impl ValueType {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::String,
        Self::Number,
        Self::Integer,
        Self::Boolean,
        Self::Array,
        Self::Object,
        Self::File,
        Self::Artifact,
    ];

    /// What an author writes for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Number => "number",
            Self::Integer => "integer",
            Self::Boolean => "boolean",
            Self::Array => "array",
            Self::Object => "object",
            Self::File => "file",
            Self::Artifact => "artifact",
        }
    }
}

/// One declared input.
#[derive(Debug, Clone, PartialEq)]
pub struct InputDeclaration {
    /// Its name.
    pub name: String,
    /// Its type.
    pub value_type: ValueType,
    /// Whether a run must be given it.
    pub required: bool,
    /// Its value where a run gives none.
    pub default: Option<Value>,
    /// For people.
    pub description: Option<String>,
    /// What its value must satisfy.
    pub validation: InputValidation,
    /// Whether its value is masked wherever it would show.
    pub sensitive: bool,
}

/// What an input's value must satisfy.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct InputValidation {
    /// A regular expression that a string must match.
    pub pattern: Option<String>,
    /// The least number, or a string's least length in characters.
    pub min: Option<f64>,
    /// The greatest number, or a string's greatest length in characters.
    pub max: Option<f64>,
    /// The values that are allowed; empty allows all.
    pub allowed: Vec<Value>,
}

/// One declared output of the workflow.
#[derive(Debug, Clone, PartialEq)]
pub struct OutputDeclaration {
    /// Its name.
    pub name: String,
    /// Its type.
    pub value_type: ValueType,
    /// For people.
    pub description: Option<String>,
    /// Where its value comes from; `None` for an output that nothing sets, which is null.
    pub from: Option<Expression>,
}
