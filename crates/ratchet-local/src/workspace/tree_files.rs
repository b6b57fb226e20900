//! The files of a tree, as expressions read them: nothing is written or mounted for it.

use std::{
    io,
    path::PathBuf,
    sync::{Arc, OnceLock},
};

use ratchet_core::{ids::Digest, output::FileValue};
use ratchet_definition::files::{FileAccess, FileError};
use ratchet_workspace::{Change, ContentDigest, Entry, Layer, Mark, Stack, TreePath};

use super::{
    captured::Captured,
    files::inside,
    folder_digest::FolderDigest,
    views::{Files, RunFiles},
};

/// The files of a tree of a run.
pub(crate) struct TreeFiles {
    files: Files,
    run: Arc<RunFiles>,
    tree: ContentDigest,
    /// Put together when a file is asked for, which most steps never do.
    stack: OnceLock<Arc<Stack>>,
}

impl TreeFiles {
    /// The files of a tree.
    pub(crate) fn new(files: Files, run: Arc<RunFiles>, tree: ContentDigest) -> Self {
        Self { files, run, tree, stack: OnceLock::new() }
    }

    fn stack(&self, path: &str) -> Result<&Arc<Stack>, FileError> {
        if self.stack.get().is_none() {
            let stack = self.files.stack(&self.run, self.tree).map_err(|error| unreadable(path, &error))?;
            let _ = self.stack.set(stack);
        }
        self.stack.get().ok_or(FileError::Unavailable)
    }

    /// Where a path leads, relative to the root; the root itself is empty.
    fn resolve(&self, path: &str) -> Result<PathBuf, FileError> {
        let clean = inside(&self.run.source.directory, path)?;
        let outside = || FileError::Outside(path.to_owned());
        match self.stack(path)?.manifest().resolve(&self.run.source.directory, &clean) {
            Ok(found) => found.ok_or_else(outside),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                Err(FileError::NotFound(path.to_owned()))
            }
            Err(error) => Err(unreadable(path, &error)),
        }
    }

    /// What lies at a path; nothing is told of the root.
    fn entry(&self, path: &str) -> Result<Option<(TreePath, &Entry)>, FileError> {
        let found = self.resolve(path)?;
        if found.as_os_str().is_empty() {
            return Ok(None);
        }
        let tree_path = TreePath::new(&found).map_err(|_| FileError::NotFound(path.to_owned()))?;
        let entry = self.stack(path)?.manifest().get(&tree_path);
        entry.map(|entry| Some((tree_path, entry))).ok_or_else(|| FileError::NotFound(path.to_owned()))
    }

    /// The layer that writes a file, with the folders above it, and where that is. Nothing is written through a link that leads out.
    pub(crate) fn writing(&self, path: &str, digest: ContentDigest, size: u64) -> Result<(Layer, String), FileError> {
        let clean = inside(&self.run.source.directory, path)?;
        if self.run.outside.hides(&clean) {
            return Err(FileError::Outside(path.to_owned()));
        }
        let outside = || FileError::Outside(path.to_owned());
        let (Some(folder), Some(name)) = (clean.parent(), clean.file_name()) else { return Err(outside()) };
        let manifest = self.stack(path)?.manifest();
        let mut layer = Layer::default();
        let mut below = PathBuf::new();
        for part in folder {
            below.push(part);
            match manifest.resolve(&self.run.source.directory, &below) {
                Ok(found) => below = found.ok_or_else(outside)?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    let made = TreePath::new(&below).map_err(|error| unreadable(path, &error))?;
                    let after = Some(Entry::Folder { mode: 0o755 });
                    layer.insert(made, Change { before: None, after, mark: Mark::Plain });
                }
                Err(error) => return Err(unreadable(path, &error)),
            }
        }
        let target = TreePath::new(below.join(name)).map_err(|error| unreadable(path, &error))?;
        let before = manifest.get(&target).cloned();
        let mode = match &before {
            Some(Entry::Folder { .. }) => return Err(unreadable(path, &io::Error::from(io::ErrorKind::IsADirectory))),
            Some(Entry::File { mode, .. }) => *mode,
            Some(Entry::Link { .. }) | None => 0o644,
        };
        let after = Some(Entry::File { mode, size, digest });
        layer.insert(target, Change { before, after, mark: Mark::Plain });
        Ok((layer, clean.to_string_lossy().into_owned()))
    }
}

fn unreadable(path: &str, error: &dyn std::fmt::Display) -> FileError {
    FileError::Unreadable { path: path.to_owned(), reason: error.to_string() }
}

impl FileAccess for TreeFiles {
    fn read_captured(&self, file: &FileValue) -> Result<Vec<u8>, FileError> {
        Captured(self.files.state()).read(file)
    }

    fn path_of_captured(&self, file: &FileValue) -> Result<String, FileError> {
        let now = self.entry(&file.path).ok().flatten().and_then(|(_, entry)| entry.content());
        if now.is_some_and(|(digest, _)| digest.to_core() == file.content.digest) {
            return Ok(file.path.clone());
        }
        Captured(self.files.state()).path(file)
    }

    fn read(&self, path: &str) -> Result<Vec<u8>, FileError> {
        match self.entry(path)? {
            Some((found, entry @ Entry::File { .. })) => {
                let read = self.stack(path)?.read(&found, entry, self.files.blobs());
                read.map_err(|error| unreadable(path, &error))
            }
            _ => Err(unreadable(path, &"it is no file")),
        }
    }

    fn digest(&self, path: &str) -> Result<Option<Digest>, FileError> {
        let found = match self.entry(path) {
            Err(FileError::NotFound(_)) => return Ok(None),
            other => other?,
        };
        let manifest = self.stack(path)?.manifest();
        Ok(match found {
            None => Some(FolderDigest::of(manifest.iter().map(|(path, entry)| (path.clone(), entry)))),
            Some((_, entry @ Entry::File { .. })) => entry.content().map(|(digest, _)| digest.to_core()),
            Some((folder, Entry::Folder { .. })) => {
                let below = manifest.below(&folder).filter_map(|(path, entry)| {
                    let rest = path.as_path().strip_prefix(folder.as_path()).ok()?;
                    Some((TreePath::new(rest).ok()?, entry))
                });
                Some(FolderDigest::of(below))
            }
            Some((_, Entry::Link { .. })) => None,
        })
    }

    fn glob(&self, pattern: &str) -> Result<Vec<String>, FileError> {
        let (matcher, asks_for_git) = super::files::matcher(pattern)?;
        let manifest = self.stack(pattern)?.manifest();
        let is_file = |path: &TreePath, entry: &Entry| match entry {
            Entry::File { .. } => true,
            Entry::Folder { .. } => false,
            // A link counts where it leads to a file of the workspace.
            Entry::Link { .. } => path.as_path().to_str().is_some_and(|text| {
                self.entry(text).is_ok_and(|found| found.is_some_and(|(_, entry)| entry.content().is_some()))
            }),
        };
        let mut found: Vec<String> = manifest
            .iter()
            .filter(|(path, _)| (asks_for_git || !path.is_git()) && matcher.is_match(path.as_path()))
            .filter(|(path, entry)| is_file(path, entry))
            .filter_map(|(path, _)| path.as_path().to_str().map(str::to_owned))
            .collect();
        found.sort();
        Ok(found)
    }
}
