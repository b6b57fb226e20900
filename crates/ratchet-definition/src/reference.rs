//! The table of fields as a page for people: `docs/reference.md`.

use std::fmt::Write as _;

use crate::shape::{
    COMMON_STEP_FIELDS, Field, Least, ListLength, NameKind, Record, STEP_TYPES, Shape, StepType, Support, WORKFLOW,
    Word, exactly_one,
};

/// Every field of a workflow file, with what its value may be.
pub fn reference() -> String {
    let mut page = Page { text: HEAD.to_owned(), waiting: Vec::new(), written: Vec::new() };
    page.record(&WORKFLOW, "A workflow");
    page.waiting();
    page.heading("Steps");
    page.text.push_str("Every step has these fields, whatever its type.\n\n");
    page.fields(COMMON_STEP_FIELDS);
    page.waiting();
    for step in STEP_TYPES {
        page.step(step);
        page.waiting();
    }
    page.text.truncate(page.text.trim_end().len());
    page.text.push('\n');
    page.text
}

const HEAD: &str = "\
# Reference

Every field of a workflow file. This page is written by `make docs` from the table that files are checked against; the JSON Schema for editors,
[workflow.schema.json](workflow.schema.json), is made from the same table. What the parts are for is in [authoring.md](authoring.md).

A field in **bold** must be there. *Template* is text in which `{{ … }}` is filled in; *expression* is what stands between such braces, with or without them. A
duration is a number of seconds, or text such as `90s`, `15m` or `1h30m`.

";

struct Page {
    text: String,
    /// Records that were mentioned and not described yet.
    waiting: Vec<&'static Record>,
    written: Vec<&'static str>,
}

impl Page {
    fn heading(&mut self, title: &str) {
        let _ = write!(self.text, "## {title}\n\n");
    }

    fn waiting(&mut self) {
        while !self.waiting.is_empty() {
            let record = self.waiting.remove(0);
            let name = record.name.split_once(' ').map_or(record.name, |(_, name)| name);
            let mut title = name.to_owned();
            if let Some(first) = title.get_mut(..1) {
                first.make_ascii_uppercase();
            }
            self.record(record, &title);
        }
    }

    fn record(&mut self, record: &'static Record, title: &str) {
        self.heading(title);
        let _ = write!(self.text, "{}\n\n", record.description);
        self.alternatives(record.definition);
        self.fields(record.fields);
    }

    fn step(&mut self, step: &'static StepType) {
        let _ = write!(self.text, "## `{}` steps\n\n{}\n\n", step.name, step.description);
        self.alternatives(step.name);
        self.fields(step.fields);
    }

    fn alternatives(&mut self, of: &str) {
        let fields: Vec<String> = exactly_one(of).iter().map(|field| format!("`{field}`")).collect();
        if !fields.is_empty() {
            let _ = write!(self.text, "Exactly one of {} is there.\n\n", fields.join(" and "));
        }
    }

    fn fields(&mut self, fields: &'static [Field]) {
        if fields.is_empty() {
            return;
        }
        self.text.push_str("| field | value | meaning |\n| --- | --- | --- |\n");
        let mut words = Vec::new();
        for field in fields.iter().filter(|field| field.support == Support::Now) {
            let name = if field.required { format!("**`{}`**", field.name) } else { format!("`{}`", field.name) };
            let names: Vec<String> =
                std::iter::once(name).chain(field.aliases.iter().map(|alias| format!("`{alias}`"))).collect();
            let value = self.value(field.shape);
            let _ = writeln!(self.text, "| {} | {value} | {} |", names.join(" or "), cell(field.description));
            words_of(field.name, field.shape, &mut words);
        }
        self.text.push('\n');
        for (field, word) in words {
            let _ = writeln!(self.text, "- `{field}: {}`: {}", word.text, word.description);
        }
        if !self.text.ends_with("\n\n") {
            self.text.push('\n');
        }
    }

    /// What a value may be, in a few words. A record is a link to its own part of the page.
    fn value(&mut self, shape: &'static Shape) -> String {
        match shape {
            Shape::Any => "any value".into(),
            Shape::Text => "text".into(),
            Shape::Scalar => "text, number or boolean".into(),
            Shape::Template => "template".into(),
            Shape::ScalarTemplate => "template, number or boolean".into(),
            Shape::Expression => "expression".into(),
            Shape::Boolean => "`true` or `false`".into(),
            Shape::Integer(least, most) => format!("whole number, {least} to {most}"),
            Shape::Number(None) => "number".into(),
            Shape::Number(Some(least)) => format!("number, at least {least}"),
            Shape::Duration(Least::Zero) => "duration".into(),
            Shape::Duration(Least::AboveZero) => "duration, above zero".into(),
            Shape::Word(words) => {
                let now = words.iter().filter(|word| word.support == Support::Now);
                now.map(|word| format!("`{}`", word.text)).collect::<Vec<_>>().join(", ")
            }
            Shape::Name(kind) => named(*kind).into(),
            Shape::Object => "map".into(),
            Shape::List(inner, length) => {
                let inner = self.value(inner);
                let least = if *length == ListLength::NotEmpty { ", at least one" } else { "" };
                format!("list of: {inner}{least}")
            }
            Shape::Map(kind, inner) => format!("map of a {} to: {}", named(*kind), self.value(inner)),
            Shape::Record(record) => {
                if !self.written.contains(&record.definition) {
                    self.written.push(record.definition);
                    self.waiting.push(record);
                }
                let name = record.name.split_once(' ').map_or(record.name, |(_, name)| name);
                format!("[{name}](#{})", name.replace('\'', "").replace(' ', "-"))
            }
            Shape::OneOf(shapes) => shapes.iter().map(|shape| self.value(shape)).collect::<Vec<_>>().join("; or "),
            Shape::Step => "[step](#steps)".into(),
            Shape::StepDefaults => "map of a type to fields of its steps".into(),
        }
    }
}

/// The words that a field takes, each described.
fn words_of(field: &'static str, shape: &'static Shape, words: &mut Vec<(&'static str, &'static Word)>) {
    match shape {
        Shape::Word(known) => {
            words.extend(known.iter().filter(|word| word.support == Support::Now).map(|word| (field, word)));
        }
        Shape::OneOf(shapes) => shapes.iter().for_each(|shape| words_of(field, shape, words)),
        Shape::List(inner, _) => words_of(field, inner, words),
        _ => {}
    }
}

fn named(kind: NameKind) -> &'static str {
    match kind {
        NameKind::Kebab => "name in kebab-case",
        NameKind::Step => "step's id",
        NameKind::StepType => "step type",
        NameKind::Identifier => "name",
        NameKind::Variable => "variable's name",
        NameKind::Header => "header's name",
    }
}

/// Text that does not end the cell that it stands in.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    /// Set to write the page instead of comparing it.
    const UPDATE: &str = "RATCHET_UPDATE_DOCS";

    #[test]
    fn the_published_reference_is_what_the_table_says() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference.md");
        let written = super::reference();
        if std::env::var_os(UPDATE).is_some() {
            std::fs::write(path, &written).expect("docs can be written");
        }
        let page = std::fs::read_to_string(path).unwrap_or_default();
        assert!(page == written, "docs/reference.md is not what the table of fields says: run `make docs`");
    }
}
