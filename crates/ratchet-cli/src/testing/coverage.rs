//! What of a workflow its tests have seen.

use std::collections::BTreeSet;

use ratchet_core::{
    ids::StepId,
    status::StepStatus,
    workflow::{OnFailure, Step, Workflow},
};
use serde::Serialize;

use super::case::{Seen, Told};

/// What of a workflow its tests have seen: steps that ran, conditions that were true and false, failures that the run went on after.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Coverage {
    /// How many steps there are.
    pub(crate) steps: usize,
    /// Those that no test ran.
    pub(crate) never_ran: Vec<StepId>,
    /// How many ways there are at conditions, and at failures that the run goes on after.
    pub(crate) branches: usize,
    /// Those that no test took, in words.
    pub(crate) never_taken: Vec<String>,
}

impl Coverage {
    /// What tests have seen.
    pub(crate) fn of(workflow: &Workflow, tests: &[Told]) -> Self {
        let mut coverage = Self::default();
        for step in &workflow.steps {
            let seen: Vec<Seen> = tests.iter().filter_map(|test| test.steps.get(&step.id).copied()).collect();
            coverage.add(step, &seen);
        }
        coverage
    }

    fn add(&mut self, step: &Step, seen: &[Seen]) {
        let statuses: BTreeSet<StepStatus> = seen.iter().map(|seen| seen.status).collect();
        let ran = [StepStatus::Completed, StepStatus::Failed].iter().any(|status| statuses.contains(status));
        self.steps += 1;
        if !ran {
            self.never_ran.push(step.id.clone());
        }
        if step.when.is_some() {
            self.branch(ran, || format!("`when` of {} was never true", step.id));
            let left_out = seen.iter().any(|seen| seen.left_out);
            self.branch(left_out, || format!("`when` of {} was never false", step.id));
        }
        if step.on_failure != OnFailure::Fail {
            self.branch(statuses.contains(&StepStatus::Completed), || format!("{} never did well", step.id));
            let failed = statuses.contains(&StepStatus::Failed) || step.on_failure != OnFailure::Continue;
            self.branch(failed, || format!("{} never failed", step.id));
        }
    }

    fn branch(&mut self, taken: bool, words: impl FnOnce() -> String) {
        self.branches += 1;
        if !taken {
            self.never_taken.push(words());
        }
    }

    /// In one line, and a line for each gap.
    pub(crate) fn lines(&self) -> Vec<String> {
        let ran = self.steps - self.never_ran.len();
        let taken = self.branches - self.never_taken.len();
        let mut head = format!("{ran} of {} steps ran", self.steps);
        if self.branches > 0 {
            head = format!("{head}, {taken} of {} branches were taken", self.branches);
        }
        let mut lines = vec![head];
        if !self.never_ran.is_empty() {
            let steps: Vec<String> = self.never_ran.iter().map(ToString::to_string).collect();
            lines.push(format!("no test runs {}", steps.join(", ")));
        }
        lines.extend(self.never_taken.iter().cloned());
        lines
    }
}
