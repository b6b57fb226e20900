//! The files that a run works on: views of trees over the user's directory as it was when the run began, or the directory itself.

mod application;
mod captured;
mod contents;
mod difference;
mod files;
mod folder_digest;
mod source;
#[cfg(test)]
mod tests;
mod tree_files;
mod views;

use std::sync::Arc;

use async_trait::async_trait;
use ratchet_core::{execution::ExecutionRow, ids::Digest, output::FileValue};
use ratchet_definition::files::{FileAccess, FileError};
use ratchet_engine::ports::{BlobStore, Branch, Laid, WorkspaceError, Workspaces, Written};
use ratchet_workspace::{ContentDigest, Meeting};

pub use ratchet_workspace::{
    Change, Conflict, Entry, Layer, MovedRef, TreePath, WorkspaceError as FilesError, remove_tree,
};

pub use self::{
    application::{Application, application, recover},
    difference::Difference,
    files::ConfinedFiles,
    views::Files,
};
pub(crate) use self::{
    application::{Changes, apply, record_nothing},
    source::{Source, keeper_in},
    views::{AttemptView, remove_rooms, tree_digest},
};
use self::{contents::WithSource, tree_files::TreeFiles};
use crate::{error::LocalError, place::LocalPlace};

/// The workspaces of this machine's runs.
pub struct LocalWorkspaces {
    files: Files,
}

impl LocalWorkspaces {
    /// The workspaces of runs with these files.
    pub fn new(files: Files) -> Self {
        Self { files }
    }

    fn in_place(&self, execution: &ExecutionRow) -> Result<ConfinedFiles, WorkspaceError> {
        let place = LocalPlace::of(execution).map_err(|error| refused("be found", &error))?;
        Ok(ConfinedFiles::new(&place.workspace, self.files.state().clone()))
    }

    fn of_tree(&self, execution: &ExecutionRow, tree: &Digest) -> Result<TreeFiles, WorkspaceError> {
        let run = self.files.of_run(&execution.id).map_err(|error| refused("be found", &error))?;
        let tree = tree_digest(tree).map_err(|error| refused("be found", &error))?;
        Ok(TreeFiles::new(self.files.clone(), run, tree))
    }
}

fn refused(action: &str, error: &dyn std::fmt::Display) -> WorkspaceError {
    WorkspaceError::Refused { action: action.to_owned(), reason: error.to_string() }
}

#[async_trait]
impl Workspaces for LocalWorkspaces {
    async fn files(
        &self,
        execution: &ExecutionRow,
        tree: Option<&Digest>,
    ) -> Result<Arc<dyn FileAccess>, WorkspaceError> {
        Ok(match tree {
            Some(tree) => Arc::new(self.of_tree(execution, tree)?),
            None => Arc::new(self.in_place(execution)?),
        })
    }

    async fn write(
        &self,
        execution: &ExecutionRow,
        tree: Option<&Digest>,
        path: &str,
        content: &[u8],
    ) -> Result<Written, WorkspaceError> {
        let action = format!("write {path}");
        let failed = |error: FileError| match error {
            FileError::Outside(path) => WorkspaceError::Outside(path),
            FileError::Unreadable { reason, .. } => WorkspaceError::Refused { action: action.clone(), reason },
            FileError::NotFound(_) | FileError::Unavailable => refused(&action, &error),
        };
        let Some(tree) = tree else {
            let written = self.in_place(execution)?.write(path, content).map_err(failed)?;
            let content = self.files.blobs().put(content).await.map_err(|error| refused(&action, &error))?;
            // It came from text, and parts were only taken away.
            let file = FileValue { path: written.to_string_lossy().into_owned(), content };
            return Ok(Written { file, tree: None });
        };
        let (base, over) =
            (tree_digest(tree).map_err(|error| refused(&action, &error))?, self.of_tree(execution, tree)?);
        // Whether it may be written is known before it is kept.
        let (layer, path) = over.writing(path, ContentDigest::of(content), content.len() as u64).map_err(failed)?;
        let content = self.files.blobs().put(content).await.map_err(|error| refused(&action, &error))?;
        let files = self.files.clone();
        let grown = blocking(move || Ok(files.trees().grow(base, layer)?)).await;
        let tree = grown.map_err(|error| refused(&action, &error))?;
        Ok(Written { file: FileValue { path, content }, tree: Some(tree.to_core()) })
    }

    async fn merge(&self, _execution: &ExecutionRow, branches: &[Branch]) -> Result<Digest, WorkspaceError> {
        let action = "be brought together";
        let mut meetings = Vec::new();
        for Branch { step, tree } in branches {
            let tree = tree_digest(tree).map_err(|error| refused(action, &error))?;
            meetings.push(Meeting { step: step.clone(), tree });
        }
        let files = self.files.clone();
        let merged = blocking(move || Ok(files.trees().merge(&meetings)?)).await;
        match merged {
            Ok(tree) => Ok(tree.to_core()),
            Err(LocalError::Files(ratchet_workspace::WorkspaceError::Conflict { conflicts })) => {
                Err(conflicts.first().and_then(|conflict| {
                    let of = |name: &str| branches.iter().find(|branch| branch.step.to_string() == name);
                    let (first, second) = (of(&conflict.steps[0])?, of(&conflict.steps[1])?);
                    Some(WorkspaceError::Conflict {
                        path: conflict.path.to_string(),
                        first: first.step.clone(),
                        second: second.step.clone(),
                    })
                }))
                .map_err(|conflict| conflict.unwrap_or_else(|| refused(action, &"branches are at odds")))
            }
            Err(error) => Err(refused(action, &error)),
        }
    }

    async fn lay(
        &self,
        _execution: &ExecutionRow,
        base: &Digest,
        left: &Digest,
        outputs: &[String],
    ) -> Result<Laid, WorkspaceError> {
        let action = "take a kept change";
        let trees = tree_digest(base).and_then(|base| Ok((base, tree_digest(left)?)));
        let (base, left) = trees.map_err(|error| refused(action, &error))?;
        let outputs: Vec<TreePath> = outputs.iter().filter_map(|path| TreePath::new(path).ok()).collect();
        let files = self.files.clone();
        let laid = blocking(move || {
            let laid = files.trees().lay(base, left, &outputs)?;
            if matches!(laid, ratchet_workspace::Laid::Tree(_)) {
                for digest in files.trees().get(left)?.layer.contents().into_keys() {
                    files.blobs().verify(digest).map_err(|error| ratchet_workspace::WorkspaceError::Damaged {
                        what: format!("the content {digest}"),
                        reason: error.to_string(),
                    })?;
                }
            }
            Ok(laid)
        });
        match laid.await.map_err(|error| kept(action, error))? {
            ratchet_workspace::Laid::Tree(tree) => Ok(Laid::Tree(tree.to_core())),
            ratchet_workspace::Laid::Differs(path) => Ok(Laid::Differs(path.to_string())),
        }
    }

    async fn content(&self, execution: &ExecutionRow, tree: &Digest) -> Result<Digest, WorkspaceError> {
        let action = "be read";
        let tree = tree_digest(tree).map_err(|error| refused(action, &error))?;
        let run = self.files.of_run(&execution.id).map_err(|error| refused(action, &error))?;
        let files = self.files.clone();
        let content = blocking(move || {
            let contents = WithSource { blobs: files.blobs(), kept: run.kept() };
            Ok(files.trees().content(tree, &contents)?)
        });
        content.await.map(ContentDigest::to_core).map_err(|error| kept(action, error))
    }

    async fn size(&self, _execution: &ExecutionRow, left: &Digest) -> Result<u64, WorkspaceError> {
        let action = "be read";
        let left = tree_digest(left).map_err(|error| refused(action, &error))?;
        let files = self.files.clone();
        let size = blocking(move || Ok(files.trees().get(left)?.layer.bytes()));
        size.await.map_err(|error| kept(action, error))
    }
}

/// An error of what is kept.
fn kept(action: &str, error: LocalError) -> WorkspaceError {
    match error {
        LocalError::Files(ratchet_workspace::WorkspaceError::Damaged { what, reason }) => {
            WorkspaceError::Damaged { what, reason }
        }
        other => refused(action, &other),
    }
}

/// Does work that waits for the disk where it holds nobody up.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, LocalError> + Send + 'static,
) -> Result<T, LocalError> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(LocalError::Handler(error.to_string())))
}
