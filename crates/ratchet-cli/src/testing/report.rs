//! How tests went, for people and for what reads JUnit's format.

use std::fmt::Write as _;

use super::Results;
use crate::{
    paint::Paint,
    words::{counted, elapsed},
};

/// How tests went, in lines.
pub(crate) fn lines(results: &[Results], paint: Paint) -> Vec<String> {
    let mut lines = Vec::new();
    let (mut passed, mut failed) = (0, 0);
    for result in results.iter().filter(|result| !result.tests.is_empty()) {
        lines.push(paint.bold(&result.file.display().to_string()));
        for test in &result.tests {
            let took = paint.dim(&elapsed(test.took));
            if test.problems.is_empty() {
                passed += 1;
                let updated = if test.updated { paint.warn("  its expectations were updated") } else { String::new() };
                lines.push(format!("  {} {} {took}{updated}", paint.good("✓"), test.name));
                continue;
            }
            failed += 1;
            lines.push(format!("  {} {} {took}", paint.bad("✗"), test.name));
            for problem in &test.problems {
                lines.push(format!("      {}", problem.message));
                lines.extend(problem.details.iter().map(|detail| format!("        {}", paint.dim(detail))));
            }
        }
        if let Some(coverage) = &result.coverage {
            let told = coverage.lines();
            lines.extend(told.iter().enumerate().map(|(number, line)| {
                let indent = if number == 0 { "  coverage: " } else { "            " };
                paint.dim(&format!("{indent}{line}"))
            }));
        }
        lines.push(String::new());
    }
    let verdict = match failed {
        0 => paint.good(&format!("{passed} passed")),
        _ => format!("{passed} passed, {}", paint.bad(&format!("{failed} failed"))),
    };
    lines.push(format!("{}: {verdict}", counted(passed + failed, "test")));
    lines
}

/// How tests went, as XML in the format that JUnit made known: what continuous integration shows.
pub(crate) fn junit(results: &[Results]) -> String {
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n");
    for result in results {
        let failures = result.tests.iter().filter(|test| !test.problems.is_empty()).count();
        let time: f64 = result.tests.iter().map(|test| test.took.as_secs_f64()).sum();
        let file = escaped(&result.file.display().to_string());
        let name = escaped(&result.workflow);
        let tests = result.tests.len();
        let _ = writeln!(
            xml,
            "  <testsuite name=\"{name}\" file=\"{file}\" tests=\"{tests}\" failures=\"{failures}\" time=\"{time:.3}\">"
        );
        for test in &result.tests {
            let (title, time) = (escaped(&test.name), test.took.as_secs_f64());
            let head = format!("    <testcase classname=\"{name}\" name=\"{title}\" time=\"{time:.3}\"");
            if test.problems.is_empty() {
                let _ = writeln!(xml, "{head}/>");
                continue;
            }
            let mut told = String::new();
            for problem in &test.problems {
                let _ = writeln!(told, "{}", problem.message);
                problem.details.iter().for_each(|detail| {
                    let _ = writeln!(told, "  {detail}");
                });
            }
            let first = test.problems.first().map(|problem| escaped(&problem.message)).unwrap_or_default();
            let _ = writeln!(
                xml,
                "{head}>\n      <failure message=\"{first}\">{}</failure>\n    </testcase>",
                escaped(&told)
            );
        }
        xml.push_str("  </testsuite>\n");
    }
    xml.push_str("</testsuites>\n");
    xml
}

/// Text as it may stand in XML: characters that may not stand there at all are replaced.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' | '\t' => escaped.push(character),
            other if other.is_control() || matches!(other, '\u{fffe}' | '\u{ffff}') => escaped.push('\u{fffd}'),
            other => escaped.push(other),
        }
    }
    escaped
}
