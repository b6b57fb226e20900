//! The attempts that were launched in this process, run by run: whoever asks about one run looks at nothing of another.

use std::collections::HashMap;

use ratchet_core::{
    execution::TraceParent,
    ids::{Epoch, ExecutionId, StepKey, StepPath},
};
use ratchet_engine::{
    order::AttemptReport,
    ports::{Slot, Stop},
};
use tokio::sync::watch;

/// Where an attempt that was launched here stands.
pub(crate) enum Task {
    /// Its process runs, or is about to.
    Running {
        /// Tells it to end.
        stop: watch::Sender<Option<Stop>>,
        /// Whether it has.
        ended: watch::Receiver<bool>,
    },
    /// It ended, and its report was not handled yet.
    Reported {
        /// The trace that its report belongs to.
        trace: TraceParent,
        /// Kept for whoever asks.
        report: Box<AttemptReport>,
        /// Kept for whoever handles it.
        room: Option<Slot>,
    },
    /// Its report was handled.
    Acknowledged,
    /// It was said to be gone before it was launched, so it never is.
    Fenced,
}

impl Task {
    fn is_unsettled(&self) -> bool {
        !matches!(self, Self::Acknowledged | Self::Fenced)
    }
}

/// All attempts of the runs that this process drives.
#[derive(Default)]
pub(crate) struct Tasks {
    runs: HashMap<ExecutionId, Run>,
}

/// Which of the runs that steps of a run started (nothing for the run itself), and which attempt in it.
type Name = (Box<str>, Epoch, StepPath, u32);

/// A run, and all that steps of it started.
#[derive(Default)]
struct Run {
    tasks: HashMap<Name, Task>,
    /// How many of them are unsettled: asked for at every turn of the run's driver.
    unsettled: usize,
}

impl Run {
    fn put(&mut self, name: Name, task: Task) {
        self.unsettled += usize::from(task.is_unsettled());
        let earlier = self.tasks.insert(name, task);
        self.unsettled -= usize::from(earlier.is_some_and(|earlier| earlier.is_unsettled()));
    }
}

impl Tasks {
    /// Adds an attempt; `false` where it is there already, which then stays as it is.
    pub(crate) fn insert(&mut self, key: &StepKey, attempt: u32, task: Task) -> bool {
        let run = self.runs.entry(key.execution.root()).or_default();
        let name = name(key, attempt);
        let is_new = !run.tasks.contains_key(&name);
        if is_new {
            run.put(name, task);
        }
        is_new
    }

    /// Puts an attempt where it now stands.
    pub(crate) fn replace(&mut self, key: &StepKey, attempt: u32, task: Task) {
        // A run that was given back meanwhile is not begun again by what comes late.
        if let Some(run) = self.runs.get_mut(&key.execution.root()) {
            run.put(name(key, attempt), task);
        }
    }

    /// Says that the report of an attempt was handled.
    pub(crate) fn acknowledge(&mut self, key: &StepKey, attempt: u32) {
        if let Some(Task::Reported { .. }) = self.get(key, attempt) {
            self.replace(key, attempt, Task::Acknowledged);
        }
    }

    /// The room that was kept with the report of an attempt.
    pub(crate) fn take_room(&mut self, key: &StepKey, attempt: u32) -> Option<Slot> {
        match self.runs.get_mut(&key.execution.root())?.tasks.get_mut(&name(key, attempt))? {
            Task::Reported { room, .. } => room.take(),
            _ => None,
        }
    }

    /// Where an attempt stands; `None` where it was not launched here.
    pub(crate) fn get(&self, key: &StepKey, attempt: u32) -> Option<&Task> {
        self.runs.get(&key.execution.root())?.tasks.get(&name(key, attempt))
    }

    /// Every attempt of a run.
    pub(crate) fn of(&self, execution: &ExecutionId) -> impl Iterator<Item = &Task> {
        self.runs.get(execution).into_iter().flat_map(|run| run.tasks.values())
    }

    /// How many attempts of a run are running, or have reported an end that was not handled yet.
    pub(crate) fn unsettled(&self, execution: &ExecutionId) -> usize {
        self.runs.get(execution).map_or(0, |run| run.unsettled)
    }

    /// Drops what is known of a run.
    pub(crate) fn forget(&mut self, execution: &ExecutionId) {
        self.runs.remove(execution);
    }
}

/// An attempt among those of the run at the root: of which of the runs below it, if of one.
fn name(key: &StepKey, attempt: u32) -> Name {
    (key.execution.nested_name().into(), key.epoch, key.path.clone(), attempt)
}
