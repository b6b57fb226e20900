//! `parse_coverage`: what a test run covered.

use std::collections::BTreeMap;

use minijinja::{Error, State, Value};
use serde_json::{Value as Json, json};

use super::{files, xml};
use crate::evaluate::{
    Reason,
    value::{as_file, from_json},
};

/// What was counted of one file, or of all.
#[derive(Debug, Default, Clone)]
struct Counts {
    /// Lines that can run: how often each did.
    lines: BTreeMap<u64, u64>,
    branches_covered: u64,
    branches_valid: u64,
}

/// `parse_coverage(report)`: `line_coverage` and `branch_coverage` in percent (null where none were measured) and `files` by path, each with
/// the same and `missing_lines`. Takes Cobertura's XML and lcov: a file, the path of one, or the report's text.
pub(super) fn parse_coverage(state: &State<'_, '_>, report: &Value) -> Result<Value, Error> {
    let text = match report.as_str() {
        Some(text) if as_file(report).is_none() && is_report(text) => text.to_owned(),
        _ => String::from_utf8_lossy(&files::bytes_of(state, report)?).into_owned(),
    };
    let parsed = if text.trim_start_matches('\u{feff}').trim_start().starts_with('<') {
        cobertura(&text)?
    } else {
        lcov(&text)?
    };
    Ok(from_json(&parsed))
}

fn is_report(text: &str) -> bool {
    let text = text.trim_start();
    text.starts_with('<') || text.starts_with("TN:") || text.starts_with("SF:")
}

fn cobertura(text: &str) -> Result<Json, Error> {
    let document = xml::parse(text)?;
    let root = document.root_element();
    if !root.has_tag_name("coverage") {
        let message = format!("this XML is no coverage report: its root is `{}`", root.tag_name().name());
        let help = "write one with `pytest --cov-report=xml` or another tool that knows Cobertura's format";
        return Err(Reason::new("RT-0124", message).with_help(help).into());
    }
    let mut files: BTreeMap<String, Counts> = BTreeMap::new();
    for class in root.descendants().filter(|node| node.has_tag_name("class")) {
        let counts = files.entry(class.attribute("filename").unwrap_or_default().to_owned()).or_default();
        let lists = class.children().filter(|node| node.has_tag_name("lines"));
        for line in lists.flat_map(|list| list.children()).filter(|node| node.has_tag_name("line")) {
            let attribute = |name| line.attribute(name).and_then(|text: &str| text.parse::<u64>().ok());
            let (Some(number), Some(hits)) = (attribute("number"), attribute("hits")) else { continue };
            let known = counts.lines.entry(number).or_default();
            *known = (*known).max(hits);
            if let Some((covered, valid)) = line.attribute("condition-coverage").and_then(conditions) {
                counts.branches_covered += covered;
                counts.branches_valid += valid;
            }
        }
    }
    let all = total(&files);
    let lines = match counts(root, "lines-covered", "lines-valid") {
        Some(counts) => ratio(counts),
        None => xml::number(root, "line-rate").map(|rate| rate * 100.0).or_else(|| all.line_coverage()),
    };
    let branches = match counts(root, "branches-covered", "branches-valid") {
        Some(counts) => ratio(counts),
        None => all.branch_coverage(),
    };
    Ok(report(lines, branches, &files))
}

/// Two counts of the whole report: of what was covered, and of what there is.
fn counts(root: roxmltree::Node<'_, '_>, covered: &str, valid: &str) -> Option<(f64, f64)> {
    xml::number(root, covered).zip(xml::number(root, valid))
}

/// The percentage; of nothing there is none.
fn ratio((covered, valid): (f64, f64)) -> Option<f64> {
    (valid > 0.0).then(|| covered / valid * 100.0)
}

/// The two counts of `50% (1/2)`.
fn conditions(text: &str) -> Option<(u64, u64)> {
    let (covered, valid) = text.split_once('(')?.1.split_once(')')?.0.split_once('/')?;
    Some((covered.trim().parse().ok()?, valid.trim().parse().ok()?))
}

fn lcov(text: &str) -> Result<Json, Error> {
    let mut files: BTreeMap<String, Counts> = BTreeMap::new();
    let mut current: Option<String> = None;
    for line in text.lines() {
        let (kind, rest) = line.trim().split_once(':').unwrap_or((line.trim(), ""));
        match kind {
            "SF" => current = Some(rest.to_owned()),
            "end_of_record" => current = None,
            "DA" | "BRDA" => {
                let Some(counts) = current.as_ref().map(|path| files.entry(path.clone()).or_default()) else {
                    continue;
                };
                let fields: Vec<&str> = rest.split(',').collect();
                if kind == "DA"
                    && let [number, hits, ..] = fields[..]
                    && let (Ok(number), Ok(hits)) = (number.parse::<u64>(), hits.parse::<u64>())
                {
                    let known = counts.lines.entry(number).or_default();
                    *known = (*known).max(hits);
                } else if kind == "BRDA"
                    && let [_, _, _, taken] = fields[..]
                {
                    counts.branches_valid += 1;
                    counts.branches_covered += u64::from(taken.parse::<u64>().is_ok_and(|taken| taken > 0));
                }
            }
            _ => {}
        }
    }
    if files.is_empty() {
        let help = "Cobertura's XML and lcov are known";
        return Err(Reason::new("RT-0124", "this is no coverage report").with_help(help).into());
    }
    let all = total(&files);
    Ok(report(all.line_coverage(), all.branch_coverage(), &files))
}

/// All files as one: the keys of lines only have to differ.
fn total(files: &BTreeMap<String, Counts>) -> Counts {
    let mut all = Counts::default();
    for counts in files.values() {
        for hits in counts.lines.values() {
            all.lines.insert(all.lines.len() as u64, *hits);
        }
        all.branches_covered += counts.branches_covered;
        all.branches_valid += counts.branches_valid;
    }
    all
}

#[expect(clippy::cast_precision_loss, reason = "counts of lines are far below 2^52")]
fn percent(covered: u64, valid: u64) -> Option<f64> {
    (valid > 0).then(|| covered as f64 / valid as f64 * 100.0)
}

impl Counts {
    fn line_coverage(&self) -> Option<f64> {
        let covered = self.lines.values().filter(|hits| **hits > 0).count();
        percent(covered as u64, self.lines.len() as u64)
    }

    fn branch_coverage(&self) -> Option<f64> {
        percent(self.branches_covered, self.branches_valid)
    }
}

fn report(lines: Option<f64>, branches: Option<f64>, files: &BTreeMap<String, Counts>) -> Json {
    let files: serde_json::Map<String, Json> = files
        .iter()
        .map(|(path, counts)| {
            let missing: Vec<u64> =
                counts.lines.iter().filter(|(_, hits)| **hits == 0).map(|(line, _)| *line).collect();
            let entry = json!({
                "line_coverage": counts.line_coverage(),
                "branch_coverage": counts.branch_coverage(),
                "missing_lines": missing,
            });
            (path.clone(), entry)
        })
        .collect();
    json!({ "line_coverage": lines, "branch_coverage": branches, "files": files })
}
