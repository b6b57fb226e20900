//! What the drivers of this process learn from the handlers of this process.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ratchet_core::{
    budget::{Budget, Spent},
    execution::ExecutionRow,
    history::Record,
    ids::{ExecutionId, StepKey},
    step::StepRow,
    transition::{ExecutionTransition, StepTransition},
};
use ratchet_engine::ports::Observer;
use tokio::sync::watch;

/// What is known of a run that is driven here.
#[derive(Debug, Clone, Default)]
pub(super) struct Known {
    /// Its row as a handler here wrote it last.
    pub(super) row: Option<ExecutionRow>,
    /// Whether it is to be left alone at once.
    pub(super) abandoned: bool,
}

/// An observer that also keeps each driver up to date.
pub(super) struct Watch {
    observer: Arc<dyn Observer>,
    known: Mutex<HashMap<ExecutionId, watch::Sender<Known>>>,
}

impl Watch {
    pub(super) fn new(observer: Arc<dyn Observer>) -> Self {
        Self { observer, known: Mutex::default() }
    }

    pub(super) fn subscribe(&self, id: &ExecutionId) -> watch::Receiver<Known> {
        self.known().entry(id.clone()).or_default().subscribe()
    }

    pub(super) fn forget(&self, id: &ExecutionId) {
        self.known().remove(id);
    }

    pub(super) fn abandon(&self, id: &ExecutionId) {
        if let Some(sender) = self.known().get(id) {
            sender.send_modify(|known| known.abandoned = true);
        }
    }

    fn known(&self) -> MutexGuard<'_, HashMap<ExecutionId, watch::Sender<Known>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observer for Watch {
    fn step_changed(&self, row: &StepRow, record: &Record<StepTransition>) {
        self.observer.step_changed(row, record);
    }

    fn execution_changed(&self, row: &ExecutionRow, record: &Record<ExecutionTransition>) {
        if let Some(sender) = self.known().get(&row.id) {
            sender.send_modify(|known| {
                // Told in the order of the handlers, which need not be that of the writes.
                if known.row.as_ref().is_none_or(|newest| newest.revision < row.revision) {
                    known.row = Some(row.clone());
                }
            });
        }
        self.observer.execution_changed(row, record);
    }

    fn line_written(&self, key: &StepKey, line: &str) {
        self.observer.line_written(key, line);
    }

    fn budget_nearly_spent(&self, row: &ExecutionRow, spent: &Spent, budget: &Budget) {
        self.observer.budget_nearly_spent(row, spent, budget);
    }
}
