//! Expressions: `when`, `condition`, `foreach`, `from`.

pub(crate) mod braces;
pub(crate) mod limits;
pub(crate) mod readings;
pub(crate) mod vocabulary;

use std::ops::Range;

use minijinja::{machinery::parse_expr, syntax::SyntaxConfig};
use ratchet_core::workflow::Expression;

use crate::{
    expression::{braces::Code, readings::Findings},
    mistake::Mistake,
    parsed::{Parsed, Reference},
};

/// The longest expression, in bytes.
const LENGTH_MAX: usize = 64 * 1024;

/// Parses an expression with or without braces around it and in it.
pub(crate) fn parse(text: &str) -> Result<Parsed<Expression>, Vec<Mistake>> {
    limits::check_length(text, LENGTH_MAX)?;
    let code = braces::unfold(text).map_err(|mistake| vec![mistake])?;
    parse_code(text, &code)
}

/// Parses the content of braces in a command: an expression as it stands.
pub(crate) fn parse_inside(text: &str, range: Range<usize>) -> Result<Parsed<Expression>, Vec<Mistake>> {
    let source = &text[range.clone()];
    let mut parsed = parse_code(text, &Code::verbatim(text, range))?;
    source.trim().clone_into(&mut parsed.value.source);
    Ok(parsed)
}

fn parse_code(text: &str, code: &Code) -> Result<Parsed<Expression>, Vec<Mistake>> {
    limits::check_depth(&code.text, true, SyntaxConfig::default()).map_err(|mut mistake| {
        mistake.span = code.origin(mistake.span);
        vec![mistake]
    })?;
    let tree = parse_expr(&code.text).map_err(|error| {
        let span = error.range().unwrap_or(0..code.text.len());
        vec![syntax_mistake(text, &error, code.origin(span))]
    })?;
    let mut findings = readings::references_of_expression(&code.text, &tree);
    for mistake in &mut findings.mistakes {
        mistake.span = code.origin(mistake.span.clone());
    }
    for name in findings.references.iter_mut().flat_map(|reference: &mut Reference| &mut reference.names) {
        name.span = code.origin(name.span.clone());
    }
    finish(findings, |uses| Expression { source: text.to_owned(), code: code.text.clone(), uses })
}

/// The parsed value, or what is wrong.
pub(crate) fn finish<T>(
    findings: Findings,
    value: impl FnOnce(ratchet_core::workflow::Uses) -> T,
) -> Result<Parsed<T>, Vec<Mistake>> {
    if findings.mistakes.is_empty() {
        let uses = findings.uses();
        Ok(Parsed { value: value(uses), references: findings.references, warnings: Vec::new(), trusted: Vec::new() })
    } else {
        Err(findings.mistakes)
    }
}

/// What the template language says of a text that is none, in words that say what to write.
pub(crate) fn syntax_mistake(text: &str, error: &minijinja::Error, span: Range<usize>) -> Mistake {
    let detail = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
    let span = text.floor_char_boundary(span.start)..text.ceil_char_boundary(span.end.max(span.start));
    let mistake = Mistake::error("RT-0100", detail.clone(), span.clone());
    let at = text.get(span.start..).unwrap_or_default();
    let help = if detail.contains("unexpected end of input") {
        "the text ends where a value is missing, or a bracket is not closed"
    } else if at.starts_with("&&") || at.starts_with('&') || text.get(..span.end).is_some_and(|t| t.ends_with('&')) {
        "write `and`"
    } else if at.starts_with("||") || detail.contains("unexpected `|`") {
        "write `or`; a single `|` is followed by the name of a filter"
    } else if at.starts_with('!') {
        "write `not`"
    } else if detail.contains("unexpected `=`") || at.starts_with('=') {
        "compare with `==`"
    } else if detail.contains("unknown statement") {
        "`{% if %}`, `{% for %}` and `{% set %}` are there; `{% include %}` and its like are not"
    } else if detail.contains("unexpected end of comment") {
        "`{#` begins a comment: close it with `#}`, or write `{{ '{#' }}`"
    } else if detail.contains("unexpected input after expression") || detail.contains("expected end of variable block")
    {
        "an operator is missing here: text is put together with `~`"
    } else {
        return mistake;
    };
    mistake.with_help(help)
}

#[cfg(test)]
mod tests {
    use ratchet_core::ids::StepId;

    use super::*;

    /// One line an expression: what it reads (`path@start-end`), what it needs, or what is wrong.
    fn show(text: &str) -> String {
        match parse(text) {
            Ok(parsed) => {
                let references: Vec<String> = parsed
                    .references
                    .iter()
                    .map(|reference| {
                        for name in &reference.names {
                            assert!(text[name.span.clone()].contains(&name.text), "{text}: {name:?}");
                        }
                        reference.path().join(".")
                    })
                    .collect();
                let uses = &parsed.value.uses;
                let marks = [("files", uses.files), ("item", uses.item), ("handles_failure", uses.handles_failure)];
                let marks: Vec<&str> = marks.iter().filter(|(_, set)| *set).map(|(mark, _)| *mark).collect();
                let steps: Vec<&str> = uses.steps.iter().map(StepId::as_str).collect();
                format!("[{}] steps[{}] {}", references.join(" "), steps.join(" "), marks.join(" ")).trim().to_owned()
            }
            Err(mistakes) => mistakes
                .iter()
                .map(|mistake| {
                    let help = mistake.help.as_deref().unwrap_or("-");
                    format!("{} {:?} `{}`; {help}", mistake.code, mistake.span, &text[mistake.span.clone()])
                })
                .collect::<Vec<_>>()
                .join("\n"),
        }
    }

    #[test]
    fn what_an_expression_reads_is_known() {
        let cases = [
            ("{{ env.CREATE_PR == 'true' }}", "[env.CREATE_PR] steps[]"),
            (
                "parse_coverage(baseline.outputs.coverage_xml).line_coverage < {{ inputs.target_coverage }}",
                "[baseline.outputs.coverage_xml inputs.target_coverage] steps[baseline] files",
            ),
            ("always() and a.status == 'failed'", "[a.status] steps[a] handles_failure"),
            ("failure()", "[] steps[] handles_failure"),
            ("success()", "[] steps[]"),
            ("item.name ~ index", "[item.name index] steps[] item"),
            ("a['outputs'].x[0].y", "[a.outputs.x] steps[a]"),
            ("a.outputs[inputs.name]", "[a.outputs inputs.name] steps[a]"),
            ("range(3) | map('string') | list", "[] steps[]"),
            ("'a{{ inputs.x }}b' == stdout", "[inputs.x stdout] steps[]"),
            ("json.a | default(env.B) is defined", "[json.a env.B] steps[]"),
            (
                "[a.outputs.x, {'k': trigger.y}] if execution.id else none",
                "[a.outputs.x trigger.y execution.id] steps[a]",
            ),
            ("a.outputs.list[1:index]", "[a.outputs.list index] steps[a] item"),
            ("hash(inputs.x)", "[inputs.x] steps[] files"),
            ("(a.outputs.x | trim).y", "[a.outputs.x] steps[a]"),
        ];
        for (text, expected) in cases {
            assert_eq!(show(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        let cases = [
            ("a.b &&", "RT-0100 4..5 `&`; write `and`"),
            ("a || b", "RT-0100 3..4 `|`; write `or`; a single `|` is followed by the name of a filter"),
            ("inputs.a = 1", "RT-0100 9..10 `=`; compare with `==`"),
            ("{{ inputs.a b }}", "RT-0100 12..13 `b`; an operator is missing here: text is put together with `~`"),
            ("parse_coverge(x)", "RT-0103 0..13 `parse_coverge`; did you mean `parse_coverage`?"),
            ("1 < {{ hsh(inputs.a) }}", "RT-0103 7..10 `hsh`; did you mean `hash`?"),
            ("a.b | uper", "RT-0104 6..10 `uper`; did you mean `upper`?"),
            ("a.b is defind", "RT-0105 7..13 `defind`; did you mean `defined`?"),
            (
                "a.b.strip()",
                "RT-0106 4..9 `strip`; values have no methods: use a filter, as in `value | replace('a', 'b')`",
            ),
            ("a.b.upper()", "RT-0106 4..9 `upper`; write `… | upper`"),
            (
                "inputs.a | raw",
                "RT-0108 11..14 `raw`; remove `| raw`: here a value is never taken for anything but text",
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(show(text), expected, "{text}");
        }
    }

    #[test]
    fn a_deep_or_long_expression_is_a_mistake() {
        let calls = format!("{}1{}", "hash(".repeat(39), ")".repeat(39));
        assert!(parse(&calls).is_ok());
        let calls = format!("{}1{}", "hash(".repeat(100), ")".repeat(100));
        for text in ["(".repeat(10_000), "{{".repeat(10_000), "'{{".repeat(9_000), calls, "a".repeat(70_000)] {
            assert!(parse(&text).is_err());
        }
    }
}
