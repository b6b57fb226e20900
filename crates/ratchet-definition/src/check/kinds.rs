//! What is known of a value before anything runs: its kind, and of a text what it can be.

use ratchet_core::workflow::ValueType;

use crate::{
    check::{references::Context, symbols::Symbols, values::value_type},
    yaml::Node,
};

/// What a value is where it is not null.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Text; one of these, where there are any.
    Text(Vec<String>),
    /// A number.
    Number,
    /// True or false.
    Boolean,
    /// A list.
    List,
    /// A map.
    Map,
    /// A file.
    File,
}

/// What a step's status can be.
const STATUSES: &[&str] = &["pending", "running", "waiting", "completed", "failed", "skipped", "blocked", "cancelled"];

impl Kind {
    /// Any text.
    pub(crate) const TEXT: Self = Self::Text(Vec::new());

    /// The kind of values of a type.
    pub(crate) fn of(value_type: ValueType) -> Self {
        match value_type {
            ValueType::String => Self::TEXT,
            ValueType::Number | ValueType::Integer => Self::Number,
            ValueType::Boolean => Self::Boolean,
            ValueType::Array => Self::List,
            ValueType::Object => Self::Map,
            ValueType::File | ValueType::Artifact => Self::File,
        }
    }

    /// The kind that a declaration with a `type`, and maybe a `validation`, gives its value. A file that is given from outside may be compared as text.
    pub(crate) fn declared(declaration: &Node) -> Option<Self> {
        let kind = Self::of(declaration.get("type").and_then(Node::text).and_then(value_type)?);
        let allowed = declaration.get("validation").and_then(|rules| rules.get("enum")).map(Node::items);
        Some(match kind {
            Self::Text(_) => {
                Self::Text(allowed.unwrap_or_default().iter().filter_map(Node::text).map(str::to_owned).collect())
            }
            kind => kind,
        })
    }

    /// What it is, in words.
    pub(crate) fn described(&self) -> &'static str {
        match self {
            Self::Text(_) => "text",
            Self::Number => "a number",
            Self::Boolean => "`true` or `false`",
            Self::List => "a list",
            Self::Map => "a map",
            Self::File => "a file",
        }
    }

    /// Whether a value of this kind can be turned into a value of the type at all.
    pub(crate) fn fits(&self, value_type: ValueType) -> bool {
        match self {
            Self::Text(_) => true,
            Self::Number => matches!(value_type, ValueType::String | ValueType::Number | ValueType::Integer),
            Self::Boolean => matches!(value_type, ValueType::String | ValueType::Boolean),
            Self::List => value_type == ValueType::Array,
            Self::Map => value_type == ValueType::Object,
            Self::File => matches!(value_type, ValueType::File | ValueType::Artifact),
        }
    }

    /// Whether names can follow it, as in `value.name`.
    pub(crate) fn has_members(&self) -> bool {
        *self == Self::Map
    }
}

/// The kind of the value at a path, where it is known.
pub(crate) fn of_path(symbols: &Symbols<'_>, context: Context<'_>, path: &[&str]) -> Option<Kind> {
    let statuses = || Kind::Text(STATUSES.iter().map(|&status| status.to_owned()).collect());
    if let Some((own, above)) = context.own_outputs {
        match path {
            [name] | ["outputs", name] if own.is_file(name, above).is_some() => return own.kind(name),
            ["stdout" | "stderr" | "response"] => return Some(Kind::TEXT),
            ["exit_code"] => return Some(Kind::Number),
            _ => {}
        }
    }
    match path {
        ["inputs", name] => symbols.inputs.get(name)?.kind.clone(),
        ["env" | "execution", _] => Some(Kind::TEXT),
        ["index"] if context.item => Some(Kind::Number),
        [step, "status"] => symbols.position(step).map(|_| statuses()),
        [step, "exit_code" | "duration" | "attempts"] => symbols.position(step).map(|_| Kind::Number),
        [step, "cached"] => symbols.position(step).map(|_| Kind::Boolean),
        [step, "outputs", output] => {
            let step = &symbols.steps[symbols.position(step)?];
            if step.fans_out { step.has_output(output).then_some(Kind::List) } else { step.kind_of(output) }
        }
        _ => None,
    }
}

/// How many names of a path stand for the value that a kind is known of.
pub(crate) fn length_of_value(symbols: &Symbols<'_>, root: &str) -> usize {
    if symbols.position(root).is_some() { 3 } else { 2 }
}
