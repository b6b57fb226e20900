//! What comes to the functions that the engine's own events go to: an event of the bus, messages of the queue of those that were for later, the clock's tick, a runner's report.

use futures_util::{StreamExt as _, stream};
use ratchet_core::ids::{ExecutionId, StepKey};
use ratchet_engine::{
    EngineError,
    ports::{Envelope, Event, TaskState},
};
use serde::Deserialize;
use serde_json::{Value, json};
use tracing::Instrument as _;

use super::{Deployment, Failure, may_pass, told::NOT_LOOKED_AFTER};
use crate::{
    event_bus::{SOURCE, Timed, open},
    launcher::ATTEMPT,
};

/// Runs that are looked after at once in one invocation.
const AT_ONCE: usize = 8;
/// Runs that one tick of the clock looks after itself: also with a bus that delivers nothing, runs go on.
const HERE_MAX: usize = 32;
/// Runs that one tick of the clock sees to.
const DUE_MAX: usize = 2_000;

/// Which events a function is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Intake {
    /// Steps that are ready.
    StepDispatcher,
    /// Reports of attempts, also from a runner that invokes the function itself.
    CompletionHandler,
    /// All others, messages of the queue of timers, the clock's ticks, and what ECS says of tasks.
    Planner,
}

/// A batch of messages of a queue.
#[derive(Deserialize)]
struct Batch {
    #[serde(rename = "Records")]
    records: Vec<Message>,
}

#[derive(Deserialize)]
struct Message {
    #[serde(rename = "messageId")]
    id: String,
    body: String,
}

/// What a task says of whose it is.
#[derive(Deserialize)]
struct OfAttempt {
    key: StepKey,
    attempt: u32,
}

impl Intake {
    fn takes(self, event: &Event) -> bool {
        match event {
            Event::StepReady { .. } => self == Self::StepDispatcher,
            Event::StepFinished(_) => self == Self::CompletionHandler,
            Event::ExecutionChanged
            | Event::TaskLost { .. }
            | Event::RetryDue { .. }
            | Event::TimeCome { .. }
            | Event::RunChanged { .. }
            | Event::WakeUpDue => self == Self::Planner,
        }
    }
}

impl Deployment {
    /// Takes what a function was invoked with, and gives what it answers. The same again changes nothing.
    pub async fn take(&self, intake: Intake, payload: Value) -> Result<Value, Failure> {
        if payload["source"] == SOURCE {
            let envelope = open(payload["detail"].clone(), self.engine.ports().blobs.as_ref()).await?;
            return self.handle(intake, envelope).await.map(|()| Value::Null);
        }
        match intake {
            Intake::CompletionHandler if payload.get("event").is_some() => {
                let envelope = open(payload, self.engine.ports().blobs.as_ref()).await?;
                self.handle(intake, envelope).await.map(|()| json!({"accepted": true}))
            }
            Intake::Planner if payload["detail-type"] == "Scheduled Event" => self.look_after_due().await,
            Intake::Planner if payload.get("Records").is_some() => self.take_timed(payload).await,
            Intake::Planner if payload["source"] == "aws.ecs" => self.look_after_task(&payload["detail"]).await,
            _ => Err(Failure::NotUnderstood("what this function was invoked with", shape(&payload))),
        }
    }

    async fn handle(&self, intake: Intake, envelope: Envelope) -> Result<(), Failure> {
        if !intake.takes(&envelope.event) {
            return Err(Failure::NotUnderstood("an event of the engine's here", envelope.event.name().to_owned()));
        }
        let span = tracing::info_span!(
            "event",
            event = envelope.event.name(),
            execution = %envelope.execution,
            traceparent = %envelope.trace.0,
        );
        settled(self.engine.handle(envelope).instrument(span.clone()).await, &span)
    }

    /// Handles each message by itself: one that fails comes again alone.
    async fn take_timed(&self, payload: Value) -> Result<Value, Failure> {
        let batch: Batch = serde_json::from_value(payload)
            .map_err(|error| Failure::NotUnderstood("a batch of messages", error.to_string()))?;
        let failed = stream::iter(batch.records)
            .map(async |message| match self.take_message(&message.body).await {
                Ok(()) => None,
                Err(error) => {
                    tracing::warn!(message = message.id, %error, "a message was not handled");
                    Some(json!({"itemIdentifier": message.id}))
                }
            })
            .buffer_unordered(AT_ONCE)
            .filter_map(std::future::ready)
            .collect::<Vec<Value>>()
            .await;
        Ok(json!({"batchItemFailures": failed}))
    }

    async fn take_message(&self, body: &str) -> Result<(), Failure> {
        let timed: Timed =
            serde_json::from_str(body).map_err(|error| Failure::NotUnderstood("a message", error.to_string()))?;
        let envelope = open(timed.detail, self.engine.ports().blobs.as_ref()).await?;
        self.handle(Intake::Planner, envelope).await
    }

    /// Looks after the attempt of a task of which ECS says that it ended: most have reported, and what they said stands.
    async fn look_after_task(&self, task: &Value) -> Result<Value, Failure> {
        let containers = task["overrides"]["containerOverrides"].as_array().into_iter().flatten();
        let variables = containers.flat_map(|container| container["environment"].as_array().into_iter().flatten());
        let of =
            variables.filter(|variable| variable["name"] == ATTEMPT).find_map(|variable| variable["value"].as_str());
        let Some(Ok(of)) = of.map(serde_json::from_str::<OfAttempt>) else {
            tracing::info!(task = %task["taskArn"], "a task that is no attempt's ended");
            return Ok(Value::Null);
        };
        let ports = self.engine.ports();
        let step = ports.store.step(&of.key).await.map_err(EngineError::from)?;
        // Most have reported before they end.
        if !step.is_some_and(|row| row.attempt == of.attempt && !row.status().is_settled()) {
            return Ok(Value::Null);
        }
        let launcher = &ports.launcher;
        if launcher.state(&of.key, of.attempt).await.map_err(EngineError::from)? == TaskState::Gone {
            let execution = of.key.execution.clone();
            let event = Event::TaskLost { key: of.key, attempt: of.attempt };
            self.handle(Intake::Planner, Envelope { execution, trace: self.new_trace(), event }).await?;
        }
        Ok(Value::Null)
    }

    /// Looks after the runs whose time has come: some here, the others in invocations of their own.
    async fn look_after_due(&self) -> Result<Value, Failure> {
        let ports = self.engine.ports();
        let due = ports.store.due(ports.clock.now(), DUE_MAX).await.map_err(EngineError::from)?;
        let (here, elsewhere) = due.split_at(due.len().min(HERE_MAX));
        let wake_up = |execution: &ExecutionId| Envelope {
            execution: execution.clone(),
            trace: self.new_trace(),
            event: Event::WakeUpDue,
        };
        if let Err(error) = ports.bus.publish_all(elsewhere.iter().map(wake_up).collect()).await {
            tracing::warn!(%error, "the next tick sees to what is left");
        }
        let failed = stream::iter(here.iter().map(wake_up))
            .map(|envelope| self.handle(Intake::Planner, envelope))
            .buffer_unordered(AT_ONCE)
            .filter(|handled| std::future::ready(handled.is_err()))
            .count()
            .await;
        if failed > 0 {
            tracing::warn!(due = due.len(), failed, "{NOT_LOOKED_AFTER}");
        }
        Ok(json!({"due": due.len(), "failed": failed}))
    }
}

/// What a handler's end means to whoever invoked: what may pass fails the invocation, anything else is told and done with.
fn settled(handled: Result<(), EngineError>, span: &tracing::Span) -> Result<(), Failure> {
    let _entered = span.enter();
    match handled {
        Ok(()) => Ok(()),
        Err(EngineError::Rejected(rejection)) => {
            tracing::info!(%rejection, "rejected");
            Ok(())
        }
        Err(error) if may_pass(&error) => {
            tracing::warn!(%error, "to be tried again");
            Err(error.into())
        }
        Err(error) => {
            tracing::error!(%error, "not to be tried again");
            Ok(())
        }
    }
}

/// What something looks like, without what is in it: payloads may hold secrets.
pub(crate) fn shape(payload: &Value) -> String {
    match payload {
        Value::Object(fields) => format!("a map with {}", fields.keys().cloned().collect::<Vec<_>>().join(", ")),
        Value::Array(_) => "a list".to_owned(),
        _ => "a single value".to_owned(),
    }
}
