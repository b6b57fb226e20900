//! `ratchet test --update`: what came of a run, in the place of what the file expects of it. All else in the file stays as its author wrote it.

use std::{fmt::Write as _, ops::Range};

use ratchet_definition::yaml::{Entry, Node};
use serde_json::Value;

use super::{Correction, case::Told, file::Source};

/// The field that is written.
const EXPECT: &str = "expect";

/// The text of a file with all corrections of its tests in it; `None` where there is nothing to correct.
pub(super) fn text(source: &Source, told: &[Told]) -> Option<String> {
    let mut edits: Vec<(Range<usize>, String)> = Vec::new();
    let nodes = source.tree.get("tests").map(Node::items).unwrap_or_default();
    let file = File { text: &source.text };
    for (test, node) in source.file.tests.iter().zip(nodes) {
        let Some(told) = told.iter().find(|told| told.name == test.name) else { continue };
        if let Some(came) = &told.came {
            edits.push(file.whole(node, came));
        } else {
            let corrections = told.problems.iter().filter_map(|problem| problem.correction.as_ref());
            edits.extend(corrections.map(|correction| file.corrected(node, correction)));
        }
    }
    if edits.is_empty() {
        return None;
    }
    // From the end to the beginning, so that each place is still where it was.
    edits.sort_by_key(|(range, _)| (range.start, range.end));
    let mut text = source.text.clone();
    for (range, new) in edits.into_iter().rev() {
        text.replace_range(range, &new);
    }
    Some(text)
}

/// A file that is edited.
struct File<'a> {
    text: &'a str,
}

impl File<'_> {
    /// What puts the right value into a test.
    fn corrected(&self, test: &Node, correction: &Correction) -> (Range<usize>, String) {
        let path: Vec<&str> = [EXPECT].into_iter().chain(correction.path.iter().map(String::as_str)).collect();
        let mut map = test;
        for name in &path[..path.len() - 1] {
            match map.get(name) {
                Some(below) => map = below,
                None => break,
            }
        }
        let written = text_of(&correction.found, &self.indent(map), self.is_flow(map));
        self.set(map, path[path.len() - 1], &written)
    }

    /// What makes a test expect all that came.
    fn whole(&self, test: &Node, came: &[(&str, Value)]) -> (Range<usize>, String) {
        if self.is_flow(test) {
            let entries: Vec<String> = came.iter().map(|(name, value)| format!("{name}: {}", flow(value))).collect();
            return self.set(test, EXPECT, &format!(" {{ {} }}", entries.join(", ")));
        }
        let indent = self.indent(test);
        let mut lines = String::new();
        for (name, value) in came {
            let _ = write!(lines, "\n{indent}  {name}: {}", flow(value));
        }
        self.set(test, EXPECT, &lines)
    }

    /// What gives a map this entry; `written` is what stands behind its colon.
    fn set(&self, map: &Node, name: &str, written: &str) -> (Range<usize>, String) {
        match map.entry(name) {
            Some(entry) => self.replaced(entry, written),
            None => self.added(map, name, written),
        }
    }

    /// A value in the place of the one that an entry has.
    fn replaced(&self, entry: &Entry, written: &str) -> (Range<usize>, String) {
        let begin = entry.key.span.end;
        (begin..self.end(entry), format!(":{written}"))
    }

    /// An entry behind the last one of a map.
    fn added(&self, map: &Node, name: &str, written: &str) -> (Range<usize>, String) {
        let Some(last) = map.entries().last() else {
            return (map.span.clone(), format!("{{ {name}:{written} }}"));
        };
        let end = self.end(last);
        if self.is_flow(map) {
            return (end..end, format!(", {name}:{written}"));
        }
        // A comment stays behind what it stands behind.
        let rest = self.text[end..].lines().next().unwrap_or_default();
        let end = if rest.trim_start().starts_with('#') { end + rest.len() } else { end };
        (end..end, format!("\n{}{name}:{written}", self.indent(map)))
    }

    fn is_flow(&self, map: &Node) -> bool {
        self.text[map.span.clone()].starts_with('{')
    }

    /// What stands before the entries of a map in block style: spaces, one for each character before its first name.
    fn indent(&self, map: &Node) -> String {
        let first = map.entries().first().map_or(map.span.start, |entry| entry.key.span.start);
        let line = self.text[..first].rfind('\n').map_or(0, |end| end + 1);
        " ".repeat(self.text[line..first].chars().count())
    }

    /// Where an entry ends, without what only separates it from the next.
    fn end(&self, entry: &Entry) -> usize {
        let Range { start, end } = entry.value.span;
        let begin = entry.key.span.end;
        match self.text[start..end].trim_end().len() {
            // A value that is not there has no place: the entry ends with its colon.
            0 => self.text[begin..].find(':').map_or(begin, |colon| begin + colon + 1),
            length => start + length,
        }
    }
}

/// A value as it stands behind a colon.
fn text_of(value: &Value, indent: &str, is_flow: bool) -> String {
    match value {
        Value::String(text) if !is_flow && is_plain_block(text) => {
            text.lines().fold(" |".to_owned(), |written, line| {
                let indent = if line.is_empty() { "" } else { indent };
                let more = if line.is_empty() { "" } else { "  " };
                written + "\n" + indent + more + line
            })
        }
        value => format!(" {}", flow(value)),
    }
}

/// Whether a text is lines that can stand in a block as they are, without more signs than one.
fn is_plain_block(text: &str) -> bool {
    let is_printable = |c: char| c == '\n' || c == '\t' || !c.is_control();
    let has_end = text.ends_with('\n') && !text.ends_with("\n\n");
    has_end && !text.starts_with([' ', '\n', '\t']) && text.chars().all(is_printable)
}

/// A value in one line.
fn flow(value: &Value) -> String {
    match value {
        Value::String(text) => key(text),
        Value::Array(items) => format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", ")),
        Value::Object(entries) if entries.is_empty() => "{}".to_owned(),
        Value::Object(entries) => {
            let entries = entries.iter().map(|(name, value)| format!("{}: {}", key(name), flow(value)));
            format!("{{ {} }}", entries.collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

fn key(name: &str) -> String {
    if is_plain_word(name) { name.to_owned() } else { Value::from(name).to_string() }
}

/// Whether a text is the same without quotes, to every reader of YAML.
fn is_plain_word(text: &str) -> bool {
    let mut characters = text.chars();
    characters.next().is_some_and(|first| first.is_ascii_alphabetic())
        && characters.all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '/' | '.'))
        && !["true", "false", "null", "yes", "no", "on", "off", "y", "n"].contains(&text.to_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::json;

    use super::*;
    use crate::testing::Problem;

    /// What becomes of a file with one test that has these differences.
    fn updated(file: &str, differences: &[(&[&str], Value)]) -> String {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("workflow.test.yaml");
        fs::write(&path, file).expect("written");
        let source = Source::read(&path).expect("read").expect("it is right");
        let problem = |(path, found): &(&[&str], Value)| Problem::new("differs").corrected(path, found.clone());
        let told = Told {
            problems: differences.iter().map(problem).collect(),
            came: differences
                .is_empty()
                .then(|| vec![("status", json!("completed")), ("steps", json!({ "a": "completed", "on": "skipped" }))]),
            ..Told::of(&source.file.tests[0].name)
        };
        let text = text(&source, &[told]).expect("something is corrected");
        fs::write(&path, &text).expect("written");
        Source::read(&path).expect("read").expect("it is right still");
        text
    }

    #[test]
    fn only_what_differs_is_written() {
        let blocks = "\
# Kept.
tests:
  - name: one
    expect:
      steps: { a: failed, status: { status: completed, attempts: 2 } } # kept
      outputs:
        list:
        - 1
        - 2
        text: |
          old
      files:
        a b.txt: { equals: x }

  - name: two
";
        let told = updated(
            blocks,
            &[
                (&["status"], json!("failed")),
                (&["failed_steps"], json!(["a", "b c"])),
                (&["steps", "a"], json!("completed")),
                (&["steps", "status", "attempts"], json!(1)),
                (&["outputs", "list"], json!([1, { "x": null, "y: z": "yes" }])),
                (&["outputs", "text"], json!("new\n\n  and # newer\n")),
                (&["files", "a b.txt", "equals"], json!("x\ny\n")),
            ],
        );
        insta::assert_snapshot!("update_blocks", told);
        let differences: [(&[&str], Value); 2] = [(&["status"], json!("failed")), (&["outputs", "a"], json!("it's\n"))];
        let told = updated("tests: [{ name: one, expect: { outputs: { a: 1 } } }]", &differences);
        insta::assert_snapshot!("update_flow", told);
    }

    #[test]
    fn a_test_that_expects_nothing_gets_what_came() {
        let files = [
            "tests:\n- name: one\n  inputs:\n    a: 1 # kept\n# and this\n",
            "tests:\n  - name: one\n    expect:\n    git: true\n",
            "tests: [{ name: one }]\n",
        ];
        insta::assert_snapshot!("update_whole", files.map(|file| updated(file, &[])).join("\n"));
    }
}
