//! What a workflow file may hold: one table of every field.
//!
//! The check of a file's structure (`check`), the JSON Schema ([`crate::schema`]) and the reference pages are all made from it.

mod step;
mod trigger;
mod workflow;

pub use step::{COMMON_STEP_FIELDS, CUSTOM_STEP, EXACTLY_ONE, STEP_TYPES, exactly_one, has_default, step_type};
pub use workflow::{TYPES_FILE, WORKFLOW};

/// A map with known names.
#[derive(Debug)]
pub struct Record {
    /// What it is, with its article: `a retry policy`.
    pub name: &'static str,
    /// Its word in the JSON Schema.
    pub definition: &'static str,
    /// What it is for, in a sentence.
    pub description: &'static str,
    /// Its fields, in the order that they are documented in.
    pub fields: &'static [Field],
}

/// One field.
#[derive(Debug)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// Other names that mean the same.
    pub aliases: &'static [&'static str],
    /// What its value may be.
    pub shape: &'static Shape,
    /// Whether it must be there.
    pub required: bool,
    /// Whether this version knows what to do with it.
    pub support: Support,
    /// What it means, in a sentence or two.
    pub description: &'static str,
}

/// Whether this version knows what to do with a part of the language.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Support {
    /// It does.
    Now,
    /// A part of the language that is refused until it does.
    Later,
}

/// A type of step.
#[derive(Debug)]
pub struct StepType {
    /// Its name.
    pub name: &'static str,
    /// What such a step does.
    pub description: &'static str,
    /// Its fields besides those of every step.
    pub fields: &'static [Field],
}

/// What a value may be.
#[derive(Debug)]
pub enum Shape {
    /// Text.
    Text,
    /// Text, or a number or boolean that is taken as it is written.
    Scalar,
    /// Text with `{{ … }}` in it.
    Template,
    /// Text, a number or a boolean, with `{{ … }}` in it.
    ScalarTemplate,
    /// An expression, with or without braces; a boolean is one.
    Expression,
    /// True or false.
    Boolean,
    /// A whole number in these limits.
    Integer(i64, i64),
    /// A number, not less than this where there is a least.
    Number(Option<f64>),
    /// Seconds as a number, or text such as `90s`, `15m`, `1h30m`.
    Duration(Least),
    /// One of these words.
    Word(&'static [Word]),
    /// A name of this kind.
    Name(NameKind),
    /// Whatever YAML can say.
    Any,
    /// A map with whatever names.
    Object,
    /// Values of one shape.
    List(&'static Self, ListLength),
    /// Values of one shape by name.
    Map(NameKind, &'static Self),
    /// A map with known names.
    Record(&'static Record),
    /// The first of these that fits the kind of the value.
    OneOf(&'static [Self]),
    /// A map of which `type` says which fields it has.
    Step,
    /// Fields of steps by the type of the steps.
    StepDefaults,
}

/// Whether a list may be empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListLength {
    /// It may.
    Any,
    /// It has at least one value.
    NotEmpty,
}

/// Whether a duration may be nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Least {
    /// It may.
    Zero,
    /// It is more than nothing.
    AboveZero,
}

/// One of the words that a field takes.
#[derive(Debug)]
pub struct Word {
    /// The word.
    pub text: &'static str,
    /// What it means.
    pub description: &'static str,
    /// Whether this version knows what to do with it.
    pub support: Support,
}

/// What a name may look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameKind {
    /// Small letters, digits and single hyphens: the name of a workflow.
    Kebab,
    /// Small letters, digits and underscores: the id of a step.
    Step,
    /// Small letters, digits, and hyphens or underscores between them: a type of step.
    StepType,
    /// A name that expressions can use.
    Identifier,
    /// The name of an environment variable.
    Variable,
    /// The name of a header.
    Header,
}

/// The most characters of a name.
pub const NAME_LENGTH_MAX: usize = 128;

impl NameKind {
    /// Whether a text is such a name.
    pub fn accepts(self, text: &str) -> bool {
        let mut characters = text.chars();
        let Some(first) = characters.next() else { return false };
        if text.len() > NAME_LENGTH_MAX {
            return false;
        }
        let underscored = |c: char| c.is_ascii_alphanumeric() || c == '_';
        match self {
            Self::Kebab => {
                first.is_ascii_lowercase()
                    && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
                    && !text.ends_with('-')
                    && !text.contains("--")
            }
            Self::Step => first.is_ascii_lowercase() && characters.all(|c| underscored(c) && !c.is_ascii_uppercase()),
            Self::StepType => {
                let is_between = |c: char| matches!(c, '-' | '_');
                first.is_ascii_lowercase()
                    && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || is_between(c))
                    && !text.ends_with(is_between)
                    && !text.contains("--")
                    && !text.contains("__")
                    && !text.contains("-_")
                    && !text.contains("_-")
            }
            Self::Identifier | Self::Variable => {
                (first.is_ascii_alphabetic() || first == '_') && characters.all(underscored)
            }
            Self::Header => {
                first.is_ascii_alphanumeric() && characters.all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
            }
        }
    }

    /// The same as a regular expression, for the JSON Schema.
    pub fn pattern(self) -> &'static str {
        match self {
            Self::Kebab => "^[a-z][a-z0-9]*(-[a-z0-9]+)*$",
            Self::Step => "^[a-z][a-z0-9_]*$",
            Self::StepType => "^[a-z][a-z0-9]*([-_][a-z0-9]+)*$",
            Self::Identifier | Self::Variable => "^[A-Za-z_][A-Za-z0-9_]*$",
            Self::Header => "^[A-Za-z0-9][A-Za-z0-9_-]*$",
        }
    }

    /// What such a name consists of, in words.
    pub fn described(self) -> &'static str {
        match self {
            Self::Kebab => "small letters, digits and single hyphens, beginning with a letter",
            Self::Step => "small letters, digits and underscores, beginning with a letter",
            Self::StepType => "small letters, digits and single hyphens or underscores, beginning with a letter",
            Self::Identifier | Self::Variable => "letters, digits and underscores, not beginning with a digit",
            Self::Header => "letters, digits, hyphens and underscores, beginning with a letter or digit",
        }
    }
}

impl Field {
    /// A field that may be left out.
    const fn optional(name: &'static str, shape: &'static Shape, description: &'static str) -> Self {
        Self { name, aliases: &[], shape, required: false, support: Support::Now, description }
    }

    /// A field that must be there.
    const fn required(name: &'static str, shape: &'static Shape, description: &'static str) -> Self {
        Self { required: true, ..Self::optional(name, shape, description) }
    }

    /// A part of the language that this version refuses.
    const fn later(name: &'static str, description: &'static str) -> Self {
        Self { support: Support::Later, ..Self::optional(name, &Shape::Any, description) }
    }

    /// Adds another name.
    const fn alias(self, aliases: &'static [&'static str]) -> Self {
        Self { aliases, ..self }
    }

    /// Whether this is one of the field's names.
    pub fn is_named(&self, name: &str) -> bool {
        self.name == name || self.aliases.contains(&name)
    }
}

impl Word {
    const fn now(text: &'static str, description: &'static str) -> Self {
        Self { text, description, support: Support::Now }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_from_what_only_looks_like_one() {
        let cases = [
            (NameKind::Kebab, "increase-test-coverage", true),
            (NameKind::Kebab, "a1", true),
            (NameKind::Kebab, "A", false),
            (NameKind::Kebab, "a--b", false),
            (NameKind::Kebab, "a-", false),
            (NameKind::Kebab, "a_b", false),
            (NameKind::Step, "check_2", true),
            (NameKind::Step, "Check", false),
            (NameKind::Step, "_check", false),
            (NameKind::Step, "", false),
            (NameKind::Step, "é", false),
            (NameKind::StepType, "deploy-all_2", true),
            (NameKind::StepType, "deploy-", false),
            (NameKind::StepType, "Deploy", false),
            (NameKind::Variable, "CREATE_PR", true),
            (NameKind::Variable, "2X", false),
            (NameKind::Identifier, "_x", true),
            (NameKind::Header, "X-Request-Id", true),
            (NameKind::Header, "a b", false),
            (NameKind::Header, "{{ x }}", false),
        ];
        for (kind, name, expected) in cases {
            assert_eq!(kind.accepts(name), expected, "{kind:?} {name}");
        }
    }

    /// Every table of fields that is reached from the workflow's.
    fn tables() -> Vec<(&'static str, &'static [Field])> {
        fn walk(shape: &'static Shape, tables: &mut Vec<(&'static str, &'static [Field])>) {
            match shape {
                Shape::Record(record) => {
                    tables.push((record.name, record.fields));
                    record.fields.iter().for_each(|field| walk(field.shape, tables));
                }
                Shape::List(inner, _) | Shape::Map(_, inner) => walk(inner, tables),
                Shape::OneOf(shapes) => shapes.iter().for_each(|shape| walk(shape, tables)),
                _ => {}
            }
        }
        let mut tables = vec![("every step", COMMON_STEP_FIELDS)];
        tables.extend(STEP_TYPES.iter().map(|step| (step.name, step.fields)));
        for field in COMMON_STEP_FIELDS.iter().chain(STEP_TYPES.iter().flat_map(|step| step.fields)) {
            walk(field.shape, &mut tables);
        }
        tables.push((WORKFLOW.name, WORKFLOW.fields));
        WORKFLOW.fields.iter().for_each(|field| walk(field.shape, &mut tables));
        tables
    }

    #[test]
    fn every_field_is_described_and_stands_once() {
        for (name, fields) in tables() {
            let mut names: Vec<&str> = fields.iter().flat_map(|f| f.aliases.iter().copied().chain([f.name])).collect();
            for field in fields {
                let ends = field.description.ends_with('.') && field.description.len() > 10;
                assert!(ends, "{name}.{}: {:?}", field.name, field.description);
            }
            if STEP_TYPES.iter().any(|step| step.name == name) {
                names.extend(COMMON_STEP_FIELDS.iter().map(|field| field.name));
            }
            let count = names.len();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), count, "a name stands twice in {name}");
        }
    }
}
