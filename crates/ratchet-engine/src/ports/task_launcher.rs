use std::{path::PathBuf, time::Instant};

use async_trait::async_trait;
use ratchet_core::ids::{ExecutionId, StepKey};
use thiserror::Error;
use tokio::sync::watch;

use super::AttemptFiles;
use crate::order::{AttemptReport, Order};

/// Starts the tasks that attempts run in.
///
/// Contract: an attempt that was launched reports its end once or more through the event bus, or its task is lost, which [`state`](Self::state) tells. Launching
/// the same attempt twice starts it at most once. When [`stop`](Self::stop) returns, no process of the attempt is left. What `state` said is gone and what `stop`
/// ended stays so: a handler that claimed the attempt and comes late to launch it starts nothing, and is told that all is well.
#[async_trait]
pub trait TaskLauncher: Send + Sync {
    /// Waits until another task may be started. A step is claimed only with a slot in hand, so that what waits for room is still pending.
    async fn reserve(&self) -> Result<Slot, LaunchError>;

    /// Starts an attempt in the slot.
    async fn launch(&self, slot: Slot, order: Order) -> Result<(), LaunchError>;

    /// Where an attempt's task stands. One that was not launched counts as alive for as long as the handler that claimed it may be about to launch it.
    async fn state(&self, key: &StepKey, attempt: u32) -> Result<TaskState, LaunchError>;

    /// Whether somebody drives a run, where the launcher can tell at once and without touching its attempts. Where it cannot, somebody does: an attempt of a run that nobody
    /// drives has ended with who drove it.
    fn is_driven(&self, _execution: &ExecutionId) -> bool {
        true
    }

    /// The room of an attempt that has reported, where the launcher kept it for what its report makes possible while others wait for room. Whoever handles the
    /// report may start the next task of the run in it; else it is given back.
    fn room_left_by(&self, _key: &StepKey, _attempt: u32) -> Option<Slot> {
        None
    }

    /// Ends an attempt's task and waits for its end.
    async fn stop(&self, key: &StepKey, attempt: u32) -> Result<(), LaunchError>;
}

/// Room for one task. Dropping it gives the room back.
#[derive(Debug, Default)]
pub struct Slot {
    #[expect(dead_code, reason = "held for its drop")]
    permit: Option<tokio::sync::OwnedSemaphorePermit>,
    since: Option<Instant>,
}

impl Slot {
    /// Room that is not counted.
    pub fn unlimited() -> Self {
        Self::default()
    }

    /// Room that is counted by a semaphore.
    pub fn counted(permit: tokio::sync::OwnedSemaphorePermit) -> Self {
        Self { permit: Some(permit), since: None }
    }

    /// With a note of when it was given.
    pub fn since(self, moment: Instant) -> Self {
        Self { since: Some(moment), ..self }
    }

    /// When it was given, where that was noted.
    pub fn given(&self) -> Option<Instant> {
        self.since
    }
}

/// Where a task stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskState {
    /// It runs, or will.
    Alive,
    /// It is gone and will not report: no process of it is left.
    Gone,
}

/// Why a task could not be started or asked about.
#[derive(Debug, Error)]
pub enum LaunchError {
    /// For now: the same call may succeed later.
    #[error("no task can be started now: {0}")]
    NoCapacity(String),
    /// It will not succeed later either.
    #[error("the task cannot be started: {0}")]
    Refused(String),
}

/// Runs one attempt of one step where it is called, for launchers whose tasks are in the same process or on the same machine.
///
/// Contract: it returns exactly once, with the attempt's report, and no process of the attempt is left then, whatever happened.
#[async_trait]
pub trait AttemptRunner: Send + Sync {
    /// Runs the attempt to its end, or until it is told to stop.
    async fn run(&self, order: Order, place: AttemptPlace, stop: StopSignal) -> AttemptReport;
}

/// Where an attempt runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptPlace {
    /// The files that the step works on.
    pub files: AttemptFiles,
    /// The folder of the workflow's file, where that is known: programs that it names by a relative path lie there.
    pub definitions: Option<PathBuf>,
    /// A folder of the attempt's own: `output.log`, `transcript.jsonl`, and after a failure the home and temporary folders of its processes. Whoever has something
    /// to put there makes it.
    pub directory: PathBuf,
    /// Where the home and temporary folders of processes lie while they run: a folder of this engine's alone. Whoever needs one makes it.
    pub scratch: PathBuf,
}

/// Why an attempt is to end before it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Ask, wait a moment, then kill.
    Gracefully,
    /// Kill.
    AtOnce,
}

/// Tells an attempt to end.
pub type StopSignal = watch::Receiver<Option<Stop>>;
