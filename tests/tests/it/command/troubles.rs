//! The page about what goes wrong: every session on it goes so.

use std::fs;

use ratchet_tests::{ratchet, repository, world::World};

/// What stands in a section of the page.
enum Block {
    /// The workflow from here on.
    Workflow(String),
    /// A command, and what its words must hold: parts of lines, in this order, and its exit code.
    Session { line: usize, command: String, told: Vec<String>, code: i32 },
}

/// The sections that have blocks.
fn sections() -> Vec<Vec<Block>> {
    let page = fs::read_to_string(repository().join("docs/troubleshooting.md")).expect("the page");
    let mut sections: Vec<Vec<Block>> = vec![Vec::new()];
    let mut kind = None;
    for (number, line) in page.lines().enumerate() {
        let blocks = sections.last_mut().expect("there is one");
        match (kind, line.strip_prefix("```")) {
            (None, Some("yaml" | "yaml wrong")) => {
                blocks.push(Block::Workflow(String::new()));
                kind = Some("yaml");
            }
            (None, Some(other)) => {
                assert_eq!(other, "console", "line {}", number + 1);
                kind = Some("console");
            }
            (Some(_), Some(_)) => kind = None,
            (Some("yaml"), None) => {
                if let Some(Block::Workflow(text)) = blocks.last_mut() {
                    text.push_str(line);
                    text.push('\n');
                }
            }
            (Some(_), None) => match (line.strip_prefix("$ "), blocks.last_mut()) {
                (Some(command), _) => {
                    let (command, told) = (command.to_owned(), Vec::new());
                    blocks.push(Block::Session { line: number + 1, command, told, code: 0 });
                }
                (None, Some(Block::Session { told, code, .. })) => match line.strip_prefix("exit code ") {
                    Some(expected) => *code = expected.parse().expect("a number"),
                    None => told.push(line.to_owned()),
                },
                (None, _) => panic!("line {}: what does it answer?", number + 1),
            },
            (None, None) if line.starts_with("## ") => sections.push(Vec::new()),
            (None, None) => {}
        }
    }
    sections.retain(|blocks| !blocks.is_empty());
    sections
}

#[test]
fn every_session_of_the_page_goes_so() {
    let sections = sections();
    assert!(sections.len() >= 8, "{}", sections.len());
    for blocks in sections {
        let mut world = World::new();
        world.add_programs(ratchet().parent().expect("a folder").to_owned());
        for block in blocks {
            match block {
                Block::Workflow(text) => {
                    world.write("workflow.yaml", &text);
                }
                Block::Session { line, command, told, code } => {
                    let done = world.program("bash").args(["-c", &command]).output().expect("bash runs");
                    let said =
                        [done.stdout, done.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
                    let place = format!("docs/troubleshooting.md:{line}: {command}\n{said}");
                    assert_eq!(done.status.code(), Some(code), "{place}");
                    let mut rest = said.as_str();
                    for part in told {
                        let found = rest.find(&part).unwrap_or_else(|| panic!("{part}: not in its place\n{place}"));
                        rest = &rest[found + part.len()..];
                    }
                }
            }
        }
    }
}
