//! Which rows of older epochs still count in the current one.
//!
//! A step's result is kept over a cancel or a resume where the step ended well, no later resume reset it or anything that it needs, and all that it
//! needs still counts and did not run anew since. This follows from the rows, the resumes and the graph alone, so it is nowhere stored.

use std::collections::BTreeSet;

use crate::{
    execution::Resume,
    graph::{Graph, Node, NodeIndex},
    ids::{Epoch, StepId},
    status::StepStatus,
    step::{StepRow, StepState},
    transition::SkipReason,
    workflow::Place,
};

/// For each node of the graph, the row that counts in an epoch, given the newest row of each node up to that epoch.
pub fn counting<'a>(
    graph: &Graph,
    newest: &[Option<&'a StepRow>],
    resumes: &[Resume],
    epoch: Epoch,
) -> Vec<Option<&'a StepRow>> {
    let resets = Resets::new(graph, resumes);
    let positions: Vec<NodeIndex> = graph.in_order();
    let mut counts: Vec<Option<&StepRow>> = vec![None; newest.len()];
    for index in positions {
        let position = index.position();
        let Some(row) = newest[position] else { continue };
        let node = graph.node(index);
        let holds = row.key.epoch == epoch
            || (node.place == Place::Work
                && ended_well(row)
                && !resets.since(row.key.epoch, index)
                && rest_on(node, row.key.epoch, &counts));
        if holds {
            counts[position] = Some(row);
        }
    }
    counts
}

/// The epoch from which on the children of a fan-out may be taken over into a new epoch, given the fan-out's newest row of an older epoch:
/// `None` where a resume reset it, or where something that it needs no longer counts.
pub fn children_survive(
    graph: &Graph,
    index: NodeIndex,
    old: &StepRow,
    counts: &[Option<&StepRow>],
    resumes: &[Resume],
) -> bool {
    !Resets::new(graph, resumes).since(old.key.epoch, index) && rest_on(graph.node(index), old.key.epoch, counts)
}

/// Whether all that a node needs still counts and is what it was in an epoch: a need that ran anew since may have given something else.
fn rest_on(node: &Node, epoch: Epoch, counts: &[Option<&StepRow>]) -> bool {
    node.needs.iter().all(|need| counts[need.position()].is_some_and(|row| row.key.epoch <= epoch))
}

/// A step that the call left out is not done: a resume runs it.
fn ended_well(row: &StepRow) -> bool {
    row.status() == StepStatus::Completed
        || matches!(&row.state, StepState::Skipped(reason) if *reason != SkipReason::NotSelected)
}

/// Which steps each resume reset.
struct Resets(Vec<(Epoch, BTreeSet<NodeIndex>)>);

impl Resets {
    fn new(graph: &Graph, resumes: &[Resume]) -> Self {
        let reset = |from: &[StepId]| {
            let from: Vec<NodeIndex> = from.iter().filter_map(|id| graph.index_of(id)).collect();
            graph.descendants(&from)
        };
        Self(resumes.iter().map(|resume| (resume.epoch, reset(&resume.reset_from))).collect())
    }

    fn since(&self, epoch: Epoch, index: NodeIndex) -> bool {
        self.0.iter().any(|(at, steps)| *at > epoch && steps.contains(&index))
    }
}
