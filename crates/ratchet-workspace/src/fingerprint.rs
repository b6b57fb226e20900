//! What the files of a tree are, so far as a process can tell: what a step's result depends on that says nothing of what it reads.

use std::io::{self, Write};

use crate::{
    contents::Contents,
    digest::{ContentDigest, Hashing},
    error::WorkspaceError,
    git_index,
    manifest::{Entry, Manifest},
    marks::is_leaving,
    path::TreePath,
    tree::Trees,
};

/// What counts of a repository's own folder: where it stands, and what makes its commands do what they do. Objects are named by what refers to them, logs tell the past.
const COUNTED_OF_GIT: [&[u8]; 7] = [b"HEAD", b"config", b"hooks", b"index", b"info", b"packed-refs", b"refs"];

impl Trees {
    /// The same for trees that differ in nothing but what tools leave behind, and in what git notes for itself. `contents` are those of the tree's files.
    pub fn content(&self, tree: ContentDigest, contents: &dyn Contents) -> Result<ContentDigest, WorkspaceError> {
        let failed =
            |error: io::Error| WorkspaceError::Damaged { what: format!("the tree {tree}"), reason: error.to_string() };
        of_manifest(&self.manifest(tree)?, contents).map_err(failed)
    }
}

fn of_manifest(manifest: &Manifest, contents: &dyn Contents) -> io::Result<ContentDigest> {
    let mut out = Hashing::new(io::sink());
    for (path, entry) in manifest {
        match place(path) {
            Place::Apart => {}
            Place::Index => add_index(&mut out, path, entry, contents)?,
            Place::Counted => add(&mut out, path, entry)?,
        }
    }
    Ok(out.finish().0)
}

enum Place {
    /// It says what the files are.
    Counted,
    /// It is git's index, in which only some of what it says counts.
    Index,
    /// It does not count.
    Apart,
}

fn place(path: &TreePath) -> Place {
    if path.as_path().iter().any(is_leaving) {
        return Place::Apart;
    }
    let parts: Vec<&[u8]> = path.as_bytes().split(|byte| *byte == b'/').collect();
    let Some(git) = parts.iter().position(|part| *part == b".git") else { return Place::Counted };
    match &parts[git + 1..] {
        [] => Place::Counted,
        [b"index"] => Place::Index,
        [first, ..] if COUNTED_OF_GIT.contains(first) => Place::Counted,
        _ => Place::Apart,
    }
}

/// One entry. Lengths stand before texts, so that no two trees come to the same bytes.
fn add(out: &mut impl Write, path: &TreePath, entry: &Entry) -> io::Result<()> {
    text(out, path.as_bytes())?;
    match entry.portable() {
        Entry::Folder { .. } => out.write_all(b"d"),
        Entry::File { mode, digest, .. } => {
            out.write_all(if mode & 0o100 == 0 { b"f" } else { b"x" })?;
            out.write_all(&digest.0)
        }
        Entry::Link { target } => {
            out.write_all(b"l")?;
            text(out, target.as_bytes())
        }
    }
}

/// An index, less what it remembers of the files' stamps.
fn add_index(out: &mut impl Write, path: &TreePath, entry: &Entry, contents: &dyn Contents) -> io::Result<()> {
    let Some((digest, _)) = entry.content() else { return add(out, path, entry) };
    let Some(entries) = git_index::parse(&contents.read(digest)?) else { return add(out, path, entry) };
    text(out, path.as_bytes())?;
    out.write_all(b"i")?;
    out.write_all(&(entries.len() as u64).to_be_bytes())?;
    for ((path, stage), (mode, object)) in entries {
        text(out, &path)?;
        out.write_all(&stage.to_be_bytes())?;
        out.write_all(&mode.to_be_bytes())?;
        text(out, &object)?;
    }
    Ok(())
}

fn text(out: &mut impl Write, text: &[u8]) -> io::Result<()> {
    out.write_all(&(text.len() as u64).to_be_bytes())?;
    out.write_all(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{self, Memory};

    fn content(tree: &testing::Tree) -> ContentDigest {
        of_manifest(&testing::manifest(tree), &Memory::default()).unwrap()
    }

    proptest! {
        #![proptest_config(testing::cases(256))]

        #[test]
        fn any_edit_that_a_process_can_see_changes_it(tree in testing::trees(), edits in testing::edits()) {
            let mut after = tree.clone();
            for edit in &edits {
                edit.make(&mut after);
            }
            let seen = |tree: &testing::Tree| -> Vec<(TreePath, Entry)> {
                let manifest = testing::manifest(tree);
                let counted = manifest.iter().filter(|(path, _)| !matches!(place(path), Place::Apart));
                counted.map(|(path, entry)| (path.clone(), entry.portable())).collect()
            };
            prop_assert_eq!(content(&tree) == content(&after), seen(&tree) == seen(&after));
        }
    }

    #[test]
    fn what_git_notes_for_itself_does_not_count() {
        for (path, counts) in [
            (".git", true),
            (".git/HEAD", true),
            (".git/refs/heads/main", true),
            (".git/hooks/pre-commit", true),
            (".git/objects/ab/cd", false),
            (".git/logs/HEAD", false),
            (".git/COMMIT_EDITMSG", false),
            ("vendored/.git/config", true),
            ("vendored/.git/logs/HEAD", false),
            ("objects/file", true),
            ("src/__pycache__/a.pyc", false),
            (".coverage", false),
        ] {
            assert_eq!(!matches!(place(&TreePath::new(path).unwrap()), Place::Apart), counts, "{path}");
        }
    }
}
