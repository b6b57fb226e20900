//! The tasks of attempts, as the launcher knows them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use ratchet_core::ids::StepKey;
use ratchet_engine::{
    order::{AttemptReport, Token},
    ports::Slot,
};
use tokio::sync::Semaphore;

/// The name of an attempt.
pub(crate) type AttemptName = (StepKey, u32);

/// The tasks.
pub(crate) struct Tasks {
    /// Room for tasks that run at once.
    pub(crate) slots: Arc<Semaphore>,
    pub(crate) slots_max: usize,
    pub(crate) by_name: BTreeMap<AttemptName, Task>,
    /// Attempts that were said to be gone, or were stopped: they never start any more.
    pub(crate) fenced: BTreeSet<AttemptName>,
    /// Whether a report that was not handled is given again to whoever asks where its attempt stands.
    pub(crate) keeps_reports: bool,
    /// Whether tasks end with the process that started them.
    pub(crate) die_with_process: bool,
}

/// A task.
pub(crate) struct Task {
    pub(crate) process: usize,
    /// Held while the task runs.
    pub(crate) slot: Option<Slot>,
    /// What it will report, unless it is lost or stopped.
    pub(crate) report: AttemptReport,
    pub(crate) state: TaskStage,
    /// Reports of it that are on their way.
    pub(crate) in_flight: u32,
    /// Whether a handler took a report of it and came to its end.
    pub(crate) handled: bool,
}

/// Where a task stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TaskStage {
    Running,
    /// It ended and gave its report to the bus.
    Reported,
    /// It ended without a report.
    Lost,
}

impl Tasks {
    pub(crate) fn new(slots: usize, keeps_reports: bool, die_with_process: bool) -> Self {
        Self {
            slots: Arc::new(Semaphore::new(slots)),
            slots_max: slots,
            by_name: BTreeMap::new(),
            fenced: BTreeSet::new(),
            keeps_reports,
            die_with_process,
        }
    }

    /// The token of the newest attempt of a step, where a later one than this was launched.
    pub(crate) fn later_token(&self, key: &StepKey, attempt: u32) -> Option<Token> {
        let later = self.by_name.range((key.clone(), attempt + 1)..=(key.clone(), u32::MAX));
        later.last().map(|(_, task)| task.report.token.clone())
    }

    /// The tasks that run.
    pub(crate) fn live(&self) -> impl Iterator<Item = &AttemptName> {
        self.by_name.iter().filter(|(_, task)| task.state == TaskStage::Running).map(|(name, _)| name)
    }

    /// Ends a task without a report.
    pub(crate) fn lose(&mut self, name: &AttemptName) -> bool {
        let Some(task) = self.by_name.get_mut(name).filter(|task| task.state == TaskStage::Running) else {
            return false;
        };
        task.state = TaskStage::Lost;
        task.slot = None;
        true
    }

    /// The tasks that a process started and that still run.
    pub(crate) fn of_process(&self, process: usize) -> Vec<AttemptName> {
        let running = |task: &Task| task.process == process && task.state == TaskStage::Running;
        self.by_name.iter().filter(|(_, task)| running(task)).map(|(name, _)| name.clone()).collect()
    }
}
