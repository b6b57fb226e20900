//! What figures need of a definition.

use std::collections::{BTreeMap, BTreeSet};

use ratchet_core::{
    ids::StepId,
    workflow::{Action, Workflow},
};

/// Which assertions of a workflow come after which steps.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shape {
    assertions_after: BTreeMap<StepId, BTreeSet<StepId>>,
}

impl Shape {
    /// Of a definition.
    pub fn of(workflow: &Workflow) -> Self {
        let mut shape = Self::default();
        let graph = &workflow.graph;
        for step in workflow.steps.iter().filter(|step| matches!(step.action, Action::Assert(_))) {
            let Some(index) = graph.index_of(&step.id) else { continue };
            for above in graph.ancestors(&[index]) {
                shape.assertions_after.entry(graph.node(above).id.clone()).or_default().insert(step.id.clone());
            }
        }
        shape
    }

    /// The assertions that come after a step, however far below it.
    pub(super) fn assertions_after(&self, step: &StepId) -> impl Iterator<Item = &StepId> {
        self.assertions_after.get(step).into_iter().flatten().filter(move |assertion| *assertion != step)
    }
}
