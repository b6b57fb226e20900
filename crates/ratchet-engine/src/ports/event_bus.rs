use async_trait::async_trait;
use jiff::Timestamp;
use ratchet_core::{
    execution::TraceParent,
    ids::{Epoch, ExecutionId, StepKey, StepPath},
    join::NeedOutcome,
};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::order::AttemptReport;

/// Events between the handlers.
///
/// Contract: at least once, some time. An event may come twice, late, out of order, or (where a process dies) not at all; the execution's wake-up
/// makes up for what is lost. An event published for a time is never delivered before it.
#[async_trait]
pub trait EventBus: Send + Sync {
    /// Delivers an event soon.
    async fn publish(&self, envelope: Envelope) -> Result<(), BusError>;

    /// Delivers several events soon, in any order. An error says that some may not have gone out.
    async fn publish_all(&self, envelopes: Vec<Envelope>) -> Result<(), BusError> {
        for envelope in envelopes {
            self.publish(envelope).await?;
        }
        Ok(())
    }

    /// Delivers an event at a time. Only an accelerator: the execution's `wake_at` finds the same.
    async fn publish_at(&self, envelope: Envelope, at: Timestamp) -> Result<(), BusError>;
}

/// An event on its way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Envelope {
    /// The run that it is about.
    pub execution: ExecutionId,
    /// The trace that it belongs to.
    pub trace: TraceParent,
    /// What happened.
    pub event: Event,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum Event {
    /// The execution was created, or began a new epoch: it is planned.
    ExecutionChanged,
    /// All needs of a step have arrived.
    StepReady {
        /// In which epoch.
        epoch: Epoch,
        /// The step, or a child of a fan-out.
        path: StepPath,
        /// What they said.
        needs: NeedOutcome,
        /// Of a child: whose lane it takes over.
        predecessor: Option<u32>,
    },
    /// An attempt ended.
    StepFinished(Box<AttemptReport>),
    /// An attempt's task is gone and will not report.
    TaskLost {
        /// Whose.
        key: StepKey,
        /// Which attempt.
        attempt: u32,
    },
    /// The time of a step's next attempt has come.
    RetryDue {
        /// Whose.
        key: StepKey,
        /// The attempt that failed.
        attempt: u32,
    },
    /// The time that a step waits for has come.
    TimeCome {
        /// Whose.
        key: StepKey,
    },
    /// The run that a step is has ended, is paused, or goes on.
    RunChanged {
        /// The step.
        key: StepKey,
    },
    /// The execution's `wake_at` has passed.
    WakeUpDue,
}

/// Why an event could not be published.
#[derive(Debug, Error)]
pub enum BusError {
    /// For now: the same call may succeed later.
    #[error("the event bus is not available: {0}")]
    Unavailable(String),
}
