//! The files of a tree, as expressions read them: nothing is written or mounted for it.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use ratchet_core::{ids::Digest, output::FileValue};
use ratchet_definition::files::{FileAccess, FileError};
use ratchet_workspace::{
    Change, ContentDigest, Contents, Entry, Layer, Mark, Stack, TreePath, WorkspaceError as FilesError,
};

use crate::{
    captured::CapturedFiles,
    confined::{content_digest, inside, matcher},
    folder_digest::FolderDigest,
};

/// Where the trees of a run are.
pub trait TreeSource: Send + Sync {
    /// The path at which steps find the files: absolute paths below it, and absolute links, name files of the tree.
    fn directory(&self) -> &Path;

    /// Whether a path is no part of the run's files.
    fn hides(&self, path: &Path) -> bool;

    /// What is there at a tree.
    fn stack(&self, tree: ContentDigest) -> Result<Arc<Stack>, FilesError>;

    /// The contents of the files.
    fn contents(&self) -> &dyn Contents;

    /// The contents of files that steps gave.
    fn captured(&self) -> &dyn CapturedFiles;

    /// The folder of the workflow's file, where it is on this machine.
    fn definitions(&self) -> Option<&Path> {
        None
    }
}

/// The files of a tree of a run.
pub struct TreeFiles<S> {
    source: S,
    tree: ContentDigest,
    /// Put together when a file is asked for, which most steps never do.
    stack: OnceLock<Arc<Stack>>,
}

impl<S: TreeSource> TreeFiles<S> {
    /// The files of a tree.
    pub fn new(source: S, tree: ContentDigest) -> Self {
        Self { source, tree, stack: OnceLock::new() }
    }

    /// The tree.
    pub(crate) fn tree(&self) -> ContentDigest {
        self.tree
    }

    fn stack(&self, path: &str) -> Result<&Arc<Stack>, FileError> {
        if self.stack.get().is_none() {
            let stack = self.source.stack(self.tree).map_err(|error| unreadable(path, &error))?;
            let _ = self.stack.set(stack);
        }
        self.stack.get().ok_or(FileError::Unavailable)
    }

    /// Where a path leads, relative to the root; the root itself is empty.
    fn resolve(&self, path: &str) -> Result<PathBuf, FileError> {
        let clean = inside(self.source.directory(), path)?;
        let outside = || FileError::Outside(path.to_owned());
        match self.stack(path)?.manifest().resolve(self.source.directory(), &clean) {
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
    pub fn writing(&self, path: &str, digest: ContentDigest, size: u64) -> Result<(Layer, String), FileError> {
        let clean = inside(self.source.directory(), path)?;
        if self.source.hides(&clean) {
            return Err(FileError::Outside(path.to_owned()));
        }
        let outside = || FileError::Outside(path.to_owned());
        let (Some(folder), Some(name)) = (clean.parent(), clean.file_name()) else { return Err(outside()) };
        let manifest = self.stack(path)?.manifest();
        let mut layer = Layer::default();
        let mut below = PathBuf::new();
        for part in folder {
            below.push(part);
            match manifest.resolve(self.source.directory(), &below) {
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

impl<S: TreeSource> FileAccess for TreeFiles<S> {
    fn read_captured(&self, file: &FileValue) -> Result<Vec<u8>, FileError> {
        self.source.captured().read(file)
    }

    fn path_of_captured(&self, file: &FileValue) -> Result<String, FileError> {
        let now = self.entry(&file.path).ok().flatten().and_then(|(_, entry)| entry.content());
        if now.is_some_and(|(digest, _)| digest.to_core() == file.content.digest) {
            return Ok(file.path.clone());
        }
        self.source.captured().path(file)
    }

    fn read(&self, path: &str) -> Result<Vec<u8>, FileError> {
        match self.entry(path)? {
            Some((found, entry @ Entry::File { .. })) => {
                let read = self.stack(path)?.read(&found, entry, self.source.contents());
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
        let (matcher, asks_for_git) = matcher(pattern)?;
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

    fn program(&self, path: &str) -> Option<Digest> {
        let program = self.source.definitions()?.join(path);
        match program.strip_prefix(self.source.directory()) {
            Ok(inside) => inside.to_str().and_then(|inside| self.digest(inside).ok().flatten()),
            Err(_) => content_digest(&program),
        }
    }
}
