//! The acts that committed changes ask for. Losing one loses nothing: the wake-up derives it again.

use std::collections::HashMap;

use ratchet_core::{
    event::ExecutionEvent,
    execution::ExecutionRow,
    history::Actor,
    ids::{StepId, StepKey, StepPath},
    step::{FailureClass, StepFailure, StepRow, StepState, Usage, Waiting},
    transition::Ending,
};

use super::{Act, Advance, Task};
use crate::{
    engine::EngineError,
    execution_row,
    order::{AttemptOutcome, AttemptReport, Order},
    ports::{Envelope, Event, LaunchError, Slot},
    step_cache,
};

impl Advance<'_> {
    pub(super) fn queue_after(&mut self, task: Task, after: Option<u64>) {
        self.queue.push(task, after);
    }

    /// Acts once a staged write is committed; at once where it rests on none.
    pub(super) async fn act_after(&mut self, act: Act, after: Option<u64>) -> Result<(), EngineError> {
        match self.staged.iter_mut().find(|entry| Some(entry.id) == after) {
            Some(entry) => {
                entry.acts.push(act);
                Ok(())
            }
            None => self.act(vec![act]).await,
        }
    }

    pub(super) async fn act(&mut self, acts: Vec<Act>) -> Result<(), EngineError> {
        // The claim is committed: strong reads of the execution, and of a child's fan-out, say whether it still counts.
        let mut fresh: Option<ExecutionRow> = None;
        let mut open: HashMap<StepId, bool> = HashMap::new();
        let mut published = Vec::new();
        for act in acts {
            match act {
                Act::Launch(slot, order) => {
                    if fresh.is_none() {
                        fresh = self.engine.ports.store.execution(&self.run.row.id).await?;
                    }
                    let step = order.key.path.step.clone();
                    if order.key.path.child.is_some() && !open.contains_key(&step) {
                        open.insert(step.clone(), self.is_open(&order.key).await?);
                    }
                    if !fresh.as_ref().is_some_and(|row| row.accepts_claims(order.key.epoch)) {
                        tracing::info!(step = %order.key.path, "claimed too late: the execution does not take claims any more");
                        // A run that is paused for an answer goes on in the same epoch, and finds the claim without a task.
                        if !fresh.as_ref().is_some_and(|row| row.epoch == order.key.epoch && row.is_watched()) {
                            self.push(Task::Withdraw { key: order.key, attempt: order.attempt });
                        }
                    } else if open.get(&step) == Some(&false) {
                        tracing::info!(step = %order.key.path, "claimed too late: its fan-out has ended");
                        self.push(Task::Cancel(vec![order.key]));
                    } else {
                        self.progress.goes_on = true;
                        self.launch(slot, *order).await?;
                    }
                }
                Act::StartRun(order) => {
                    if fresh.is_none() {
                        fresh = self.engine.ports.store.execution(&self.run.row.id).await?;
                    }
                    let is_open = order.key.path.child.is_none() || self.is_open(&order.key).await?;
                    // Else the claim is found by whoever looks after the run, and comes to nothing or is started then.
                    if is_open && fresh.as_ref().is_some_and(|row| row.accepts_claims(order.key.epoch)) {
                        self.progress.goes_on = true;
                        Box::pin(self.start_run(*order)).await?;
                    }
                }
                Act::Then(task) => self.push(task),
                Act::WakeAt { row, due } => {
                    self.progress.goes_on |= !matches!(row.state, StepState::Waiting(Waiting::Approval(_)));
                    Box::pin(self.wake_at(&row, due)).await?;
                }
                Act::Pause { step, reason } => Box::pin(self.pause(step, reason)).await?,
                Act::LookAgain { envelope, look_at, until } => {
                    self.progress.goes_on = true;
                    Box::pin(self.look_again(*envelope, look_at, until)).await?;
                }
                Act::Keep(row) => Box::pin(step_cache::keep(self.engine, &self.run, &row)).await,
                Act::Judge { assertion, holds } => {
                    Box::pin(step_cache::judge(self.engine, &self.run, &assertion, holds)).await;
                }
                Act::Conclude => Box::pin(self.conclude()).await?,
                Act::Publish(envelope) => {
                    self.progress.goes_on = true;
                    published.push(*envelope);
                }
                Act::StepChanged(row, record) => self.engine.ports.observer.step_changed(&row, &record),
                Act::ExecutionChanged(row, record) => self.engine.ports.observer.execution_changed(&row, &record),
            }
        }
        if !published.is_empty() {
            self.engine.ports.bus.publish_all(published).await?;
        }
        Ok(())
    }

    /// Whether the fan-out of a child still runs.
    async fn is_open(&self, child: &StepKey) -> Result<bool, EngineError> {
        let parent = StepKey { path: StepPath::step(child.path.step.clone()), ..child.clone() };
        let parent = self.engine.ports.store.step(&parent).await?;
        Ok(parent.is_some_and(|row| !row.status().is_settled()))
    }

    async fn launch(&self, slot: Slot, order: Order) -> Result<(), EngineError> {
        let (key, attempt, token) = (order.key.clone(), order.attempt, order.token.clone());
        let reason = match self.engine.ports.launcher.launch(slot, order).await {
            Ok(()) => return Ok(()),
            // The wake-up finds the attempt without a task.
            Err(LaunchError::NoCapacity(reason)) => {
                tracing::warn!(step = %key.path, attempt, reason, "no task could be started");
                return Ok(());
            }
            Err(LaunchError::Refused(reason)) => reason,
        };
        let failure = StepFailure::new(FailureClass::Launch, reason);
        let outcome = AttemptOutcome::Failed { failure, usage: Usage::default() };
        let report = AttemptReport { key, attempt, token, outcome };
        self.publish(Event::StepFinished(Box::new(report))).await
    }

    async fn wake_at(&self, row: &StepRow, due: jiff::Timestamp) -> Result<(), EngineError> {
        execution_row::wake_by(self.engine, &self.run.row.id, due).await?;
        let event = match row.state {
            StepState::Waiting(Waiting::Time { .. } | Waiting::Approval(_)) => Event::TimeCome { key: row.key.clone() },
            _ => Event::RetryDue { key: row.key.clone(), attempt: row.attempt },
        };
        let bus = &self.engine.ports.bus;
        Ok(bus.publish_at(self.envelope(event), due).await?)
    }

    pub(super) async fn pause(&mut self, step: StepId, reason: String) -> Result<(), EngineError> {
        let event = ExecutionEvent::PauseRequested { reason, step: Some(step), wake_at: None };
        let cause = event.name().to_owned();
        match execution_row::update(self.engine, &self.run, &event, Actor::Engine, cause).await {
            Ok(row) => self.run.row = row,
            Err(EngineError::Rejected(rejection)) => tracing::debug!(%rejection, "rejected"),
            Err(error) => return Err(error),
        }
        Ok(())
    }

    async fn conclude(&mut self) -> Result<(), EngineError> {
        let event = ExecutionEvent::EndRequested { ending: Ending::Succeeded };
        let cause = event.name().to_owned();
        match execution_row::update(self.engine, &self.run, &event, Actor::Engine, cause).await {
            Ok(row) => {
                self.run.row = row;
                self.publish(Event::ExecutionChanged).await
            }
            Err(EngineError::Rejected(rejection)) => {
                tracing::debug!(%rejection, "rejected");
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    async fn publish(&self, event: Event) -> Result<(), EngineError> {
        Ok(self.engine.ports.bus.publish(self.envelope(event)).await?)
    }

    pub(super) fn envelope(&self, event: Event) -> Envelope {
        Envelope { execution: self.run.row.id.clone(), trace: self.run.row.trace.clone(), event }
    }
}
