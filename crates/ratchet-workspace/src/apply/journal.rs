//! An application on its way: written before the first file is touched, so that whoever comes after a crash finishes it or takes it back.

use std::{
    collections::BTreeSet,
    fs::{self, File, Permissions},
    io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use serde::{Deserialize, Serialize};

use super::{
    git::GitPlan,
    plan::Conflict,
    seen::{Seen, is_absent},
};
use crate::{disk, error::WorkspaceError, path::TreePath};

/// What is done to the user's directory, in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Journal {
    /// The run.
    pub name: String,
    /// The user's directory.
    pub target: PathBuf,
    /// The folder in it where new files wait and replaced ones are kept.
    pub stage: PathBuf,
    /// How far it is.
    pub phase: Phase,
    /// What is done.
    pub operations: Vec<Operation>,
    /// Whether something of the user's lies in the stage that has no other place.
    pub keeps_stage: bool,
    /// What is done to the repository once the files are there.
    pub git: Option<GitPlan>,
}

/// How far an application is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Phase {
    /// The new files are being written; nothing of the user's is touched.
    Staging,
    /// The operations are being done: a crash is followed by doing the rest.
    Applying,
    /// Something stood in the way: a crash is followed by undoing the rest.
    Undoing(Vec<Conflict>),
}

/// One thing that is done. Doing it again changes nothing, and so does undoing it again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Operation {
    /// A file or link is moved into a slot of the stage.
    Remove {
        /// Which.
        path: TreePath,
        /// What must lie there.
        observed: Seen,
        /// The slot's number.
        slot: usize,
    },
    /// A folder is removed where nothing is left in it.
    RemoveFolder {
        /// Which.
        path: TreePath,
        /// Its permissions.
        mode: u32,
    },
    /// A folder is made.
    MakeFolder {
        /// Which.
        path: TreePath,
        /// Its permissions.
        mode: u32,
    },
    /// What waits in a slot of the stage takes a path, and what was there takes the slot.
    Put {
        /// Which.
        path: TreePath,
        /// What must lie there.
        observed: Option<Seen>,
        /// What waits in the slot.
        staged: Seen,
        /// The slot's number.
        slot: usize,
    },
    /// A folder's permissions change.
    SetMode {
        /// Which.
        path: TreePath,
        /// What they were.
        from: u32,
        /// What they will be.
        to: u32,
    },
}

impl Operation {
    /// The path that it is about.
    pub(super) fn path(&self) -> &TreePath {
        match self {
            Self::Remove { path, .. }
            | Self::RemoveFolder { path, .. }
            | Self::MakeFolder { path, .. }
            | Self::Put { path, .. }
            | Self::SetMode { path, .. } => path,
        }
    }
}

/// What came of doing the operations.
pub(super) enum Done {
    /// All of them.
    All,
    /// None: something stood in the way.
    None(Vec<Conflict>),
}

impl Journal {
    /// Reads a journal, where there is one.
    pub(super) fn load(path: &Path) -> Result<Option<Self>, WorkspaceError> {
        match fs::read(path) {
            Ok(text) => serde_json::from_slice(&text).map(Some).map_err(|error| WorkspaceError::Damaged {
                what: path.display().to_string(),
                reason: error.to_string(),
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(WorkspaceError::reading(path, error)),
        }
    }

    /// Writes it, whole or not at all.
    pub(super) fn save(&self, path: &Path) -> Result<(), WorkspaceError> {
        let refused = |source| WorkspaceError::writing(path, source);
        disk::write_whole(path, &serde_json::to_vec(self).map_err(|error| refused(error.into()))?).map_err(refused)
    }

    /// Does what is not done yet. Where something stands in the way, or the system refuses, all is undone.
    pub(super) fn perform(&mut self, file: &Path) -> Result<Done, WorkspaceError> {
        if let Phase::Undoing(conflicts) = self.phase.clone() {
            return self.take_back(conflicts);
        }
        for operation in &self.operations {
            let in_the_way = match self.perform_one(operation) {
                Ok(None) => continue,
                Ok(Some(reason)) => Ok(vec![Conflict::new(operation.path(), reason)]),
                Err(error) => Err(WorkspaceError::writing(&self.target.join(operation.path().as_path()), error)),
            };
            let conflicts = in_the_way.as_ref().map_or_else(|_| Vec::new(), Clone::clone);
            self.phase = Phase::Undoing(conflicts.clone());
            self.save(file)?;
            let undone = self.take_back(conflicts)?;
            return in_the_way.map(|_| undone);
        }
        self.sync().map_err(|error| WorkspaceError::writing(&self.target, error))?;
        Ok(Done::All)
    }

    fn take_back(&mut self, mut conflicts: Vec<Conflict>) -> Result<Done, WorkspaceError> {
        let displaced = self.undo()?;
        self.keeps_stage = !displaced.is_empty();
        conflicts.extend(displaced);
        Ok(Done::None(conflicts))
    }

    /// Forgets an application of which nothing is left to do or to undo.
    pub(super) fn abandon(&self, file: &Path) -> Result<(), WorkspaceError> {
        if let Some(git) = &self.git {
            git.abandon()?;
        }
        self.clear(file)
    }

    /// Removes the stage with all that was replaced.
    pub(super) fn clear(&self, file: &Path) -> Result<(), WorkspaceError> {
        if !self.keeps_stage {
            disk::remove_tree(&self.stage).map_err(|error| WorkspaceError::writing(&self.stage, error))?;
        }
        match fs::remove_file(file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(WorkspaceError::writing(file, error)),
            _ => Ok(()),
        }
    }

    fn slot(&self, number: usize) -> PathBuf {
        self.stage.join(number.to_string())
    }

    /// Whether the user put a link above a path: what lies behind it is none of the application's.
    fn is_behind_link(&self, path: &TreePath) -> io::Result<bool> {
        for ancestor in path.ancestors() {
            match self.target.join(ancestor.as_path()).symlink_metadata() {
                Ok(metadata) if metadata.is_symlink() => return Ok(true),
                Err(error) if !is_absent(&error) => return Err(error),
                _ => {}
            }
        }
        Ok(false)
    }

    fn perform_one(&self, operation: &Operation) -> io::Result<Option<&'static str>> {
        let target = self.target.join(operation.path().as_path());
        let is_done = matches!(operation, Operation::Remove { slot, .. } if Seen::at(&self.slot(*slot))?.is_some());
        if !is_done && self.is_behind_link(operation.path())? {
            return Ok(Some("lies in a folder that was replaced"));
        }
        match operation {
            Operation::Remove { observed, slot, .. } => {
                let kept = self.slot(*slot);
                if Seen::at(&kept)?.is_some() {
                    return Ok(None);
                }
                match Seen::at(&target)? {
                    None => return Ok(None),
                    Some(now) if !now.is(observed) => return Ok(Some("was changed")),
                    Some(_) => {}
                }
                rename(&target, &kept, RenameFlags::NOREPLACE)?;
                // Looked at again where nobody can change it under our hands.
                if Seen::at(&kept)?.is_some_and(|kept| kept.is(observed)) {
                    return Ok(None);
                }
                rename(&kept, &target, RenameFlags::NOREPLACE)?;
                Ok(Some("was changed"))
            }
            Operation::RemoveFolder { .. } => match fs::remove_dir(&target) {
                Err(error) if !is_absent(&error) && error.kind() != io::ErrorKind::DirectoryNotEmpty => Err(error),
                _ => Ok(None),
            },
            Operation::MakeFolder { mode, .. } => match fs::create_dir(&target) {
                Ok(()) => fs::set_permissions(&target, Permissions::from_mode(mode | 0o700)).map(|()| None),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    Ok((!Seen::at(&target)?.is_some_and(|seen| seen.is_folder())).then_some("was created"))
                }
                Err(error) => Err(error),
            },
            Operation::Put { observed, staged, slot, .. } => self.put(&target, observed.as_ref(), staged, *slot),
            Operation::SetMode { to, .. } => set_mode(&target, *to),
        }
    }

    fn put(
        &self,
        target: &Path,
        observed: Option<&Seen>,
        staged: &Seen,
        slot: usize,
    ) -> io::Result<Option<&'static str>> {
        let waiting = self.slot(slot);
        settle_exchange(&waiting, target)?;
        let now = Seen::at(target)?;
        if now.as_ref().is_some_and(|now| now.stamp.inode == staged.stamp.inode) {
            return Ok(None);
        }
        match (observed, now) {
            (None, None) => match rename(&waiting, target, RenameFlags::NOREPLACE) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(Some("was created")),
                other => other.map(|()| None),
            },
            (None, Some(_)) => Ok(Some("was created")),
            (Some(_), None) => Ok(Some("was removed")),
            (Some(observed), Some(now)) if !now.is(observed) => Ok(Some("was changed")),
            (Some(observed), Some(_)) => {
                rename(&waiting, target, RenameFlags::EXCHANGE)?;
                // What was replaced lies in the slot now: it is looked at again where nobody can change it under our hands.
                if Seen::at(&waiting)?.is_some_and(|replaced| replaced.is(observed)) {
                    return Ok(None);
                }
                rename(&waiting, target, RenameFlags::EXCHANGE)?;
                Ok(Some("was changed"))
            }
        }
    }

    /// Takes back what was done. Something of the user's whose place the user has taken meanwhile cannot go back: it is told, and stays in the stage.
    fn undo(&self) -> Result<Vec<Conflict>, WorkspaceError> {
        let mut displaced = Vec::new();
        for operation in self.operations.iter().rev() {
            let target = self.target.join(operation.path().as_path());
            match self.undo_one(operation, &target) {
                Ok(None) => {}
                Ok(Some(slot)) => {
                    let reason = format!("could not be put back and lies in {}", self.slot(slot).display());
                    displaced.push(Conflict::new(operation.path(), &reason));
                }
                Err(error) => return Err(WorkspaceError::writing(&target, error)),
            }
        }
        self.sync().map_err(|error| WorkspaceError::writing(&self.target, error))?;
        Ok(displaced)
    }

    /// Takes one thing back, or says in which slot the user's lies that has no place any more.
    fn undo_one(&self, operation: &Operation, target: &Path) -> io::Result<Option<usize>> {
        let is_behind_link = self.is_behind_link(operation.path())?;
        match operation {
            Operation::Remove { slot, .. } => {
                let kept = self.slot(*slot);
                if Seen::at(&kept)?.is_none() {
                    return Ok(None);
                }
                if is_behind_link {
                    return Ok(Some(*slot));
                }
                match rename(&kept, target, RenameFlags::NOREPLACE) {
                    Err(error) if is_taken(&error) => Ok(Some(*slot)),
                    other => other.map(|()| None),
                }
            }
            // Either nothing of it was done yet, or it has lost its place: the folder was empty.
            Operation::RemoveFolder { .. } | Operation::MakeFolder { .. } | Operation::SetMode { .. }
                if is_behind_link =>
            {
                Ok(None)
            }
            Operation::RemoveFolder { mode, .. } => match fs::create_dir(target) {
                Ok(()) => fs::set_permissions(target, Permissions::from_mode(*mode)).map(|()| None),
                // It was empty, so nothing is lost where something else has its place.
                Err(error) if is_taken(&error) => Ok(None),
                Err(error) => Err(error),
            },
            Operation::MakeFolder { .. } => match fs::remove_dir(target) {
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(error),
                _ => Ok(None),
            },
            Operation::Put { observed, staged, slot, .. } => {
                if !is_behind_link {
                    settle_exchange(&self.slot(*slot), target)?;
                }
                let ours = !is_behind_link && Seen::at(target)?.is_some_and(|now| now.is(staged));
                match (ours, observed) {
                    // Where it is not ours, what was there before is in the slot only if it was exchanged.
                    (false, Some(observed)) => {
                        Ok(Seen::at(&self.slot(*slot))?.filter(|kept| kept.is(observed)).map(|_| *slot))
                    }
                    (false, None) => Ok(None),
                    (true, Some(_)) => rename(&self.slot(*slot), target, RenameFlags::EXCHANGE).map(|()| None),
                    (true, None) => rename(target, &self.slot(*slot), RenameFlags::NOREPLACE).map(|()| None),
                }
            }
            Operation::SetMode { from, .. } => set_mode(target, *from).map(|_| None),
        }
    }

    /// What was renamed survives a power loss before the journal goes.
    fn sync(&self) -> io::Result<()> {
        let folders: BTreeSet<PathBuf> = self
            .operations
            .iter()
            .filter_map(|operation| self.target.join(operation.path().as_path()).parent().map(Path::to_owned))
            .collect();
        for folder in folders {
            match File::open(&folder) {
                Ok(folder) => folder.sync_all()?,
                // The folder is gone, or a file or a link took its place.
                Err(error) if is_absent(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Whether something else has a place, or the place of a folder above it.
fn is_taken(error: &io::Error) -> bool {
    is_absent(error) || error.kind() == io::ErrorKind::AlreadyExists
}

fn set_mode(path: &Path, mode: u32) -> io::Result<Option<&'static str>> {
    match Seen::at(path)? {
        Some(item) if item.is_folder() => fs::set_permissions(path, Permissions::from_mode(mode)).map(|()| None),
        _ => Ok(Some("was replaced")),
    }
}

fn rename(from: &Path, to: &Path, flags: RenameFlags) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, flags) {
        // A file system that cannot do either in one step: the file is away for a moment.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS | rustix::io::Errno::OPNOTSUPP) => {
            rename_plainly(from, to, flags)
        }
        other => other.map_err(io::Error::from),
    }
}

fn rename_plainly(from: &Path, to: &Path, flags: RenameFlags) -> io::Result<()> {
    if flags == RenameFlags::NOREPLACE {
        if to.symlink_metadata().is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        return fs::rename(from, to);
    }
    let aside = from.with_extension(ASIDE);
    fs::rename(to, &aside)?;
    fs::rename(from, to)?;
    fs::rename(&aside, from)
}

const ASIDE: &str = "aside";

/// Ends an exchange in three steps that a crash cut short: forwards where the new file has its place, else back.
fn settle_exchange(slot: &Path, target: &Path) -> io::Result<()> {
    let aside = slot.with_extension(ASIDE);
    if aside.symlink_metadata().is_err() {
        return Ok(());
    }
    let unfinished = slot.symlink_metadata().is_ok() && target.symlink_metadata().is_err();
    fs::rename(&aside, if unfinished { target } else { slot })
}
