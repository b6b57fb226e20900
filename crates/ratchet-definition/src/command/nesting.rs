//! How deep a script is nested, before the parser goes down into it.

use std::sync::LazyLock;

use regex::Regex;

use crate::mistake::Mistake;

/// The deepest nesting of a script without values.
const DEPTH_MAX: usize = 60;
/// The deepest nesting of a script with values: to find them, what stands in a substitution is parsed once more at every level.
const WITH_VALUES_MAX: usize = 10;
/// The most commands in commands: where the innermost is wrong, the parser tries each of them in several ways, and so takes twice as long for every
/// one that stands around it.
const COMMANDS_MAX: usize = 8;

/// The most substitutions of a here-document that are not seen to be closed. The shell's parser tells nothing of one that is not, and what reads the document tries
/// each again for every one before it.
const UNCLOSED_MAX: usize = 8;

/// What is open at a place of a script, as far as its words and brackets tell. A bracket in a text counts too: what is counted is never less than half of
/// what there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Open {
    /// `(`, of a command or of arithmetic.
    Parenthesis,
    /// `$(` and its like, which the parser reads as a part of a word.
    Substitution,
    Brace,
    BackQuote,
    If,
    Loop,
    Case,
}

/// Refuses a script that is nested deeper than anybody reads.
pub(super) fn check(text: &str, has_values: bool) -> Result<(), Vec<Mistake>> {
    let (depth, commands) = depth(text);
    let most = if has_values { WITH_VALUES_MAX } else { DEPTH_MAX };
    if depth <= most && commands <= COMMANDS_MAX {
        return Ok(());
    }
    let mistake = Mistake::error("RT-0107", "this script is nested too deeply", 0..0);
    Err(vec![mistake.with_help("put it into a file of the workspace")])
}

/// A substitution that is closed, with no other in it.
static CLOSED: LazyLock<Regex> = LazyLock::new(|| {
    let closed = r#"\$\((?:[^(){}'"`\\]|"[^(){}"`\\]*"|'[^(){}']*')*\)|\$\{[^(){}'"`\\]*\}"#;
    Regex::new(closed).expect("it is an expression")
});

/// Whether a here-document can be read: its substitutions are closed, but for a few that may be.
pub(super) fn is_readable(document: &str) -> bool {
    let mut text = document.to_owned();
    // What is closed becomes a word of what is around it.
    while let std::borrow::Cow::Owned(less) = CLOSED.replace_all(&text, "_") {
        text = less;
    }
    let opened = text.find("$(").into_iter().chain(text.find("${")).min();
    opened.is_none_or(|first| text[first..].matches(['(', '{']).count() <= UNCLOSED_MAX)
}

/// Words after which another command begins.
const BEFORE_COMMANDS: &[&str] = &["!", "do", "elif", "else", "if", "then", "time", "until", "while"];

/// How deep a script is nested, and how many of these are commands in commands.
fn depth(text: &str) -> (usize, usize) {
    let mut open: Vec<Open> = Vec::new();
    let (mut deepest, mut commands) = (0, 0);
    // A keyword is one only where a command begins: elsewhere it is a word of a sentence.
    let mut begins = true;
    let ends_word = |c: char| c.is_whitespace() || matches!(c, ';' | '&' | '|' | '(' | ')' | '{' | '}' | '`');
    for part in text.split_inclusive(ends_word) {
        let (name, end) = match part.char_indices().next_back() {
            Some((at, c)) if ends_word(c) => (&part[..at], c),
            _ => (part, '\n'),
        };
        if begins {
            match name {
                "if" => open.push(Open::If),
                "while" | "until" | "for" | "select" => open.push(Open::Loop),
                "case" => open.push(Open::Case),
                "fi" => close(&mut open, Open::If),
                "done" => close(&mut open, Open::Loop),
                "esac" => close(&mut open, Open::Case),
                _ => {}
            }
        }
        begins = match end {
            ' ' | '\t' => begins && (name.is_empty() || BEFORE_COMMANDS.contains(&name)),
            _ => true,
        };
        match end {
            '(' if name.ends_with(['$', '<', '>', '=', '@', '?', '*', '+', '!']) => open.push(Open::Substitution),
            '(' => open.push(Open::Parenthesis),
            '{' if name.ends_with('$') => open.push(Open::Substitution),
            '{' => open.push(Open::Brace),
            ')' | '}' => {
                let own = if end == ')' { Open::Parenthesis } else { Open::Brace };
                let substitution = open.last() == Some(&Open::Substitution);
                close(&mut open, if substitution { Open::Substitution } else { own });
            }
            '`' if open.last() == Some(&Open::BackQuote) => close(&mut open, Open::BackQuote),
            '`' => open.push(Open::BackQuote),
            _ => {}
        }
        deepest = deepest.max(open.len());
        commands =
            commands.max(open.iter().filter(|open| !matches!(open, Open::Substitution | Open::BackQuote)).count());
        if deepest > DEPTH_MAX {
            break;
        }
    }
    (deepest, commands)
}

/// Closes what was opened last. What closes nothing is text, or the end of a pattern.
fn close(open: &mut Vec<Open>, what: Open) {
    if open.last() == Some(&what) {
        open.pop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_open_is_counted() {
        let cases = [
            ("a b", (0, 0)),
            ("a $(b $(c)) ${d}", (2, 0)),
            ("if a; then b; fi; if c; then d; fi", (1, 1)),
            ("f() { (a; b=(c) $((1 + (2)))); }", (5, 4)),
            ("a=$(if b; then case $c in d) e;; f) g;; esac; fi)\n".repeat(50).as_str(), (3, 2)),
            ("for a in b; do while c; do d; done; done", (2, 2)),
            ("`a` `b`", (1, 0)),
            ("echo for if case while\n# about if and for", (0, 0)),
            ("if if ! while a", (3, 3)),
            ("a ) } fi done esac", (0, 0)),
        ]
        .map(|(text, expected)| (text.to_owned(), expected));
        for (text, expected) in cases {
            assert_eq!(depth(&text), expected, "{text}");
        }
    }

    #[test]
    fn a_document_is_readable_whose_substitutions_are_closed() {
        let closed = "$(date) ${a:-b} (c) $(d \"$e\" 'f' $(g ${h}))\n".repeat(100);
        let few = format!("{closed}{}", "$(a \\' ".repeat(8));
        let many = format!("{closed}{}", "$(a \\' ".repeat(9));
        assert!(is_readable(&closed) && is_readable(&"( { ".repeat(100)) && is_readable(&few));
        assert!(!is_readable(&many) && !is_readable(&"${a:-(".repeat(9)));
    }

    #[test]
    fn nothing_is_nested_deeper_than_is_counted() {
        for unit in ["case x in a) ", "case x in fi) ", "if \"fi\"\n", "a $(", "{ ", "while b; do "] {
            assert!(check(&unit.repeat(400), false).is_err(), "{unit}");
        }
    }
}
