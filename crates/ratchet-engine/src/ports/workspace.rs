use std::sync::Arc;

use async_trait::async_trait;
use ratchet_core::{execution::ExecutionRow, output::FileValue};
use ratchet_definition::files::FileAccess;
use thiserror::Error;

/// The files that the steps of a run work on, as the engine itself sees them: to evaluate an expression that reads files and to write what a
/// template step makes. Steps' processes see the same files through the runner.
#[async_trait]
pub trait Workspaces: Send + Sync {
    /// The files of a run as they are now.
    async fn files(&self, execution: &ExecutionRow) -> Result<Arc<dyn FileAccess>, WorkspaceError>;

    /// Writes a file of the workspace, and captures it. The path is relative and stays inside.
    async fn write(&self, execution: &ExecutionRow, path: &str, content: &[u8]) -> Result<FileValue, WorkspaceError>;
}

/// Why the files of a run could not be read or written.
#[derive(Debug, Error)]
pub enum WorkspaceError {
    /// The path leaves the workspace.
    #[error("the path {0} leaves the workspace")]
    Outside(String),
    /// The system refused.
    #[error("the workspace cannot {action}: {reason}")]
    Refused {
        /// What was tried: a fragment that reads after "cannot".
        action: String,
        /// What the system said.
        reason: String,
    },
}
