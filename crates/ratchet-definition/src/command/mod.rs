//! Commands: a script with values in it becomes a program that no value can change.
//!
//! Where a value stands is found with a real shell parser: each `{{ … }}` is replaced by a mark that no shell treats specially, the script is
//! parsed, and only the places that are known to be data are let through. Everything else is refused, with the way that is safe.

mod commands;
mod marks;
mod place;
mod plain;
mod refusal;

use std::collections::BTreeSet;

use brush_parser::{ParseError, Parser, ParserOptions};
use ratchet_core::workflow::{Program, Quoting, ScriptPart, Template, Uses};

use self::{
    commands::{Argument, Taken},
    marks::{Marked, Placeholder},
    place::{Finder, Verdict},
};
use crate::{
    mistake::Mistake,
    parsed::{Interpreter, Parsed, Reference},
    template,
};

/// The longest script, in bytes: it is one argument of the shell.
const LENGTH_MAX: usize = 100 * 1024;
/// The deepest nesting of a script: the parser goes down into it.
const DEPTH_MAX: usize = 60;

/// Parses a command for a shell.
pub(crate) fn parse(text: &str, interpreter: Interpreter) -> Result<Parsed<Program>, Vec<Mistake>> {
    check_size(text)?;
    let marked = Marked::new(text)?;
    let options = options(interpreter);
    let tree = match Parser::new(marked.text.as_bytes(), &options).parse_program() {
        Ok(tree) => tree,
        Err(error) => return unparsed(text, &marked, interpreter, &error),
    };
    let verdicts = Finder::find(&tree, &marked, &options);
    let mistakes: Vec<Mistake> = marked
        .placeholders
        .iter()
        .zip(&verdicts)
        .filter_map(|(placeholder, verdict)| match verdict {
            Verdict::Refused(refusal) => Some(refusal.mistake(text, placeholder.span.clone())),
            _ => None,
        })
        .collect();
    if !mistakes.is_empty() {
        return Err(mistakes);
    }
    let value = match plain::words(&tree, &marked, &options) {
        Some(words) => Program::Words(words),
        None => script(text, &marked, &verdicts, interpreter),
    };
    Ok(parsed(marked, value))
}

/// Checks the words of a command that is a list: no shell reads them, but the program that they name may run one of them as code.
pub(crate) fn parse_words(words: &[&str]) -> Vec<Result<Parsed<Template>, Vec<Mistake>>> {
    let arguments: Vec<Argument> = words
        .iter()
        .map(|word| {
            let plain = !["{{", "{%", "{#"].iter().any(|opening| word.contains(opening));
            if plain { Argument::Literal((*word).to_owned()) } else { Argument::Value }
        })
        .collect();
    let checked = words.iter().zip(&arguments).zip(commands::taken(&arguments));
    checked
        .map(|((word, argument), taken)| match taken {
            Taken::Not(refusal) if *argument == Argument::Value => Err(vec![refusal.mistake(word, 0..word.len())]),
            _ => template::parse(word),
        })
        .collect()
}

fn parsed(marked: Marked, value: Program) -> Parsed<Program> {
    let references: Vec<Reference> =
        marked.placeholders.into_iter().flat_map(|placeholder| placeholder.references).collect();
    Parsed { value, references, warnings: Vec::new() }
}

fn options(interpreter: Interpreter) -> ParserOptions {
    let sh = interpreter == Interpreter::Sh;
    ParserOptions { enable_extended_globbing: !sh, posix_mode: sh, sh_mode: sh, ..ParserOptions::default() }
}

fn check_size(text: &str) -> Result<(), Vec<Mistake>> {
    crate::expression::limits::check_length(text, LENGTH_MAX)?;
    if nesting(text) > DEPTH_MAX {
        let mistake = Mistake::error("RT-0107", "this script is nested too deeply", 0..0);
        return Err(vec![mistake.with_help("put it into a file of the workspace")]);
    }
    if text.contains('\0') {
        return Err(vec![Mistake::error("RT-0110", "a script cannot hold a NUL byte", 0..0)]);
    }
    Ok(())
}

/// How deep a script may be nested, counted roughly: never less than it is.
fn nesting(text: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0_usize);
    for word in text.split(|c: char| c.is_whitespace() || matches!(c, ';' | '&' | '|')) {
        match word {
            "if" | "while" | "until" | "for" | "case" | "select" | "!" | "time" | "coproc" => depth += 1,
            "fi" | "done" | "esac" => depth = depth.saturating_sub(1),
            _ => {}
        }
        for c in word.chars() {
            match c {
                '(' | '{' | '`' => depth += 1,
                ')' | '}' => depth = depth.saturating_sub(1),
                _ => {}
            }
            deepest = deepest.max(depth);
        }
        if !word.is_empty() && !word.contains(['(', '{']) && depth > 0 && matches!(word, "!" | "time") {
            depth -= 1;
        }
    }
    deepest
}

/// A script that the parser does not understand: with values in it it is refused; without, it is the shell's business, and a warning.
fn unparsed(
    text: &str,
    marked: &Marked,
    interpreter: Interpreter,
    error: &ParseError,
) -> Result<Parsed<Program>, Vec<Mistake>> {
    let (message, index) = match error {
        ParseError::ParsingNear(position) => ("the shell cannot parse this".to_owned(), Some(position.index)),
        ParseError::ParsingAtEndOfInput => ("the script ends too early".to_owned(), None),
        ParseError::Tokenizing { inner, position } => {
            (format!("the shell cannot parse this: {inner}"), position.as_ref().map(|position| position.index))
        }
    };
    let at = index.map_or(text.trim_end().len(), |index| marked.origin(index));
    let start = text.floor_char_boundary(at.min(text.trim_end().len().saturating_sub(1)));
    let end = text[start..].chars().next().map_or(start, |c| start + c.len_utf8());
    let help = "a quote, bracket or keyword before this place may not be closed";
    let mistake = Mistake::error("RT-0110", message, start..end).with_help(help);
    if !marked.placeholders.is_empty() {
        return Err(vec![mistake]);
    }
    let parts = vec![ScriptPart::Code(text.to_owned())];
    let program = Program::Script { interpreter: shell(interpreter), parts, uses: Uses::default() };
    let warning = Mistake { severity: crate::mistake::Severity::Warning, ..mistake };
    Ok(Parsed { value: program, references: Vec::new(), warnings: vec![warning] })
}

/// The shell that runs a script, with its options; the script follows them.
fn shell(interpreter: Interpreter) -> Vec<String> {
    let argv: &[&str] = match interpreter {
        Interpreter::Bash => &["bash", "--noprofile", "--norc", "-euo", "pipefail", "-c"],
        Interpreter::Sh => &["sh", "-eu", "-c"],
    };
    argv.iter().map(|&word| word.to_owned()).collect()
}

/// The script, cut where its values stand.
fn script(text: &str, marked: &Marked, verdicts: &[Verdict], interpreter: Interpreter) -> Program {
    let mut parts = Parts::default();
    let mut at = 0;
    for (placeholder, verdict) in marked.placeholders.iter().zip(verdicts) {
        parts.code(&text[at..placeholder.span.start]);
        match verdict {
            Verdict::Whole => parts.value(placeholder, Quoting::Bare),
            Verdict::Part => {
                parts.code("\"");
                parts.value(placeholder, Quoting::Double);
                parts.code("\"");
            }
            Verdict::Quoted => parts.value(placeholder, Quoting::Double),
            Verdict::Comment | Verdict::Refused(_) => {}
        }
        at = placeholder.span.end;
    }
    parts.code(&text[at..]);
    let uses = merged(marked.placeholders.iter().map(|placeholder| &placeholder.expression.uses));
    Program::Script { interpreter: shell(interpreter), parts: parts.0, uses }
}

/// What several expressions use together.
fn merged<'uses>(all: impl Iterator<Item = &'uses Uses>) -> Uses {
    all.fold(Uses::default(), |mut merged, uses| {
        merged.steps = merged.steps.union(&uses.steps).cloned().collect::<BTreeSet<_>>();
        merged.files |= uses.files;
        merged.item |= uses.item;
        merged.handles_failure |= uses.handles_failure;
        merged
    })
}

#[derive(Default)]
struct Parts(Vec<ScriptPart>);

impl Parts {
    fn code(&mut self, code: &str) {
        match self.0.last_mut() {
            _ if code.is_empty() => {}
            Some(ScriptPart::Code(before)) => before.push_str(code),
            _ => self.0.push(ScriptPart::Code(code.to_owned())),
        }
    }

    fn value(&mut self, placeholder: &Placeholder, quoting: Quoting) {
        self.0.push(ScriptPart::Value { expression: placeholder.expression.clone(), quoting });
    }
}

#[cfg(test)]
mod tests;
