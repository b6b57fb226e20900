//! The seam to whoever knows the file: texts become templates, expressions and programs, or mistakes with their places in the text.

use ratchet_core::workflow::{Expression, Program, ScriptPart, Template, Uses};

use crate::{
    expression,
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

/// Parses a script for a shell.
pub fn command(text: &str, interpreter: &Interpreter) -> Result<Parsed<Program>, Vec<Mistake>> {
    if let Some(at) = ["{{", "{%", "{#"].iter().find_map(|opening| text.find(opening)) {
        return Err(vec![Mistake::error("RT-0018", "this version puts no values into commands yet", at..at + 2)]);
    }
    let words = match interpreter {
        Interpreter::Bash => ["bash", "-euo", "pipefail", "-c"].as_slice(),
        Interpreter::Sh => ["sh", "-eu", "-c"].as_slice(),
    };
    let interpreter = words.iter().map(|word| (*word).to_owned()).collect();
    let value = Program::Script { interpreter, parts: vec![ScriptPart::Code(text.to_owned())], uses: Uses::default() };
    Ok(Parsed { value, references: Vec::new(), warnings: Vec::new() })
}
