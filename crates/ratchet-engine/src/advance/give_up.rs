//! Rows that no longer count: their tasks are stopped, and they are given up, or left for a person to decide about.

use futures_util::future::join_all;
use ratchet_core::{
    event::StepEvent,
    history::Actor,
    ids::StepKey,
    step::{StepRow, StepState, Waiting},
    workflow::OnLost,
};

use super::{Advance, Change, Subject, Task};
use crate::{engine::EngineError, order::Token, ports::LaunchError};

impl Advance<'_> {
    /// Gives rows up: they are of an older epoch, or their siblings failed.
    pub(super) async fn cancel(&mut self, keys: Vec<StepKey>, after: Option<u64>) -> Result<(), EngineError> {
        for row in self.stopped(keys, |_| true).await? {
            if !self.end_run(&row).await? {
                // It is looked at again when its run has ended.
                self.awaits_runs = true;
                continue;
            }
            let again = Task::Cancel(vec![row.key.clone()]);
            self.cancel_row(row, again, after);
        }
        Ok(())
    }

    /// Gives a claim up that came too late to be launched, so that nobody takes it for an attempt that was lost.
    pub(super) async fn withdraw(&mut self, key: StepKey, attempt: u32, after: Option<u64>) -> Result<(), EngineError> {
        let stands = |row: &StepRow| matches!(row.state, StepState::Running { .. }) && row.attempt == attempt;
        for row in self.stopped(vec![key], stands).await? {
            let again = Task::Withdraw { key: row.key.clone(), attempt };
            self.cancel_row(row, again, after);
        }
        Ok(())
    }

    pub(super) fn cancel_row(&mut self, row: StepRow, again: Task, after: Option<u64>) {
        let change = Change {
            cause: format!("StepCancelled {}", row.key.path),
            event: StepEvent::Cancelled,
            actor: Actor::Engine,
            launch: None,
            path: row.key.path.clone(),
            origin: again,
            on: Subject::Row(Box::new(row)),
        };
        self.change_or_log(change, after);
    }

    /// Has rows of an older epoch wait for a person.
    pub(super) async fn suspend(&mut self, keys: Vec<StepKey>, after: Option<u64>) -> Result<(), EngineError> {
        for row in self.stopped(keys, |_| true).await? {
            let token_hash = Token::new(self.engine.ports.clock.entropy()).hash();
            let change = Change {
                cause: format!("TaskLost {} attempt {}", row.key.path, row.attempt),
                event: StepEvent::Lost { attempt: row.attempt, token_hash, found_in: self.run.row.epoch },
                actor: Actor::Engine,
                launch: None,
                path: row.key.path.clone(),
                origin: Task::Suspend(vec![row.key.clone()]),
                on: Subject::Row(Box::new(row)),
            };
            self.change_or_log(change, after);
        }
        Ok(())
    }

    /// Of the rows that are not settled those that are meant, their tasks ended. They end before their rows say so: a row that was given up is never looked at again, so nobody would
    /// find that its task still runs.
    async fn stopped(
        &self,
        keys: Vec<StepKey>,
        is_meant: impl Fn(&StepRow) -> bool + Send,
    ) -> Result<Vec<StepRow>, EngineError> {
        let mut rows = Vec::new();
        for key in keys {
            let row = self.engine.ports.store.step(&key).await?;
            rows.extend(row.filter(|row| !row.status().is_settled() && is_meant(row)));
        }
        // Each takes as long as its process does to end: they end side by side.
        let launcher = &self.engine.ports.launcher;
        let has_task = |row: &&StepRow| matches!(row.state, StepState::Running { .. }) && row.execution.is_none();
        let running = rows.iter().filter(has_task);
        let stopped = join_all(running.map(|row| launcher.stop(&row.key, row.attempt))).await;
        stopped.into_iter().collect::<Result<(), LaunchError>>()?;
        Ok(rows)
    }

    /// Among rows of older epochs, and their children, those whose steps have a person decide about an attempt that was lost, and about which none has: it was on
    /// its way when the run was let go on, so nobody was told what became of it. What a cancel or a timeout stops is stopped on purpose.
    pub(crate) async fn undecided(&self, keys: &[StepKey]) -> Result<Vec<StepKey>, EngineError> {
        let mut undecided = Vec::new();
        if !self.run.row.endings.is_empty() {
            return Ok(undecided);
        }
        let is_undecided = |row: &StepRow| match row.state {
            StepState::Running { .. } => row.execution.is_none(),
            StepState::Waiting(Waiting::Lost { found_in }) => found_in == self.run.row.epoch,
            _ => false,
        };
        for key in keys.iter().filter(|key| self.run.step_policy(&key.path).on_lost == OnLost::Pause) {
            let mut rows = self.unsettled_children(key).await?;
            rows.extend(self.engine.ports.store.step(key).await?);
            undecided.extend(rows.into_iter().filter(is_undecided).map(|row| row.key));
        }
        Ok(undecided)
    }
}
