//! A command that needs no shell: a program and its arguments, and nothing that a shell would do with them.

use brush_parser::{
    ParserOptions,
    ast::{Command, CommandPrefixOrSuffixItem, Program, SeparatorOperator, SimpleCommand, Word},
    word::{WordPiece, WordPieceWithSource},
};
use ratchet_core::workflow::Template;

use super::{
    commands::is_shells_own,
    marks::{Cut, split},
    merged, reader,
    words::escaped,
};

/// The words of a plain external command, or nothing where a shell is needed.
pub(super) fn words(tree: &Program, cut: &Cut, options: &ParserOptions) -> Option<Vec<Template>> {
    let command = only_command(tree)?;
    if command.prefix.is_some() {
        return None;
    }
    let name = command.word_or_name.as_ref()?;
    let mut words = vec![name];
    for item in command.suffix.iter().flat_map(|suffix| &suffix.0) {
        match item {
            CommandPrefixOrSuffixItem::Word(word) | CommandPrefixOrSuffixItem::AssignmentWord(_, word) => {
                words.push(word);
            }
            _ => return None,
        }
    }
    let templates: Vec<Template> = words.into_iter().map(|word| template(word, cut, options)).collect::<Option<_>>()?;
    let first = &templates.first()?.source;
    let is_program = !first.is_empty() && !first.contains(['{', '=']) && !is_shells_own(first);
    is_program.then_some(templates)
}

fn only_command(tree: &Program) -> Option<&SimpleCommand> {
    let [list] = &tree.complete_commands[..] else { return None };
    let [item] = &list.0[..] else { return None };
    if !matches!(item.1, SeparatorOperator::Sequence) || !item.0.additional.is_empty() {
        return None;
    }
    let pipeline = &item.0.first;
    match &pipeline.seq[..] {
        [Command::Simple(command)] if !pipeline.bang && pipeline.timed.is_none() => Some(command),
        _ => None,
    }
}

/// A word without its quotes, as a template; nothing where the shell would make something of it.
fn template(word: &Word, cut: &Cut, options: &ParserOptions) -> Option<Template> {
    let pieces = reader::word(&word.value, options)?;
    let mut parts = Vec::new();
    add(&pieces, false, &mut parts)?;
    let whole = matches!(split(&word.value)[..], [Ok(_)]);
    let mut source = String::new();
    let mut literal = String::new();
    let mut uses = Vec::new();
    for part in &parts {
        for piece in split(part) {
            match piece {
                Err(text) => literal.push_str(text),
                Ok(number) => {
                    let expression = &cut.placeholders.get(number).filter(|placeholder| !placeholder.raw)?.expression;
                    push_literal(&mut source, &literal);
                    literal.clear();
                    let code = expression.code.trim();
                    // Only a value that is a whole bare word may be several words.
                    let value = if whole { format!("{{{{ {code} }}}}") } else { format!("{{{{ ({code})|string }}}}") };
                    source.push_str(&value);
                    uses.push(&expression.uses);
                }
            }
        }
    }
    push_literal(&mut source, &literal);
    Some(Template { source, uses: merged(uses.into_iter()) })
}

/// The texts of pieces that mean only themselves.
fn add(pieces: &[WordPieceWithSource], quoted: bool, parts: &mut Vec<String>) -> Option<()> {
    for piece in pieces {
        match &piece.piece {
            WordPiece::Text(text) if quoted || !means_more(text) => parts.push(text.clone()),
            WordPiece::SingleQuotedText(text) => parts.push(text.clone()),
            WordPiece::EscapeSequence(sequence) => parts.push(escaped(sequence).to_owned()),
            WordPiece::DoubleQuotedSequence(inner) => add(inner, true, parts)?,
            _ => return None,
        }
    }
    Some(())
}

/// Whether unquoted text is a pattern, a list in braces or a home folder to the shell.
fn means_more(text: &str) -> bool {
    text.contains(['*', '?', '[', ']', '~', '(', ')', '^', '!']) || (text.contains(['{', '}']) && text != "{}")
}

/// Adds text that a template must give as it stands.
fn push_literal(source: &mut String, text: &str) {
    let special = text.contains("{{") || text.contains("{%") || text.contains("{#") || text.ends_with('{');
    if !special {
        source.push_str(text);
        return;
    }
    source.push_str("{{ ");
    // The syntax of strings in templates is that of JSON.
    source.push_str(&serde_json::Value::from(text).to_string());
    source.push_str(" }}");
}
