//! What a step's process prints goes to the task's log, a line each, with the name of the step.

use ratchet_core::{
    execution::ExecutionRow,
    history::Record,
    ids::StepKey,
    step::StepRow,
    transition::{ExecutionTransition, StepTransition},
};
use ratchet_engine::ports::Observer;

/// Tells lines of an attempt.
pub(crate) struct Lines {
    pub(crate) attempt: u32,
}

impl Observer for Lines {
    fn step_changed(&self, _row: &StepRow, _record: &Record<StepTransition>) {}

    fn execution_changed(&self, _row: &ExecutionRow, _record: &Record<ExecutionTransition>) {}

    fn line_written(&self, key: &StepKey, line: &str) {
        tracing::info!(target: "step", execution = %key.execution, step = %key.path, attempt = self.attempt, "{line}");
    }
}
