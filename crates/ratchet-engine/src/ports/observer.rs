use ratchet_core::{
    budget::{Budget, Spent},
    execution::ExecutionRow,
    history::Record,
    ids::StepKey,
    step::StepRow,
    transition::{ExecutionTransition, StepTransition},
};

/// Is told what happens, after it was committed: what a terminal shows and what spans are made of.
///
/// Contract: it returns at once and never fails. It may be told the same twice.
pub trait Observer: Send + Sync {
    /// A step changed.
    fn step_changed(&self, row: &StepRow, record: &Record<StepTransition>);

    /// An execution changed.
    fn execution_changed(&self, row: &ExecutionRow, record: &Record<ExecutionTransition>);

    /// The process of a step wrote a line.
    fn line_written(&self, key: &StepKey, line: &str);

    /// Most of an execution's budget is spent. Told once, or not at all where a process dies.
    fn budget_nearly_spent(&self, _row: &ExecutionRow, _spent: &Spent, _budget: &Budget) {}
}

/// An observer that does nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Observer for Silent {
    fn step_changed(&self, _row: &StepRow, _record: &Record<StepTransition>) {}

    fn execution_changed(&self, _row: &ExecutionRow, _record: &Record<ExecutionTransition>) {}

    fn line_written(&self, _key: &StepKey, _line: &str) {}
}
