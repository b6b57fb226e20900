//! How deep a script is nested, before the parser goes down into it.

use crate::mistake::Mistake;

/// The deepest nesting of a script.
const DEPTH_MAX: usize = 60;

/// What is open at a place of a script, as far as its words and brackets tell. A bracket in a text counts too: what is counted is never less than half of
/// what there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Open {
    Parenthesis,
    Brace,
    BackQuote,
    If,
    Loop,
    Case,
}

/// Refuses a script that is nested deeper than anybody reads.
pub(super) fn check(text: &str) -> Result<(), Vec<Mistake>> {
    if depth(text) <= DEPTH_MAX {
        return Ok(());
    }
    let mistake = Mistake::error("RT-0107", "this script is nested too deeply", 0..0);
    Err(vec![mistake.with_help("put it into a file of the workspace")])
}

fn depth(text: &str) -> usize {
    let mut open: Vec<Open> = Vec::new();
    let mut deepest = 0;
    for word in text.split(|c: char| c.is_whitespace() || matches!(c, ';' | '&' | '|')) {
        for part in word.split_inclusive(['(', ')', '{', '}', '`']) {
            let (name, bracket) = match part.char_indices().next_back() {
                Some((at, c @ ('(' | ')' | '{' | '}' | '`'))) => (&part[..at], Some(c)),
                _ => (part, None),
            };
            match name {
                "if" => open.push(Open::If),
                "while" | "until" | "for" | "select" => open.push(Open::Loop),
                "case" => open.push(Open::Case),
                "fi" => close(&mut open, Open::If),
                "done" => close(&mut open, Open::Loop),
                "esac" => close(&mut open, Open::Case),
                _ => {}
            }
            match bracket {
                Some('(') => open.push(Open::Parenthesis),
                Some('{') => open.push(Open::Brace),
                Some(')') => close(&mut open, Open::Parenthesis),
                Some('}') => close(&mut open, Open::Brace),
                Some('`') if open.last() == Some(&Open::BackQuote) => close(&mut open, Open::BackQuote),
                Some('`') => open.push(Open::BackQuote),
                _ => {}
            }
            deepest = deepest.max(open.len());
            if deepest > DEPTH_MAX {
                return deepest;
            }
        }
    }
    deepest
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
            ("a b", 0),
            ("a $(b $(c)) ${d}", 2),
            ("if a; then b; fi; if c; then d; fi", 1),
            ("a=$(if b; then case $c in d) e;; f) g;; esac; fi)\n".repeat(50).as_str(), 3),
            ("for a in b; do while c; do d; done; done", 2),
            ("`a` `b`", 1),
            ("a ) } fi done esac", 0),
        ]
        .map(|(text, expected)| (text.to_owned(), expected));
        for (text, expected) in cases {
            assert_eq!(depth(&text), expected, "{text}");
        }
    }

    #[test]
    fn nothing_is_nested_deeper_than_is_counted() {
        for unit in ["case x in a) ", "case x in fi) ", "if \"fi\"\n", "a $(", "{ ", "while b; do "] {
            assert!(check(&unit.repeat(400)).is_err(), "{unit}");
        }
    }
}
