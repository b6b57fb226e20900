//! The files that a run works on: a plain copy of the user's directory, whose changes are applied at the end, or the directory itself.

mod apply;
mod changes;
mod copy;
mod exempt;
mod files;
mod journal;
mod manifest;
mod plan;
#[cfg(test)]
mod tests;
mod tree;

use std::{fs, io, path::Path, sync::Arc};

use async_trait::async_trait;
use ratchet_core::{
    execution::ExecutionRow,
    ids::{Digest, ExecutionId},
    output::FileValue,
};
use ratchet_definition::files::{FileAccess, FileError};
use ratchet_engine::ports::{BlobStore, Branch, Laid, WorkspaceError, Workspaces, Written};
use rustix::fs::FlockOperation;

pub use self::{
    apply::{Application, application, apply, recover},
    files::ConfinedFiles,
    plan::Conflict,
    tree::{TreePath, remove_tree},
};
use crate::{
    directory::{self, StateDirectory},
    error::LocalError,
    place::LocalPlace,
};

/// Makes the files of a new run ready: a copy and its manifest, or nothing where the run works in place. Done already, it changes nothing.
pub fn prepare(state: &StateDirectory, id: &ExecutionId, place: &LocalPlace) -> Result<(), LocalError> {
    let unusable = |reason: String| LocalError::NoWorkspace { path: place.workspace.clone(), reason };
    if !place.workspace.is_absolute() {
        return Err(unusable("its path is not absolute".to_owned()));
    }
    if place.in_place {
        return match fs::metadata(&place.workspace) {
            Ok(metadata) if metadata.is_dir() => Ok(()),
            Ok(_) => Err(unusable("it is not a directory".to_owned())),
            Err(error) => Err(unusable(error.to_string())),
        };
    }
    if state.manifest(id).exists() {
        return Ok(());
    }
    let refused = |source| LocalError::state_directory(&state.execution(id), "hold the files of a run", source);
    directory::create(&state.execution(id)).map_err(refused)?;
    let target = state.workspace(id);
    // What a crash left of an earlier try.
    remove_tree(&target).map_err(refused)?;
    let source = place.workspace.canonicalize().map_err(|error| unusable(error.to_string()))?;
    let _lock = apply::lock_directory(&source, FlockOperation::LockShared)?;
    let skip = |path: &Path| {
        path == state.root()
            || path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(apply::STAGE_PREFIX))
    };
    let copied = copy::copy(&source, &[&source, &place.workspace], &target, &skip).and_then(|manifest| {
        match fs::copy(target.join(".git/index"), apply::index_at_start(state, id)) {
            Err(error) if !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Err(refused(error));
            }
            _ => {}
        }
        note_begun(state, id)?;
        manifest.save(&state.manifest(id))?;
        sync_behind(state, id, &target);
        Ok(())
    });
    if copied.is_err() {
        // The error matters; what is left of the copy goes with the run's folder.
        let _ = remove_tree(&target);
    }
    copied
}

/// Notes that the copy is not on the disk yet, and since which start of the machine: only a power loss takes what was not written.
fn note_begun(state: &StateDirectory, id: &ExecutionId) -> Result<(), LocalError> {
    let note = state.synced(id);
    fs::write(&note, format!("{BEGUN}{}", boot()))
        .map_err(|error| LocalError::state_directory(&note, "be written", error))
}

/// Writes the copy through to the disk while the run begins, and notes when that is done.
fn sync_behind(state: &StateDirectory, id: &ExecutionId, target: &Path) {
    let (note, target) = (state.synced(id), target.to_owned());
    std::thread::spawn(move || {
        let synced = fs::File::open(&target)
            .and_then(|folder| rustix::fs::syncfs(&folder).map_err(io::Error::from))
            .and_then(|()| directory::write_whole(&note, WHOLE.as_bytes()));
        if let Err(error) = synced {
            // The note stays as it is, and says so after a power loss.
            tracing::debug!(%error, "the copy is written to the disk in its own time");
        }
    });
}

const BEGUN: &str = "being written since start ";
const WHOLE: &str = "whole";

/// Refuses a copy that a power loss may have caught half written: what is missing in it would look like a change of the run's.
pub(crate) fn check_copy(state: &StateDirectory, id: &ExecutionId) -> Result<(), LocalError> {
    if !state.manifest(id).exists() {
        return Ok(());
    }
    // A note that is not there, or empty, is one that the power loss took.
    let note = fs::read_to_string(state.synced(id)).unwrap_or_default();
    if note == WHOLE || note.strip_prefix(BEGUN).is_some_and(|start| start == boot()) {
        return Ok(());
    }
    let reason = "the machine went down before the copy of the workspace was written".to_owned();
    Err(LocalError::Damaged { path: state.workspace(id), reason })
}

/// Names this start of the machine.
fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

/// The workspaces of this machine's runs.
pub struct LocalWorkspaces {
    state: StateDirectory,
    blobs: Arc<dyn BlobStore>,
}

impl LocalWorkspaces {
    /// The workspaces in a state directory, whose written files are kept in a blob store.
    pub fn new(state: StateDirectory, blobs: Arc<dyn BlobStore>) -> Self {
        Self { state, blobs }
    }

    fn confined(&self, execution: &ExecutionRow) -> Result<ConfinedFiles, WorkspaceError> {
        let place = LocalPlace::of(execution)
            .map_err(|error| WorkspaceError::Refused { action: "be found".to_owned(), reason: error.to_string() })?;
        Ok(ConfinedFiles::new(&place.root(&self.state, &execution.id), self.state.clone()))
    }
}

#[async_trait]
impl Workspaces for LocalWorkspaces {
    async fn files(
        &self,
        execution: &ExecutionRow,
        _tree: Option<&Digest>,
    ) -> Result<Arc<dyn FileAccess>, WorkspaceError> {
        Ok(Arc::new(self.confined(execution)?))
    }

    async fn write(
        &self,
        execution: &ExecutionRow,
        _tree: Option<&Digest>,
        path: &str,
        content: &[u8],
    ) -> Result<Written, WorkspaceError> {
        let refused = |reason: String| WorkspaceError::Refused { action: format!("write {path}"), reason };
        let files = self.confined(execution)?;
        let written = files.write(path, content).map_err(|error| match error {
            FileError::Outside(path) => WorkspaceError::Outside(path),
            FileError::Unreadable { reason, .. } => refused(reason),
            FileError::NotFound(_) | FileError::Unavailable => refused(error.to_string()),
        })?;
        let content = self.blobs.put(content).await.map_err(|error| refused(error.to_string()))?;
        // It came from text, and parts were only taken away.
        let file = FileValue { path: written.to_string_lossy().into_owned(), content };
        Ok(Written { file, tree: None })
    }

    async fn merge(&self, _execution: &ExecutionRow, _branches: &[Branch]) -> Result<Digest, WorkspaceError> {
        Err(without_trees("be brought together"))
    }

    async fn lay(
        &self,
        _execution: &ExecutionRow,
        _base: &Digest,
        _left: &Digest,
        _outputs: &[String],
    ) -> Result<Laid, WorkspaceError> {
        Err(without_trees("take a kept change"))
    }

    async fn content(&self, _execution: &ExecutionRow, _tree: &Digest) -> Result<Digest, WorkspaceError> {
        Err(without_trees("be read"))
    }

    async fn size(&self, _execution: &ExecutionRow, _left: &Digest) -> Result<u64, WorkspaceError> {
        Err(without_trees("be read"))
    }
}

/// No run has trees here: each works on one copy, or in the directory itself.
fn without_trees(action: &str) -> WorkspaceError {
    WorkspaceError::Refused { action: action.to_owned(), reason: "this run has no trees".to_owned() }
}
