//! The parser counts characters; everybody else counts bytes.

/// How many characters lie between two marks: fewer take more memory, more take more time for each place.
const STRIDE: usize = 64;

/// Turns the parser's places, which count characters, into bytes.
pub(super) struct Offsets {
    /// The byte of every `STRIDE`th character; empty for a text of which each character is a byte.
    marks: Vec<usize>,
}

impl Offsets {
    /// Takes time in proportion to the text.
    pub(super) fn new(text: &str) -> Self {
        if text.is_ascii() {
            return Self { marks: Vec::new() };
        }
        Self { marks: text.char_indices().step_by(STRIDE).map(|(byte, _)| byte).collect() }
    }

    /// The byte at which a character begins; the end of the text for one beyond it.
    pub(super) fn byte(&self, text: &str, character: usize) -> usize {
        if self.marks.is_empty() {
            return character.min(text.len());
        }
        let Some(mark) = self.marks.get(character / STRIDE) else { return text.len() };
        text[*mark..].char_indices().nth(character % STRIDE).map_or(text.len(), |(byte, _)| mark + byte)
    }
}
