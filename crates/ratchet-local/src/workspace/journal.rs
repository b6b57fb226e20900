//! An application on its way: written before the first file is touched, so that whoever comes after a crash finishes it or takes it back.

use std::{
    collections::BTreeSet,
    fs::{self, File, Permissions},
    io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use ratchet_core::ids::Epoch;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use serde::{Deserialize, Serialize};

use super::{
    plan::Conflict,
    tree::{self, Item, TreePath},
};
use crate::{directory::write_whole, error::LocalError};

/// What is done to the user's directory, in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Journal {
    /// The end of this epoch is applied.
    pub epoch: Epoch,
    /// The user's directory.
    pub source: PathBuf,
    /// The folder in it where new files wait and replaced ones are kept.
    pub stage: PathBuf,
    /// How far it is.
    pub phase: Phase,
    /// What is done.
    pub operations: Vec<Operation>,
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
        observed: Item,
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
        observed: Option<Item>,
        /// What waits in the slot.
        staged: Item,
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
    pub(super) fn load(path: &Path) -> Result<Option<Self>, LocalError> {
        match fs::read(path) {
            Ok(text) => serde_json::from_slice(&text)
                .map(Some)
                .map_err(|error| LocalError::Damaged { path: path.to_owned(), reason: error.to_string() }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(LocalError::state_directory(path, "be read", error)),
        }
    }

    /// Writes it, whole or not at all.
    pub(super) fn save(&self, path: &Path) -> Result<(), LocalError> {
        let refused = |source| LocalError::state_directory(path, "be written", source);
        write_whole(path, &serde_json::to_vec(self).map_err(|error| refused(error.into()))?).map_err(refused)
    }

    /// Does what is not done yet. Where something stands in the way, or the system refuses, all is undone.
    pub(super) fn perform(&mut self, file: &Path) -> Result<Done, LocalError> {
        if let Phase::Undoing(conflicts) = self.phase.clone() {
            self.undo()?;
            return Ok(Done::None(conflicts));
        }
        for operation in &self.operations {
            let in_the_way = match self.perform_one(operation) {
                Ok(None) => continue,
                Ok(Some(reason)) => Ok(vec![Conflict::new(operation.path(), reason)]),
                Err(error) => Err(LocalError::apply(&self.source.join(operation.path().as_path()), error)),
            };
            self.phase = Phase::Undoing(in_the_way.as_ref().map_or_else(|_| Vec::new(), Clone::clone));
            self.save(file)?;
            self.undo()?;
            return in_the_way.map(Done::None);
        }
        self.sync().map_err(|error| LocalError::apply(&self.source, error))?;
        Ok(Done::All)
    }

    /// Removes the stage with all that was replaced.
    pub(super) fn clear(&self, file: &Path) -> Result<(), LocalError> {
        tree::remove_tree(&self.stage).map_err(|error| LocalError::apply(&self.stage, error))?;
        match fs::remove_file(file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(LocalError::state_directory(file, "be removed", error))
            }
            _ => Ok(()),
        }
    }

    fn slot(&self, number: usize) -> PathBuf {
        self.stage.join(number.to_string())
    }

    fn perform_one(&self, operation: &Operation) -> io::Result<Option<&'static str>> {
        let target = self.source.join(operation.path().as_path());
        match operation {
            Operation::Remove { observed, slot, .. } => {
                let kept = self.slot(*slot);
                if Item::read(&kept)?.is_some() {
                    return Ok(None);
                }
                match Item::read(&target)? {
                    None => return Ok(None),
                    Some(now) if !is_what_was_seen(&now, observed) => return Ok(Some("was changed")),
                    Some(_) => {}
                }
                rename(&target, &kept, RenameFlags::NOREPLACE)?;
                // Looked at again where nobody can change it under our hands.
                if Item::read(&kept)?.is_some_and(|kept| is_what_was_seen(&kept, observed)) {
                    return Ok(None);
                }
                rename(&kept, &target, RenameFlags::NOREPLACE)?;
                Ok(Some("was changed"))
            }
            Operation::RemoveFolder { .. } => match fs::remove_dir(&target) {
                Err(error)
                    if !matches!(
                        error.kind(),
                        io::ErrorKind::NotFound | io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::NotADirectory
                    ) =>
                {
                    Err(error)
                }
                _ => Ok(None),
            },
            Operation::MakeFolder { mode, .. } => match fs::create_dir(&target) {
                Ok(()) => fs::set_permissions(&target, Permissions::from_mode(mode | 0o700)).map(|()| None),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    Ok((!Item::read(&target)?.is_some_and(|item| item.is_folder())).then_some("was created"))
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
        observed: Option<&Item>,
        staged: &Item,
        slot: usize,
    ) -> io::Result<Option<&'static str>> {
        let waiting = self.slot(slot);
        settle_exchange(&waiting, target)?;
        let now = Item::read(target)?;
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
            (Some(observed), Some(now)) if !is_what_was_seen(&now, observed) => Ok(Some("was changed")),
            (Some(observed), Some(_)) => {
                rename(&waiting, target, RenameFlags::EXCHANGE)?;
                // What was replaced lies in the slot now: it is looked at again where nobody can change it under our hands.
                if Item::read(&waiting)?.is_some_and(|replaced| is_what_was_seen(&replaced, observed)) {
                    return Ok(None);
                }
                rename(&waiting, target, RenameFlags::EXCHANGE)?;
                Ok(Some("was changed"))
            }
        }
    }

    fn undo(&self) -> Result<(), LocalError> {
        for operation in self.operations.iter().rev() {
            let target = self.source.join(operation.path().as_path());
            self.undo_one(operation, &target).map_err(|error| LocalError::apply(&target, error))?;
        }
        self.sync().map_err(|error| LocalError::apply(&self.source, error))
    }

    fn undo_one(&self, operation: &Operation, target: &Path) -> io::Result<()> {
        match operation {
            Operation::Remove { slot, .. } => {
                let kept = self.slot(*slot);
                match (Item::read(&kept)?, Item::read(target)?) {
                    (Some(_), None) => rename(&kept, target, RenameFlags::NOREPLACE),
                    _ => Ok(()),
                }
            }
            Operation::RemoveFolder { mode, .. } => match fs::create_dir(target) {
                Ok(()) => fs::set_permissions(target, Permissions::from_mode(*mode)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
                Err(error) => Err(error),
            },
            Operation::MakeFolder { .. } => match fs::remove_dir(target) {
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(error),
                _ => Ok(()),
            },
            Operation::Put { observed, staged, slot, .. } => {
                settle_exchange(&self.slot(*slot), target)?;
                let ours = Item::read(target)?.is_some_and(|now| is_what_was_seen(&now, staged));
                match (ours, observed) {
                    (false, _) => Ok(()),
                    (true, Some(_)) => rename(&self.slot(*slot), target, RenameFlags::EXCHANGE),
                    (true, None) => rename(target, &self.slot(*slot), RenameFlags::NOREPLACE),
                }
            }
            Operation::SetMode { from, .. } => set_mode(target, *from).map(|_| ()),
        }
    }

    /// What was renamed survives a power loss before the journal goes.
    fn sync(&self) -> io::Result<()> {
        let folders: BTreeSet<PathBuf> = self
            .operations
            .iter()
            .filter_map(|operation| self.source.join(operation.path().as_path()).parent().map(Path::to_owned))
            .collect();
        for folder in folders {
            match File::open(&folder) {
                Ok(folder) => folder.sync_all()?,
                // The folder is gone, or a file took its place.
                Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

fn is_what_was_seen(now: &Item, seen: &Item) -> bool {
    now.kind == seen.kind && now.mode == seen.mode && now.stamp.is_same_content(&seen.stamp)
}

fn set_mode(path: &Path, mode: u32) -> io::Result<Option<&'static str>> {
    match Item::read(path)? {
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
