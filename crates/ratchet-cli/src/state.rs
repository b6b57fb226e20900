//! The state directory, opened.

use std::sync::Arc;

use ratchet_core::{execution::ExecutionRow, ids::ExecutionId, workflow::Workflow};
use ratchet_engine::{
    ports::BlobStore,
    view::{ExecutionRows, ExecutionView},
};
use ratchet_local::{blob_store::LocalBlobStore, directory::StateDirectory, state_store::LocalStateStore};

use crate::{arguments::CommonArguments, command_error::CommandError, definition, state_directory};

/// What commands read and write.
pub(crate) struct State {
    /// Where everything lies.
    pub(crate) directory: StateDirectory,
    /// The rows.
    pub(crate) store: Arc<LocalStateStore>,
    /// The content.
    pub(crate) blobs: Arc<dyn BlobStore>,
}

impl State {
    /// Opens the state directory, and makes it where it is not there.
    pub(crate) fn open(common: &CommonArguments) -> Result<Self, CommandError> {
        let place = state_directory::locate(common.state_dir.as_deref())?;
        let directory = StateDirectory::open(&place)?;
        let store = Arc::new(LocalStateStore::open(&directory.database())?);
        let blobs = Arc::new(LocalBlobStore::new(directory.blobs()));
        Ok(Self { directory, store, blobs })
    }

    /// Opens the state directory where it is there. A command that only looks leaves none behind.
    pub(crate) fn open_existing(common: &CommonArguments) -> Result<Option<Self>, CommandError> {
        let place = state_directory::locate(common.state_dir.as_deref())?;
        if StateDirectory::new(place).database().exists() { Self::open(common).map(Some) } else { Ok(None) }
    }

    /// Opens the state directory of a command that is about an execution that must be there.
    pub(crate) fn open_for(common: &CommonArguments, execution: &str) -> Result<Self, CommandError> {
        Self::open_existing(common)?.ok_or_else(|| match execution {
            "last" => CommandError::NoExecutions,
            name => CommandError::UnknownExecution { name: name.to_owned() },
        })
    }

    /// The definition that an execution follows.
    pub(crate) async fn workflow(&self, execution: &ExecutionRow) -> Result<Workflow, CommandError> {
        let text = self.blobs.get(&execution.definition.digest).await?;
        definition::stored(execution, &text)
    }

    /// An execution as it is shown.
    pub(crate) async fn view(&self, execution: &ExecutionRow) -> Result<ExecutionView, CommandError> {
        let workflow = self.workflow(execution).await?;
        let rows = ExecutionRows::load(&*self.store, &*self.blobs, &workflow, &execution.id).await?;
        let unknown = |id: &ExecutionId| CommandError::UnknownExecution { name: id.to_string() };
        rows.map(|rows| ExecutionView::new(&workflow, &rows)).ok_or_else(|| unknown(&execution.id))
    }
}
