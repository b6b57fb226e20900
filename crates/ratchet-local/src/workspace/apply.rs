//! The changes of a run on their way into the user's directory: all of them or none.

use std::{
    collections::BTreeSet,
    fs::{self, DirBuilder, File},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt, lchown, symlink},
    path::{Path, PathBuf},
};

use ratchet_core::ids::{Epoch, ExecutionId};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use super::{
    changes::changes,
    copy::copy_content,
    exempt::{Exemptions, GitPart, git_part},
    journal::{Done, Journal, Operation, Phase},
    manifest::{Entry, Manifest},
    plan::{Conflict, Plan, Planned, Sides, plan},
    tree::{Item, Kind, TreePath},
};
use crate::{
    directory::{StateDirectory, write_whole},
    error::LocalError,
};

/// How the stage of an application is named in the user's directory.
pub(super) const STAGE_PREFIX: &str = ".ratchet-apply-";

/// What came of applying the changes of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "outcome")]
pub enum Application {
    /// The run worked in the directory itself, or changed nothing.
    Nothing,
    /// The directory is as the run left its copy.
    Applied {
        /// The paths that changed.
        paths: Vec<TreePath>,
    },
    /// The directory is as it was: the user changed these paths meanwhile.
    NotApplied {
        /// Each with what happened to it.
        conflicts: Vec<Conflict>,
    },
}

#[derive(Serialize, Deserialize)]
struct Recorded {
    epoch: Epoch,
    #[serde(flatten)]
    application: Application,
}

/// What came of applying a run's changes at the end of an epoch, where it was tried.
pub fn application(state: &StateDirectory, id: &ExecutionId, epoch: Epoch) -> Result<Option<Application>, LocalError> {
    let path = state.applied(id);
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(LocalError::state_directory(&path, "be read", error)),
    };
    let recorded: Recorded =
        serde_json::from_slice(&text).map_err(|error| LocalError::Damaged { path, reason: error.to_string() })?;
    Ok((recorded.epoch == epoch).then_some(recorded.application))
}

/// Applies what a run changed to the user's directory. `declared` are the file outputs of its steps.
pub fn apply(
    state: &StateDirectory,
    id: &ExecutionId,
    epoch: Epoch,
    source: &Path,
    declared: BTreeSet<TreePath>,
) -> Result<Application, LocalError> {
    if let Some(done) = application(state, id, epoch)? {
        return Ok(done);
    }
    if let Some(finished) = recover(state, id)? {
        return Ok(finished);
    }
    let resolved = source
        .canonicalize()
        .map_err(|error| LocalError::NoWorkspace { path: source.to_owned(), reason: error.to_string() })?;
    let source = resolved.as_path();
    let _lock = lock_directory(source, FlockOperation::LockExclusive)?;
    match begin(state, id, epoch, source, declared)? {
        Begun::Ready(journal) => finish(state, id, journal),
        Begun::Ended(application) => record(state, id, epoch, application),
    }
}

pub(super) enum Begun {
    /// The stage is filled and the journal written.
    Ready(Journal),
    /// There is nothing to do, or nothing that may be done.
    Ended(Application),
}

/// Finds what is to be applied and makes it ready, without touching anything of the user's.
pub(super) fn begin(
    state: &StateDirectory,
    id: &ExecutionId,
    epoch: Epoch,
    source: &Path,
    declared: BTreeSet<TreePath>,
) -> Result<Begun, LocalError> {
    let copy = state.workspace(id);
    let manifest = Manifest::load(&state.manifest(id))?;
    let exempt = Exemptions::new(source, &copy, declared);
    let changes = changes(&manifest, source, &copy)?;
    let sides = Sides { source, copy: &copy, manifest: &manifest, index_at_start: index_at_start(state, id) };
    let Plan { changes, conflicts } = plan(&sides, changes, &exempt)?;
    if !conflicts.is_empty() {
        return Ok(Begun::Ended(Application::NotApplied { conflicts }));
    }
    if changes.is_empty() {
        return Ok(Begun::Ended(Application::Nothing));
    }
    let beside = source.join(format!("{STAGE_PREFIX}{id}"));
    let file = state.journal(id);
    let mut journal =
        Journal { epoch, source: source.to_owned(), stage: beside, phase: Phase::Staging, operations: vec![] };
    journal.save(&file)?;
    match fill_stage(&journal.stage, source, &copy, changes) {
        Ok(operations) => journal.operations = operations,
        Err(error) => {
            journal.clear(&file)?;
            return Err(error);
        }
    }
    journal.phase = Phase::Applying;
    journal.save(&file)?;
    Ok(Begun::Ready(journal))
}

/// Finishes an application that a crash cut short, or takes it back. `None` where there is none, or where it had not begun to touch anything.
pub fn recover(state: &StateDirectory, id: &ExecutionId) -> Result<Option<Application>, LocalError> {
    let file = state.journal(id);
    let Some(journal) = Journal::load(&file)? else { return Ok(None) };
    if journal.phase == Phase::Staging {
        journal.clear(&file)?;
        return Ok(None);
    }
    let _lock = lock_directory(&journal.source, FlockOperation::LockExclusive)?;
    finish(state, id, journal).map(Some)
}

fn finish(state: &StateDirectory, id: &ExecutionId, mut journal: Journal) -> Result<Application, LocalError> {
    let file = state.journal(id);
    let application = match journal.perform(&file) {
        Ok(Done::All) => {
            let paths: BTreeSet<_> = journal.operations.iter().map(|operation| operation.path().clone()).collect();
            Application::Applied { paths: paths.into_iter().collect() }
        }
        Ok(Done::None(conflicts)) if !conflicts.is_empty() => Application::NotApplied { conflicts },
        Ok(Done::None(_)) => {
            // Taken back after an error that the process before had no time to tell: it is tried again.
            journal.clear(&file)?;
            return Err(LocalError::apply(&journal.source, io::ErrorKind::Interrupted.into()));
        }
        Err(error) => {
            if matches!(&journal.phase, Phase::Undoing(_)) {
                journal.clear(&file)?;
            }
            return Err(error);
        }
    };
    if matches!(application, Application::Applied { .. }) {
        update_manifest(state, id, &journal)?;
    }
    let application = record(state, id, journal.epoch, application)?;
    journal.clear(&file)?;
    Ok(application)
}

fn record(
    state: &StateDirectory,
    id: &ExecutionId,
    epoch: Epoch,
    application: Application,
) -> Result<Application, LocalError> {
    let path = state.applied(id);
    let refused = |source| LocalError::state_directory(&path, "be written", source);
    let recorded = Recorded { epoch, application };
    write_whole(&path, &serde_json::to_vec(&recorded).map_err(|error| refused(error.into()))?).map_err(refused)?;
    Ok(recorded.application)
}

/// What was applied is the start that a later end of the same run is compared with.
fn update_manifest(state: &StateDirectory, id: &ExecutionId, journal: &Journal) -> Result<(), LocalError> {
    let path = state.manifest(id);
    let mut manifest = Manifest::load(&path)?;
    for operation in &journal.operations {
        let tree_path = operation.path();
        let failed = |error| LocalError::apply(&journal.source.join(tree_path.as_path()), error);
        let source = Item::read(&journal.source.join(tree_path.as_path())).map_err(failed)?;
        let copy = Item::read(&state.workspace(id).join(tree_path.as_path())).map_err(failed)?;
        // Where the user was faster, the new file's own stamp stands for it, and shows later that something changed.
        let source = match (operation, source) {
            (Operation::Put { staged, .. }, Some(now)) if now.stamp.inode != staged.stamp.inode => Some(staged.clone()),
            (_, now) => now,
        };
        match (source, copy) {
            (Some(source), Some(copy)) => {
                let entry = Entry { source, copy, digest: None, doubtful: false };
                manifest.entries.insert(tree_path.clone(), entry);
            }
            _ => {
                manifest.entries.remove(tree_path);
            }
        }
    }
    let index = state.workspace(id).join(".git/index");
    if index.symlink_metadata().is_ok() {
        let kept = index_at_start(state, id);
        fs::copy(&index, &kept).map_err(|error| LocalError::state_directory(&kept, "be written", error))?;
    }
    manifest.save(&path)
}

/// The index of git as it was when the run began, kept to tell what was staged from what was only looked at.
pub(super) fn index_at_start(state: &StateDirectory, id: &ExecutionId) -> PathBuf {
    state.execution(id).join("git-index")
}

/// Keeps other runs of this machine from copying or applying half an application. Where the file system has no locks there is none.
pub(super) fn lock_directory(source: &Path, operation: FlockOperation) -> Result<File, LocalError> {
    let folder = File::open(source)
        .map_err(|error| LocalError::NoWorkspace { path: source.to_owned(), reason: error.to_string() })?;
    let _ = flock(&folder, operation);
    Ok(folder)
}

/// Writes what will be put to slots beside the targets, and says what is to be done in which order.
fn fill_stage(stage: &Path, source: &Path, copy: &Path, changes: Vec<Planned>) -> Result<Vec<Operation>, LocalError> {
    DirBuilder::new().mode(0o700).create(stage).map_err(|error| LocalError::apply(stage, error))?;
    let mut operations = Operations::default();
    for (slot, change) in changes.into_iter().enumerate() {
        let absolute = source.join(change.path.as_path());
        operations.add(stage, copy, source, slot, change).map_err(|error| LocalError::apply(&absolute, error))?;
    }
    File::open(stage).and_then(|folder| folder.sync_all()).map_err(|error| LocalError::apply(stage, error))?;
    Ok(operations.in_order())
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
    fn add(&mut self, stage: &Path, copy: &Path, source: &Path, slot: usize, change: Planned) -> io::Result<()> {
        let Planned { path, observed, after } = change;
        let is_folder_now = observed.as_ref().is_some_and(Item::is_folder);
        match after {
            Some(after) if after.is_folder() => {
                match observed {
                    Some(now) if is_folder_now => {
                        self.modes.push(Operation::SetMode { path, from: now.mode, to: after.mode });
                        return Ok(());
                    }
                    Some(observed) => self.removals.push(Operation::Remove { path: path.clone(), observed, slot }),
                    None => {}
                }
                if after.mode & 0o700 != 0o700 {
                    self.modes.push(Operation::SetMode { path: path.clone(), from: 0o700, to: after.mode });
                }
                self.folders_made.push(Operation::MakeFolder { path, mode: after.mode });
            }
            Some(after) => {
                let observed = match observed {
                    Some(folder) if is_folder_now => {
                        self.folders_removed.push(Operation::RemoveFolder { path: path.clone(), mode: folder.mode });
                        None
                    }
                    other => other,
                };
                let staged = stage_one(&stage.join(slot.to_string()), copy, source, &path, &after)?;
                self.puts.push(Operation::Put { path, observed, staged, slot });
            }
            None => match observed {
                Some(folder) if is_folder_now => {
                    self.folders_removed.push(Operation::RemoveFolder { path, mode: folder.mode });
                }
                Some(observed) => self.removals.push(Operation::Remove { path, observed, slot }),
                None => {}
            },
        }
        Ok(())
    }

    /// Nothing is in the way of what comes next; of git, objects come before what names them.
    fn in_order(mut self) -> Vec<Operation> {
        self.folders_removed.reverse();
        self.puts.sort_by_key(|operation| match git_part(operation.path()) {
            Some(GitPart::Objects) => 0,
            None => 1,
            Some(_) => 2,
        });
        self.modes.reverse();
        [self.removals, self.folders_removed, self.folders_made, self.puts, self.modes].concat()
    }
}

fn stage_one(slot: &Path, copy: &Path, source: &Path, path: &TreePath, after: &Item) -> io::Result<Item> {
    let from = copy.join(path.as_path());
    match &after.kind {
        Kind::Link(points_to) => {
            // A link to a file of the copy is meant for that file of the directory.
            let points_to = match points_to.as_path().strip_prefix(copy) {
                Ok(inside) => source.join(inside),
                Err(_) => points_to.as_path().to_owned(),
            };
            symlink(points_to, slot)?;
        }
        Kind::File | Kind::Folder => {
            copy_content(&from, slot)?;
            File::open(slot)?.sync_all()?;
        }
    }
    keep_owner(&source.join(path.as_path()), slot)?;
    Item::read(slot)?.ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// A file that is replaced keeps its owner, where this process may give files away.
fn keep_owner(replaced: &Path, slot: &Path) -> io::Result<()> {
    let (Ok(before), now) = (replaced.symlink_metadata(), slot.symlink_metadata()?) else { return Ok(()) };
    if (before.uid(), before.gid()) != (now.uid(), now.gid()) {
        match lchown(slot, Some(before.uid()), Some(before.gid())) {
            Err(error) if error.kind() != io::ErrorKind::PermissionDenied => return Err(error),
            _ => {}
        }
    }
    Ok(())
}
