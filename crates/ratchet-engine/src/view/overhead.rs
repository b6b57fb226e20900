//! What the engine added to the work: wall time less the process time of the critical path less the time that its tasks took to start.

use std::collections::HashMap;

use jiff::Timestamp;
use ratchet_core::{ids::StepId, step::Usage, workflow::Workflow};
use serde::Serialize;

use super::rows::{ChildBrief, ExecutionRows, StepRows};

/// Milliseconds of an execution, since it was created or last resumed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Overhead {
    /// From the beginning to the end, or to the last change.
    pub wall_ms: u64,
    /// That the processes of the critical path ran.
    pub process_ms: u64,
    /// That the tasks of the critical path took to start.
    pub start_ms: u64,
    /// What is left: the engine's own time.
    pub engine_ms: u64,
}

impl Overhead {
    /// Finds the critical path backwards: from the step that settled last, to the need of it that settled last, and so on.
    pub fn of(workflow: &Workflow, rows: &ExecutionRows, until: Timestamp) -> Self {
        let began = rows.began_at();
        let settled_at = |id: &StepId| rows.step(id).and_then(|rows| rows.row.settled_at).filter(|at| *at >= began);
        let latest = |ids: &mut dyn Iterator<Item = &StepId>| {
            ids.filter_map(|id| settled_at(id).map(|at| (at, id))).max_by_key(|(at, _)| *at).map(|(_, id)| id.clone())
        };
        let mut path = Usage::default();
        let mut next = latest(&mut workflow.steps.iter().map(|step| &step.id));
        while let Some(id) = next {
            if let Some(step) = rows.step(&id) {
                let spent = longest_lane(step);
                path.process_ms += spent.process_ms;
                path.start_ms += spent.start_ms;
            }
            // The engine's own steps have no time of their own, so their needs stand for them.
            let needs = needs_of(workflow, &id);
            next = latest(&mut needs.iter());
        }
        let wall_ms = u64::try_from(until.duration_since(began).as_millis()).unwrap_or(0);
        Self {
            wall_ms,
            process_ms: path.process_ms,
            start_ms: path.start_ms,
            engine_ms: wall_ms.saturating_sub(path.process_ms).saturating_sub(path.start_ms),
        }
    }
}

fn needs_of(workflow: &Workflow, id: &StepId) -> Vec<StepId> {
    let Some(node) = workflow.graph.node_of(id) else { return Vec::new() };
    node.needs
        .iter()
        .map(|need| workflow.graph.node(*need))
        .flat_map(|need| if need.id.is_internal() { needs_of(workflow, &need.id) } else { vec![need.id.clone()] })
        .collect()
}

/// The time of a step: of a fan-out, that of the lane whose last child settled last.
fn longest_lane(step: &StepRows) -> Usage {
    let Some(children) = &step.children else { return step.spent() };
    let by_index: HashMap<u32, &ChildBrief> = children.iter().map(|child| (child.index, child)).collect();
    let mut lane = Usage::default();
    let mut next = children.iter().max_by_key(|child| child.settled_at);
    let mut left = children.len();
    while let Some(child) = next.filter(|_| left > 0) {
        lane.process_ms += child.spent.process_ms;
        lane.start_ms += child.spent.start_ms;
        next = child.predecessor.and_then(|index| by_index.get(&index).copied());
        left -= 1;
    }
    lane
}
