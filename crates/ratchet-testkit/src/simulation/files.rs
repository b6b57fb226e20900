//! The law of files: what each step began with and left, held against the graph.

use std::collections::BTreeMap;

use ratchet_core::{
    execution::ExecutionRow,
    graph::Node,
    ids::{Digest, ExecutionId, StepKey, StepPath},
    status::StepStatus,
    step::{StepRow, StepState},
};

use super::{
    directories::source_at,
    driver::Driver,
    laws::Breach,
    ports::effect,
    standing::{Known, Standing},
    trace::name,
    verdict::breach,
};

const SEES: &str = "a step sees exactly what its needs left";

/// Every step that counts began with what those above it left, and nothing else; what it left is that and what it did.
pub(super) fn files_agree(
    driver: &Driver,
    others: &BTreeMap<ExecutionId, Known>,
    known: &Known,
    row: &ExecutionRow,
    standings: &[Standing],
) -> Result<(), Breach> {
    let Some(source) = row.tree.as_ref().filter(|_| row.endings.is_empty()) else {
        let stray = known.rows.values().find(|step| row.tree.is_none() && step.tree().is_some());
        return stray.map_or(Ok(()), |stray| breach(SEES, format!("{} has files of its own", name(&stray.key))));
    };
    let files = |tree: Option<&Digest>| driver.workspaces.content(tree.unwrap_or(source));
    let graph = &known.workflow.graph;
    let counting = |node: &Node| match known.model.position(node.id.as_str()) {
        Some(position) => known.row_of(position, standings[position].epoch?),
        None => known.rows.get(&StepKey {
            execution: row.id.clone(),
            epoch: row.epoch,
            path: StepPath::step(node.id.clone()),
        }),
    };
    let did = |row: &StepRow| {
        let (found, mut left) = (files(row.base.as_ref()), files(row.tree()));
        left.retain(|path, content| found.get(path) != Some(content));
        left
    };
    for node in graph.nodes() {
        let (Some(step), Some(index)) = (counting(node), graph.index_of(&node.id)) else { continue };
        let above = graph.ancestors(&[index]).into_iter().filter(|other| *other != index);
        let above = above.filter_map(|other| counting(graph.node(other)));
        let mut expected = source_at(&driver.workspaces, row, step.key.epoch);
        above.for_each(|row| expected.extend(did(row)));
        if files(step.base.as_ref()) != expected {
            let found = files(step.base.as_ref());
            return breach(SEES, format!("{} began with {found:?}, and above it lies {expected:?}", name(&step.key)));
        }
        let is_task = step.attempt > 0 && step.result.as_ref().is_some_and(|result| result.exit_code.is_some());
        let own = match step.hit() {
            // What stood in for it was there already, or is what the one did that made it.
            Some(_) if did(step).is_empty() => BTreeMap::new(),
            Some(hit) => {
                let made = others.get(&hit.from.execution).and_then(|known| known.rows.get(&hit.from));
                let (path, content) = effect(&hit.from, made.map_or(0, |made| made.attempt));
                BTreeMap::from([(path, content.into_bytes())])
            }
            None => {
                let (path, content) = effect(&step.key, step.attempt);
                BTreeMap::from([(path, content.into_bytes())])
            }
        };
        if is_task && step.items.is_none() && step.status() == StepStatus::Completed && did(step) != own {
            return breach(SEES, format!("{} left {:?}", name(&step.key), did(step)));
        }
        let was_passed_over = matches!(step.state, StepState::Failed { continued: true, .. });
        if was_passed_over && !did(step).is_empty() {
            return breach(SEES, format!("{} failed and was passed over, and left {:?}", name(&step.key), did(step)));
        }
        let children = known.rows.values().filter(|child| {
            let path = &child.key.path;
            path.step == node.id && path.child.is_some() && child.key.epoch == step.key.epoch
        });
        let mut of_children = BTreeMap::new();
        for child in children {
            if child.base != step.base {
                return breach(SEES, format!("{} began with other files than its fan-out", name(&child.key)));
            }
            if child.status() == StepStatus::Completed {
                of_children.extend(did(child));
            }
        }
        if step.items.is_some()
            && step.status() == StepStatus::Completed
            && !step.concludes()
            && did(step) != of_children
        {
            return breach(SEES, format!("{} left {:?}, and its children {of_children:?}", name(&step.key), did(step)));
        }
    }
    let end = counting(graph.end()).map(|end| files(end.tree()));
    if end.is_some_and(|end| end != files(row.left.as_ref())) {
        return breach(SEES, format!("{} did not leave what its steps left", row.id));
    }
    Ok(())
}
