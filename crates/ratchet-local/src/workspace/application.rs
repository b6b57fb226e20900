//! The changes of a run on their way into the user's directory: all of them or none.

use std::{collections::BTreeSet, fs, io, path::Path};

use ratchet_core::ids::{Digest, Epoch, ExecutionId};
use ratchet_files::tree_digest;
use ratchet_workspace::{
    Applied, Conflict, ContentDigest, GitChange, Layer, Marks, MovedRef, TreePath, WorkspaceError,
    apply as apply_layer, recover as recover_layer, write_whole,
};
use serde::{Deserialize, Serialize};

use super::contents::WithSource;
use super::views::{Files, RunFiles};
use crate::{directory::StateDirectory, error::LocalError};

/// What came of applying the changes of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "outcome")]
pub enum Application {
    /// The run worked in the directory itself, or changed nothing.
    Nothing,
    /// The directory is as the run left its files.
    Applied {
        /// The paths that changed.
        paths: Vec<TreePath>,
        /// What became of the refs that the run moved.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        refs: Vec<MovedRef>,
    },
    /// The directory is as it was: the user changed these paths meanwhile.
    NotApplied {
        /// Each with what happened to it.
        conflicts: Vec<Conflict>,
    },
}

impl Application {
    /// Whether the directory kept the changes away.
    pub fn is_refused(&self) -> bool {
        matches!(self, Self::NotApplied { .. })
    }
}

#[derive(Serialize, Deserialize)]
struct Recorded {
    epoch: Epoch,
    /// The files that the directory was left with: what a later end of the same run is compared with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tree: Option<ContentDigest>,
    #[serde(flatten)]
    application: Application,
}

/// What is being applied, for whoever finishes it after a crash.
#[derive(Serialize, Deserialize)]
struct Intent {
    epoch: Epoch,
    before: ContentDigest,
    after: ContentDigest,
}

fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Result<Option<T>, LocalError> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(LocalError::state_directory(path, "be read", error)),
    };
    let damaged = |error: serde_json::Error| LocalError::Damaged { path: path.to_owned(), reason: error.to_string() };
    serde_json::from_slice(&text).map(Some).map_err(damaged)
}

fn write(path: &Path, what: &impl Serialize) -> Result<(), LocalError> {
    let refused = |error| LocalError::state_directory(path, "be written", error);
    write_whole(path, &serde_json::to_vec(what).map_err(|error| refused(error.into()))?).map_err(refused)
}

/// What came of applying a run's changes at the end of an epoch, where it was tried.
pub fn application(state: &StateDirectory, id: &ExecutionId, epoch: Epoch) -> Result<Option<Application>, LocalError> {
    let recorded: Option<Recorded> = read(&state.applied(id))?;
    Ok(recorded.filter(|recorded| recorded.epoch == epoch).map(|recorded| recorded.application))
}

/// All that a run changed since its changes were applied last, or since it began.
pub(crate) struct Changes {
    /// The tree of the files that the directory had then.
    pub(crate) before: ContentDigest,
    /// The tree that the run left.
    pub(crate) after: ContentDigest,
    /// What lies between.
    pub(crate) layer: Layer,
}

/// The directory as a run found it or left it last: as it was taken, or applied to, or found by a resume that brought in what had changed (`later`: by which epoch, and as which tree).
pub(super) fn known(
    files: &Files,
    id: &ExecutionId,
    later: Option<&(Epoch, Digest)>,
) -> Result<ContentDigest, LocalError> {
    let run = files.of_run(id)?;
    Ok(last(files.state(), id, later)?.unwrap_or(run.source.tree))
}

/// What the directory was last, where it was applied to, or found by a resume (`later`), since the run began.
fn last(
    state: &StateDirectory,
    id: &ExecutionId,
    later: Option<&(Epoch, Digest)>,
) -> Result<Option<ContentDigest>, LocalError> {
    let recorded: Option<Recorded> = read(&state.applied(id))?;
    match later {
        Some((epoch, tree)) if recorded.as_ref().is_none_or(|recorded| recorded.epoch < *epoch) => {
            Ok(Some(tree_digest(tree)?))
        }
        _ => Ok(recorded.and_then(|recorded| recorded.tree)),
    }
}

impl Changes {
    /// The changes of a run that left a tree. `later` is the directory as a resume found it.
    pub(crate) fn of(
        files: &Files,
        id: &ExecutionId,
        left: &Digest,
        later: Option<&(Epoch, Digest)>,
    ) -> Result<Self, LocalError> {
        let before = known(files, id, later)?;
        let after = tree_digest(left)?;
        Ok(Self { before, after, layer: files.trees().change(before, after)? })
    }

    /// Whether something is among them that is applied only where a step gives it as an output.
    pub(crate) fn has_exempt(&self) -> bool {
        self.layer.iter().any(|(_, change)| change.mark.is_exempt())
    }
}

/// Applies what a run changed. `declared` are the file outputs of its steps. What was refused before is tried only where it is asked for `again`.
pub(crate) fn apply(
    files: &Files,
    (id, epoch, again): (&ExecutionId, Epoch, bool),
    changes: Changes,
    declared: BTreeSet<TreePath>,
) -> Result<Application, LocalError> {
    let state = files.state();
    if let Some(done) = application(state, id, epoch)?.filter(|done| !(again && done.is_refused())) {
        return Ok(done);
    }
    if let Some(finished) = recover(state, id)? {
        return Ok(finished);
    }
    let run = files.of_run(id)?;
    if !run.source.directory.is_dir() {
        let reason = "it is not there any more".to_owned();
        return Err(LocalError::NoWorkspace { path: run.source.directory.clone(), reason });
    }
    let Changes { before, after, mut layer } = changes;
    mark(files, &run, (&mut layer, after), declared)?;
    let git = git_change(files, &run, &layer, (before, after))?;
    let start = files.trees().manifest(before)?;
    // What is not applied is not there when a later end is compared.
    let reached: Layer = layer
        .iter()
        .filter(|(_, change)| change.mark.is_applied())
        .map(|(path, change)| (path.clone(), change.clone()))
        .collect();
    let after = if reached == layer { after } else { files.trees().grow(before, reached)? };
    write(&state.applying(id), &Intent { epoch, before, after })?;
    let applied = apply_layer(&ratchet_workspace::Application {
        target: &run.source.directory,
        journal: &state.journal(id),
        name: id.as_str(),
        start: &start,
        layer: &layer,
        git: git.as_ref(),
        contents: &WithSource { blobs: files.blobs(), kept: run.kept() },
    });
    record(state, id, applied.map_err(not_applied)?)?.map_or_else(|| Ok(Application::Nothing), Ok)
}

/// Finishes an application that a crash cut short, or takes it back. `None` where there is none, or where it had not begun to touch anything.
pub fn recover(state: &StateDirectory, id: &ExecutionId) -> Result<Option<Application>, LocalError> {
    match recover_layer(&state.journal(id)).map_err(not_applied)? {
        Some(applied) => record(state, id, applied),
        None => Ok(None),
    }
}

fn record(state: &StateDirectory, id: &ExecutionId, applied: Applied) -> Result<Option<Application>, LocalError> {
    let Some(Intent { epoch, before, after }) = read(&state.applying(id))? else { return Ok(None) };
    let (tree, application) = match applied {
        Applied::Nothing => (after, Application::Nothing),
        Applied::Whole { paths, refs } => (after, Application::Applied { paths, refs }),
        Applied::None { conflicts } => (before, Application::NotApplied { conflicts }),
    };
    let recorded = Recorded { epoch, tree: Some(tree), application };
    write(&state.applied(id), &recorded)?;
    // What is left of it says the same again.
    let _ = fs::remove_file(state.applying(id));
    Ok(Some(recorded.application))
}

/// Records that a run has nothing to apply.
pub(crate) fn record_nothing(
    state: &StateDirectory,
    id: &ExecutionId,
    epoch: Epoch,
    later: Option<&(Epoch, Digest)>,
) -> Result<Application, LocalError> {
    let tree = last(state, id, later)?;
    write(&state.applied(id), &Recorded { epoch, tree, application: Application::Nothing })?;
    Ok(Application::Nothing)
}

/// Marks the changes as they are at the end: what became an output of a step, and what git ignores where the run changed what it ignores.
fn mark(
    files: &Files,
    run: &RunFiles,
    (layer, after): (&mut Layer, ContentDigest),
    declared: BTreeSet<TreePath>,
) -> Result<(), LocalError> {
    let changes_rules = |path: &TreePath| path.name() == ".gitignore" && !path.is_git();
    if layer.iter().any(|(path, _)| changes_rules(path)) {
        let view = files.open_new(run, after)?;
        Marks::new(&run.source.directory, view.root(), declared).mark(layer);
        return Ok(view.remove()?);
    }
    layer.declare(&declared);
    Ok(())
}

/// What the run did to its repository, where it did anything to it.
fn git_change(
    files: &Files,
    run: &RunFiles,
    layer: &Layer,
    (before, after): (ContentDigest, ContentDigest),
) -> Result<Option<GitChange>, LocalError> {
    if !layer.iter().any(|(path, _)| path.is_git()) {
        return Ok(None);
    }
    let state = |tree| {
        let view = files.open_new(run, tree)?;
        let state = view.git_state()?;
        view.remove()?;
        Ok::<_, LocalError>(state)
    };
    Ok(state(before)?.zip(state(after)?).map(|(before, after)| GitChange { before, after }))
}

fn not_applied(error: WorkspaceError) -> LocalError {
    match error {
        WorkspaceError::Unwritable { path, source } => LocalError::apply(&path, source),
        other => other.into(),
    }
}
