//! One run as a handler sees it: its row and the workflow that it follows.

use std::sync::Arc;

use ratchet_core::{
    decide::{ExecutionPolicy, StepPolicy},
    graph::{Graph, Node},
    ids::{ExecutionId, StepId, StepKey, StepPath},
    workflow::{Step, Workflow},
};

use crate::engine::{Engine, EngineError};

/// A run.
#[derive(Clone)]
pub(crate) struct Run {
    pub(crate) row: ratchet_core::execution::ExecutionRow,
    pub(crate) workflow: Arc<Workflow>,
}

impl Run {
    /// Loads a run.
    pub(crate) async fn load(engine: &Engine, id: &ExecutionId) -> Result<Self, EngineError> {
        let row = engine.ports.store.execution(id).await?.ok_or_else(|| EngineError::NotFound(id.clone()))?;
        let workflow = engine.workflow(&row).await?;
        Ok(Self { row, workflow })
    }

    pub(crate) fn graph(&self) -> &Graph {
        &self.workflow.graph
    }

    /// The key of a step in the current epoch.
    pub(crate) fn key(&self, path: StepPath) -> StepKey {
        StepKey { execution: self.row.id.clone(), epoch: self.row.epoch, path }
    }

    pub(crate) fn node(&self, id: &StepId) -> Result<&Node, EngineError> {
        self.graph()
            .node_of(id)
            .ok_or_else(|| EngineError::NoSuchStep { workflow: self.workflow.name.clone(), step: id.clone() })
    }

    /// The author's step, or none for one of the engine's own.
    pub(crate) fn step(&self, node: &Node) -> Option<&Step> {
        node.step.map(|position| &self.workflow.steps[position])
    }

    /// Whether an attempt of the step is a run of its own.
    pub(crate) fn is_nested(&self, id: &StepId) -> bool {
        self.workflow.step(id).is_some_and(|step| step.action.sub_workflow().is_some())
    }

    pub(crate) fn step_policy(&self, path: &StepPath) -> StepPolicy {
        let policy = self.workflow.step(&path.step).map_or(StepPolicy::INTERNAL, StepPolicy::of);
        if path.child.is_some() { policy.for_child() } else { policy }
    }

    pub(crate) fn policy(&self) -> ExecutionPolicy {
        self.row.policy(&self.workflow)
    }
}
