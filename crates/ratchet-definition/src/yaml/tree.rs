//! The tree.

use std::ops::Range;

use serde_json::{Map, Number, Value};

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Where, in bytes of the file. What an alias stands for has the place of its anchor.
    pub span: Range<usize>,
    /// What it is.
    pub content: Content,
}

/// What a node is.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// Text, a number, a boolean or nothing.
    Scalar(Scalar),
    /// Values in order.
    List(Vec<Node>),
    /// Values by name, in the order of the file. No name stands twice.
    Map(Vec<Entry>),
}

/// A scalar: what it says and what that means.
#[derive(Debug, Clone, PartialEq)]
pub struct Scalar {
    /// The text, escapes and folding resolved.
    pub text: String,
    /// How it was written.
    pub style: Style,
    /// What it means.
    pub kind: Kind,
}

/// How a scalar was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Without quotes.
    Plain,
    /// In single quotes.
    Single,
    /// In double quotes.
    Double,
    /// After `|`.
    Literal,
    /// After `>`.
    Folded,
}

/// What a scalar means (the core schema of YAML 1.2, in which `yes` and `on` are text).
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// Nothing.
    Null,
    /// True or false.
    Boolean(bool),
    /// A whole number.
    Integer(i64),
    /// Another number, always finite.
    Float(f64),
    /// Text.
    Text,
}

/// One name of a map and its value.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The name.
    pub key: Key,
    /// The value.
    pub value: Node,
}

/// A name in a map and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// The name.
    pub text: String,
    /// Where, in bytes of the file.
    pub span: Range<usize>,
    /// The line that it stands in, from 1.
    pub line: usize,
}

impl Node {
    /// The value of a name, where the node is a map that has it.
    pub fn get(&self, name: &str) -> Option<&Self> {
        self.entry(name).map(|entry| &entry.value)
    }

    /// A name and its value, where the node is a map that has it.
    pub fn entry(&self, name: &str) -> Option<&Entry> {
        self.entries().iter().find(|entry| entry.key.text == name)
    }

    /// The entries of a map; none where the node is no map.
    pub fn entries(&self) -> &[Entry] {
        match &self.content {
            Content::Map(entries) => entries,
            Content::Scalar(_) | Content::List(_) => &[],
        }
    }

    /// The values of a list; none where the node is no list.
    pub fn items(&self) -> &[Self] {
        match &self.content {
            Content::List(items) => items,
            Content::Scalar(_) | Content::Map(_) => &[],
        }
    }

    /// The scalar, where the node is one.
    pub fn scalar(&self) -> Option<&Scalar> {
        match &self.content {
            Content::Scalar(scalar) => Some(scalar),
            Content::List(_) | Content::Map(_) => None,
        }
    }

    /// The text, where the node means text.
    pub fn text(&self) -> Option<&str> {
        self.scalar().filter(|scalar| scalar.kind == Kind::Text).map(|scalar| scalar.text.as_str())
    }

    /// Whether it is a scalar that means nothing.
    pub fn is_null(&self) -> bool {
        self.scalar().is_some_and(|scalar| scalar.kind == Kind::Null)
    }

    /// What it is, in words for a person.
    pub fn described(&self) -> &'static str {
        match &self.content {
            Content::List(_) => "a list",
            Content::Map(_) => "a map",
            Content::Scalar(scalar) => match scalar.kind {
                Kind::Null => "nothing",
                Kind::Boolean(_) => "a boolean",
                Kind::Integer(_) | Kind::Float(_) => "a number",
                Kind::Text => "text",
            },
        }
    }

    /// A place that stands for the node in a report: of a map its first name, of a list its first value, of a scalar all of it.
    pub fn head(&self) -> Range<usize> {
        match &self.content {
            Content::Map(entries) => entries.first().map_or(self.span.clone(), |entry| entry.key.span.clone()),
            Content::List(items) => items.first().map_or(self.span.clone(), Self::head),
            Content::Scalar(_) => self.span.clone(),
        }
    }

    /// The value without its places.
    pub fn to_json(&self) -> Value {
        match &self.content {
            Content::List(items) => Value::Array(items.iter().map(Self::to_json).collect()),
            Content::Map(entries) => Value::Object(
                entries.iter().map(|entry| (entry.key.text.clone(), entry.value.to_json())).collect::<Map<_, _>>(),
            ),
            Content::Scalar(scalar) => match scalar.kind {
                Kind::Null => Value::Null,
                Kind::Boolean(value) => Value::Bool(value),
                Kind::Integer(value) => Value::Number(value.into()),
                Kind::Float(value) => Number::from_f64(value).map_or(Value::Null, Value::Number),
                Kind::Text => Value::String(scalar.text.clone()),
            },
        }
    }
}
