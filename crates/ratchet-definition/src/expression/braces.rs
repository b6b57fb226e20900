//! Braces inside an expression: they become parentheses, or concatenations inside a string literal.
//!
//! The text is read token by token (string literals, brackets, braces), so that nothing in it is ever taken for something else.

use std::ops::Range;

use crate::mistake::Mistake;

/// Braces in braces.
const DEPTH_MAX: u32 = 20;

/// Where a token of an expression ends: just after the string literal or the single character that begins at `at`.
///
/// Errs with the start of a string literal that is never closed.
fn token_end(text: &str, at: usize) -> Result<usize, usize> {
    let quote @ (b'\'' | b'"') = text.as_bytes()[at] else {
        return Ok(at + text[at..].chars().next().map_or(1, char::len_utf8));
    };
    let mut position = at + 1;
    while let Some(byte) = text.as_bytes().get(position) {
        match byte {
            b'\\' => position += 2,
            byte if *byte == quote => return Ok(position + 1),
            _ => position += 1,
        }
    }
    Err(at)
}

/// The position of the `}}` that closes a `{{` whose content begins at `from`.
///
/// Errs with what is never closed: a string literal, or the braces themselves (`None`).
pub(crate) fn closing(text: &str, from: usize) -> Result<usize, Option<usize>> {
    closing_with(text, from, "}}")
}

/// The same for whatever closes.
pub(crate) fn closing_with(text: &str, from: usize, mark: &str) -> Result<usize, Option<usize>> {
    let mut at = from;
    let mut open_maps = 0_u32;
    while at < text.len() {
        match text.as_bytes()[at] {
            b'}' | b'%' if open_maps == 0 && text[at..].starts_with(mark) => return Ok(at),
            b'}' => open_maps = open_maps.saturating_sub(1),
            b'{' => open_maps += 1,
            _ => {}
        }
        at = token_end(text, at).map_err(Some)?;
    }
    Err(None)
}

/// The mistake that an unclosed `{{` at `open` is.
pub(crate) fn unclosed(text: &str, open: usize, literal: Option<usize>) -> Mistake {
    match literal {
        Some(at) => Mistake::error("RT-0100", "this string literal is never closed", at..text.len())
            .with_help("close it with the quote that it begins with"),
        None => Mistake::error("RT-0101", "`{{` without `}}`", open..open + 2).with_help("write `{{ … }}`"),
    }
}

/// The content of braces without the marks that trim white space (`{{-`, `-}}`).
pub(crate) fn content(text: &str, range: Range<usize>) -> Range<usize> {
    let Range { mut start, mut end } = range;
    if text[start..end].starts_with(['-', '+']) && !text[start + 1..end].starts_with(|c: char| c.is_ascii_digit()) {
        start += 1;
    }
    if text[start..end].ends_with(['-', '+']) {
        end -= 1;
    }
    start..end
}

/// Code that was made from a text, and where each piece of it stood there.
#[derive(Debug, Default)]
pub(crate) struct Code {
    /// The code.
    pub(crate) text: String,
    /// Copied pieces: where they begin in the code, where in the text, and their length.
    pieces: Vec<(usize, usize, usize)>,
}

impl Code {
    /// Code that is a range of the text as it stands.
    pub(crate) fn verbatim(text: &str, range: Range<usize>) -> Self {
        let mut code = Self::default();
        code.copy(text, range);
        code
    }

    fn copy(&mut self, text: &str, range: Range<usize>) {
        self.pieces.push((self.text.len(), range.start, range.len()));
        self.text.push_str(&text[range]);
    }

    /// Where a position of the code stood in the text: of added code, the place that it was added for.
    fn origin_of(&self, position: usize) -> usize {
        let index = self.pieces.partition_point(|(start, _, _)| *start <= position);
        match index.checked_sub(1).map(|index| self.pieces[index]) {
            Some((start, origin, length)) => origin + (position - start).min(length),
            None => self.pieces.first().map_or(0, |(_, origin, _)| *origin),
        }
    }

    /// Where a range of the code stood in the text.
    pub(crate) fn origin(&self, range: Range<usize>) -> Range<usize> {
        let start = self.origin_of(range.start);
        let end = range.end.checked_sub(1).map_or(start, |last| self.origin_of(last) + 1);
        start..end.max(start)
    }
}

/// Turns an expression with braces anywhere in it into an expression without.
pub(crate) fn unfold(text: &str) -> Result<Code, Mistake> {
    let trimmed = text.len() - text.trim_start().len()..text.trim_end().len();
    if trimmed.is_empty() {
        return Err(Mistake::error("RT-0101", "an expression is missing here", 0..text.len()));
    }
    let mut code = Code::default();
    if text[trimmed.clone()].starts_with("{{")
        && let Ok(close) = closing(text, trimmed.start + 2)
        && close + 2 == trimmed.end
    {
        unfold_range(text, inner(text, trimmed.start, close)?, 0, &mut code)?;
    } else {
        unfold_range(text, trimmed, 0, &mut code)?;
    }
    Ok(code)
}

/// The content of the braces that open at `open` and close at `close`.
fn inner(text: &str, open: usize, close: usize) -> Result<Range<usize>, Mistake> {
    let range = content(text, open + 2..close);
    if text[range.clone()].trim().is_empty() {
        return Err(Mistake::error("RT-0101", "an expression is missing between the braces", open..close + 2));
    }
    Ok(range)
}

fn unfold_range(text: &str, range: Range<usize>, depth: u32, code: &mut Code) -> Result<(), Mistake> {
    if depth > DEPTH_MAX {
        return Err(Mistake::error("RT-0107", "braces are nested too deeply", range));
    }
    let mut at = range.start;
    let mut copied = at;
    let mut open_maps = 0_u32;
    while at < range.end {
        let rest = &text[at..range.end];
        if rest.starts_with("{{") {
            let close = closing(&text[..range.end], at + 2).map_err(|literal| unclosed(text, at, literal))?;
            code.copy(text, copied..at);
            code.text.push('(');
            unfold_range(text, inner(text, at, close)?, depth + 1, code)?;
            code.text.push(')');
            at = close + 2;
            copied = at;
            continue;
        }
        if rest.starts_with("{%") || rest.starts_with("{#") {
            return Err(Mistake::error("RT-0102", "statements and comments cannot stand in an expression", at..at + 2)
                .with_help("write `a if condition else b` instead of `{% if %}`"));
        }
        match rest.as_bytes()[0] {
            b'{' => open_maps += 1,
            b'}' if open_maps > 0 => open_maps -= 1,
            b'}' if rest.starts_with("}}") => {
                return Err(Mistake::error("RT-0101", "`}}` without `{{`", at..at + 2));
            }
            b'\'' | b'"' => {
                let end = token_end(&text[..range.end], at).map_err(|start| unclosed(text, start, Some(start)))?;
                code.copy(text, copied..at);
                unfold_literal(text, at..end, depth, code)?;
                at = end;
                copied = at;
                continue;
            }
            _ => {}
        }
        at += rest.chars().next().map_or(1, char::len_utf8);
    }
    code.copy(text, copied..range.end);
    Ok(())
}

/// `'a{{ x }}b'` becomes `('a' ~ ((x)|string) ~ 'b')`.
fn unfold_literal(text: &str, literal: Range<usize>, depth: u32, code: &mut Code) -> Result<(), Mistake> {
    let quote = &text[literal.start..=literal.start];
    let body_end = literal.end - 1;
    let mut from = literal.start + 1;
    let mut parts = 0;
    while let Some(open) = text[from..body_end].find("{{").map(|offset| from + offset) {
        let Ok(close) = closing(&text[..body_end], open + 2) else { break };
        code.text.push_str(if parts == 0 { "(" } else { " ~ " });
        code.text.push_str(quote);
        code.copy(text, from..open);
        code.text.push_str(quote);
        code.text.push_str(" ~ ((");
        unfold_range(text, inner(text, open, close)?, depth + 1, code)?;
        code.text.push_str(")|string)");
        parts += 1;
        from = close + 2;
    }
    if parts == 0 {
        code.copy(text, literal);
        return Ok(());
    }
    code.text.push_str(" ~ ");
    code.text.push_str(quote);
    code.copy(text, from..body_end);
    code.text.push_str(quote);
    code.text.push(')');
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn braces_become_parentheses_and_concatenations() {
        let cases = [
            ("a < b", Ok("a < b")),
            (" {{ a == 'x' }} ", Ok(" a == 'x' ")),
            ("{{- a -}}", Ok(" a ")),
            ("{{ a }} < {{ b }}", Ok("( a ) < ( b )")),
            ("f(x).y < {{ inputs.z }}", Ok("f(x).y < ( inputs.z )")),
            ("'a{{ x }}'", Ok("('a' ~ (( x )|string) ~ '')")),
            (r#""{{ x }}-{{ y }}""#, Ok(r#"("" ~ (( x )|string) ~ "-" ~ (( y )|string) ~ "")"#)),
            ("{'a': {'b': 1}}", Ok("{'a': {'b': 1}}")),
            ("{{ {'a': 1} }}", Ok(" {'a': 1} ")),
            ("{{ {'a': {'b': 1}}.a }}", Ok(" {'a': {'b': 1}}.a ")),
            ("{{ '}}' }}", Ok(" '}}' ")),
            ("'{{'", Ok("'{{'")),
            ("'it\\'s {{ x }}'", Ok("('it\\'s ' ~ (( x )|string) ~ '')")),
            ("'é' ~ {{ x }}", Ok("'é' ~ ( x )")),
            ("", Err(("RT-0101", 0..0))),
            ("{{ }}", Err(("RT-0101", 0..5))),
            ("a == {{ b", Err(("RT-0101", 5..7))),
            ("a }}", Err(("RT-0101", 2..4))),
            ("a == 'x", Err(("RT-0100", 5..7))),
            ("{% if a %}", Err(("RT-0102", 0..2))),
        ];
        for (text, expected) in cases {
            let found = unfold(text).map(|code| code.text).map_err(|mistake| (mistake.code, mistake.span));
            assert_eq!(found, expected.map(str::to_owned), "{text}");
        }
    }

    #[test]
    fn places_in_the_code_lead_back_to_the_text() {
        for text in ["f(x).y < {{ inputs.zed }}", "'é{{ inputs.zed }}' == 'x'", "  {{ inputs.zed }}", "inputs.zed"] {
            let code = unfold(text).unwrap();
            let at = code.text.find("inputs.zed").unwrap();
            assert_eq!(&text[code.origin(at..at + 10)], "inputs.zed", "{text}");
        }
    }
}
