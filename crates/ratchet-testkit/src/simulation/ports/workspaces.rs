use std::sync::Arc;

use async_trait::async_trait;
use ratchet_core::{execution::ExecutionRow, ids::Digest};
use ratchet_definition::files::FileAccess;
use ratchet_engine::ports::{Branch, Laid, WorkspaceError, Workspaces, Written};

use crate::{
    memory::MemoryWorkspaces,
    simulation::{
        Mutation,
        world::{Shared, lock, pause},
    },
};

/// Files in memory that cannot be reached at times.
pub(crate) struct SimulatedWorkspaces {
    pub(crate) world: Shared,
    pub(crate) inner: Arc<MemoryWorkspaces>,
    /// The contract that it breaks on purpose.
    pub(crate) mutation: Option<Mutation>,
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
    async fn files(
        &self,
        execution: &ExecutionRow,
        tree: Option<&Digest>,
    ) -> Result<Arc<dyn FileAccess>, WorkspaceError> {
        self.available().await?;
        self.inner.files(execution, tree).await
    }

    async fn write(
        &self,
        execution: &ExecutionRow,
        tree: Option<&Digest>,
        path: &str,
        content: &[u8],
    ) -> Result<Written, WorkspaceError> {
        self.available().await?;
        let written = self.inner.write(execution, tree, path, content).await;
        pause(&self.world).await;
        written
    }

    async fn merge(&self, execution: &ExecutionRow, branches: &[Branch]) -> Result<Digest, WorkspaceError> {
        self.available().await?;
        self.inner.merge(execution, branches).await
    }

    async fn lay(
        &self,
        execution: &ExecutionRow,
        base: &Digest,
        left: &Digest,
        outputs: &[String],
    ) -> Result<Laid, WorkspaceError> {
        self.available().await?;
        if self.mutation == Some(Mutation::LaterFilesLost) {
            return Ok(Laid::Tree(base.clone()));
        }
        self.inner.lay(execution, base, left, outputs).await
    }

    async fn content(&self, execution: &ExecutionRow, tree: &Digest) -> Result<Digest, WorkspaceError> {
        self.available().await?;
        Workspaces::content(&*self.inner, execution, tree).await
    }

    async fn size(&self, execution: &ExecutionRow, left: &Digest) -> Result<u64, WorkspaceError> {
        self.available().await?;
        self.inner.size(execution, left).await
    }
}
