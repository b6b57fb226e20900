//! The shell's parser, behind one door: what it breaks on does not reach it, and where it breaks all the same, that is a script that cannot be read.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::LazyLock,
};

use brush_parser::{
    ParseError, Parser, ParserOptions,
    ast::Program,
    word::{WordPieceWithSource, parse, parse_heredoc},
};
use regex::Regex;

use super::nesting;

/// The fewest digits in a row that the parser breaks on in any place.
const DIGITS: usize = 10;

/// Numbers that the parser takes for one of a file, of a folder or of a sequence, and that are beyond what it counts with.
#[expect(clippy::unwrap_used, reason = "the expression is right, as a test shows")]
static TOO_LARGE: LazyLock<Regex> = LazyLock::new(|| {
    let file = r"(?:^|[\s;&|(){}<>`])[0-9]{10,}[<>]";
    let folder = r"~[-+]?[0-9]{19,}";
    let sequence = r"\.\.[-+]?[0-9]{19,}|[0-9]{19,}\.\.";
    Regex::new(&format!("{file}|{folder}|{sequence}")).unwrap()
});

/// Why a script or a word cannot be read.
#[derive(Debug)]
pub(super) enum Unreadable {
    /// The parser says so.
    Parser(ParseError),
    /// A number is too large, at this character, where the text holds it as it stands.
    Number(Option<usize>),
    /// The parser broke on it.
    Broken,
}

/// Reads a script.
pub(super) fn program(script: &str, options: &ParserOptions) -> Result<Program, Unreadable> {
    check_numbers(script)?;
    guarded(|| Parser::new(script.as_bytes(), options).parse_program().map_err(Unreadable::Parser))
}

/// Reads a word; nothing where that cannot be done.
pub(super) fn word(word: &str, options: &ParserOptions) -> Option<Vec<WordPieceWithSource>> {
    check_numbers(word).ok()?;
    guarded(|| parse(word, options).map_err(|_| Unreadable::Broken)).ok()
}

/// Reads the text of a here-document; nothing where that cannot be done. Its numbers are no parts of commands.
pub(super) fn here_document(text: &str, options: &ParserOptions) -> Option<Vec<WordPieceWithSource>> {
    if !nesting::is_readable(text) {
        return None;
    }
    guarded(|| parse_heredoc(text, options).map_err(|_| Unreadable::Broken)).ok()
}

/// Nothing of the parser outlives a call of it, so nothing half done is seen where it broke.
fn guarded<T>(read: impl FnOnce() -> Result<T, Unreadable>) -> Result<T, Unreadable> {
    catch_unwind(AssertUnwindSafe(read)).unwrap_or(Err(Unreadable::Broken))
}

fn check_numbers(text: &str) -> Result<(), Unreadable> {
    // A line that goes on may cut a number in two.
    let digits = text.bytes().filter(|byte| !matches!(byte, b'\\' | b'\n')).fold((0, 0), |(most, run), byte| {
        let run = if byte.is_ascii_digit() { run + 1 } else { 0 };
        (most.max(run), run)
    });
    if digits.0 < DIGITS {
        return Ok(());
    }
    if let Some(found) = TOO_LARGE.find(text) {
        let digit = found.start() + found.as_str().find(|c: char| c.is_ascii_digit()).unwrap_or(0);
        return Err(Unreadable::Number(Some(text[..digit].chars().count())));
    }
    if TOO_LARGE.is_match(&text.replace("\\\n", "")) { Err(Unreadable::Number(None)) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_the_parser_breaks_on_does_not_reach_it() {
        let long = "9".repeat(20);
        let scripts = [
            ("9999999999<f".to_owned(), Some(0)),
            ("é; 2147483648>f".to_owned(), Some(3)),
            ("a | 99999\\\n99999<f".to_owned(), None),
            (format!("cd ~{long}"), Some(4)),
            (format!("cd ~-{long}/x"), Some(5)),
            (format!("echo {{1..{long}}}"), Some(9)),
            (format!("echo {{-{long}..1}}"), Some(7)),
            (format!("echo {{1..2..{long}}}"), Some(12)),
        ];
        for (script, expected) in scripts {
            match program(&script, &ParserOptions::default()) {
                Err(Unreadable::Number(at)) => assert_eq!(at, expected, "{script}"),
                other => panic!("{script}: {other:?}"),
            }
            assert!(word(&script, &ParserOptions::default()).is_none(), "{script}");
        }
    }

    #[test]
    fn long_numbers_are_read_elsewhere() {
        let long = "9".repeat(20);
        let scripts = ["echo 20261123180830 >f", "cp a9999999999<f", "echo 2147483<f", "tar x-20261123180830.gz"];
        for script in scripts.map(str::to_owned).into_iter().chain([format!("echo {long} 1.{long} -{long} {{{long}}}")])
        {
            assert!(program(&script, &ParserOptions::default()).is_ok(), "{script}");
        }
    }
}
