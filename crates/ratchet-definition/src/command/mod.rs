//! Commands: a script with values in it becomes a program that no value can change.
//!
//! Where a value stands is found with a real shell parser: each `{{ … }}` is replaced by a mark that no shell treats specially, the script is
//! parsed, and only the places that are known to be data are let through. Everything else is refused, with the way that is safe.

mod choices;
mod commands;
mod marks;
mod nesting;
mod place;
mod plain;
mod reader;
mod refusal;
pub(crate) mod variables;
mod verdict;
mod words;

use brush_parser::{ParseError, ParserOptions};
use ratchet_core::workflow::{Program, Quoting, ScriptPart, Target, Template, Uses};

use self::{
    commands::{Argument, Taken},
    marks::{Cut, Marked, Placeholder, Segment},
    place::Finder,
    reader::Unreadable,
    verdict::{Stance, Surroundings, Verdict, merged as merged_verdict},
};
use crate::{
    mistake::Mistake,
    parsed::{Interpreter, Parsed, Reference, Trust, Trusted},
    template,
};

/// The longest script, in bytes: it is one argument of the shell.
const LENGTH_MAX: usize = 100 * 1024;

/// Parses a command for a shell.
pub(crate) fn parse(text: &str, interpreter: Interpreter) -> Result<Parsed<Program>, Vec<Mistake>> {
    check_size(text)?;
    let cut = Cut::new(text)?;
    let mut verdicts: Vec<Option<Verdict>> = vec![None; cut.placeholders.len()];
    let mut plain = None;
    for marked in cut.variants(text) {
        nesting::check(&marked.text, !cut.placeholders.is_empty())?;
        let mut first = true;
        for options in readings(interpreter) {
            let tree = match reader::program(&marked.text, &options) {
                Ok(tree) => tree,
                Err(error) if first => return unparsed(text, &cut, &marked, interpreter, &error),
                // A shell that reads it so does not run it.
                Err(_) => continue,
            };
            if first && cut.choices.is_empty() {
                plain = plain::words(&tree, &cut, &options);
            }
            first = false;
            // Words are read only for the values in them.
            if cut.placeholders.is_empty() {
                continue;
            }
            let found = Finder::find(&tree, &marked, cut.placeholders.len(), &options);
            for (known, found) in verdicts.iter_mut().zip(found) {
                *known = Some(merged_verdict(known.take(), found));
            }
        }
    }
    let verdicts: Vec<Verdict> = cut
        .placeholders
        .iter()
        .zip(verdicts)
        .map(|(placeholder, verdict)| {
            let found = verdict.unwrap_or(Verdict::Refused(refusal::Refusal::Unseen));
            if placeholder.raw { Verdict::Raw } else { found }
        })
        .collect();
    let mistakes: Vec<Mistake> = cut
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
    let value = match plain {
        Some(words) => Program::Words(words),
        None => script(text, &cut, &verdicts, interpreter),
    };
    Ok(parsed(cut, &verdicts, value))
}

/// Checks the words of a command that is a list: no shell reads them, but the program that they name may run one of them as code.
pub(crate) fn parse_words(words: &[&str]) -> Vec<Result<Parsed<Template>, Vec<Mistake>>> {
    let arguments: Vec<Argument> = words
        .iter()
        .map(|word| match ["{{", "{%", "{#"].iter().filter_map(|opening| word.find(opening)).min() {
            None => Argument::Literal((*word).to_owned()),
            Some(at) => Argument::Value(word[..at].to_owned()),
        })
        .collect();
    let checked = words.iter().zip(&arguments).zip(commands::taken(&arguments));
    checked
        .map(|((word, argument), taken)| match taken {
            Taken::Not(refusal) if matches!(argument, Argument::Value(_)) => {
                Err(vec![refusal.mistake(word, 0..word.len())])
            }
            _ => template::parse(word),
        })
        .collect()
}

fn parsed(cut: Cut, verdicts: &[Verdict], value: Program) -> Parsed<Program> {
    let mut trusted = Vec::new();
    let mut warnings = Vec::new();
    for (placeholder, verdict) in cut.placeholders.iter().zip(verdicts) {
        let trust = match verdict {
            Verdict::Raw => Trust::Code,
            Verdict::Data(_, Some(Surroundings::Mixed)) => Trust::Path,
            _ => continue,
        };
        if trust == Trust::Code {
            let message = "`raw` makes this value code: whatever it holds is run";
            let help = "leave `| raw` out, or be sure of whoever gives the value";
            warnings.push(Mistake::warning("RT-0117", message, placeholder.span.clone()).with_help(help));
        }
        let (span, uses) = (placeholder.span.clone(), placeholder.expression.uses.clone());
        trusted.push(Trusted { span, uses, trust });
    }
    let mut references: Vec<Reference> = cut
        .placeholders
        .into_iter()
        .flat_map(|placeholder| placeholder.references)
        .chain(cut.choices.into_iter().flat_map(|choice| choice.references))
        .collect();
    references.sort_by_key(|reference| reference.names.first().map_or(0, |name| name.span.start));
    Parsed { value, references, warnings, trusted }
}

/// The ways in which a script may be read, the nearest first: what a machine calls `sh` may be bash.
fn readings(interpreter: Interpreter) -> Vec<ParserOptions> {
    let bash = ParserOptions { enable_extended_globbing: true, ..ParserOptions::default() };
    let sh =
        ParserOptions { enable_extended_globbing: false, posix_mode: true, sh_mode: true, ..ParserOptions::default() };
    match interpreter {
        Interpreter::Bash => vec![bash],
        Interpreter::Sh => vec![sh, bash],
    }
}

fn check_size(text: &str) -> Result<(), Vec<Mistake>> {
    crate::expression::limits::check_length(text, LENGTH_MAX)?;
    if text.contains('\0') {
        return Err(vec![Mistake::error("RT-0110", "a script cannot hold a NUL byte", 0..0)]);
    }
    Ok(())
}

/// A script that the parser does not understand: with values in it it is refused; without, it is the shell's business, and a warning.
fn unparsed(
    text: &str,
    cut: &Cut,
    marked: &Marked,
    interpreter: Interpreter,
    error: &Unreadable,
) -> Result<Parsed<Program>, Vec<Mistake>> {
    let mut help = "a quote, bracket or keyword before this place may not be closed";
    let (message, index) = match error {
        Unreadable::Number(index) => {
            help = "write a space before `<` or `>` where it is no number of a file, and quotes around it elsewhere";
            ("this number is too large for where it stands".to_owned(), *index)
        }
        Unreadable::Broken => ("the shell cannot parse this".to_owned(), None),
        Unreadable::Parser(ParseError::ParsingNear(position)) => {
            ("the shell cannot parse this".to_owned(), Some(position.index))
        }
        Unreadable::Parser(ParseError::ParsingAtEndOfInput) => ("the script ends too early".to_owned(), None),
        Unreadable::Parser(ParseError::Tokenizing { inner, position }) => {
            (format!("the shell cannot parse this: {inner}"), position.as_ref().map(|position| position.index))
        }
    };
    let at = index.map_or(text.trim_end().len(), |index| marked.origin(index, text));
    let start = text.floor_char_boundary(at.min(text.trim_end().len().saturating_sub(1)));
    let end = text[start..].chars().next().map_or(start, |c| start + c.len_utf8());
    let mistake = Mistake::error("RT-0110", message, start..end).with_help(help);
    if !cut.is_literal() {
        return Err(vec![mistake]);
    }
    let parts = vec![ScriptPart::Code(text.to_owned())];
    let program = Program::Script { interpreter: shell(interpreter), parts, uses: Uses::default() };
    let warning = Mistake { severity: crate::mistake::Severity::Warning, ..mistake };
    Ok(Parsed { value: program, references: Vec::new(), warnings: vec![warning], trusted: Vec::new() })
}

/// The shell that runs a script, with its options; the script follows them.
fn shell(interpreter: Interpreter) -> Vec<String> {
    let argv: &[&str] = match interpreter {
        Interpreter::Bash => &["bash", "--noprofile", "--norc", "-euo", "pipefail", "-c"],
        Interpreter::Sh => &["sh", "-eu", "-c"],
    };
    argv.iter().map(|&word| word.to_owned()).collect()
}

/// The script, cut where its values and choices stand.
fn script(text: &str, cut: &Cut, verdicts: &[Verdict], interpreter: Interpreter) -> Program {
    let mut parts = Parts::default();
    for segment in &cut.segments {
        match segment {
            Segment::Text(range) => parts.code(&text[range.clone()]),
            Segment::Value(number) => parts.value(&cut.placeholders[*number], &verdicts[*number]),
            Segment::Choice(number) => {
                let branch =
                    |branch: &choices::Branch| (branch.condition.clone(), text[branch.text.clone()].to_owned());
                parts.0.push(ScriptPart::Choice(cut.choices[*number].branches.iter().map(branch).collect()));
            }
        }
    }
    let conditions =
        cut.choices.iter().flat_map(|choice| &choice.branches).filter_map(|branch| branch.condition.as_ref());
    let expressions = cut.placeholders.iter().map(|placeholder| &placeholder.expression).chain(conditions);
    let uses = merged(expressions.map(|expression| &expression.uses));
    Program::Script { interpreter: shell(interpreter), parts: parts.0, uses }
}

/// What several expressions use together.
fn merged<'uses>(all: impl Iterator<Item = &'uses Uses>) -> Uses {
    all.fold(Uses::default(), |mut merged, uses| {
        merged.extend(uses);
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

    /// Adds a value as it stands. Quotes that it does not stand in are put around it.
    fn value(&mut self, placeholder: &Placeholder, verdict: &Verdict) {
        let (open, quoting, close) = match verdict {
            Verdict::Data(Stance::Whole, _) => ("", Quoting::Bare, ""),
            Verdict::Data(Stance::Part, _) => ("\"", Quoting::Double, "\""),
            Verdict::Data(Stance::Quoted, _) => ("", Quoting::Double, ""),
            Verdict::Data(Stance::Single, _) => ("'\"", Quoting::Double, "\"'"),
            Verdict::Raw => ("", Quoting::Raw, ""),
            Verdict::Comment | Verdict::Refused(_) => return,
        };
        let target = match verdict {
            Verdict::Data(_, Some(Surroundings::Literal(target))) => Some(target.clone()),
            Verdict::Data(_, Some(Surroundings::Mixed)) => Some(Target { before: String::new(), after: String::new() }),
            _ => None,
        };
        self.code(open);
        self.0.push(ScriptPart::Value { expression: Box::new(placeholder.expression.clone()), quoting, target });
        self.code(close);
    }
}

#[cfg(test)]
mod tests;
