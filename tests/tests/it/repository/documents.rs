//! The pages: their links lead somewhere, each error has one, and what they tell people to type exists.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use ratchet_tests::repository;

use super::{File, files, none};

#[test]
fn every_error_code_has_a_page_and_every_page_a_code() {
    let mut used: BTreeMap<String, String> = BTreeMap::new();
    for file in files("crates", &[".rs"]) {
        for code in codes(&file.text) {
            used.entry(code).or_insert_with(|| file.path.clone());
        }
    }
    let pages = files("docs/errors", &[".md"]);
    let mut problems = Vec::new();
    let mut told = BTreeSet::new();
    for page in &pages {
        let name =
            Path::new(&page.path).file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        if name == "README" {
            continue;
        }
        if !page.text.starts_with(&format!("# {name}")) {
            problems.push(format!("{}: the page does not begin with `# {name}`", page.path));
        }
        if !used.contains_key(&name) {
            problems.push(format!("{}: nothing in the code has this code", page.path));
        }
        told.insert(name);
    }
    for (code, path) in used {
        if !told.contains(&code) {
            problems.push(format!("{path}: {code} has no page docs/errors/{code}.md"));
        }
    }
    none("codes and pages disagree", &problems);
}

#[test]
fn links_lead_somewhere() {
    let pages = markdown();
    let mut problems = Vec::new();
    for page in &pages {
        for (number, target) in links(page) {
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
            let folder = Path::new(&page.path).parent().unwrap_or(Path::new(""));
            let place =
                if path.is_empty() { repository().join(&page.path) } else { repository().join(folder).join(path) };
            if !place.exists() {
                problems.push(format!("{}:{number}: there is no {path}", page.path));
            } else if !anchor.is_empty() {
                let text = fs::read_to_string(&place).unwrap_or_default();
                if !text.lines().filter(|line| line.starts_with('#')).any(|line| slug(line) == anchor) {
                    problems.push(format!(
                        "{}:{number}: there is no heading #{anchor} in {}",
                        page.path,
                        place.display()
                    ));
                }
            }
        }
    }
    none("links that lead nowhere", &problems);
}

#[test]
fn every_make_target_that_a_page_names_exists() {
    let makefile = fs::read_to_string(repository().join("Makefile")).expect("the Makefile can be read");
    let targets: BTreeSet<&str> = makefile
        .lines()
        .filter(|line| !line.starts_with(['\t', '#', ' ', '.']))
        .filter_map(|line| line.split_once(':'))
        .filter(|(_, rest)| !rest.starts_with('='))
        .flat_map(|(names, _)| names.split_whitespace())
        .collect();
    let mut problems = Vec::new();
    for page in markdown() {
        for (number, line) in page.lines() {
            let typed =
                line.split('`').skip(1).step_by(2).chain(line.strip_prefix("    ")).chain(std::iter::once(line));
            for command in typed.filter_map(|text| text.trim().trim_start_matches("$ ").strip_prefix("make ")) {
                // Prose may begin a line with the word; a target is a single word that ends there or goes on with a variable.
                let target = command.split([' ', ';', '#']).next().unwrap_or_default();
                let is_command =
                    line.contains(&format!("`make {target}")) || line.trim_start_matches("$ ").starts_with("make ");
                if is_command && !targets.contains(target) {
                    problems.push(format!("{}:{number}: the Makefile has no target {target}", page.path));
                }
            }
        }
    }
    none("commands that do not exist", &problems);
}

#[test]
fn the_architecture_fits_its_page() {
    let lines = fs::read_to_string(repository().join("ARCHITECTURE.md")).expect("it can be read").lines().count();
    assert!(lines < 250, "ARCHITECTURE.md has {lines} lines: a map that long is not read");
}

fn markdown() -> Vec<File> {
    files(".", &[".md"])
}

/// Every `RT-nnnn` of a text.
fn codes(text: &str) -> BTreeSet<String> {
    text.match_indices("RT-")
        .filter_map(|(start, _)| text.get(start..start + 7))
        .filter(|code| code[3..].bytes().all(|byte| byte.is_ascii_digit()))
        .map(String::from)
        .collect()
}

/// The targets of the links of a page, with their lines. What stands in a block of code is no link.
fn links(page: &File) -> Vec<(usize, &str)> {
    let mut in_code = false;
    let mut found = Vec::new();
    for (number, line) in page.lines() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        if in_code {
            continue;
        }
        for (start, _) in line.match_indices("](") {
            let rest = &line[start + 2..];
            if let Some(end) = rest.find(')') {
                found.push((number, rest[..end].split(' ').next().unwrap_or_default()));
            }
        }
    }
    found
}

/// The anchor that a heading gets.
fn slug(heading: &str) -> String {
    heading
        .trim_start_matches('#')
        .trim()
        .to_lowercase()
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

#[test]
fn the_checks_can_fail() {
    assert_eq!(codes("see RT-0012, RT-12 and RT-00x1"), BTreeSet::from(["RT-0012".to_owned()]));
    assert_eq!(slug("## What it is, and why"), "what-it-is-and-why");
    let page = File { path: "x.md".into(), text: "a [b](c.md#d) and\n```\n[e](f)\n```\n".into() };
    assert_eq!(links(&page), vec![(1, "c.md#d")]);
}
