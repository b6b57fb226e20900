//! Where values stand in the words of a script.

use brush_parser::{
    ast::Word,
    word::{WordPiece, WordPieceWithSource},
};
use ratchet_core::workflow::Target;

use super::{
    commands::Argument,
    marks::{marks_in, split},
    place::{Finder, Place},
    reader,
    refusal::Refusal,
    verdict::{Stance, Surroundings, Verdict, merged},
};

/// Command substitutions in command substitutions.
const DEPTH_MAX: u32 = 12;

/// Paths that bash takes for connections.
const CONNECTIONS: [&str; 2] = ["/dev/tcp/", "/dev/udp/"];

impl Finder<'_> {
    /// What is known of a word before the script runs.
    pub(super) fn argument(&self, word: &Word) -> Argument {
        if word.value.bytes().all(is_ordinary) {
            return Argument::Literal(word.value.clone());
        }
        let Some(pieces) = reader::word(&word.value, self.options) else { return Argument::Dynamic };
        let has_value = pieces.iter().any(|piece| match &piece.piece {
            WordPiece::CommandSubstitution(_) | WordPiece::BackquotedCommandSubstitution(_) => false,
            _ => marks_in(source_of(word, piece)).next().is_some(),
        });
        if has_value {
            return Argument::Value(leading(&pieces));
        }
        let mut text = String::new();
        if literal_text(&pieces, &mut text) { Argument::Literal(text) } else { Argument::Dynamic }
    }

    /// Notes the values of a word.
    pub(super) fn word(&mut self, word: &Word, place: &Place) {
        if marks_in(&word.value).next().is_none() {
            return;
        }
        let Some(pieces) = reader::word(&word.value, self.options) else {
            self.refuse(&word.value, &Refusal::Unseen);
            return;
        };
        if matches!(place, Place::Target) && begins_connection(&leading(&pieces)) {
            self.refuse(&word.value, &Refusal::Connection);
            return;
        }
        let whole = matches!(split(&word.value)[..], [Ok(_)]);
        let bare =
            if whole && matches!(place, Place::Data | Place::AssignedEach) { Stance::Whole } else { Stance::Part };
        for piece in &pieces {
            let source = source_of(word, piece);
            match &piece.piece {
                WordPiece::DoubleQuotedSequence(inner) => {
                    for piece in inner {
                        self.unquoted_piece(&piece.piece, source_of(word, piece), place, Stance::Quoted);
                    }
                }
                WordPiece::SingleQuotedText(_) => self.take(source, place, Stance::Single),
                other => self.unquoted_piece(other, source, place, bare),
            }
        }
        if matches!(place, Place::Target) {
            self.surround(&word.value, &pieces);
        }
    }

    /// A piece that is no quoted string itself: text stands as it is said, and everything else is what the shell makes of it.
    pub(super) fn unquoted_piece(&mut self, piece: &WordPiece, source: &str, place: &Place, text: Stance) {
        match (piece, place) {
            (WordPiece::Text(_), _) => self.take(source, place, text),
            (WordPiece::CommandSubstitution(script), _) => self.substitution(script, source),
            // Where a word can take no value, the reason for that says more than what is around the value.
            (_, Place::Refused(refusal)) => self.refuse(source, refusal),
            (WordPiece::AnsiCQuotedText(_) | WordPiece::GettextDoubleQuotedSequence(_), _) => {
                self.refuse(source, &Refusal::DollarQuotes);
            }
            (WordPiece::TildeExpansion(_), _) => self.refuse(source, &Refusal::Tilde),
            (WordPiece::ParameterExpansion(_), _) => self.refuse(source, &Refusal::Parameter),
            (WordPiece::BackquotedCommandSubstitution(_), _) => self.refuse(source, &Refusal::BackQuotes),
            (WordPiece::EscapeSequence(_), _) => self.refuse(source, &Refusal::AfterBackslash),
            (WordPiece::ArithmeticExpression(_), _) => self.refuse(source, &Refusal::Arithmetic),
            (WordPiece::SingleQuotedText(_) | WordPiece::DoubleQuotedSequence(_), _) => {
                self.refuse(source, &Refusal::Unseen);
            }
        }
    }

    fn take(&mut self, source: &str, place: &Place, stance: Stance) {
        for number in marks_in(source) {
            match place {
                Place::Refused(refusal) => self.note(number, Verdict::Refused(refusal.clone())),
                _ => self.note(number, Verdict::Data(stance, None)),
            }
            if matches!(place, Place::Assigned | Place::AssignedEach) {
                self.assigned.push(number);
            }
        }
    }

    fn substitution(&mut self, script: &str, source: &str) {
        if marks_in(source).next().is_none() {
            return;
        }
        match reader::program(script, self.options) {
            Ok(tree) if self.depth < DEPTH_MAX => {
                self.depth += 1;
                self.program(&tree);
                self.depth -= 1;
            }
            _ => self.refuse(source, &Refusal::Unseen),
        }
    }

    pub(super) fn refuse(&mut self, text: &str, refusal: &Refusal) {
        for number in marks_in(text) {
            self.note(number, Verdict::Refused(refusal.clone()));
        }
    }

    /// Notes what stands around the values of a redirection's target.
    fn surround(&mut self, word: &str, pieces: &[WordPieceWithSource]) {
        let mut text = String::new();
        let is_literal = literal_text(pieces, &mut text);
        let around = match split(&text)[..] {
            _ if !is_literal => None,
            [Ok(_)] => Some(("", "")),
            [Ok(_), Err(after)] => Some(("", after)),
            [Err(before), Ok(_)] => Some((before, "")),
            [Err(before), Ok(_), Err(after)] => Some((before, after)),
            _ => None,
        };
        let surroundings = match around {
            Some((before, after)) => {
                Surroundings::Literal(Target { before: before.to_owned(), after: after.to_owned() })
            }
            None => Surroundings::Mixed,
        };
        for number in marks_in(word) {
            if let Some(Some(Verdict::Data(_, around))) = self.verdicts.get_mut(number) {
                *around = Some(surroundings.clone());
            }
        }
    }

    /// A refusal stays; a place that is seen twice and not alike is none.
    pub(super) fn note(&mut self, number: usize, verdict: Verdict) {
        let Some(known) = self.verdicts.get_mut(number) else { return };
        let verdict = merged(known.take(), verdict);
        let before = self.marked.before(number);
        let backslashes = before.len() - before.trim_end_matches('\\').len();
        let dollar = before
            .strip_suffix('$')
            .is_some_and(|rest| (rest.len() - rest.trim_end_matches('\\').len()).is_multiple_of(2));
        *known = Some(match verdict {
            // In single quotes neither means anything.
            Verdict::Refused(_) | Verdict::Data(Stance::Single, _) => verdict,
            _ if !backslashes.is_multiple_of(2) => Verdict::Refused(Refusal::AfterBackslash),
            _ if dollar => Verdict::Refused(Refusal::AfterDollar),
            _ => verdict,
        });
    }
}

/// Whether a byte means itself in every word.
fn is_ordinary(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'/' | b',' | b'+' | b'%' | b'@')
}

/// Whether a path that begins so may go on as one that bash takes for a connection, without saying so itself.
fn begins_connection(leading: &str) -> bool {
    !leading.is_empty()
        && CONNECTIONS.iter().any(|connection| connection.starts_with(leading) && *connection != leading)
}

/// The part of a word that a piece was parsed from.
fn source_of<'word>(word: &'word Word, piece: &WordPieceWithSource) -> &'word str {
    word.value.get(piece.start_index..piece.end_index).unwrap_or(&word.value)
}

/// The text that a word begins with, as far as its first value or expansion.
fn leading(pieces: &[WordPieceWithSource]) -> String {
    let mut text = String::new();
    for piece in pieces {
        if !literal_text(std::slice::from_ref(piece), &mut text) {
            break;
        }
    }
    match split(&text).first() {
        Some(Err(leading)) => (*leading).to_owned(),
        _ => String::new(),
    }
}

/// Adds the text of pieces that mean only themselves; false where the shell makes something of one.
pub(super) fn literal_text(pieces: &[WordPieceWithSource], text: &mut String) -> bool {
    pieces.iter().all(|piece| match &piece.piece {
        WordPiece::Text(part) | WordPiece::SingleQuotedText(part) => {
            text.push_str(part);
            true
        }
        WordPiece::EscapeSequence(sequence) => {
            text.push_str(escaped(sequence));
            true
        }
        WordPiece::DoubleQuotedSequence(inner) => literal_text(inner, text),
        _ => false,
    })
}

/// What an escape sequence stands for: the character after the backslash; nothing at the end of a line.
pub(super) fn escaped(sequence: &str) -> &str {
    let character = sequence.strip_prefix('\\').unwrap_or(sequence);
    if character == "\n" { "" } else { character }
}
