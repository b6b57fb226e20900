//! Templates: text with `{{ … }}` and statements in it.

use std::ops::Range;

use minijinja::{
    machinery::{Token, ast::Stmt, parse as parse_source, tokenize},
    syntax::SyntaxConfig,
};
use ratchet_core::workflow::Template;

use crate::{
    expression::{
        finish, limits,
        readings::{self, Findings},
        syntax_mistake,
    },
    mistake::Mistake,
    parsed::Parsed,
};

/// The longest template, in bytes.
const LENGTH_MAX: usize = 1024 * 1024;

/// The syntax of templates: that of `MiniJinja`, with the last new line of a text kept.
pub(crate) fn syntax() -> SyntaxConfig {
    let mut builder = SyntaxConfig::builder();
    builder.keep_trailing_newline(true);
    // Only other delimiters can make the syntax invalid.
    builder.build().unwrap_or_default()
}

/// The syntax tree of a template.
pub(crate) fn tree(source: &str) -> Result<Stmt<'_>, minijinja::Error> {
    parse_source(source, "template", syntax())
}

/// Where the expressions between `{{` and `}}` stand in a template, in order, each with the place of its braces.
pub(crate) fn variables(source: &str) -> Vec<(Range<usize>, Range<usize>)> {
    let mut open = None;
    let mut found = Vec::new();
    for (token, span) in tokenize(source, false, syntax()).map_while(Result::ok) {
        let (start, end) = (span.start_offset as usize, span.end_offset as usize);
        match token {
            Token::VariableStart => open = Some(start..end),
            Token::VariableEnd => {
                if let Some(opened) = open.take() {
                    found.push((opened.end..start, opened.start..end));
                }
            }
            _ => {}
        }
    }
    found
}

/// Parses a template.
pub(crate) fn parse(text: &str) -> Result<Parsed<Template>, Vec<Mistake>> {
    limits::check_length(text, LENGTH_MAX)?;
    if !text.contains('{') {
        return finish(Findings::default(), |uses| Template { source: text.to_owned(), uses });
    }
    limits::check_depth(text, false, syntax()).map_err(|mistake| vec![mistake])?;
    let tree = tree(text).map_err(|error| {
        let span = error.range().unwrap_or(0..text.len());
        vec![syntax_mistake(text, &error, span)]
    })?;
    finish(readings::references_of_template(text, &tree), |uses| Template { source: text.to_owned(), uses })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(text: &str) -> String {
        match parse(text) {
            Ok(parsed) => {
                parsed.references.iter().map(|reference| reference.path().join(".")).collect::<Vec<_>>().join(" ")
            }
            Err(mistakes) => mistakes
                .iter()
                .map(|mistake| format!("{} {:?}", mistake.code, mistake.span))
                .collect::<Vec<_>>()
                .join(" "),
        }
    }

    #[test]
    fn names_that_a_template_sets_are_no_references() {
        let cases = [
            ("plain text", ""),
            ("a {{ inputs.x }} b {{ a.outputs.y }}", "inputs.x a.outputs.y"),
            ("{% for f in a.outputs.files %}{{ f.name }} {{ loop.index }}{% endfor %}", "a.outputs.files"),
            ("{% set x = inputs.a %}{{ x }}", "inputs.a"),
            ("{% if inputs.a %}{{ env.B }}{% else %}{{ item }}{% endif %}", "inputs.a env.B item"),
            ("{% with x = inputs.a %}{{ x }}{% endwith %}{{ x }}", "inputs.a x"),
            ("{% macro m(q) %}{{ q }}{% endmacro %}", "RT-0100 3..8"),
            ("{% for k, v in inputs.map | items %}{{ k }}={{ v }}{% endfor %}{{ k }}", "inputs.map k"),
            ("{# inputs.x #}", ""),
            ("{% raw %}{{ inputs.x }}{% endraw %}", ""),
            ("a {{ inputs.x", "RT-0100 12..13"),
            ("{% if a %}", "RT-0100 8..10"),
            ("{% include 'x' %}", "RT-0100 3..10"),
            ("{{ nope(1) }} {{ a | nope }}", "RT-0103 3..7 RT-0104 21..25"),
        ];
        for (text, expected) in cases {
            assert_eq!(show(text), expected, "{text}");
        }
    }
}
