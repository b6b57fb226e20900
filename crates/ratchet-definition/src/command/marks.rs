//! Values and choices in a script, and the marks that stand for values while the script is parsed.

use std::ops::Range;

use ratchet_core::workflow::Expression;

use super::choices::{self, Choice};
use crate::{
    expression::{self, braces},
    mistake::Mistake,
    parsed::Reference,
};

/// What a mark begins with: a character of private use, which no shell treats specially and which is part of no name.
const BEGIN: char = '\u{F0000}';
/// What a mark ends with.
const END: char = '\u{F0001}';
/// The most ways in which the choices of a script can fall out: each is parsed.
const VARIANTS_MAX: usize = 16;
/// The most bytes that are parsed because of choices.
const VARIANT_BYTES_MAX: usize = 128 * 1024;

/// One `{{ … }}`.
#[derive(Debug)]
pub(super) struct Placeholder {
    /// With its braces.
    pub(super) span: Range<usize>,
    /// What stands between them.
    pub(super) expression: Expression,
    /// Whether the author wants it to be code.
    pub(super) raw: bool,
    /// What it reads.
    pub(super) references: Vec<Reference>,
}

/// A part of the author's text.
#[derive(Debug, Clone)]
pub(super) enum Segment {
    /// As it stands.
    Text(Range<usize>),
    /// A value, by its number.
    Value(usize),
    /// A choice, by its number.
    Choice(usize),
}

/// An author's text, cut where values and choices stand.
#[derive(Debug, Default)]
pub(super) struct Cut {
    /// The parts in order.
    pub(super) segments: Vec<Segment>,
    /// The values in the order of the text.
    pub(super) placeholders: Vec<Placeholder>,
    /// The choices in the order of the text.
    pub(super) choices: Vec<Choice>,
}

impl Cut {
    /// Finds the values and choices of a script.
    pub(super) fn new(text: &str) -> Result<Self, Vec<Mistake>> {
        if let Some(at) = text.find([BEGIN, END]) {
            let message = "a script cannot hold this character: it is used to find where values stand";
            return Err(vec![Mistake::error("RT-0110", message, at..at + BEGIN.len_utf8())]);
        }
        let mut cut = Self::default();
        let mut mistakes = Vec::new();
        let (mut at, mut copied) = (0, 0);
        while let Some(open) = next_braces(text, at) {
            let end = if text[open..].starts_with("{%") {
                match choices::parse(text, open) {
                    Ok(choice) => {
                        let end = choice.span.end;
                        cut.text(copied..open);
                        cut.segments.push(Segment::Choice(cut.choices.len()));
                        cut.choices.push(choice);
                        copied = end;
                        end
                    }
                    Err(mistake) => {
                        let end = mistake.span.end.max(open + 2);
                        mistakes.push(mistake);
                        end
                    }
                }
            } else {
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
                let (inside, raw) = without_raw(text, braces::content(text, open + 2..close));
                match expression::parse_inside(text, inside) {
                    Ok(parsed) => {
                        cut.text(copied..open);
                        cut.segments.push(Segment::Value(cut.placeholders.len()));
                        let (expression, references) = (parsed.value, parsed.references);
                        cut.placeholders.push(Placeholder { span, expression, raw, references });
                        copied = close + 2;
                    }
                    Err(wrong) => mistakes.extend(wrong.into_iter().map(|mistake| literal_braces(text, &mistake))),
                }
                close + 2
            };
            at = end;
        }
        cut.text(copied..text.len());
        let variants =
            cut.choices.iter().fold(1_usize, |product, choice| product.saturating_mul(choice.branches.len()));
        let too_much = variants > VARIANTS_MAX || variants.saturating_mul(text.len()) > VARIANT_BYTES_MAX;
        if let Some(choice) = cut.choices.last().filter(|_| too_much) {
            let message = format!(
                "the choices of this command fall out in {variants} ways, and {VARIANTS_MAX} of a short command is the most"
            );
            let mistake = Mistake::error("RT-0102", message, choice.span.start..choice.span.start + 2);
            mistakes.push(mistake.with_help("choose with `when` on two steps, or with the shell's own `if`"));
        }
        if mistakes.is_empty() { Ok(cut) } else { Err(mistakes) }
    }

    fn text(&mut self, range: Range<usize>) {
        if !range.is_empty() {
            self.segments.push(Segment::Text(range));
        }
    }

    /// Whether the shell gets the text as it stands.
    pub(super) fn is_literal(&self) -> bool {
        self.placeholders.is_empty() && self.choices.is_empty()
    }

    /// Every way in which the choices can fall out, each with marks in place of the values.
    pub(super) fn variants(&self, source: &str) -> Vec<Marked> {
        let count = self.choices.iter().map(|choice| choice.branches.len()).product();
        (0..count).map(|number| Marked::new(self, source, number)).collect()
    }
}

/// A script with marks in place of its values.
#[derive(Debug)]
pub(super) struct Marked {
    /// The script.
    pub(super) text: String,
    /// Where each mark begins, in bytes of the script.
    marks: Vec<usize>,
    /// Where pieces begin: the character in the script, the byte in the author's text, and whether the piece is copied from there.
    pieces: Vec<(usize, usize, bool)>,
}

impl Marked {
    fn new(cut: &Cut, source: &str, number: usize) -> Self {
        let mut marked = Self { text: String::new(), marks: Vec::new(), pieces: Vec::new() };
        let (mut left, mut characters) = (number, 0);
        for segment in &cut.segments {
            let (part, origin, copied) = match segment {
                Segment::Text(range) => (source[range.clone()].to_owned(), range.start, true),
                Segment::Value(number) => {
                    marked.marks.push(marked.text.len());
                    (format!("{BEGIN}{number}{END}"), cut.placeholders[*number].span.start, false)
                }
                Segment::Choice(number) => {
                    let branches = &cut.choices[*number].branches;
                    let branch = &branches[left % branches.len()];
                    left /= branches.len();
                    (source[branch.text.clone()].to_owned(), branch.text.start, true)
                }
            };
            marked.pieces.push((characters, origin, copied));
            characters += part.chars().count();
            marked.text.push_str(&part);
        }
        marked
    }

    /// What stands before a value.
    pub(super) fn before(&self, number: usize) -> &str {
        self.marks.get(number).map_or("", |at| &self.text[..*at])
    }

    /// The byte of the author's text that a character of the script stands for.
    pub(super) fn origin(&self, character: usize, source: &str) -> usize {
        let index = self.pieces.partition_point(|(start, ..)| *start <= character);
        let Some(&(start, origin, copied)) = index.checked_sub(1).and_then(|index| self.pieces.get(index)) else {
            return 0;
        };
        if !copied {
            return origin;
        }
        let rest = &source[origin..];
        origin + rest.char_indices().nth(character - start).map_or(rest.len(), |(offset, _)| offset)
    }
}

/// The next `{{`, or `{%` that begins a statement.
fn next_braces(text: &str, from: usize) -> Option<usize> {
    let mut at = from;
    loop {
        let open = at + text[at..].find('{')?;
        if text[open..].starts_with("{{") || choices::statement(text, open).is_some() {
            return Some(open);
        }
        at = open + 1;
    }
}

/// The expression without the filter `raw` at its end, and whether it was there.
fn without_raw(text: &str, inside: Range<usize>) -> (Range<usize>, bool) {
    let code = text[inside.clone()].trim_end();
    let Some(before) = code.strip_suffix("raw").map(str::trim_end).and_then(|before| before.strip_suffix('|')) else {
        return (inside, false);
    };
    (inside.start..inside.start + before.len(), true)
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
