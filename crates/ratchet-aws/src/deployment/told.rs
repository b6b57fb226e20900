//! What a deployment's log says of its runs. `template.yaml` counts these lines: an alarm is no more than one of them.

use ratchet_core::{
    budget::{Budget, Spent},
    execution::ExecutionRow,
    history::Record,
    ids::StepKey,
    status::ExecutionStatus,
    step::StepRow,
    transition::{ExecutionTransition, StepTransition},
};
use ratchet_engine::ports::Observer;

/// A run failed, as a whole.
pub(super) const FAILED: &str = "an execution failed";
/// Most of a run's budget is spent.
pub(super) const NEARLY_SPENT: &str = "a budget is nearly spent";
/// Runs are due that could not be looked after.
pub(super) const NOT_LOOKED_AFTER: &str = "runs could not be looked after";

/// Tells the log.
#[derive(Debug, Clone, Copy)]
pub(super) struct Told;

impl Observer for Told {
    fn step_changed(&self, _row: &StepRow, _record: &Record<StepTransition>) {}

    fn execution_changed(&self, row: &ExecutionRow, record: &Record<ExecutionTransition>) {
        if let ExecutionTransition::Ended { status: ExecutionStatus::Failed, .. } = record.transition
            && !row.id.is_nested()
        {
            tracing::warn!(execution = %row.id, workflow = row.definition.name, "{FAILED}");
        }
    }

    fn line_written(&self, _key: &StepKey, _line: &str) {}

    fn budget_nearly_spent(&self, row: &ExecutionRow, spent: &Spent, budget: &Budget) {
        let percent = spent.share(budget).map(|(_, percent)| percent);
        tracing::warn!(execution = %row.id, workflow = row.definition.name, percent, "{NEARLY_SPENT}");
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    #[test]
    fn the_template_counts_the_lines_that_are_written() {
        let template = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../template.yaml")).unwrap();
        let mut counted: Vec<&str> = template
            .lines()
            .filter_map(|line| line.trim().strip_prefix("FilterPattern: '{ $.message = \"")?.split('"').next())
            .collect();
        counted.dedup();
        let mut written = [NOT_LOOKED_AFTER, FAILED, NEARLY_SPENT];
        counted.sort_unstable();
        written.sort_unstable();
        assert_eq!(counted, written);
    }
}
