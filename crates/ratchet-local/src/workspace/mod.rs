//! The files that a run works on: views of trees over the user's directory as it was when the run began, or the directory itself.

mod application;
mod captured;
mod contents;
mod difference;
mod since;
mod source;
#[cfg(test)]
mod tests;
mod views;

use std::sync::Arc;

use async_trait::async_trait;
use ratchet_core::{execution::ExecutionRow, ids::Digest, output::FileValue};
use ratchet_definition::files::{FileAccess, FileError};
use ratchet_engine::ports::{BlobStore, Branch, Laid, WorkspaceError, Workspaces, Written};
use ratchet_files::{self as files, TreeFiles, refused, tree_digest};
pub use ratchet_files::{ConfinedFiles, content_digest};

pub use ratchet_workspace::{
    Change, Conflict, Entry, Layer, MovedRef, TreePath, WorkspaceError as FilesError, remove_tree,
};

pub use self::{
    application::{Application, application, recover},
    difference::Difference,
    since::Since,
    views::Files,
};
pub(crate) use self::{
    application::{Changes, apply, record_nothing},
    source::{Source, keeper_in},
    views::{AttemptView, remove_rooms},
};
use self::{contents::WithSource, views::RunTrees};
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

    fn of_tree(&self, execution: &ExecutionRow, tree: &Digest) -> Result<TreeFiles<RunTrees>, WorkspaceError> {
        let run = self.files.of_run(&execution.id).map_err(|error| refused("be found", &error))?;
        let tree = tree_digest(tree).map_err(|error| refused("be found", &error))?;
        let definitions = LocalPlace::of(execution).ok().and_then(|place| place.definitions);
        Ok(TreeFiles::new(RunTrees { files: self.files.clone(), run, definitions }, tree))
    }
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
        if let Some(tree) = tree {
            let over = self.of_tree(execution, tree)?;
            return files::write((over, self.files.trees().clone(), self.files.blobs()), path, content).await;
        }
        let action = format!("write {path}");
        let failed = |error: FileError| match error {
            FileError::Outside(path) => WorkspaceError::Outside(path),
            FileError::Unreadable { reason, .. } => WorkspaceError::Refused { action: action.clone(), reason },
            FileError::NotFound(_) | FileError::Unavailable => refused(&action, &error),
        };
        let written = self.in_place(execution)?.write(path, content).map_err(failed)?;
        let content = self.files.blobs().put(content).await.map_err(|error| refused(&action, &error))?;
        // It came from text, and parts were only taken away.
        let file = FileValue { path: written.to_string_lossy().into_owned(), content };
        Ok(Written { file, tree: None })
    }

    async fn merge(&self, _execution: &ExecutionRow, branches: &[Branch]) -> Result<Digest, WorkspaceError> {
        files::merge(self.files.trees().clone(), branches).await
    }

    async fn lay(
        &self,
        _execution: &ExecutionRow,
        base: &Digest,
        left: &Digest,
        outputs: &[String],
    ) -> Result<Laid, WorkspaceError> {
        let blobs = self.files.blobs().clone();
        let verify = move |digest| blobs.verify(digest).map_err(|error| error.to_string());
        files::lay(self.files.trees().clone(), verify, (base, left), outputs).await
    }

    async fn content(&self, execution: &ExecutionRow, tree: &Digest) -> Result<Digest, WorkspaceError> {
        let run = self.files.of_run(&execution.id).map_err(|error| refused("be read", &error))?;
        let files = self.files.clone();
        let look = move |tree| {
            let contents = WithSource { blobs: files.blobs(), kept: run.kept() };
            files.trees().content(tree, &contents)
        };
        files::content(look, tree).await
    }

    async fn size(&self, _execution: &ExecutionRow, left: &Digest) -> Result<u64, WorkspaceError> {
        files::size(self.files.trees().clone(), left).await
    }
}

/// Does work that waits for the disk where it holds nobody up.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, LocalError> + Send + 'static,
) -> Result<T, LocalError> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(LocalError::Handler(error.to_string())))
}
