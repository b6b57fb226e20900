//! Choices between literal parts of a script: `{% if … %}…{% elif … %}…{% else %}…{% endif %}`.

use std::ops::Range;

use ratchet_core::workflow::Expression;

use crate::{
    expression::{self, braces},
    mistake::Mistake,
    parsed::Reference,
};

/// One choice.
#[derive(Debug)]
pub(super) struct Choice {
    /// From its first tag to its last.
    pub(super) span: Range<usize>,
    /// The literal parts, each with its condition; the last has none.
    pub(super) branches: Vec<Branch>,
    /// What the conditions read.
    pub(super) references: Vec<Reference>,
}

/// One literal part.
#[derive(Debug)]
pub(super) struct Branch {
    /// When it is taken, where those above are not.
    pub(super) condition: Option<Expression>,
    /// Where it stands.
    pub(super) text: Range<usize>,
}

/// The words that begin a statement of a template.
const STATEMENTS: &[&str] = &[
    "if", "elif", "else", "endif", "for", "endfor", "set", "endset", "with", "endwith", "raw", "endraw", "do", "macro",
    "filter", "include", "import", "call", "block",
];

/// One `{% … %}`.
struct Tag<'text> {
    word: &'text str,
    /// What stands after the word.
    inside: Range<usize>,
    span: Range<usize>,
}

/// The word of the statement that begins at `{%`, if one does: alone it is text in a shell, as in `date +{%s}`.
pub(super) fn statement(text: &str, open: usize) -> Option<&str> {
    let rest = text[open..].strip_prefix("{%")?;
    let rest = rest.strip_prefix(['-', '+']).unwrap_or(rest).trim_start();
    let word = &rest[..rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len())];
    STATEMENTS.contains(&word).then_some(word)
}

/// Parses the choice that begins at `open`.
pub(super) fn parse(text: &str, open: usize) -> Result<Choice, Mistake> {
    let mut tag = read_tag(text, open)?;
    if tag.word != "if" {
        let message = format!("`{{% {} %}}` cannot stand here", tag.word);
        return Err(refused(&message, tag.span));
    }
    let mut branches = Vec::new();
    let mut references = Vec::new();
    loop {
        let condition = if tag.word == "else" {
            None
        } else {
            let parsed =
                expression::parse_inside(text, tag.inside.clone()).map_err(|mut mistakes| mistakes.remove(0))?;
            references.extend(parsed.references);
            Some(parsed.value)
        };
        let is_last = condition.is_none();
        let start = tag.span.end;
        let end = next(text, start).ok_or_else(|| {
            Mistake::error("RT-0102", "`{% if %}` without `{% endif %}`", open..open + 2)
                .with_help("write `{% endif %}`")
        })?;
        if text[end..].starts_with("{{") {
            let message = "a choice is between literal parts, and this is a value";
            return Err(refused(message, end..end + 2));
        }
        branches.push(Branch { condition, text: start..end });
        let closing = read_tag(text, end)?;
        match closing.word {
            "endif" => {
                if !is_last {
                    branches.push(Branch { condition: None, text: end..end });
                }
                return Ok(Choice { span: open..closing.span.end, branches, references });
            }
            "elif" | "else" if !is_last => tag = closing,
            word => {
                let message = format!("`{{% {word} %}}` cannot stand inside a choice of a command");
                return Err(refused(&message, closing.span));
            }
        }
    }
}

fn refused(message: &str, span: Range<usize>) -> Mistake {
    Mistake::error("RT-0102", message, span).with_help(
        "a command may only choose between literal parts: {% if inputs.all %}--all{% else %}--some{% endif %}; \
         for more use `when` on two steps, `foreach`, or the shell's own `if`",
    )
}

/// The next `{{` or statement.
fn next(text: &str, from: usize) -> Option<usize> {
    let mut at = from;
    loop {
        let open = at + text[at..].find('{')?;
        if text[open..].starts_with("{{") || statement(text, open).is_some() {
            return Some(open);
        }
        at = open + 1;
    }
}

fn read_tag(text: &str, open: usize) -> Result<Tag<'_>, Mistake> {
    let word = statement(text, open).unwrap_or_default();
    let word_end = text[open..].find(word).map_or(open + 2, |at| open + at + word.len());
    let close = braces::closing_with(text, word_end, "%}").map_err(|literal| match literal {
        Some(_) => braces::unclosed(text, open, literal),
        None => Mistake::error("RT-0102", "`{%` without `%}`", open..open + 2).with_help("write `{% if … %}`"),
    })?;
    let inside = text[word_end..close].strip_suffix(['-', '+']).map_or(close, |inside| word_end + inside.len());
    if text[open + 2..].starts_with('-') || inside < close {
        let message = "blanks around a choice in a command are kept: `-` cannot drop them";
        return Err(Mistake::error("RT-0102", message, open..close + 2).with_help("write `{%` and `%}`"));
    }
    Ok(Tag { word, inside: word_end..close, span: open..close + 2 })
}
