use std::sync::Arc;

use ratchet_core::{
    budget::{Budget, Spent},
    execution::ExecutionRow,
    history::Record,
    ids::StepKey,
    step::StepRow,
    transition::{ExecutionTransition, StepTransition},
};
use ratchet_engine::{masks::Masks, ports::Observer};

use crate::{console::Console, progress::Progress, telemetry::Spans};

/// Everybody who is told what happens: the person, and the tracing system.
pub(super) struct Told {
    /// What neither may see.
    pub(super) masks: Masks,
    pub(super) progress: Progress,
    pub(super) spans: Arc<Spans>,
    pub(super) console: Console,
}

impl Told {
    /// Says something while the run is drawn.
    pub(super) fn note(&self, text: &str) {
        if !self.progress.note(text) {
            self.console.say(text);
        }
    }
}

impl Observer for Told {
    fn step_changed(&self, row: &StepRow, record: &Record<StepTransition>) {
        if !self.masks.is_empty() {
            let (row, record) = self.masks.told(row, record);
            self.progress.step_changed(&row, &record);
            self.spans.step_changed(&row, &record);
            return;
        }
        self.progress.step_changed(row, record);
        self.spans.step_changed(row, record);
    }

    fn execution_changed(&self, row: &ExecutionRow, record: &Record<ExecutionTransition>) {
        self.progress.execution_changed(row, record);
        self.spans.execution_changed(row, record);
    }

    fn line_written(&self, key: &StepKey, line: &str) {
        self.progress.line_written(key, line);
    }

    fn budget_nearly_spent(&self, _row: &ExecutionRow, spent: &Spent, budget: &Budget) {
        if let Some((limit, percent)) = spent.share(budget) {
            self.note(&format!("warning: {percent} % of the budget: {}", spent.beside(budget, limit)));
        }
    }
}
