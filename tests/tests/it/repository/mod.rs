//! Checks of the repository itself: that its map, its pages and its rules say what is so.

mod dependencies;
mod documents;
mod policies;
mod source;
mod workflows;

use std::{
    fs,
    path::{Path, PathBuf},
};

use ratchet_tests::repository;

/// A text file of the repository.
struct File {
    /// Relative to the root, with `/`.
    path: String,
    text: String,
}

impl File {
    /// Its lines with their numbers, from 1.
    fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(index, line)| (index + 1, line))
    }
}

/// Every text file below a folder whose name ends so, in the order of their paths.
fn files(folder: &str, endings: &[&str]) -> Vec<File> {
    let root = repository();
    let mut found = Vec::new();
    walk(&root.join(folder), &mut found);
    found.sort();
    found
        .into_iter()
        .filter(|path| endings.iter().any(|ending| path.to_string_lossy().ends_with(ending)))
        .filter_map(|path| {
            let text = fs::read_to_string(&path).ok()?;
            let path = path.strip_prefix(&root).ok()?.to_string_lossy().replace('\\', "/");
            Some(File { path, text })
        })
        .collect()
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    const MADE_BY_TOOLS: [&str; 6] = ["target", ".git", ".venv", ".ratchet", "__pycache__", ".pytest_cache"];
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        if MADE_BY_TOOLS.iter().any(|name| entry.file_name() == *name) {
            continue;
        }
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => walk(&path, found),
            Ok(kind) if kind.is_file() => found.push(path),
            _ => {}
        }
    }
}

/// Fails with all that is wrong at once.
fn none(what: &str, problems: &[String]) {
    assert!(problems.is_empty(), "{what}:\n  {}", problems.join("\n  "));
}
