use std::sync::Arc;

use async_trait::async_trait;
use ratchet_core::{
    execution::ExecutionRow,
    ids::{Digest, StepPath},
    output::FileValue,
};
use ratchet_definition::files::FileAccess;
use thiserror::Error;

/// The files that the steps of a run work on, as the engine itself sees them: to evaluate an expression that reads files, to write what a template step makes, and
/// to bring together what parallel steps left. Steps' processes see the same files through the runner.
///
/// A tree is the files of a run at one point, by its digest. It never changes. No tree, where one may be given, means the directory itself, as it is now: such a run has
/// no trees at all.
#[async_trait]
pub trait Workspaces: Send + Sync {
    /// The files of a tree.
    async fn files(
        &self,
        execution: &ExecutionRow,
        tree: Option<&Digest>,
    ) -> Result<Arc<dyn FileAccess>, WorkspaceError>;

    /// Writes a file over a tree, and captures it. The path is relative and stays inside.
    async fn write(
        &self,
        execution: &ExecutionRow,
        tree: Option<&Digest>,
        path: &str,
        content: &[u8],
    ) -> Result<Written, WorkspaceError>;

    /// One tree of those that some steps left, which stand in the order of the file: what any of them changed since they parted is changed in it. The same branches
    /// give the same tree. What two of them changed to different content is [`WorkspaceError::Conflict`].
    async fn merge(&self, execution: &ExecutionRow, branches: &[Branch]) -> Result<Digest, WorkspaceError>;

    /// Lays what a step once changed onto another tree: `left` is the tree that it left, of this run or of another. Every path has there what the step found, or what
    /// it left; else nothing is laid, and a path is named that has neither. `outputs` are files that the step gives: they, what git ignores and what tools leave behind
    /// are replaced whatever they are. All that the tree needs was compared with its digest: what is not whole any more is [`WorkspaceError::Damaged`].
    async fn lay(
        &self,
        execution: &ExecutionRow,
        base: &Digest,
        left: &Digest,
        outputs: &[String],
    ) -> Result<Laid, WorkspaceError>;

    /// What the files of a tree are, so far as a process can tell: the same for trees that differ in nothing but what tools leave behind and in what git notes for itself.
    async fn content(&self, execution: &ExecutionRow, tree: &Digest) -> Result<Digest, WorkspaceError>;

    /// The bytes of the files that the step changed which left a tree.
    async fn size(&self, execution: &ExecutionRow, left: &Digest) -> Result<u64, WorkspaceError>;
}

/// What came of laying a change onto a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Laid {
    /// The files with it in them.
    Tree(Digest),
    /// This path is neither as the step found it nor as the step left it.
    Differs(String),
}

/// A file that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// It as a value.
    pub file: FileValue,
    /// The files with it in them.
    pub tree: Option<Digest>,
}

/// What a step left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Branch {
    /// The step.
    pub step: StepPath,
    /// The files as it left them.
    pub tree: Digest,
}

/// Why the files of a run could not be read, written or brought together.
#[derive(Debug, Error)]
pub enum WorkspaceError {
    /// The path leaves the workspace.
    #[error("the path {0} leaves the workspace")]
    Outside(String),
    /// Two steps changed one path to different content.
    #[error("{first} and {second} both changed {path}, to different content")]
    Conflict {
        /// The path, relative to the workspace.
        path: String,
        /// The step that stands first in the file.
        first: StepPath,
        /// The other.
        second: StepPath,
    },
    /// What is kept is not what was kept.
    #[error("{what} is damaged: {reason}")]
    Damaged {
        /// What it is.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The system refused.
    #[error("the workspace cannot {action}: {reason}")]
    Refused {
        /// What was tried: a fragment that reads after "cannot".
        action: String,
        /// What the system said.
        reason: String,
    },
}
