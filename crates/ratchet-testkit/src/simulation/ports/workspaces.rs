use std::sync::Arc;

use async_trait::async_trait;
use ratchet_core::{execution::ExecutionRow, output::FileValue};
use ratchet_definition::files::FileAccess;
use ratchet_engine::ports::{WorkspaceError, Workspaces};

use crate::{
    memory::MemoryWorkspaces,
    simulation::world::{Shared, lock, pause},
};

/// Files in memory that cannot be reached at times.
pub(crate) struct SimulatedWorkspaces {
    pub(crate) world: Shared,
    pub(crate) inner: MemoryWorkspaces,
}

impl SimulatedWorkspaces {
    async fn available(&self) -> Result<(), WorkspaceError> {
        pause(&self.world).await;
        let mut world = lock(&self.world);
        let rate = world.faults.workspace_unavailable;
        if world.random.chance(rate) {
            world.say(|| "workspace: cannot be reached".to_owned());
            return Err(WorkspaceError::Refused { action: "be read".to_owned(), reason: "it is away".to_owned() });
        }
        Ok(())
    }
}

#[async_trait]
impl Workspaces for SimulatedWorkspaces {
    async fn files(&self, execution: &ExecutionRow) -> Result<Arc<dyn FileAccess>, WorkspaceError> {
        self.available().await?;
        self.inner.files(execution).await
    }

    async fn write(&self, execution: &ExecutionRow, path: &str, content: &[u8]) -> Result<FileValue, WorkspaceError> {
        self.available().await?;
        let written = self.inner.write(execution, path, content).await;
        pause(&self.world).await;
        written
    }
}
