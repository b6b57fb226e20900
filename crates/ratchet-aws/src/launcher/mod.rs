//! Attempts as Fargate tasks.
//!
//! A task is asked for with the digest of its order, and nothing else of it. What the launcher and the task know of each other stands in one row of the attempt
//! ([`TaskStage`]): the task that writes there first that it began is the attempt, so that one that was started twice, or too late, ends at once. A report is kept before it is sent, so
//! that one whose event was lost is sent again by whoever asks after the attempt.

mod request;
mod size;
mod standing;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use aws_sdk_ecs::Client;
use jiff::{SignedDuration, Timestamp};
use ratchet_core::{
    history::sha256_hex,
    ids::{Digest, StepKey},
};
use ratchet_engine::{
    order::Order,
    ports::{BlobStore, Clock, Envelope, EventBus, LaunchError, Slot, StoreError, TaskLauncher, TaskState},
};
use tokio::time::sleep;

use self::{request::Refused, standing::Started};
pub use self::{
    request::{ATTEMPT, Capacity, ORDER, TaskPlace},
    size::TaskSizes,
};
use crate::{DynamoStateStore, TaskStage};

/// How long a task may not be seen that a handler has asked for, or is yet to: it has two minutes itself, and what lists tasks is a moment behind.
const UNSEEN_MAX: SignedDuration = SignedDuration::from_secs(150);

/// How long the event of a report has to come: only then is it sent again.
const DELIVERY: SignedDuration = SignedDuration::from_secs(30);

/// How long a report is sent again that nobody takes: what an impostor left would keep its attempt alive for good.
const UNTAKEN_MAX: SignedDuration = SignedDuration::from_hours(1);

/// How often a task is asked for before there is no capacity.
const TRIES_MAX: u32 = 4;

/// Before it is asked for again; twice as long each time.
const PAUSE: Duration = Duration::from_millis(500);

/// How often is looked whether a stopped task has ended.
const LOOK: Duration = Duration::from_secs(1);

/// For how long.
const STOP_MAX: Duration = Duration::from_secs(45);

/// A launcher whose tasks run on Fargate.
pub struct EcsLauncher {
    client: Client,
    place: TaskPlace,
    rows: DynamoStateStore,
    blobs: Arc<dyn BlobStore>,
    bus: Arc<dyn EventBus>,
    clock: Arc<dyn Clock>,
}

impl EcsLauncher {
    /// A launcher of tasks at a place. Their orders and reports are content of the store.
    pub fn new(
        client: Client,
        place: TaskPlace,
        rows: DynamoStateStore,
        (blobs, bus, clock): (Arc<dyn BlobStore>, Arc<dyn EventBus>, Arc<dyn Clock>),
    ) -> Self {
        Self { client, place, rows, blobs, bus, clock }
    }

    /// Asks for a task until it is given one, or there is no capacity.
    async fn run(&self, order: &Order, content: &Digest) -> Result<(), LaunchError> {
        for tried in 0.. {
            match self.run_once(order, content).await {
                Ok(()) => return Ok(()),
                Err(Refused::ForNow(reason)) if tried + 1 < TRIES_MAX => {
                    tracing::info!(step = %order.key.path, reason, "a task is asked for again");
                    sleep(PAUSE * 2_u32.pow(tried)).await;
                }
                Err(Refused::ForNow(reason)) => return Err(LaunchError::NoCapacity(reason)),
                Err(Refused::ForGood(reason)) => return Err(LaunchError::Refused(reason)),
            }
        }
        Ok(())
    }

    /// Whether there may be a task that was asked for, or began, at this time and is not listed yet.
    fn is_unseen(&self, tasks: &[Started], since: Timestamp) -> bool {
        tasks.is_empty() && self.clock.now().duration_since(since) < UNSEEN_MAX
    }

    /// Notes that there is no task of an attempt and will be none, where it is still as it was seen.
    async fn give_up(&self, key: &StepKey, attempt: u32, seen: Option<&TaskStage>) -> Result<TaskStage, LaunchError> {
        let given_up = self.rows.give_up_task(key, attempt, (seen, self.clock.now())).await;
        given_up.map_err(|error| not_now(&error))
    }

    /// Sends the report of an attempt again whose event may be lost. Whether it could be read.
    async fn report_again(&self, report: &Digest) -> Result<bool, LaunchError> {
        let Ok(content) = self.blobs.get(report).await else { return Ok(false) };
        let Ok(envelope) = serde_json::from_slice::<Envelope>(&content) else { return Ok(false) };
        self.bus.publish(envelope).await.map_err(|error| LaunchError::NoCapacity(error.to_string()))?;
        Ok(true)
    }
}

#[async_trait]
impl TaskLauncher for EcsLauncher {
    /// There is room for as many as the account may have: what is too much is refused when it is asked for.
    async fn reserve(&self) -> Result<Slot, LaunchError> {
        Ok(Slot::unlimited())
    }

    async fn launch(&self, _slot: Slot, order: Order) -> Result<(), LaunchError> {
        let (key, attempt) = (&order.key, order.attempt);
        let content = serde_json::to_vec(&order).map_err(|error| LaunchError::Refused(error.to_string()))?;
        let stored = self.blobs.put(&content).await.map_err(|error| LaunchError::NoCapacity(error.to_string()))?;
        match self.rows.task(key, attempt).await.map_err(|error| not_now(&error))? {
            // Whoever was to launch it before may have died before it asked.
            None | Some(TaskStage::Expected { .. }) => {}
            Some(TaskStage::Begun { .. } | TaskStage::Reported { .. } | TaskStage::Gone) => return Ok(()),
        }
        let Err(error) = self.run(&order, &stored.digest).await else { return Ok(()) };
        // Nobody needs to wait to see that there is none.
        let seen = self.rows.task(key, attempt).await.map_err(|error| not_now(&error))?;
        if matches!(seen, None | Some(TaskStage::Expected { .. })) {
            self.give_up(key, attempt, seen.as_ref()).await?;
        }
        Err(error)
    }

    async fn state(&self, key: &StepKey, attempt: u32) -> Result<TaskState, LaunchError> {
        let seen = self.rows.task(key, attempt).await.map_err(|error| not_now(&error))?;
        let is_past = |since: Timestamp, most: SignedDuration| self.clock.now().duration_since(since) >= most;
        match &seen {
            Some(TaskStage::Gone) => return Ok(TaskState::Gone),
            Some(TaskStage::Reported { at, .. }) if is_past(*at, UNTAKEN_MAX) => return Ok(TaskState::Gone),
            Some(TaskStage::Reported { at, .. }) if !is_past(*at, DELIVERY) => return Ok(TaskState::Alive),
            Some(TaskStage::Reported { report, .. }) => {
                let is_there = self.report_again(report).await?;
                return Ok(if is_there { TaskState::Alive } else { TaskState::Gone });
            }
            // A handler that claimed it may be about to launch it, or it may be on its way.
            None | Some(TaskStage::Expected { .. } | TaskStage::Begun { .. }) => {
                let tasks = self.tasks(key, attempt).await?;
                if tasks.iter().any(|task| !task.has_stopped) {
                    return Ok(TaskState::Alive);
                }
                let since = match &seen {
                    Some(TaskStage::Expected { since } | TaskStage::Begun { at: since, .. }) => Some(*since),
                    _ => None,
                };
                match since {
                    None if tasks.is_empty() => {
                        let expected = self.rows.expect_task(key, attempt, self.clock.now()).await;
                        return match expected.map_err(|error| not_now(&error))? {
                            TaskStage::Gone => Ok(TaskState::Gone),
                            _ => Ok(TaskState::Alive),
                        };
                    }
                    Some(since) if self.is_unseen(&tasks, since) => return Ok(TaskState::Alive),
                    // All that there were have stopped, or nobody has asked for one and nobody will.
                    None | Some(_) => {}
                }
            }
        }
        match self.give_up(key, attempt, seen.as_ref()).await? {
            TaskStage::Gone => Ok(TaskState::Gone),
            // It has just come further.
            _ => Ok(TaskState::Alive),
        }
    }

    async fn stop(&self, key: &StepKey, attempt: u32) -> Result<(), LaunchError> {
        let mut waited = Duration::ZERO;
        loop {
            let seen = self.rows.task(key, attempt).await.map_err(|error| not_now(&error))?;
            match &seen {
                Some(TaskStage::Gone | TaskStage::Reported { .. }) => return Ok(()),
                // One that has not begun never will.
                None | Some(TaskStage::Expected { .. }) => {
                    if self.give_up(key, attempt, seen.as_ref()).await? == TaskStage::Gone {
                        return self.stop_all(key, attempt).await.map(drop);
                    }
                }
                Some(TaskStage::Begun { at, .. }) => {
                    let tasks = self.stop_all(key, attempt).await?;
                    if tasks.iter().all(|task| task.has_stopped) && !self.is_unseen(&tasks, *at) {
                        self.give_up(key, attempt, seen.as_ref()).await?;
                        return Ok(());
                    }
                    if waited >= STOP_MAX {
                        return Err(LaunchError::NoCapacity("its task has not ended yet".to_owned()));
                    }
                    waited += LOOK;
                    sleep(LOOK).await;
                }
            }
        }
    }
}

fn not_now(error: &StoreError) -> LaunchError {
    LaunchError::NoCapacity(error.to_string())
}

/// What all tasks of an attempt are known by, and what makes asking for one twice the same as once.
fn name(key: &StepKey, attempt: u32) -> String {
    let text = serde_json::to_string(&(key, attempt)).unwrap_or_default();
    sha256_hex(text.as_bytes())[..32].to_owned()
}

#[cfg(test)]
mod tests;
