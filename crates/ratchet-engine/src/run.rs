//! One run as a handler sees it: its row and the workflow that it follows.

use std::sync::Arc;

use ratchet_core::{
    decide::{ExecutionPolicy, StepPolicy},
    execution::Selection,
    graph::{Graph, Node},
    ids::{ExecutionId, StepId, StepKey, StepPath},
    join::NeedOutcome,
    step::StepRow,
    workflow::{Action, Step, Workflow},
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

    /// The row of each node that counts, in the order of the graph; none of a step that has not begun.
    pub(crate) async fn newest(&self, engine: &Engine) -> Result<Vec<Option<StepRow>>, EngineError> {
        let ids: Vec<StepId> = self.graph().nodes().iter().map(|node| node.id.clone()).collect();
        Ok(engine.ports.store.newest_steps(&self.row.id, self.row.epoch, &ids).await?)
    }

    pub(crate) fn graph(&self) -> &Graph {
        &self.workflow.graph
    }

    /// The key of a step in the current epoch.
    pub(crate) fn key(&self, path: StepPath) -> StepKey {
        StepKey { execution: self.row.id.clone(), epoch: self.row.epoch, path }
    }

    /// The way to a step from the outermost run, as people name it: `release.build[2]`.
    pub(crate) fn way(&self, path: &StepPath) -> String {
        match self.row.parent.as_ref().filter(|parent| !parent.way.is_empty()) {
            Some(parent) => format!("{}.{path}", parent.way),
            None => path.to_string(),
        }
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

    /// Whether the run may come to wait for people: a step of it asks, or a run that a step is does.
    pub(crate) fn may_ask(&self) -> bool {
        let may_ask = |step: &Step| matches!(step.action, Action::Approval(_) | Action::Workflow(_));
        self.workflow.steps.iter().any(may_ask)
    }

    /// Whether the end of a step may at once make a task possible that nothing else makes possible: a step that needs it alone, or the next child of its lane.
    pub(crate) fn may_go_on_with_a_task(&self, path: &StepPath) -> bool {
        let graph = self.graph();
        let starts_a_task = |node: &Node| {
            node.needs.len() == 1
                && self.step(node).is_some_and(|step| step.action.needs_task() && step.foreach.is_none())
        };
        path.child.is_some()
            || graph
                .node_of(&path.step)
                .is_some_and(|node| node.dependents.iter().any(|(dependent, _)| starts_a_task(graph.node(*dependent))))
    }

    /// Whether a step that is ready can only become a task: nothing that is evaluated for it could say otherwise.
    pub(crate) fn surely_needs_room(&self, path: &StepPath, needs: NeedOutcome) -> bool {
        let Some(node) = self.graph().node_of(&path.step) else { return false };
        self.row.options.selection == Selection::All
            && node.is_left_out(needs).is_none()
            && !node.is_blocked_by(needs)
            && self.step(node).is_some_and(|step| {
                let is_evaluated = step.when.is_some() || step.cache.enabled || step.foreach.is_some();
                step.action.needs_task() && !is_evaluated
            })
    }

    pub(crate) fn step_policy(&self, path: &StepPath) -> StepPolicy {
        let policy = self.workflow.step(&path.step).map_or(StepPolicy::INTERNAL, StepPolicy::of);
        if path.child.is_some() { policy.for_child() } else { policy }
    }

    pub(crate) fn policy(&self) -> ExecutionPolicy {
        self.row.policy(&self.workflow)
    }
}
