//! The acts that committed changes ask for. Losing one loses nothing: the wake-up derives it again.

use futures_util::future::join_all;
use ratchet_core::{
    event::ExecutionEvent,
    execution::ExecutionRow,
    history::Actor,
    ids::StepId,
    step::{FailureClass, StepFailure, StepRow, Usage},
};

use super::{Act, Advance, Task};
use crate::{
    engine::EngineError,
    execution_row,
    order::{AttemptOutcome, AttemptReport, Order},
    ports::{Envelope, Event, LaunchError, Slot},
};

impl Advance<'_> {
    pub(super) fn queue_after(&mut self, task: Task, after: Option<u64>) {
        self.queue.push_back(super::Queued { task, after });
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
        // The claim is committed: a strong read of the execution says whether it still counts.
        let mut fresh: Option<ExecutionRow> = None;
        let mut stops = Vec::new();
        for act in acts {
            match act {
                Act::Launch(slot, order) => {
                    if fresh.is_none() {
                        fresh = self.engine.ports.store.execution(&self.run.row.id).await?;
                    }
                    if fresh.as_ref().is_some_and(|row| row.accepts_claims(order.key.epoch)) {
                        self.launch(slot, *order).await?;
                    } else {
                        tracing::info!(step = %order.key.path, "claimed too late: the execution does not take claims any more");
                    }
                }
                Act::Stop { key, attempt } => stops.push((key, attempt)),
                Act::RetryAt { row, due } => self.retry_at(&row, due).await?,
                Act::Pause { step } => self.pause(step).await?,
                Act::Publish(envelope) => self.engine.ports.bus.publish(*envelope).await?,
                Act::StepChanged(row, record) => self.engine.ports.observer.step_changed(&row, &record),
                Act::ExecutionChanged(row, record) => self.engine.ports.observer.execution_changed(&row, &record),
            }
        }
        // Each takes as long as its process does to end: they end side by side.
        let launcher = &self.engine.ports.launcher;
        let stopped = join_all(stops.iter().map(|(key, attempt)| launcher.stop(key, *attempt))).await;
        stopped.into_iter().collect::<Result<(), LaunchError>>()?;
        Ok(())
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

    async fn retry_at(&self, row: &StepRow, due: jiff::Timestamp) -> Result<(), EngineError> {
        execution_row::wake_by(self.engine, &self.run.row.id, due).await?;
        let event = Event::RetryDue { key: row.key.clone(), attempt: row.attempt };
        let bus = &self.engine.ports.bus;
        Ok(bus.publish_at(self.envelope(event), due).await?)
    }

    async fn pause(&mut self, step: StepId) -> Result<(), EngineError> {
        let reason = format!("an attempt of {step} was lost, and what it did to the outside world is unknown");
        let event = ExecutionEvent::PauseRequested { reason, step: Some(step) };
        let cause = event.name().to_owned();
        match execution_row::update(self.engine, &self.run, &event, Actor::Engine, cause).await {
            Ok(row) => self.run.row = row,
            Err(EngineError::Rejected(rejection)) => tracing::debug!(%rejection, "rejected"),
            Err(error) => return Err(error),
        }
        Ok(())
    }

    async fn publish(&self, event: Event) -> Result<(), EngineError> {
        Ok(self.engine.ports.bus.publish(self.envelope(event)).await?)
    }

    pub(super) fn envelope(&self, event: Event) -> Envelope {
        Envelope { execution: self.run.row.id.clone(), trace: self.run.row.trace.clone(), event }
    }
}
