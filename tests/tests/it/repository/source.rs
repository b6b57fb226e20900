//! Rules that the compiler and clippy do not know.

use ratchet_tests::repository;

use super::{files, none};

/// Longest file of Rust that needs no reason, in lines.
const LINES_MAX: usize = 620;

/// Longer files, each with the reason why its parts belong together.
const LONG_FILES: [(&str, &str); 0] = [];

#[test]
fn files_are_short() {
    let mut problems: Vec<String> = rust()
        .iter()
        .filter(|file| file.text.lines().count() > LINES_MAX)
        .filter(|file| LONG_FILES.iter().all(|(path, _)| *path != file.path))
        .map(|file| format!("{}: {} lines", file.path, file.text.lines().count()))
        .collect();
    for (path, reason) in LONG_FILES {
        let is_long = rust().iter().any(|file| file.path == path && file.text.lines().count() > LINES_MAX);
        if !is_long {
            problems.push(format!("{path} is short now and needs no reason ({reason})"));
        }
    }
    none("files of more than one noun", &problems);
}

#[test]
fn nothing_is_left_undone_or_silenced() {
    // Joined here, so that this file does not accuse itself.
    let forbidden = [
        concat!("to", "do!("),
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("unimple", "mented!("),
        concat!("#[ig", "nore"),
        concat!("#[al", "low("),
        concat!("#![al", "low("),
    ];
    let problems: Vec<String> = rust()
        .iter()
        .flat_map(|file| {
            file.lines()
                .filter(|(_, line)| forbidden.iter().any(|word| line.contains(word)))
                .map(|(number, line)| format!("{}:{number}: {}", file.path, line.trim()))
                .collect::<Vec<_>>()
        })
        .collect();
    none("finish it, or say `#[expect(…, reason = …)]`", &problems);
}

/// A test that waits for a time passes on a fast machine and fails on a slow one.
#[test]
fn tests_do_not_sleep() {
    let word = concat!("thread::sl", "eep(");
    let mut problems = Vec::new();
    for file in rust() {
        let is_test_file = file.path.starts_with("tests/") || file.path.ends_with("tests.rs");
        let first = file.lines().find(|(_, line)| line.starts_with("#[cfg(test)]")).map(|(number, _)| number);
        let Some(first) = (if is_test_file { Some(0) } else { first }) else { continue };
        let found = file.lines().filter(|(number, line)| *number > first && line.contains(word));
        problems.extend(found.map(|(number, line)| format!("{}:{number}: {}", file.path, line.trim())));
    }
    none("tests that sleep", &problems);
}

#[test]
fn nothing_names_the_machine_it_was_written_on() {
    let here = repository().display().to_string();
    let forbidden =
        [concat!("/ro", "ot/"), concat!("/wo", "rk/"), concat!("/Us", "ers/"), concat!("../sha", "red"), here.as_str()];
    let endings =
        [".rs", ".md", ".toml", ".yaml", ".yml", ".json", ".jsonl", ".py", ".sh", "Makefile", "run", ".snap", ".svg"];
    let problems: Vec<String> = files(".", &endings)
        .iter()
        .flat_map(|file| {
            file.lines()
                .filter(|(_, line)| forbidden.iter().any(|word| line.contains(word)))
                .map(|(number, line)| format!("{}:{number}: {}", file.path, line.trim()))
                .collect::<Vec<_>>()
        })
        .collect();
    none("paths of one machine", &problems);
}

fn rust() -> Vec<super::File> {
    let mut all = files("crates", &[".rs"]);
    all.extend(files("tests", &[".rs"]));
    all.extend(files("benches", &[".rs"]));
    all.extend(files("functions", &[".rs"]));
    all
}
