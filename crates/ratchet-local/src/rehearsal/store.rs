use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use ratchet_core::{
    artifact::{ArtifactName, ArtifactRead, ArtifactVersion, Which},
    budget::BudgetRow,
    execution::ExecutionRow,
    group::GroupRow,
    ids::{Epoch, ExecutionId, StepId, StepKey},
    join::{JoinKey, JoinRow},
    step::{AttemptRow, StepRow},
};
use ratchet_engine::ports::{
    ArtifactFilter, ArtifactStore, Committed, Conflict, ExecutionFilter, Page, StateStore, StoreError, Write,
    WriteOutcome,
};

use crate::state_store::LocalStateStore;

/// The rows of a run that is played, with the artifacts of other runs beside its own.
pub(super) struct RehearsalStore {
    pub(super) own: Arc<LocalStateStore>,
    /// Where other runs live.
    pub(super) kept: Option<Arc<LocalStateStore>>,
}

#[async_trait]
impl StateStore for RehearsalStore {
    /// That the run relies on a version of another is not noted.
    async fn commit(&self, writes: Vec<Write>) -> Result<Committed, StoreError> {
        let is_noted: Vec<bool> = writes.iter().map(|write| !matches!(write, Write::ReadArtifact(_))).collect();
        let writes = writes.into_iter().zip(&is_noted).filter_map(|(write, is_noted)| is_noted.then_some(write));
        let Committed { applied, conflict } = self.own.commit(writes.collect()).await?;
        let (mut outcomes, mut all) = (applied.into_iter(), Vec::new());
        for is_noted in is_noted {
            let outcome = if is_noted { outcomes.next() } else { Some(WriteOutcome::Written) };
            let Some(outcome) = outcome else { break };
            all.push(outcome);
        }
        let conflict = conflict.map(|conflict| Conflict { position: all.len(), ..conflict });
        Ok(Committed { applied: all, conflict })
    }

    async fn execution(&self, id: &ExecutionId) -> Result<Option<ExecutionRow>, StoreError> {
        self.own.execution(id).await
    }

    async fn step(&self, key: &StepKey) -> Result<Option<StepRow>, StoreError> {
        self.own.step(key).await
    }

    async fn newest_steps(
        &self,
        id: &ExecutionId,
        epoch: Epoch,
        steps: &[StepId],
    ) -> Result<Vec<Option<StepRow>>, StoreError> {
        self.own.newest_steps(id, epoch, steps).await
    }

    async fn steps(
        &self,
        id: &ExecutionId,
        after: Option<&StepKey>,
        limit: usize,
    ) -> Result<Page<StepRow>, StoreError> {
        self.own.steps(id, after, limit).await
    }

    async fn children(
        &self,
        id: &ExecutionId,
        epoch: Epoch,
        step: &StepId,
        from: u32,
        limit: usize,
    ) -> Result<Vec<StepRow>, StoreError> {
        self.own.children(id, epoch, step, from, limit).await
    }

    async fn last_child(&self, id: &ExecutionId, epoch: Epoch, step: &StepId) -> Result<Option<u32>, StoreError> {
        self.own.last_child(id, epoch, step).await
    }

    async fn join(&self, key: &JoinKey) -> Result<Option<JoinRow>, StoreError> {
        self.own.join(key).await
    }

    async fn attempts(&self, key: &StepKey) -> Result<Vec<AttemptRow>, StoreError> {
        self.own.attempts(key).await
    }

    async fn budget(&self, owner: &ExecutionId) -> Result<Option<BudgetRow>, StoreError> {
        self.own.budget(owner).await
    }

    async fn group(&self, name: &str) -> Result<Option<GroupRow>, StoreError> {
        self.own.group(name).await
    }

    async fn executions(
        &self,
        filter: &ExecutionFilter,
        after: Option<&ExecutionId>,
        limit: usize,
    ) -> Result<Page<ExecutionRow>, StoreError> {
        self.own.executions(filter, after, limit).await
    }

    async fn due(&self, now: Timestamp, limit: usize) -> Result<Vec<ExecutionId>, StoreError> {
        self.own.due(now, limit).await
    }
}

#[async_trait]
impl ArtifactStore for RehearsalStore {
    /// What the run would make itself is newer than all that is there.
    async fn artifact(&self, name: &ArtifactName, which: &Which) -> Result<Option<ArtifactVersion>, StoreError> {
        let own = match which {
            Which::Latest | Which::Named(_) => self.own.artifact(name, which).await?,
            Which::Number(_) => None,
        };
        match (own, &self.kept) {
            (Some(own), _) => Ok(Some(own)),
            (None, Some(kept)) => kept.artifact(name, which).await,
            (None, None) => Ok(None),
        }
    }

    async fn last_artifact(&self, name: &ArtifactName) -> Result<Option<u64>, StoreError> {
        match &self.kept {
            Some(kept) => kept.last_artifact(name).await,
            None => self.own.last_artifact(name).await,
        }
    }

    async fn artifacts(
        &self,
        filter: &ArtifactFilter,
        after: Option<&(ArtifactName, u64)>,
        limit: usize,
    ) -> Result<Page<ArtifactVersion>, StoreError> {
        self.own.artifacts(filter, after, limit).await
    }

    async fn artifacts_made_by(&self, execution: &ExecutionId) -> Result<Vec<ArtifactVersion>, StoreError> {
        self.own.artifacts_made_by(execution).await
    }

    async fn artifact_tags(&self, name: &ArtifactName) -> Result<Vec<(String, u64)>, StoreError> {
        self.own.artifact_tags(name).await
    }

    async fn artifacts_read_by(&self, execution: &ExecutionId) -> Result<Vec<ArtifactRead>, StoreError> {
        self.own.artifacts_read_by(execution).await
    }

    async fn artifact_readers(&self, name: &ArtifactName, number: u64) -> Result<Vec<ArtifactRead>, StoreError> {
        self.own.artifact_readers(name, number).await
    }
}
