use std::{collections::BTreeMap, ops::Bound, sync::Mutex};

use async_trait::async_trait;
use jiff::Timestamp;
use ratchet_core::{
    budget::BudgetRow,
    execution::ExecutionRow,
    group::GroupRow,
    ids::{Epoch, ExecutionId, StepId, StepKey, StepPath},
    join::{JoinKey, JoinRow},
    step::{AttemptRow, StepRow},
};
use ratchet_engine::ports::{
    Committed, Conflict, Current, ExecutionFilter, Expectation, Page, StateStore, StoreError, Write, WriteOutcome,
};

use super::{artifacts::Artifacts, lock};

/// Rows in ordered maps.
#[derive(Debug, Default)]
pub struct MemoryStateStore(pub(super) Mutex<Tables>);

#[derive(Debug, Default)]
pub(super) struct Tables {
    pub(super) artifacts: Artifacts,
    executions: BTreeMap<ExecutionId, ExecutionRow>,
    steps: BTreeMap<StepKey, StepRow>,
    attempts: BTreeMap<(StepKey, u32), AttemptRow>,
    joins: BTreeMap<JoinKey, JoinRow>,
    budgets: BTreeMap<ExecutionId, BudgetRow>,
    groups: BTreeMap<String, GroupRow>,
}

impl Tables {
    /// Applies one write, or says which row stands in its way.
    fn apply(&mut self, write: Write) -> Result<WriteOutcome, Current> {
        match write {
            Write::Execution { row, expect } => {
                let current = self.executions.get(&row.id);
                if !holds(expect, current.map(|row| row.revision)) {
                    return Err(current.map_or(Current::Absent, |row| Current::Execution(Box::new(row.clone()))));
                }
                self.executions.insert(row.id.clone(), *row);
            }
            Write::Step { row, expect } => {
                let current = self.steps.get(&row.key);
                if !holds(expect, current.map(StepRow::revision)) {
                    return Err(current.map_or(Current::Absent, |row| Current::Step(Box::new(row.clone()))));
                }
                self.steps.insert(row.key.clone(), *row);
            }
            Write::Attempt(row) => {
                let place = self.attempts.entry((row.key.clone(), row.attempt)).or_insert_with(|| (*row).clone());
                if row.records.len() > place.records.len() {
                    *place = *row;
                }
            }
            Write::Unite { key, place, outcome } => {
                let bucket = self.joins.entry(key.clone()).or_insert_with(|| JoinRow::empty(key));
                bucket.unite(place, outcome);
                return Ok(WriteOutcome::United(bucket.clone()));
            }
            Write::EnterCall { owner, call, budget } => {
                let before = self.budgets.get(&owner).cloned().unwrap_or_else(|| BudgetRow::empty(owner.clone()));
                let mut row = before.clone();
                if row.enter(call, &budget).is_err() {
                    return Err(Current::Budget(Box::new(before)));
                }
                self.budgets.insert(owner, row.clone());
                return Ok(WriteOutcome::Budget { changed: row != before, row });
            }
            Write::SettleCall { owner, call, usage } => {
                let Some(row) = self.budgets.get_mut(&owner) else {
                    return Ok(WriteOutcome::Budget { row: BudgetRow::empty(owner), changed: false });
                };
                let changed = row.settle(&call, usage.as_ref());
                return Ok(WriteOutcome::Budget { row: row.clone(), changed });
            }
            Write::TakeTurn { group, member, waits } => {
                return Ok(self.change_group(group, |row| {
                    row.take_turn(member, waits);
                }));
            }
            Write::LeaveGroup { group, execution, epoch } => {
                return Ok(self.change_group(group, |row| {
                    row.leave(&execution, epoch);
                }));
            }
            Write::Artifact(artifact) => return Ok(self.artifacts.register(*artifact)),
            Write::ReadArtifact(read) => return self.artifacts.read(read),
            Write::TagArtifact { artifact, tag, number } => return self.artifacts.tag(&artifact, tag, number),
            Write::DropArtifact { artifact, number, uses } => {
                return self.artifacts.drop_version(artifact, number, uses);
            }
        }
        Ok(WriteOutcome::Written)
    }

    fn change_group(&mut self, group: String, change: impl FnOnce(&mut GroupRow)) -> WriteOutcome {
        let mut row = self.groups.remove(&group).unwrap_or_else(|| GroupRow::empty(group.clone()));
        change(&mut row);
        if !row.is_empty() {
            self.groups.insert(group, row.clone());
        }
        WriteOutcome::Group(row)
    }

    /// The rows of a fan-out's children from one item on, in order.
    fn children(
        &self,
        id: &ExecutionId,
        epoch: Epoch,
        step: &StepId,
        from: u32,
    ) -> impl DoubleEndedIterator<Item = (u32, &StepRow)> {
        let key = |child| StepKey { execution: id.clone(), epoch, path: StepPath::child(step.clone(), child) };
        self.steps.range(key(from)..=key(u32::MAX)).filter_map(|(key, row)| Some((key.path.child?, row)))
    }
}

fn holds(expect: Expectation, current: Option<u64>) -> bool {
    match expect {
        Expectation::Absent => current.is_none(),
        Expectation::Revision(revision) => current == Some(revision),
    }
}

#[async_trait]
impl StateStore for MemoryStateStore {
    async fn commit(&self, writes: Vec<Write>) -> Result<Committed, StoreError> {
        let mut tables = lock(&self.0);
        let mut applied = Vec::with_capacity(writes.len());
        for (position, write) in writes.into_iter().enumerate() {
            match tables.apply(write) {
                Ok(outcome) => applied.push(outcome),
                Err(current) => return Ok(Committed { applied, conflict: Some(Conflict { position, current }) }),
            }
        }
        Ok(Committed { applied, conflict: None })
    }

    async fn execution(&self, id: &ExecutionId) -> Result<Option<ExecutionRow>, StoreError> {
        Ok(lock(&self.0).executions.get(id).cloned())
    }

    async fn step(&self, key: &StepKey) -> Result<Option<StepRow>, StoreError> {
        Ok(lock(&self.0).steps.get(key).cloned())
    }

    async fn newest_steps(
        &self,
        id: &ExecutionId,
        epoch: Epoch,
        steps: &[StepId],
    ) -> Result<Vec<Option<StepRow>>, StoreError> {
        let tables = lock(&self.0);
        let newest = |step: &StepId| {
            (0..=epoch.0).rev().find_map(|epoch| {
                let path = StepPath::step(step.clone());
                tables.steps.get(&StepKey { execution: id.clone(), epoch: Epoch(epoch), path }).cloned()
            })
        };
        Ok(steps.iter().map(newest).collect())
    }

    async fn steps(
        &self,
        id: &ExecutionId,
        after: Option<&StepKey>,
        limit: usize,
    ) -> Result<Page<StepRow>, StoreError> {
        let tables = lock(&self.0);
        let first = StepKey { execution: id.clone(), epoch: Epoch(0), path: StepPath::step(StepId::new("")) };
        let from = after.map_or(Bound::Included(&first), Bound::Excluded);
        let rows = tables
            .steps
            .range((from, Bound::Unbounded))
            .take_while(|(key, _)| key.execution == *id)
            .filter(|(key, _)| key.path.child.is_none());
        Ok(page(rows.map(|(_, row)| row.clone()), limit))
    }

    async fn children(
        &self,
        id: &ExecutionId,
        epoch: Epoch,
        step: &StepId,
        from: u32,
        limit: usize,
    ) -> Result<Vec<StepRow>, StoreError> {
        Ok(lock(&self.0).children(id, epoch, step, from).take(limit).map(|(_, row)| row.clone()).collect())
    }

    async fn last_child(&self, id: &ExecutionId, epoch: Epoch, step: &StepId) -> Result<Option<u32>, StoreError> {
        Ok(lock(&self.0).children(id, epoch, step, 0).next_back().map(|(child, _)| child))
    }

    async fn join(&self, key: &JoinKey) -> Result<Option<JoinRow>, StoreError> {
        Ok(lock(&self.0).joins.get(key).cloned())
    }

    async fn attempts(&self, key: &StepKey) -> Result<Vec<AttemptRow>, StoreError> {
        let tables = lock(&self.0);
        let range = (key.clone(), 0)..=(key.clone(), u32::MAX);
        Ok(tables.attempts.range(range).map(|(_, row)| row.clone()).collect())
    }

    async fn budget(&self, owner: &ExecutionId) -> Result<Option<BudgetRow>, StoreError> {
        Ok(lock(&self.0).budgets.get(owner).cloned())
    }

    async fn group(&self, name: &str) -> Result<Option<GroupRow>, StoreError> {
        Ok(lock(&self.0).groups.get(name).cloned())
    }

    async fn executions(
        &self,
        filter: &ExecutionFilter,
        after: Option<&ExecutionId>,
        limit: usize,
    ) -> Result<Page<ExecutionRow>, StoreError> {
        let tables = lock(&self.0);
        let age = |row: &ExecutionRow| (row.created_at, row.id.clone());
        let after = after.map(|after| tables.executions.get(after).map(age));
        let mut rows: Vec<&ExecutionRow> = tables.executions.values().collect();
        rows.sort_by_key(|row| std::cmp::Reverse(age(row)));
        let rows = rows.into_iter().filter(|row| {
            after.as_ref().is_none_or(|after| after.as_ref().is_some_and(|after| age(row) < *after))
                && filter.workflow.as_ref().is_none_or(|workflow| row.definition.name == *workflow)
                && filter.status.is_none_or(|status| row.status == status)
                && !(filter.roots_only && row.id.is_nested())
        });
        Ok(page(rows.cloned(), limit))
    }

    async fn due(&self, now: Timestamp, limit: usize) -> Result<Vec<ExecutionId>, StoreError> {
        let tables = lock(&self.0);
        let mut due: Vec<_> = tables
            .executions
            .values()
            .filter_map(|row| Some((row.wake_at.filter(|at| *at <= now)?, row.id.clone())))
            .collect();
        due.sort();
        Ok(due.into_iter().take(limit).map(|(_, id)| id).collect())
    }
}

pub(super) fn page<T>(mut rows: impl Iterator<Item = T>, limit: usize) -> Page<T> {
    let taken = rows.by_ref().take(limit).collect();
    Page { rows: taken, more: rows.next().is_some() }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::contract;

    #[tokio::test]
    async fn keeps_the_contract() {
        contract::state_store(async || Arc::new(MemoryStateStore::default()) as Arc<dyn StateStore>).await;
    }
}
