//! Attempts as tasks of this process.

#[cfg(test)]
mod tests;

use std::{
    collections::HashSet,
    num::NonZeroUsize,
    panic::AssertUnwindSafe,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread::available_parallelism,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use futures_util::FutureExt as _;
use ratchet_core::{
    execution::TraceParent,
    ids::{ExecutionId, StepKey},
    step::{FailureClass, StepFailure, Usage},
};
use ratchet_engine::{
    order::{AttemptOutcome, AttemptReport, Order},
    ports::{
        AttemptFiles, AttemptPlace, AttemptRunner, Envelope, Event, EventBus, LaunchError, Slot, Stop, StopSignal,
        TaskLauncher, TaskState,
    },
};
use ratchet_files::{Leaving, no_files, not_captured, with_tree};
use tokio::sync::{Semaphore, watch};

use crate::{
    error::LocalError,
    lock::EngineLock,
    place::LocalPlace,
    processes::{ProcessTable, end_leftovers},
    scratch::Scratch,
    tasks::{Task, Tasks},
    workspace::{AttemptView, Files, blocking},
};

/// For how long a run may hand the room of one task on to its next while others wait.
const TURN: Duration = Duration::from_millis(500);

/// A launcher whose tasks run in this process, and end with it.
///
/// It keeps the report of an attempt until [`acknowledge`](Self::acknowledge) says that it was handled, and gives it again to whoever asks where the attempt
/// stands, so that no report is lost on its way.
#[derive(Clone)]
pub struct LocalLauncher {
    inner: Arc<Inner>,
}

struct Inner {
    runner: Arc<dyn AttemptRunner>,
    bus: Arc<dyn EventBus>,
    files: Files,
    table: ProcessTable,
    slots: Arc<Semaphore>,
    /// How many wait for one.
    waiting: AtomicUsize,
    tasks: Mutex<Tasks>,
    adopted: Mutex<HashSet<ExecutionId>>,
    scratch: Mutex<Option<Scratch>>,
}

impl LocalLauncher {
    /// A launcher that runs at most so many attempts at once; `None` for one a CPU, at least two.
    pub fn new(
        runner: Arc<dyn AttemptRunner>,
        bus: Arc<dyn EventBus>,
        files: Files,
        table: ProcessTable,
        max_parallel: Option<NonZeroUsize>,
    ) -> Self {
        let slots = max_parallel.map_or_else(default_parallel, NonZeroUsize::get);
        Self {
            inner: Arc::new(Inner {
                runner,
                bus,
                files,
                table,
                slots: Arc::new(Semaphore::new(slots.min(Semaphore::MAX_PERMITS))),
                waiting: AtomicUsize::new(0),
                tasks: Mutex::default(),
                adopted: Mutex::default(),
                scratch: Mutex::default(),
            }),
        }
    }

    /// Says that this process drives the run and that no process of an earlier engine is left of it.
    pub fn adopt(&self, execution: &ExecutionId) {
        lock(&self.inner.adopted).insert(execution.clone());
    }

    /// Says that this process no longer drives the run.
    pub fn release(&self, execution: &ExecutionId) {
        lock(&self.inner.adopted).remove(execution);
        lock(&self.inner.tasks).forget(execution);
    }

    /// Says that the report of an attempt was handled.
    pub fn acknowledge(&self, key: &StepKey, attempt: u32) {
        lock(&self.inner.tasks).acknowledge(key, attempt);
    }

    /// How many attempts of a run are running here.
    pub fn running(&self, execution: &ExecutionId) -> usize {
        lock(&self.inner.tasks).of(execution).filter(|task| matches!(task, Task::Running { .. })).count()
    }

    /// How many attempts of a run are running here, or have reported an end that was not handled yet.
    pub fn unsettled(&self, execution: &ExecutionId) -> usize {
        lock(&self.inner.tasks).unsettled(execution)
    }

    /// Waits until no attempt of a run is running here.
    pub async fn idle(&self, execution: &ExecutionId) {
        loop {
            let ended = lock(&self.inner.tasks).of(execution).find_map(|task| match task {
                Task::Running { ended, .. } => Some(ended.clone()),
                _ => None,
            });
            let Some(mut ended) = ended else { return };
            // The sender goes only after it has said so, or with the whole process.
            let _ = ended.wait_for(|ended| *ended).await;
        }
    }

    /// Tells every running attempt of a run to end, and does not wait for it.
    pub fn stop_all(&self, execution: &ExecutionId, stop: Stop) {
        for task in lock(&self.inner.tasks).of(execution) {
            if let Task::Running { stop: sender, .. } = task {
                sender.send_replace(Some(stop));
            }
        }
    }
}

#[async_trait]
impl TaskLauncher for LocalLauncher {
    async fn reserve(&self) -> Result<Slot, LaunchError> {
        let slots = &self.inner.slots;
        let permit = if let Ok(permit) = slots.clone().try_acquire_owned() {
            Ok(permit)
        } else {
            let _waiting = Waiting::among(&self.inner.waiting);
            slots.clone().acquire_owned().await
        };
        let permit = permit.map_err(|closed| LaunchError::Refused(closed.to_string()))?;
        Ok(Slot::counted(permit).since(Instant::now()))
    }

    fn room_left_by(&self, key: &StepKey, attempt: u32) -> Option<Slot> {
        lock(&self.inner.tasks).take_room(key, attempt)
    }

    async fn launch(&self, slot: Slot, order: Order) -> Result<(), LaunchError> {
        let (key, attempt) = (order.key.clone(), order.attempt);
        let place = LocalPlace::parse(&order.key.execution, &order.place)
            .map_err(|error| LaunchError::Refused(error.to_string()))?;
        let scratch = self.inner.scratch()?;
        let (stop, stop_signal) = watch::channel(None);
        let (end, ended) = watch::channel(false);
        if !lock(&self.inner.tasks).insert(&key, attempt, Task::Running { stop, ended }) {
            return Ok(());
        }
        let inner = self.inner.clone();
        tokio::spawn(async move {
            let trace = order.trace.clone();
            let report = inner.attempt(order, &place, scratch, stop_signal).await;
            // Else the room is free before the report is out: what it sets in motion finds it.
            let room = Some(slot).filter(|slot| inner.keeps_room(slot, &report));
            let task = Task::Reported { trace: trace.clone(), report: Box::new(report.clone()), room };
            lock(&inner.tasks).replace(&key, attempt, task);
            end.send_replace(true);
            inner.publish(key.execution, trace, report).await;
        });
        Ok(())
    }

    async fn state(&self, key: &StepKey, attempt: u32) -> Result<TaskState, LaunchError> {
        self.inner.fence(key, attempt);
        let unhandled = match lock(&self.inner.tasks).get(key, attempt) {
            Some(Task::Running { .. }) => return Ok(TaskState::Alive),
            Some(Task::Acknowledged | Task::Fenced) => return Ok(TaskState::Gone),
            Some(Task::Reported { trace, report, .. }) => Some((trace.clone(), (**report).clone())),
            None => None,
        };
        if let Some((trace, report)) = unhandled {
            self.inner.publish(key.execution.clone(), trace, report).await;
            return Ok(TaskState::Alive);
        }
        self.inner.state_elsewhere(&key.execution).await
    }

    fn is_driven(&self, execution: &ExecutionId) -> bool {
        self.inner.is_driven(&execution.root())
    }

    async fn stop(&self, key: &StepKey, attempt: u32) -> Result<(), LaunchError> {
        self.inner.fence(key, attempt);
        let ended = match lock(&self.inner.tasks).get(key, attempt) {
            Some(Task::Running { stop, ended }) => {
                stop.send_if_modified(|signal| signal.is_none() && signal.replace(Stop::Gracefully).is_none());
                Some(ended.clone())
            }
            Some(Task::Reported { .. } | Task::Acknowledged | Task::Fenced) => return Ok(()),
            None => None,
        };
        let Some(mut ended) = ended else {
            return match self.inner.state_elsewhere(&key.execution).await? {
                TaskState::Gone => Ok(()),
                TaskState::Alive => Err(LaunchError::Refused("another process drives the run".to_owned())),
            };
        };
        // The sender goes only after it has said so, or with the whole process.
        let _ = ended.wait_for(|ended| *ended).await;
        Ok(())
    }
}

impl Inner {
    /// Runs an attempt on its files, and finds out what it left of them.
    async fn attempt(&self, order: Order, place: &LocalPlace, scratch: PathBuf, stop: StopSignal) -> AttemptReport {
        let began = Instant::now();
        let (key, attempt, token) = (order.key.clone(), order.attempt, order.token.clone());
        let report = |outcome| AttemptReport { key: key.clone(), attempt, token: token.clone(), outcome };
        let view = match &order.tree {
            None => None,
            Some(tree) => {
                let (files, id, tree) = (self.files.clone(), key.execution.clone(), tree.clone());
                match blocking(move || files.open(&id, &tree)).await {
                    Ok(view) => Some(view),
                    Err(error) => {
                        let failure = no_files(&error, error.code(), error.hint());
                        return report(AttemptOutcome::Failed { failure, usage: Usage::default() });
                    }
                }
            }
        };
        let seen = view.as_ref().map_or_else(|| AttemptFiles::in_folder(&place.workspace), AttemptView::files);
        let state = self.files.state();
        let place = AttemptPlace {
            definitions: place.definitions(seen.path()),
            files: seen,
            directory: state.attempt(&key, attempt),
            scratch,
        };
        let leaving = Leaving::of(&order);
        // Caught here and not by a task of its own, which another thread might have to be woken for.
        let run = AssertUnwindSafe(self.runner.run(order, place, stop)).catch_unwind();
        let Ok(ended) = run.await else { return report(broken()) };
        match view {
            None => ended,
            Some(view) => AttemptReport { outcome: self.left(view, ended.outcome, leaving, began).await, ..ended },
        }
    }

    /// An outcome with what the attempt left.
    async fn left(
        &self,
        view: AttemptView,
        outcome: AttemptOutcome,
        leaving: Leaving,
        began: Instant,
    ) -> AttemptOutcome {
        if !Leaving::is_kept_of(&outcome) {
            let _ = blocking(move || {
                view.give_up();
                Ok(())
            })
            .await;
            return outcome;
        }
        let (files, base, bounds) = (self.files.clone(), view.base(), leaving.bounds);
        let declared = leaving.declared(&outcome);
        let captured = Instant::now();
        let left = blocking(move || Ok(files.close(view, declared, bounds)?)).await;
        let capture_ms = u64::try_from(captured.elapsed().as_millis()).unwrap_or(u64::MAX);
        tracing::debug!(capture_ms, attempt_ms = began.elapsed().as_millis(), "an attempt's files are captured");
        if let Err(error) = &left {
            tracing::warn!(%error, "what the attempt changed is not kept");
        }
        with_tree(outcome, &base, left.map_err(|error| not_captured(&error, error.code(), error.hint())), capture_ms)
    }

    /// The folder of this engine's scratch, made with the first attempt.
    fn scratch(&self) -> Result<PathBuf, LaunchError> {
        let mut scratch = lock(&self.scratch);
        if let Some(made) = &*scratch {
            return Ok(made.path().to_owned());
        }
        let made = Scratch::make(self.files.state()).map_err(|source| {
            let folder = self.files.state().scratch();
            let error = LocalError::state_directory(&folder, "hold the homes of commands", source);
            LaunchError::Refused(error.to_string())
        })?;
        let path = made.path().to_owned();
        *scratch = Some(made);
        Ok(path)
    }

    /// Whether a run keeps the room of an attempt that did well for what follows from it, though others wait. What follows is then claimed in the commit that
    /// records the result, and a run of small steps has ended before the next one begins; but no run keeps others waiting for longer than its turn.
    fn keeps_room(&self, slot: &Slot, report: &AttemptReport) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
            && matches!(report.outcome, AttemptOutcome::Succeeded(_))
            && slot.given().is_some_and(|given| given.elapsed() < TURN)
    }

    async fn publish(&self, execution: ExecutionId, trace: TraceParent, report: AttemptReport) {
        let event = Event::StepFinished(Box::new(report));
        if let Err(error) = self.bus.publish(Envelope { execution, trace, event }).await {
            // The report is kept, and the run's wake-up asks for it.
            tracing::warn!(%error, "a report waits for the run's wake-up");
        }
    }

    /// Keeps an attempt of a run that this process drives from starting, where it has not: a handler that claimed it may still be on its way here.
    fn fence(&self, key: &StepKey, attempt: u32) {
        if lock(&self.adopted).contains(&key.execution.root()) {
            lock(&self.tasks).insert(key, attempt, Task::Fenced);
        }
    }

    /// Whether this process or another one has an outermost run in its hands.
    fn is_driven(&self, root: &ExecutionId) -> bool {
        lock(&self.adopted).contains(root) || EngineLock::is_held(self.files.state(), root)
    }

    /// Where an attempt stands that was not launched here: its engine ended with its processes, or another process drives the run.
    async fn state_elsewhere(&self, execution: &ExecutionId) -> Result<TaskState, LaunchError> {
        let root = &execution.root();
        if lock(&self.adopted).contains(root) {
            return Ok(TaskState::Gone);
        }
        if EngineLock::is_held(self.files.state(), root) {
            return Ok(TaskState::Alive);
        }
        let (table, state, id) = (self.table.clone(), self.files.state().clone(), root.clone());
        let ended = tokio::task::spawn_blocking(move || end_leftovers(&table, &state, &id)).await;
        match ended {
            Ok(Ok(_)) => Ok(TaskState::Gone),
            Ok(Err(error)) => Err(LaunchError::NoCapacity(error.to_string())),
            Err(error) => Err(LaunchError::NoCapacity(error.to_string())),
        }
    }
}

/// One who waits for room, counted as long as it does.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn among(waiting: &'a AtomicUsize) -> Self {
        waiting.fetch_add(1, Ordering::Relaxed);
        Self(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What is reported where the runner broke its contract.
fn broken() -> AttemptOutcome {
    let failure = StepFailure::new(FailureClass::Launch, "the runner ended without a report")
        .with_code("RT-0262")
        .with_hint("this is a mistake in ratchet: please report it with the log of the attempt");
    AttemptOutcome::Failed { failure, usage: Usage::default() }
}

/// One attempt a CPU, and at least two: steps wait for disks, networks and agents.
fn default_parallel() -> usize {
    available_parallelism().map_or(2, NonZeroUsize::get).max(2)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
