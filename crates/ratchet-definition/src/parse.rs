//! The seam to whoever knows the file: texts become templates, expressions and programs, or mistakes with their places in the text.

use ratchet_core::workflow::{Expression, Program, Template};

use crate::{
    command, expression,
    mistake::Mistake,
    parsed::{Interpreter, Parsed},
    template,
};

/// Parses text with `{{ … }}` in it.
pub fn template(text: &str) -> Result<Parsed<Template>, Vec<Mistake>> {
    template::parse(text)
}

/// Parses an expression, with or without braces around it and in it.
pub fn expression(text: &str) -> Result<Parsed<Expression>, Vec<Mistake>> {
    expression::parse(text)
}

/// Parses a command for a shell. A plain external command becomes words and needs none.
pub fn command(text: &str, interpreter: &Interpreter) -> Result<Parsed<Program>, Vec<Mistake>> {
    command::parse(text, *interpreter)
}

/// Parses the words of a command that is a list: its program runs without a shell. One result a word.
pub fn command_words(words: &[&str]) -> Vec<Result<Parsed<Template>, Vec<Mistake>>> {
    command::parse_words(words)
}
