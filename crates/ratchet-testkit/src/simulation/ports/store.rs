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
    ArtifactFilter, ArtifactStore, Committed, ExecutionFilter, Page, StateStore, StoreError, Write, WriteOutcome,
};

use crate::{
    memory::MemoryStateStore,
    simulation::{
        Mutation,
        laws::Before,
        trace::written,
        world::{Shared, lock, pause},
    },
};

/// Rows in memory, behind a connection that fails. Every write that is applied is held against the laws.
pub(crate) struct SimulatedStore {
    pub(crate) world: Shared,
    pub(crate) inner: Arc<MemoryStateStore>,
    /// The contract that it breaks on purpose.
    pub(crate) mutation: Option<Mutation>,
}

impl SimulatedStore {
    fn fails(&self, what: &str) -> Result<(), StoreError> {
        let mut world = lock(&self.world);
        let rate = world.faults.store_unavailable;
        if world.random.chance(rate) {
            world.say(|| format!("store: {what} fails"));
            return Err(unavailable());
        }
        Ok(())
    }

    async fn read<T>(&self, what: &str, read: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        pause(&self.world).await;
        self.fails(what)?;
        let answer = read.await;
        pause(&self.world).await;
        answer
    }

    /// Applies one write and holds it against the laws.
    async fn apply(&self, mut write: Write) -> Result<Committed, StoreError> {
        let before = match &write {
            Write::Execution { row, .. } => Before::Execution(self.inner.execution(&row.id).await?.map(Box::new)),
            Write::Step { row, .. } => Before::Step(self.inner.step(&row.key).await?.map(Box::new)),
            Write::Attempt(row) => Before::Attempts(self.inner.attempts(&row.key).await?),
            Write::Unite { .. }
            | Write::EnterCall { .. }
            | Write::SettleCall { .. }
            | Write::TakeTurn { .. }
            | Write::LeaveGroup { .. }
            | Write::Artifact(_)
            | Write::ReadArtifact(_)
            | Write::TagArtifact { .. }
            | Write::DropArtifact { .. } => Before::Nothing,
        };
        if let Some(mutation) = self.mutation {
            if mutation.drops(&write) {
                return self.drop_write(write).await;
            }
            let current = if let Before::Step(Some(row)) = &before { Some(row.revision()) } else { None };
            mutation.forge(&mut write, current);
            if let Some(before) = mutation.before(&write) {
                self.inner.commit(vec![before]).await?;
            }
        }
        let committed = self.inner.commit(vec![write.clone()]).await?;
        let mut world = lock(&self.world);
        let world = &mut *world;
        let is_applied = committed.conflict.is_none();
        world.say(|| format!("{} {}", if is_applied { "write" } else { "conflict" }, written(&write)));
        if is_applied {
            world.laws.written(&write, &before, &world.tasks);
        }
        if let (true, Before::Execution(Some(old))) = (is_applied, before) {
            world.earlier.insert(old.id.clone(), *old);
        }
        Ok(committed)
    }

    /// Says that a write was applied, and does not apply it.
    async fn drop_write(&self, write: Write) -> Result<Committed, StoreError> {
        lock(&self.world).say(|| format!("drops {}", written(&write)));
        let outcome = match write {
            Write::Unite { key, .. } => {
                WriteOutcome::United(self.inner.join(&key).await?.unwrap_or_else(|| JoinRow::empty(key)))
            }
            _ => WriteOutcome::Written,
        };
        Ok(Committed { applied: vec![outcome], conflict: None })
    }
}

fn unavailable() -> StoreError {
    StoreError::Unavailable("the store does not answer".to_owned())
}

#[async_trait]
impl StateStore for SimulatedStore {
    async fn commit(&self, writes: Vec<Write>) -> Result<Committed, StoreError> {
        pause(&self.world).await;
        self.fails("commit")?;
        let (torn_at, loses_answer, interleaved) = {
            let mut world = lock(&self.world);
            let (torn, lost, interleaved) =
                (world.faults.store_torn, world.faults.store_answer_lost, world.faults.store_interleaved);
            let torn_at = if world.random.chance(torn) { Some(world.random.below(writes.len())) } else { None };
            (torn_at, world.random.chance(lost), world.random.chance(interleaved))
        };
        let mut all = Committed { applied: Vec::with_capacity(writes.len()), conflict: None };
        for (position, write) in writes.into_iter().enumerate() {
            if torn_at == Some(position) {
                lock(&self.world).say(|| format!("store: a commit ends after {position} writes"));
                return Err(unavailable());
            }
            if interleaved && position > 0 {
                pause(&self.world).await;
            }
            let mut one = self.apply(write).await?;
            all.applied.append(&mut one.applied);
            if let Some(mut conflict) = one.conflict {
                conflict.position = position;
                all.conflict = Some(conflict);
                break;
            }
        }
        if loses_answer {
            lock(&self.world).say(|| "store: the answer is lost".to_owned());
            return Err(unavailable());
        }
        pause(&self.world).await;
        Ok(all)
    }

    async fn execution(&self, id: &ExecutionId) -> Result<Option<ExecutionRow>, StoreError> {
        let row = self.read("execution", self.inner.execution(id)).await?;
        if self.mutation == Some(Mutation::StaleReads) {
            let mut world = lock(&self.world);
            if world.random.chance(300)
                && let Some(earlier) = world.earlier.get(id)
            {
                return Ok(Some(earlier.clone()));
            }
        }
        Ok(row)
    }

    async fn step(&self, key: &StepKey) -> Result<Option<StepRow>, StoreError> {
        self.read("step", self.inner.step(key)).await
    }

    async fn newest_steps(
        &self,
        id: &ExecutionId,
        epoch: Epoch,
        steps: &[StepId],
    ) -> Result<Vec<Option<StepRow>>, StoreError> {
        let mut rows = self.read("newest steps", self.inner.newest_steps(id, epoch, steps)).await?;
        if self.mutation == Some(Mutation::OldRowsHidden) {
            for row in &mut rows {
                row.take_if(|row| row.key.epoch < epoch && !row.status().is_settled());
            }
        }
        Ok(rows)
    }

    async fn steps(
        &self,
        id: &ExecutionId,
        after: Option<&StepKey>,
        limit: usize,
    ) -> Result<Page<StepRow>, StoreError> {
        self.read("steps", self.inner.steps(id, after, limit)).await
    }

    async fn children(
        &self,
        id: &ExecutionId,
        epoch: Epoch,
        step: &StepId,
        from: u32,
        limit: usize,
    ) -> Result<Vec<StepRow>, StoreError> {
        self.read("children", self.inner.children(id, epoch, step, from, limit)).await
    }

    async fn last_child(&self, id: &ExecutionId, epoch: Epoch, step: &StepId) -> Result<Option<u32>, StoreError> {
        self.read("last child", self.inner.last_child(id, epoch, step)).await
    }

    async fn join(&self, key: &JoinKey) -> Result<Option<JoinRow>, StoreError> {
        self.read("join", self.inner.join(key)).await
    }

    async fn attempts(&self, key: &StepKey) -> Result<Vec<AttemptRow>, StoreError> {
        self.read("attempts", self.inner.attempts(key)).await
    }

    async fn budget(&self, owner: &ExecutionId) -> Result<Option<BudgetRow>, StoreError> {
        self.read("budget", self.inner.budget(owner)).await
    }

    async fn group(&self, name: &str) -> Result<Option<GroupRow>, StoreError> {
        self.read("group", self.inner.group(name)).await
    }

    async fn executions(
        &self,
        filter: &ExecutionFilter,
        after: Option<&ExecutionId>,
        limit: usize,
    ) -> Result<Page<ExecutionRow>, StoreError> {
        self.read("executions", self.inner.executions(filter, after, limit)).await
    }

    async fn due(&self, now: Timestamp, limit: usize) -> Result<Vec<ExecutionId>, StoreError> {
        let mut due = self.read("due", self.inner.due(now, limit)).await?;
        let mut world = lock(&self.world);
        let rate = world.faults.index_lags;
        due.retain(|_| !world.random.chance(rate) && self.mutation != Some(Mutation::NothingDue));
        Ok(due)
    }
}

#[async_trait]
impl ArtifactStore for SimulatedStore {
    async fn artifact(&self, name: &ArtifactName, which: &Which) -> Result<Option<ArtifactVersion>, StoreError> {
        self.read("artifact", self.inner.artifact(name, which)).await
    }

    async fn last_artifact(&self, name: &ArtifactName) -> Result<Option<u64>, StoreError> {
        self.read("last artifact", self.inner.last_artifact(name)).await
    }

    async fn artifacts(
        &self,
        filter: &ArtifactFilter,
        after: Option<&(ArtifactName, u64)>,
        limit: usize,
    ) -> Result<Page<ArtifactVersion>, StoreError> {
        self.read("artifacts", self.inner.artifacts(filter, after, limit)).await
    }

    async fn artifacts_made_by(&self, execution: &ExecutionId) -> Result<Vec<ArtifactVersion>, StoreError> {
        self.read("artifacts made by", self.inner.artifacts_made_by(execution)).await
    }

    async fn artifact_tags(&self, name: &ArtifactName) -> Result<Vec<(String, u64)>, StoreError> {
        self.read("artifact tags", self.inner.artifact_tags(name)).await
    }

    async fn artifacts_read_by(&self, execution: &ExecutionId) -> Result<Vec<ArtifactRead>, StoreError> {
        self.read("artifacts read by", self.inner.artifacts_read_by(execution)).await
    }

    async fn artifact_readers(&self, name: &ArtifactName, number: u64) -> Result<Vec<ArtifactRead>, StoreError> {
        self.read("artifact readers", self.inner.artifact_readers(name, number)).await
    }
}
