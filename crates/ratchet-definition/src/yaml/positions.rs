//! Where a byte of a scalar's text stands in the file.

use std::ops::Range;

use super::{Node, Style};

/// For every byte of a scalar's text, the byte of the file that it comes from.
///
/// Escapes, folded lines and the indentation of blocks make the two differ. It takes memory in proportion to the text, so it is made
/// where a mistake is reported and not before.
#[derive(Debug)]
pub struct Positions {
    places: Vec<usize>,
    whole: Range<usize>,
}

impl Positions {
    /// The places of a scalar's text in the file that it stands in; for any other node, its head.
    pub fn of(node: &Node, file: &str) -> Self {
        let Some(scalar) = node.scalar() else { return Self { places: Vec::new(), whole: node.head() } };
        let raw = file.get(node.span.clone()).unwrap_or_default();
        let places = match scalar.style {
            Style::Literal | Style::Folded | Style::Plain => align(&scalar.text, raw, 0, scalar.style),
            Style::Single | Style::Double => align(&scalar.text, raw, 1, scalar.style),
        };
        Self { places: places.into_iter().map(|place| place + node.span.start).collect(), whole: node.span.clone() }
    }

    /// The part of the file that a part of the text comes from.
    pub fn locate(&self, part: &Range<usize>) -> Range<usize> {
        let start = self.places.get(part.start).copied().unwrap_or(self.whole.end);
        if part.is_empty() {
            return start..start;
        }
        let last = self.places.get(part.end.saturating_sub(1)).copied();
        start..last.map_or(self.whole.end, |last| last + 1).max(start)
    }
}

/// Walks both at once. What the file has besides, indentation, line ends that became blanks, escapes, is stepped over.
fn align(text: &str, raw: &str, start: usize, style: Style) -> Vec<usize> {
    let bytes = raw.as_bytes();
    let mut places = Vec::with_capacity(text.len());
    let mut at = start;
    for character in text.chars() {
        if !character.is_whitespace() {
            while bytes.get(at).is_some_and(u8::is_ascii_whitespace)
                || (style == Style::Double && raw[at..].starts_with("\\\n"))
            {
                at += 1;
            }
        }
        let here = at.min(raw.len());
        places.extend(std::iter::repeat_n(here, character.len_utf8()));
        at = here + step(character, &raw[here..], style);
    }
    places
}

/// How many bytes of the file make this character.
fn step(character: char, raw: &str, style: Style) -> usize {
    if style == Style::Double && raw.starts_with('\\') {
        let digits = match raw.as_bytes().get(1) {
            Some(b'x') => 2,
            Some(b'u') => 4,
            Some(b'U') => 8,
            _ => 0,
        };
        let escaped = raw.chars().nth(1).map_or(0, char::len_utf8);
        return (1 + escaped + digits).min(raw.len());
    }
    match raw.chars().next() {
        Some('\'') if style == Style::Single && character == '\'' => 2,
        Some(found) if found == character => found.len_utf8(),
        // A blank or a line end that came from a fold: the next character steps over what is there.
        _ => 0,
    }
}
