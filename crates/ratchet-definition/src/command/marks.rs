//! Values in a script, and the marks that stand for them while the script is parsed.

use std::ops::Range;

use ratchet_core::workflow::Expression;

use crate::{
    expression::{self, braces},
    mistake::Mistake,
    parsed::Reference,
};

/// What a mark begins with: a character of private use, which no shell treats specially and which is part of no name.
const BEGIN: char = '\u{F0000}';
/// What a mark ends with.
const END: char = '\u{F0001}';

/// One `{{ … }}`.
#[derive(Debug)]
pub(super) struct Placeholder {
    /// With its braces.
    pub(super) span: Range<usize>,
    /// What stands between them.
    pub(super) expression: Expression,
    /// What it reads.
    pub(super) references: Vec<Reference>,
}

/// A script with marks in place of its values.
#[derive(Debug)]
pub(super) struct Marked {
    /// The script.
    pub(super) text: String,
    /// The values in the order of the text.
    pub(super) placeholders: Vec<Placeholder>,
    /// Where pieces of the author's text begin: the character in the marked text, the byte in the author's.
    pieces: Vec<(usize, usize)>,
    source: String,
}

impl Marked {
    /// Finds the values of a script.
    pub(super) fn new(text: &str) -> Result<Self, Vec<Mistake>> {
        let mut marked =
            Self { text: String::new(), placeholders: Vec::new(), pieces: vec![(0, 0)], source: text.to_owned() };
        let mut mistakes = Vec::new();
        if let Some(at) = text.find([BEGIN, END]) {
            let message = "a script cannot hold this character: it is used to find where values stand";
            return Err(vec![Mistake::error("RT-0110", message, at..at + BEGIN.len_utf8())]);
        }
        let (mut at, mut characters) = (0, 0);
        while let Some(open) = next_braces(text, at) {
            if text[open..].starts_with("{%") {
                mistakes.push(
                    Mistake::error("RT-0102", "statements cannot stand in a command", open..open + 2)
                        .with_help("choose with `when` on two steps, or with the shell's own `if`"),
                );
                at = open + 2;
                continue;
            }
            let close = match braces::closing(text, open + 2) {
                Ok(close) => close,
                Err(literal) => {
                    let mut mistake = braces::unclosed(text, open, literal);
                    mistake.help = Some("for braces that are meant as text write `{{ '{{' }}`".to_owned());
                    mistakes.push(mistake);
                    break;
                }
            };
            let span = open..close + 2;
            match expression::parse_inside(text, braces::content(text, open + 2..close)) {
                Ok(parsed) => {
                    let copied = marked.pieces.last().map_or(0, |(_, origin)| *origin);
                    marked.text.push_str(&text[copied..open]);
                    characters += text[copied..open].chars().count();
                    marked.pieces.push((characters, open));
                    let mark = format!("{BEGIN}{}{END}", marked.placeholders.len());
                    characters += mark.chars().count();
                    marked.text.push_str(&mark);
                    marked.pieces.push((characters, span.end));
                    marked.placeholders.push(Placeholder {
                        span,
                        expression: parsed.value,
                        references: parsed.references,
                    });
                }
                Err(wrong) => mistakes.extend(wrong.into_iter().map(|mistake| literal_braces(text, &mistake))),
            }
            at = close + 2;
        }
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        let copied = marked.pieces.last().map_or(0, |(_, origin)| *origin);
        marked.text.push_str(&text[copied..]);
        Ok(marked)
    }

    /// The author's text.
    pub(super) fn source(&self) -> &str {
        &self.source
    }

    /// The byte of the author's text that a character of the marked text stands for.
    pub(super) fn origin(&self, character: usize) -> usize {
        let index = self.pieces.partition_point(|(start, _)| *start <= character).saturating_sub(1);
        let (start, origin) = self.pieces[index];
        if index % 2 == 1 {
            return origin;
        }
        let rest = &self.source[origin..];
        origin + rest.char_indices().nth(character - start).map_or(rest.len(), |(offset, _)| offset)
    }
}

/// Words that begin a statement of a template.
const STATEMENTS: &[&str] = &["if", "elif", "else", "endif", "for", "endfor", "set", "with", "raw", "do"];

/// The next `{{`, or `{%` that begins a statement (`{%` alone is text in a shell: `date +{%s}`).
fn next_braces(text: &str, from: usize) -> Option<usize> {
    let mut at = from;
    loop {
        let open = at + text[at..].find('{')?;
        let rest = &text[open..];
        if rest.starts_with("{{") {
            return Some(open);
        }
        if let Some(statement) = rest.strip_prefix("{%") {
            let word: String = statement
                .trim_start_matches(['-', '+'])
                .trim_start()
                .chars()
                .take_while(char::is_ascii_alphabetic)
                .collect();
            if STATEMENTS.contains(&word.as_str()) {
                return Some(open);
            }
        }
        at = open + 1;
    }
}

/// Other tools write braces too (`docker inspect --format '{{.Name}}'`): the mistake says how to keep them.
fn literal_braces(text: &str, mistake: &Mistake) -> Mistake {
    let mut mistake = mistake.clone();
    if mistake.code == "RT-0100" && mistake.help.is_none() {
        let hint = if text[..mistake.span.start].ends_with("{{") { "{{.Name}}" } else { "{{" };
        mistake.help = Some(format!("for braces that are meant as text write `{{{{ '{hint}' }}}}`"));
    }
    mistake
}

/// The numbers of the marks in a piece of the marked text.
pub(super) fn marks_in(text: &str) -> impl Iterator<Item = usize> + '_ {
    text.split(BEGIN).skip(1).filter_map(|rest| rest.split(END).next()?.parse().ok())
}

/// Text between marks, and marks, in order.
pub(super) fn split(text: &str) -> Vec<Result<usize, &str>> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(begin) = rest.find(BEGIN) {
        if begin > 0 {
            pieces.push(Err(&rest[..begin]));
        }
        let number = &rest[begin + BEGIN.len_utf8()..];
        let end = number.find(END).unwrap_or(number.len());
        if let Ok(number) = number[..end].parse() {
            pieces.push(Ok(number));
        }
        rest = number.get(end + END.len_utf8()..).unwrap_or_default();
    }
    if !rest.is_empty() {
        pieces.push(Err(rest));
    }
    pieces
}
