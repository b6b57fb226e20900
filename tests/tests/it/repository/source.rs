//! Rules that the compiler and clippy do not know.

use super::{files, none};

/// Longest file of Rust that needs no reason, in lines.
const LINES_MAX: usize = 600;

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
        concat!("thread::sl", "eep("),
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

#[test]
fn nothing_names_the_machine_it_was_written_on() {
    let forbidden = [
        concat!("/ro", "ot/"),
        concat!("/wo", "rk/"),
        concat!("/Us", "ers/"),
        concat!("/ho", "me/"),
        concat!("../sha", "red"),
    ];
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
    all
}
