//! Every workflow that ships, and every whole one that a page shows, is valid; and the commands that pages name exist.

use std::collections::BTreeSet;

use ratchet_tests::world::World;

use super::{files, none};

#[test]
fn every_workflow_is_valid() {
    let world = World::new();
    let mut texts: Vec<(String, String)> =
        files("workflows", &["workflow.yaml"]).into_iter().map(|file| (file.path, file.text)).collect();
    assert!(!texts.is_empty(), "there are reference workflows");
    for page in files(".", &[".md"]) {
        for (number, block) in blocks(&page.text, "yaml").into_iter().enumerate() {
            if block.starts_with("name:") {
                texts.push((format!("{}, workflow {}", page.path, number + 1), block));
            }
        }
    }
    let mut problems = Vec::new();
    for (place, text) in texts {
        let file = world.write("workflow.yaml", &text);
        let done = world.ratchet([std::ffi::OsStr::new("validate"), file.as_os_str()]);
        if done.code != 0 {
            problems.push(format!("{place}: exit code {}\n{}{}", done.code, done.stdout, done.stderr));
        }
    }
    none("workflows that are not valid", &problems);
}

#[test]
fn every_command_that_a_page_names_exists() {
    let help = World::new().ratchet(["--help"]).expect_code(0).stdout;
    let listed: Vec<&str> =
        help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty()).collect();
    let commands: BTreeSet<&str> = listed.iter().filter_map(|line| line.split_whitespace().next()).collect();
    assert!(commands.contains("run"), "{help}");
    let mut problems = Vec::new();
    for page in files(".", &[".md"]) {
        for (number, line) in page.lines() {
            let spans = line.split('`').skip(1).step_by(2).chain(line.strip_prefix("    "));
            for typed in spans.filter_map(|text| text.trim_start_matches("$ ").strip_prefix("ratchet ")) {
                let command = typed.split_whitespace().next().unwrap_or_default();
                let is_word = !command.is_empty() && command.chars().all(|c| c.is_ascii_lowercase());
                if is_word && !commands.contains(command) {
                    problems.push(format!("{}:{number}: ratchet has no command {command}", page.path));
                }
            }
        }
    }
    none("commands that do not exist", &problems);
}

/// The blocks of code of a language in a page.
fn blocks(page: &str, language: &str) -> Vec<String> {
    let fence = format!("```{language}");
    let mut found = Vec::new();
    let mut lines = page.lines();
    while lines.by_ref().any(|line| line == fence) {
        let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        found.push(block.join("\n") + "\n");
    }
    found
}

#[test]
fn blocks_are_found() {
    assert_eq!(blocks("a\n```yaml\nname: x\n```\n```\nno\n```\n```yaml\ny\n```\n", "yaml"), ["name: x\n", "y\n"]);
}
