//! `parse_junit`: how a test run ended.

use minijinja::{Error, State, Value};
use serde_json::json;

use super::{files, xml};
use crate::evaluate::{
    Reason,
    value::{as_file, from_json},
};

/// The most cases that are listed.
const CASES_MAX: usize = 10_000;

/// `parse_junit(report)`: `tests`, `passed`, `failures`, `errors`, `skipped`, `time` in seconds, and `failed`, a list of `name`, `class`, `kind`
/// (`failure` or `error`) and `message`. Takes the XML of `JUnit`: a file, the path of one, or the report's text.
pub(super) fn parse_junit(state: &State<'_, '_>, report: &Value) -> Result<Value, Error> {
    let text = match report.as_str() {
        Some(text) if as_file(report).is_none() && text.trim_start().starts_with('<') => text.to_owned(),
        _ => String::from_utf8_lossy(&files::bytes_of(state, report)?).into_owned(),
    };
    let document = xml::parse(&text)?;
    let root = document.root_element();
    if !root.has_tag_name("testsuites") && !root.has_tag_name("testsuite") {
        let message = format!("this XML is no test report: its root is `{}`", root.tag_name().name());
        return Err(Reason::new("RT-0124", message).with_help("write one with `pytest --junitxml=…`").into());
    }
    let (mut tests, mut failures, mut errors, mut skipped, mut time) = (0_u64, 0_u64, 0_u64, 0_u64, 0.0);
    let mut failed = Vec::new();
    for case in root.descendants().filter(|node| node.has_tag_name("testcase")) {
        tests += 1;
        time += xml::number(case, "time").unwrap_or(0.0);
        let outcome = |name| case.children().find(|child| child.has_tag_name(name));
        let (kind, node) = if let Some(node) = outcome("failure") {
            failures += 1;
            ("failure", node)
        } else if let Some(node) = outcome("error") {
            errors += 1;
            ("error", node)
        } else {
            skipped += u64::from(outcome("skipped").is_some());
            continue;
        };
        if failed.len() < CASES_MAX {
            let message = node.attribute("message").or_else(|| node.text()).unwrap_or_default().trim();
            failed.push(json!({
                "name": case.attribute("name"),
                "class": case.attribute("classname"),
                "kind": kind,
                "message": message,
            }));
        }
    }
    Ok(from_json(&json!({
        "tests": tests,
        "passed": tests - failures - errors - skipped,
        "failures": failures,
        "errors": errors,
        "skipped": skipped,
        "time": time,
        "failed": failed,
    })))
}
