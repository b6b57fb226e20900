//! The new files of an application, made ready beside their places, and what is to be done in which order.

use std::{
    fs::{self, DirBuilder, File},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt, lchown, symlink},
    path::Path,
};

use super::{journal::Operation, plan::Planned, seen::Seen};
use crate::{
    contents::{self, Contents},
    error::WorkspaceError,
    manifest::Entry,
    path::TreePath,
};

/// Writes what will be put to slots of the stage.
pub(super) fn fill(
    stage: &Path,
    target: &Path,
    changes: Vec<Planned>,
    contents: &dyn Contents,
) -> Result<Vec<Operation>, WorkspaceError> {
    let failed = |error| WorkspaceError::writing(stage, error);
    let mut operations = Operations::default();
    for (slot, change) in changes.into_iter().enumerate() {
        operations.add(stage, target, slot, change, contents)?;
    }
    File::open(stage).and_then(|folder| folder.sync_all()).map_err(failed)?;
    Ok(operations.in_order())
}

/// Makes the folder of a stage, which nobody else can look into.
pub(super) fn make(stage: &Path) -> Result<(), WorkspaceError> {
    DirBuilder::new().mode(0o700).create(stage).map_err(|error| WorkspaceError::writing(stage, error))
}

#[derive(Default)]
struct Operations {
    removals: Vec<Operation>,
    folders_removed: Vec<Operation>,
    folders_made: Vec<Operation>,
    puts: Vec<Operation>,
    modes: Vec<Operation>,
}

impl Operations {
    fn add(
        &mut self,
        stage: &Path,
        target: &Path,
        slot: usize,
        change: Planned,
        contents: &dyn Contents,
    ) -> Result<(), WorkspaceError> {
        let Planned { path, observed, after } = change;
        let folder_now = observed.as_ref().filter(|seen| seen.is_folder()).map(|seen| seen.mode);
        match after {
            Some(Entry::Folder { mode }) => {
                match (folder_now, observed) {
                    (Some(now), _) => {
                        self.modes.push(Operation::SetMode { path, from: now, to: mode });
                        return Ok(());
                    }
                    (None, Some(observed)) => {
                        self.removals.push(Operation::Remove { path: path.clone(), observed, slot });
                    }
                    (None, None) => {}
                }
                if mode & 0o700 != 0o700 {
                    self.modes.push(Operation::SetMode { path: path.clone(), from: 0o700, to: mode });
                }
                self.folders_made.push(Operation::MakeFolder { path, mode });
            }
            Some(entry) => {
                let observed = match folder_now {
                    Some(mode) => {
                        self.folders_removed.push(Operation::RemoveFolder { path: path.clone(), mode });
                        None
                    }
                    None => observed,
                };
                let staged = put_aside(&stage.join(slot.to_string()), target, &path, &entry, contents)?;
                self.puts.push(Operation::Put { path, observed, staged, slot });
            }
            None => match (folder_now, observed) {
                (Some(mode), _) => self.folders_removed.push(Operation::RemoveFolder { path, mode }),
                (None, Some(observed)) => self.removals.push(Operation::Remove { path, observed, slot }),
                (None, None) => {}
            },
        }
        Ok(())
    }

    /// Nothing is in the way of what comes next.
    fn in_order(mut self) -> Vec<Operation> {
        self.folders_removed.reverse();
        self.modes.reverse();
        [self.removals, self.folders_removed, self.folders_made, self.puts, self.modes].concat()
    }
}

fn put_aside(
    slot: &Path,
    target: &Path,
    path: &TreePath,
    entry: &Entry,
    contents: &dyn Contents,
) -> Result<Seen, WorkspaceError> {
    let failed = |error| WorkspaceError::writing(slot, error);
    if let Entry::Link { target } = entry {
        symlink(target.as_path(), slot).map_err(failed)?;
    } else {
        contents::give(contents, entry, slot)?;
        File::open(slot).and_then(|file| file.sync_all()).map_err(failed)?;
    }
    keep_owner(&target.join(path.as_path()), slot).map_err(failed)?;
    Seen::at(slot).map_err(failed)?.ok_or_else(|| failed(io::ErrorKind::NotFound.into()))
}

/// A file that is replaced keeps its owner, where this process may give files away.
fn keep_owner(replaced: &Path, slot: &Path) -> io::Result<()> {
    let (Ok(before), now) = (fs::symlink_metadata(replaced), fs::symlink_metadata(slot)?) else { return Ok(()) };
    if (before.uid(), before.gid()) != (now.uid(), now.gid()) {
        match lchown(slot, Some(before.uid()), Some(before.gid())) {
            Err(error) if error.kind() != io::ErrorKind::PermissionDenied => return Err(error),
            _ => {}
        }
    }
    Ok(())
}
