//! A tree is compared with the table of fields.
//!
//! All that is wrong is reported, other names of fields become their own, and what does not fit is taken out, so that whoever reads the tree
//! afterwards meets only what he expects. A value of a map that does not fit becomes null: its name is still declared.

use std::fmt::{self, Display};

use crate::{
    check::report::Report,
    duration::{parse_duration, seconds_of},
    shape::{
        COMMON_STEP_FIELDS, CUSTOM_STEP, Field, Least, ListLength, NAME_LENGTH_MAX, STEP_TYPES, Shape, StepType,
        Support, Word, has_default, step_type,
    },
    yaml::{Content, Entry, Kind, Node, Scalar, Style},
};

/// A name as it is shown to a person. Most are not, so none is made into a text before.
struct Quoted<'name>(&'name str);

impl Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", shown(self.0))
    }
}

/// Checks a value. `what` names it for a person. Says whether the value is of use at all.
pub(crate) fn check(node: &mut Node, shape: &Shape, what: &dyn Display, report: &mut Report) -> bool {
    if node.is_null() && !matches!(shape, Shape::Any) {
        let help = format!("write {}, or remove the field", described(shape));
        report.error("RT-0012", node.span.clone(), format!("{what} has no value"), help);
        return false;
    }
    if !accepts(shape, node) {
        let message = format!("{what} is {}, and must be {}", node.described(), described(shape));
        report.error("RT-0012", node.head(), message, quoting_help(node, shape));
        return false;
    }
    match shape {
        // Of these the kind is all that matters.
        Shape::Any
        | Shape::Object
        | Shape::Text
        | Shape::Scalar
        | Shape::Template
        | Shape::ScalarTemplate
        | Shape::Boolean
        | Shape::Expression => true,
        Shape::Integer(least, most) => check_integer(node, *least, *most, what, report),
        Shape::Number(least) => check_number(node, *least, what, report),
        Shape::Duration(least) => check_duration(node, *least, what, report),
        Shape::Word(words) => check_word(node, words, what, report),
        Shape::Name(kind) => {
            if let Some(text) = node.text()
                && !kind.accepts(text)
            {
                report_name(text, node.span.clone(), what, kind.described(), report);
            }
            true
        }
        Shape::List(inner, length) => check_list(node, inner, *length, what, report),
        Shape::Map(kind, inner) => {
            let Content::Map(entries) = &mut node.content else { return false };
            for Entry { key, value } in entries {
                let what = Quoted(&key.text);
                if !kind.accepts(&key.text) {
                    report_name(&key.text, key.span.clone(), &what, kind.described(), report);
                }
                if !check(value, inner, &what, report) {
                    value.content =
                        Content::Scalar(Scalar { text: String::new(), style: Style::Plain, kind: Kind::Null });
                }
            }
            true
        }
        Shape::Record(record) => {
            check_fields(node, record.name, &[record.fields], report);
            true
        }
        Shape::OneOf(shapes) => {
            let fitting = shapes.iter().find(|shape| accepts(shape, node));
            fitting.is_some_and(|shape| check(node, shape, what, report))
        }
        Shape::Step => {
            check_step(node, report);
            true
        }
        Shape::StepDefaults => {
            check_defaults(node, report);
            true
        }
    }
}

/// Whether the kind of the value is one that the shape takes.
fn accepts(shape: &Shape, node: &Node) -> bool {
    let kind = node.scalar().map(|scalar| scalar.kind);
    let is_text = kind == Some(Kind::Text);
    let is_number = matches!(kind, Some(Kind::Integer(_) | Kind::Float(_)));
    let is_boolean = matches!(kind, Some(Kind::Boolean(_)));
    match shape {
        Shape::Any => true,
        Shape::Text | Shape::Template | Shape::Word(_) | Shape::Name(_) => is_text,
        Shape::Scalar | Shape::ScalarTemplate => is_text || is_number || is_boolean,
        Shape::Expression => is_text || is_boolean,
        Shape::Boolean => is_boolean,
        Shape::Integer(..) => matches!(kind, Some(Kind::Integer(_))),
        Shape::Number(_) => is_number,
        Shape::Duration(_) => is_text || is_number,
        Shape::List(..) => matches!(node.content, Content::List(_)),
        Shape::Object | Shape::Map(..) | Shape::Record(_) | Shape::Step | Shape::StepDefaults => {
            matches!(node.content, Content::Map(_))
        }
        Shape::OneOf(shapes) => shapes.iter().any(|shape| accepts(shape, node)),
    }
}

/// What a shape is, in words.
pub(crate) fn described(shape: &Shape) -> String {
    match shape {
        Shape::Any => "a value".into(),
        Shape::Text | Shape::Template => "text".into(),
        Shape::Scalar | Shape::ScalarTemplate => "text, a number or a boolean".into(),
        Shape::Expression => "an expression".into(),
        Shape::Boolean => "`true` or `false`".into(),
        Shape::Integer(..) => "a whole number".into(),
        Shape::Number(_) => "a number".into(),
        Shape::Duration(_) => "a duration such as `90s` or `15m`".into(),
        Shape::Word(words) => match words {
            [one] => format!("`{}`", one.text),
            _ => format!("one of {}", listed(words.iter().map(|word| word.text))),
        },
        Shape::Name(_) => "a name".into(),
        Shape::List(inner, _) => match inner {
            Shape::Step => "a list of steps".into(),
            Shape::Integer(..) => "a list of whole numbers".into(),
            Shape::Name(_) => "a list of names".into(),
            _ => "a list".into(),
        },
        Shape::Object | Shape::Map(..) => "a map of names to values".into(),
        Shape::Record(record) => {
            let names = record.fields.iter().filter(|field| field.support == Support::Now).map(|field| field.name);
            format!("a map with {}", listed(names))
        }
        Shape::OneOf(shapes) => shapes.iter().map(described).collect::<Vec<_>>().join(", or "),
        Shape::Step => "a step: a map with `id`, `type` and the fields of its type".into(),
        Shape::StepDefaults => "a map from types of steps to their fields".into(),
    }
}

/// What to write where YAML made something of a text that its author did not mean.
fn quoting_help(node: &Node, shape: &Shape) -> Option<String> {
    let scalar = node.scalar()?;
    let wants_text = matches!(shape, Shape::Text | Shape::Template | Shape::Name(_) | Shape::Word(_));
    if wants_text && scalar.style == Style::Plain {
        return Some(format!("put it in quotes: \"{}\"", scalar.text));
    }
    match (shape, scalar.text.to_ascii_lowercase().as_str()) {
        (Shape::Boolean, "yes" | "on" | "true") => Some("write `true`".into()),
        (Shape::Boolean, "no" | "off" | "false") => Some("write `false`".into()),
        (Shape::Integer(..) | Shape::Number(_), text) if text.parse::<f64>().is_ok() => {
            Some(format!("write it without quotes: {text}"))
        }
        (Shape::List(..), _) if scalar.kind == Kind::Text => Some(format!("write a list: [{}]", shown(&scalar.text))),
        _ => None,
    }
}

fn check_integer(node: &Node, least: i64, most: i64, what: &dyn Display, report: &mut Report) -> bool {
    let Some(Scalar { kind: Kind::Integer(value), .. }) = node.scalar() else { return false };
    let fits = (least..=most).contains(value);
    if !fits {
        report.error("RT-0016", node.span.clone(), format!("{what} must be from {least} to {most}"), None);
    }
    fits
}

fn check_number(node: &Node, least: Option<f64>, what: &dyn Display, report: &mut Report) -> bool {
    let (Some(value), Some(least)) = (node.to_json().as_f64(), least) else { return true };
    if value < least {
        report.error("RT-0016", node.span.clone(), format!("{what} must not be less than {least}"), None);
    }
    value >= least
}

fn check_duration(node: &Node, least: Least, what: &dyn Display, report: &mut Report) -> bool {
    let duration = match node.text() {
        Some(text) => parse_duration(text),
        None => node.to_json().as_f64().and_then(seconds_of),
    };
    let help =
        "write seconds as a number, or a number and its unit: `500ms`, `90s`, `15m`, `2h`, `1h30m`, `7d`".to_owned();
    match duration {
        None => {
            report.error("RT-0014", node.span.clone(), format!("{what} is not a duration of at most a year"), help);
            false
        }
        Some(duration) if duration.is_zero() && least == Least::AboveZero => {
            report.error("RT-0014", node.span.clone(), format!("{what} must be longer than nothing"), help);
            false
        }
        Some(_) => true,
    }
}

fn check_word(node: &Node, words: &'static [Word], what: &dyn Display, report: &mut Report) -> bool {
    let Some(text) = node.text() else { return false };
    match words.iter().find(|word| word.text == text) {
        Some(word) if word.support == Support::Later => {
            let message = format!("`{text}` is part of the language, and this version does not support it yet");
            report.error("RT-0018", node.span.clone(), message, None);
            false
        }
        Some(_) => true,
        None => {
            let known = words.iter().filter(|word| word.support == Support::Now).map(|word| word.text);
            let help = report.nearest.help(text, known);
            report.error("RT-0013", node.span.clone(), format!("{what} cannot be `{}`", shown(text)), help);
            false
        }
    }
}

fn check_list(node: &mut Node, inner: &Shape, length: ListLength, what: &dyn Display, report: &mut Report) -> bool {
    let at = node.head();
    let Content::List(items) = &mut node.content else { return false };
    if items.is_empty() && length == ListLength::NotEmpty {
        report.error("RT-0016", at, format!("{what} is empty"), "write at least one value".to_owned());
        return false;
    }
    items.retain_mut(|item| match inner {
        Shape::Step => check(item, inner, &"this step", report),
        _ => check(item, inner, &format_args!("a value of {what}"), report),
    });
    true
}

fn report_name(name: &str, at: std::ops::Range<usize>, what: &dyn Display, kind: &str, report: &mut Report) {
    let message = format!("`{}` cannot be a name here", shown(name));
    let what = what.to_string();
    let what = if what.contains(name) { "a name" } else { &what };
    let help = format!("{what} consists of {kind}, and has at most {NAME_LENGTH_MAX} characters");
    report.error("RT-0015", at, message, help);
}

fn check_step(node: &mut Node, report: &mut Report) {
    let entries = node.entries();
    let named = entries.iter().find(|entry| entry.key.text == "type");
    // What is meant is clear enough to look at the other fields as well.
    let misspelt =
        if named.is_none() { entries.iter().find(|entry| is_misspelt_type(&entry.key.text, report)) } else { None };
    let found = named.or(misspelt);
    let misspelt = misspelt.map(|entry| entry.key.text.clone());
    let step = found.and_then(|entry| known_type(entry.value.text()?, entry.value.head(), report));
    if let Some(step) = step {
        let name = match found.and_then(|entry| entry.value.text()) {
            Some(name) => format!("a step of type `{name}`"),
            None => "a step".to_owned(),
        };
        check_fields(node, &name, &[COMMON_STEP_FIELDS, step.fields], report);
    } else if let Content::Map(entries) = &mut node.content {
        // Without a type nobody knows which other fields are right: only those of every step are looked at.
        let is_told = |entry: &Entry| misspelt.as_ref() == Some(&entry.key.text);
        entries
            .retain(|entry| is_told(entry) || COMMON_STEP_FIELDS.iter().any(|field| field.is_named(&entry.key.text)));
        check_fields(node, "a step", &[COMMON_STEP_FIELDS], report);
    }
}

/// Whether a field that no step has was meant to say the step's type.
fn is_misspelt_type(field: &str, report: &mut Report) -> bool {
    let known = || COMMON_STEP_FIELDS.iter().chain(STEP_TYPES.iter().flat_map(|step| step.fields));
    !known().any(|known| known.is_named(field))
        && report.nearest.find(field, COMMON_STEP_FIELDS.iter().map(|known| known.name)) == Some("type")
}

/// The type of step of this name.
fn known_type(name: &str, at: std::ops::Range<usize>, report: &mut Report) -> Option<&'static StepType> {
    match step_type(name) {
        Some(step) => Some(step),
        None if report.custom_types.contains(name) => Some(&CUSTOM_STEP),
        None => {
            let known = STEP_TYPES.iter().map(|step| step.name);
            let own: Vec<String> = report.custom_types.iter().cloned().collect();
            let known: Vec<&str> = known.chain(own.iter().map(String::as_str)).collect();
            let help = report.nearest.help(name, known);
            report.error("RT-0019", at, format!("there is no type of step `{}`", shown(name)), help);
            None
        }
    }
}

/// Fields of steps by type: those of a step of the type, none of them required.
fn check_defaults(node: &mut Node, report: &mut Report) {
    let Content::Map(entries) = &mut node.content else { return };
    entries.retain_mut(|Entry { key, value }| {
        let Some(step) = known_type(&key.text, key.span.clone(), report) else { return false };
        let Content::Map(fields) = &mut value.content else {
            let message =
                format!("the defaults of `{}` are {}, and must be a map of fields", key.text, value.described());
            report.error("RT-0012", value.head(), message, None);
            return false;
        };
        fields.retain(|entry| {
            let mut known = COMMON_STEP_FIELDS.iter().chain(step.fields);
            let own = known.any(|field| field.is_named(&entry.key.text) && !has_default(step, field));
            if own {
                let message = format!("`{}` has no default: every step has its own", entry.key.text);
                report.error("RT-0021", entry.key.span.clone(), message, "write it in the steps".to_owned());
            }
            !own
        });
        let name = format!("a step of type `{}`", key.text);
        check_known_fields(value, &name, &[COMMON_STEP_FIELDS, step.fields], report);
        true
    });
}

fn check_fields(node: &mut Node, name: &str, tables: &[&'static [Field]], report: &mut Report) {
    let head = node.head();
    let told = check_known_fields(node, name, tables, report);
    for field in tables.iter().copied().flatten().filter(|field| field.required) {
        // One mistake is told once: a name that was misspelt is not missing besides.
        if !told.contains(&field.name) {
            let message = format!("{name} needs a field `{}`", field.name);
            let help = format!("{} Its value is {}", field.description, described(field.shape));
            report.error("RT-0011", head.clone(), message, help);
        }
    }
}

/// Checks the fields that are there. Gives the names of those that are, or were meant to be.
fn check_known_fields(
    node: &mut Node,
    name: &str,
    tables: &[&'static [Field]],
    report: &mut Report,
) -> Vec<&'static str> {
    let fields = || tables.iter().copied().flatten();
    let Content::Map(entries) = &mut node.content else { return Vec::new() };
    let mut seen: Vec<(&'static str, Option<String>)> = Vec::with_capacity(entries.len());
    let mut misspelt: Vec<&'static str> = Vec::new();
    entries.retain_mut(|entry| {
        let at = entry.key.span.clone();
        let Some(field) = fields().find(|field| field.is_named(&entry.key.text)) else {
            let known = || fields().filter(|field| field.support == Support::Now).map(|field| field.name);
            let help = field_of_another_type(&entry.key.text, name).or_else(|| {
                misspelt.extend(report.nearest.find(&entry.key.text, known()));
                report.nearest.help(&entry.key.text, known().collect::<Vec<_>>())
            });
            report.error("RT-0010", at, format!("{name} has no field `{}`", shown(&entry.key.text)), help);
            return false;
        };
        if field.support == Support::Later {
            let message = format!("`{}` is part of the language, and this version does not support it yet", field.name);
            report.error("RT-0018", at, message, "remove it: it would have no effect".to_owned());
            return false;
        }
        if let Some((_, other)) = seen.iter().find(|(seen, _)| *seen == field.name) {
            let other = other.as_deref().unwrap_or(field.name);
            let message = format!("`{}` and `{other}` are two names of one field", entry.key.text);
            report.error("RT-0017", at, message, "remove one of the two".to_owned());
            return false;
        }
        let fits = check(&mut entry.value, field.shape, &Quoted(&entry.key.text), report);
        let is_alias = entry.key.text != field.name;
        seen.push((field.name, is_alias.then(|| std::mem::replace(&mut entry.key.text, field.name.to_owned()))));
        fits
    });
    seen.into_iter().map(|(name, _)| name).chain(misspelt).collect()
}

/// For a field that only steps of other types have.
fn field_of_another_type(field: &str, of: &str) -> Option<String> {
    if !of.starts_with("a step of type") {
        return None;
    }
    let owner = STEP_TYPES.iter().find(|step| step.fields.iter().any(|known| known.is_named(field)))?;
    Some(format!("`{field}` is a field of steps of type `{}`", owner.name))
}

/// Names with commas between them and "or" before the last.
fn listed<'name>(names: impl Iterator<Item = &'name str>) -> String {
    let mut names: Vec<String> = names.map(|name| format!("`{name}`")).collect();
    let last = names.pop().unwrap_or_default();
    if names.is_empty() { last } else { format!("{} or {last}", names.join(", ")) }
}

/// A part of a text that is fit for a message.
pub(crate) fn shown(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    if line.chars().count() <= 60 && line.len() == text.len() {
        return text.to_owned();
    }
    line.chars().take(57).chain("...".chars()).collect()
}
