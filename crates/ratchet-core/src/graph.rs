//! Who needs whom.
//!
//! A step that names no needs runs after all steps above it. That is kept small: it needs the leaves above it, the steps that no step above
//! needs, and through them all the others. What such a step must know beside is a failure above that a `when` stepped over: under `steps` it is told by what failed
//! above at all; under `on_failure`, where something always has, such a step needs what was stepped over too.

use std::collections::{BTreeSet, HashMap};

use thiserror::Error;

use crate::{
    ids::StepId,
    join::{JoinShape, NeedOutcome},
    transition::SkipReason,
    workflow::Place,
};

/// A node's position in its graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeIndex(u32);

impl NodeIndex {
    fn new(position: usize) -> Self {
        Self(u32::try_from(position).unwrap_or(u32::MAX))
    }

    /// Where the node stands in [`Graph::nodes`].
    pub fn position(self) -> usize {
        self.0 as usize
    }
}

/// What a graph is made of: a step as its author placed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepShape {
    /// The step.
    pub id: StepId,
    /// The list that it stands in.
    pub place: Place,
    /// The steps that it names; `None` where it names none and so runs after all above it in its list.
    pub needs: Option<Vec<StepId>>,
    /// Whether its `when` lets it run though what it needs failed. Of interest under `on_failure` alone.
    pub handles_failure: bool,
}

/// A step in the graph, or one of the engine's own.
#[derive(Debug, Clone)]
pub struct Node {
    /// The step.
    pub id: StepId,
    /// Its position in the workflow's steps; `None` for the engine's own.
    pub step: Option<usize>,
    /// The list that it stands in. The engine's own belong to `finally`: nothing that failed keeps them from running.
    pub place: Place,
    /// What it needs, in the order of the file.
    pub needs: Vec<NodeIndex>,
    /// Whether it needs all that is above it: then a failure anywhere above blocks it, not only that of a need.
    pub after_all_above: bool,
    /// The nodes that need it, each with the place that it takes among their needs.
    pub dependents: Vec<(NodeIndex, u32)>,
}

impl Node {
    /// The shape of the join of its needs.
    pub fn join(&self) -> JoinShape {
        JoinShape::new(u32::try_from(self.needs.len()).unwrap_or(u32::MAX))
    }

    /// Whether its needs' outcome keeps it from running, unless its `when` asks for failures.
    pub fn is_blocked_by(&self, needs: NeedOutcome) -> bool {
        match self.place {
            Place::Work => !needs.satisfied || (self.after_all_above && needs.failed_above),
            Place::OnFailure => !needs.satisfied,
            Place::Finally => false,
        }
    }

    /// Whether it is left out because of the list that it stands in, given what its needs said.
    pub fn is_left_out(&self, needs: NeedOutcome) -> Option<SkipReason> {
        (self.place == Place::OnFailure && !needs.failed_above).then_some(SkipReason::NothingFailed)
    }
}

/// Why steps do not make a graph.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum GraphError {
    /// Two steps have one name.
    #[error("two steps are named {0}")]
    Duplicate(StepId),
    /// A step needs one that is not there, or that stands in another list.
    #[error("{step} needs {need}, which is no step of its list")]
    UnknownNeed {
        /// The step.
        step: StepId,
        /// What it names.
        need: StepId,
    },
    /// Steps that wait for each other, in order; the last needs the first.
    #[error("steps wait for each other: {}", .0.iter().map(StepId::as_str).collect::<Vec<_>>().join(" -> "))]
    Cycle(Vec<StepId>),
}

/// The steps of a workflow by who needs whom, the engine's own steps included.
#[derive(Debug, Clone)]
pub struct Graph {
    nodes: Vec<Node>,
    by_id: HashMap<StepId, NodeIndex>,
    end: NodeIndex,
}

impl Graph {
    /// Makes the graph of some steps, which stand in the order of the file: the work, `on_failure`, `finally`.
    pub fn new(shapes: &[StepShape]) -> Result<Self, GraphError> {
        let mut builder = Builder::default();
        let work = builder.add_list(shapes, Place::Work, &[])?;
        let has_tail = shapes.iter().any(|shape| shape.place != Place::Work);
        let leaves = if has_tail {
            let finally = builder.add_node(StepId::new(StepId::FINALLY), None, Place::Finally, work, false)?;
            let handled = builder.add_list(shapes, Place::OnFailure, &[finally])?;
            builder.add_list(shapes, Place::Finally, &handled)?
        } else {
            work
        };
        let end = builder.add_node(StepId::new(StepId::END), None, Place::Finally, leaves, false)?;
        builder.find_cycle()?;
        Ok(Self { nodes: builder.nodes, by_id: builder.by_id, end })
    }

    /// Every node, in the order of the file.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The node at a position.
    pub fn node(&self, index: NodeIndex) -> &Node {
        &self.nodes[index.position()]
    }

    /// The node of a step.
    pub fn node_of(&self, id: &StepId) -> Option<&Node> {
        self.index_of(id).map(|index| self.node(index))
    }

    /// The position of a step.
    pub fn index_of(&self, id: &StepId) -> Option<NodeIndex> {
        self.by_id.get(id).copied()
    }

    /// The node that ends the run.
    pub fn end(&self) -> &Node {
        self.node(self.end)
    }

    /// The steps that these need, directly or not, themselves included.
    pub fn ancestors(&self, of: &[NodeIndex]) -> BTreeSet<NodeIndex> {
        self.closure(of, |node| node.needs.clone())
    }

    /// The steps that need these, directly or not, themselves included.
    pub fn descendants(&self, of: &[NodeIndex]) -> BTreeSet<NodeIndex> {
        self.closure(of, |node| node.dependents.iter().map(|(index, _)| *index).collect())
    }

    /// Every node after all that it needs.
    pub fn in_order(&self) -> Vec<NodeIndex> {
        let mut waiting: Vec<usize> = self.nodes.iter().map(|node| node.needs.len()).collect();
        let mut ready: std::collections::VecDeque<NodeIndex> =
            (0..self.nodes.len()).filter(|&n| waiting[n] == 0).map(NodeIndex::new).collect();
        let mut order = Vec::with_capacity(self.nodes.len());
        while let Some(index) = ready.pop_front() {
            order.push(index);
            for (dependent, _) in &self.node(index).dependents {
                waiting[dependent.position()] -= 1;
                if waiting[dependent.position()] == 0 {
                    ready.push_back(*dependent);
                }
            }
        }
        order
    }

    fn closure(&self, of: &[NodeIndex], next: impl Fn(&Node) -> Vec<NodeIndex>) -> BTreeSet<NodeIndex> {
        let mut found: BTreeSet<NodeIndex> = of.iter().copied().collect();
        let mut open: Vec<NodeIndex> = of.to_vec();
        while let Some(index) = open.pop() {
            for other in next(self.node(index)) {
                if found.insert(other) {
                    open.push(other);
                }
            }
        }
        found
    }
}

#[derive(Default)]
struct Builder {
    nodes: Vec<Node>,
    by_id: HashMap<StepId, NodeIndex>,
}

impl Builder {
    /// Adds the steps of one list and returns its leaves. `before` is what the list as a whole comes after.
    fn add_list(
        &mut self,
        shapes: &[StepShape],
        place: Place,
        before: &[NodeIndex],
    ) -> Result<Vec<NodeIndex>, GraphError> {
        let first = self.nodes.len();
        let listed: Vec<(usize, &StepShape)> =
            shapes.iter().enumerate().filter(|(_, shape)| shape.place == place).collect();
        for (position, shape) in &listed {
            self.add_node(shape.id.clone(), Some(*position), place, Vec::new(), shape.needs.is_none())?;
        }
        // Leaves among the steps above the one at hand; a step above may name one below, so being needed is looked up by name.
        let mut leaves: BTreeSet<NodeIndex> = BTreeSet::new();
        let mut needed: BTreeSet<NodeIndex> = BTreeSet::new();
        let mut stepped_over: BTreeSet<NodeIndex> = BTreeSet::new();
        for (offset, (_, shape)) in listed.iter().enumerate() {
            let index = NodeIndex::new(first + offset);
            let mut needs = match &shape.needs {
                Some(named) => self.named_needs(shape, named, place)?,
                None if shape.handles_failure => leaves.iter().copied().collect(),
                None => {
                    stepped_over.remove(&index);
                    (&leaves | &std::mem::take(&mut stepped_over)).into_iter().collect()
                }
            };
            if place == Place::OnFailure && shape.handles_failure {
                stepped_over.extend(&needs);
            }
            if needs.is_empty() {
                needs = before.to_vec();
            }
            for need in &needs {
                leaves.remove(need);
                needed.insert(*need);
            }
            if !needed.contains(&index) {
                leaves.insert(index);
            }
            self.connect(index, needs);
        }
        if listed.is_empty() { Ok(before.to_vec()) } else { Ok(leaves.into_iter().collect()) }
    }

    fn named_needs(&self, shape: &StepShape, named: &[StepId], place: Place) -> Result<Vec<NodeIndex>, GraphError> {
        let mut needs = BTreeSet::new();
        for need in named {
            match self.by_id.get(need) {
                Some(index) if self.nodes[index.position()].place == place => needs.insert(*index),
                _ => return Err(GraphError::UnknownNeed { step: shape.id.clone(), need: need.clone() }),
            };
        }
        Ok(needs.into_iter().collect())
    }

    fn add_node(
        &mut self,
        id: StepId,
        step: Option<usize>,
        place: Place,
        needs: Vec<NodeIndex>,
        after_all_above: bool,
    ) -> Result<NodeIndex, GraphError> {
        let index = NodeIndex::new(self.nodes.len());
        if self.by_id.insert(id.clone(), index).is_some() {
            return Err(GraphError::Duplicate(id));
        }
        self.nodes.push(Node { id, step, place, needs: Vec::new(), after_all_above, dependents: Vec::new() });
        self.connect(index, needs);
        Ok(index)
    }

    fn connect(&mut self, index: NodeIndex, needs: Vec<NodeIndex>) {
        for (ordinal, need) in (0_u32..).zip(&needs) {
            self.nodes[need.position()].dependents.push((index, ordinal));
        }
        self.nodes[index.position()].needs = needs;
    }

    fn find_cycle(&self) -> Result<(), GraphError> {
        // Depth first without recursion, because a chain may be thousands of steps long.
        let mut done = vec![false; self.nodes.len()];
        for start in 0..self.nodes.len() {
            let mut path: Vec<(usize, usize)> = vec![(start, 0)];
            let mut on_path = BTreeSet::from([start]);
            while let Some((node, next)) = path.last().copied() {
                if done[node] || next == self.nodes[node].needs.len() {
                    done[node] = true;
                    on_path.remove(&node);
                    path.pop();
                    continue;
                }
                if let Some(last) = path.last_mut() {
                    last.1 += 1;
                }
                let need = self.nodes[node].needs[next].position();
                if on_path.contains(&need) {
                    let from = path.iter().position(|(n, _)| *n == need).unwrap_or(0);
                    return Err(GraphError::Cycle(
                        path[from..].iter().map(|(n, _)| self.nodes[*n].id.clone()).collect(),
                    ));
                }
                if !done[need] {
                    on_path.insert(need);
                    path.push((need, 0));
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Steps as `id`, `id: need need` or `id:` (no needs); `on_failure` and `finally` begin with `!` and `~`, what handles failures ends with `?`.
    fn graph(lines: &[&str]) -> Result<Graph, GraphError> {
        let shapes: Vec<StepShape> = lines
            .iter()
            .map(|line| {
                let place = match line.chars().next() {
                    Some('!') => Place::OnFailure,
                    Some('~') => Place::Finally,
                    _ => Place::Work,
                };
                let handles_failure = line.ends_with('?');
                let line = line.trim_matches(['!', '~', '?']);
                let (id, needs) = match line.split_once(':') {
                    Some((id, needs)) => (id, Some(needs.split_whitespace().map(StepId::new).collect())),
                    None => (line, None),
                };
                StepShape { id: StepId::new(id), place, needs, handles_failure }
            })
            .collect();
        Graph::new(&shapes)
    }

    /// Each node as `id<need,need`.
    fn drawn(lines: &[&str]) -> String {
        let graph = graph(lines).expect("a graph");
        let name = |index: &NodeIndex| graph.node(*index).id.to_string();
        graph
            .nodes()
            .iter()
            .map(|node| format!("{}<{}", node.id, node.needs.iter().map(name).collect::<Vec<_>>().join(",")))
            .collect::<Vec<_>>()
            .join(" ")
    }

    #[test]
    fn files_read_top_to_bottom() {
        assert_eq!(drawn(&["a", "b", "c"]), "a< b<a c<b $end<c");
    }

    #[test]
    fn a_step_that_names_no_needs_joins_the_leaves_above() {
        assert_eq!(drawn(&["a", "b:a", "c:a", "d"]), "a< b<a c<a d<b,c $end<d");
        assert_eq!(drawn(&["a", "b:", "c"]), "a< b< c<a,b $end<c");
    }

    #[test]
    fn a_step_may_need_one_below_it() {
        assert_eq!(drawn(&["a:b", "b:", "c"]), "a<b b< c<a $end<c");
    }

    #[test]
    fn the_tail_lists_come_after_everything() {
        assert_eq!(drawn(&["a:", "b:", "!n", "~f", "~g"]), "a< b< $finally<a,b n<$finally f<n g<f $end<g");
        assert_eq!(drawn(&["a", "~f:", "~g:"]), "a< $finally<a f<$finally g<$finally $end<f,g");
    }

    #[test]
    fn what_was_stepped_over_in_on_failure_is_needed_by_the_next_step() {
        let drawn = drawn(&["a", "!n", "!o?", "!p?", "!q", "!r", "!s:q?", "!t"]);
        assert_eq!(drawn, "a< $finally<a n<$finally o<n p<o q<n,o,p r<q s<q t<q,r,s $end<t");
    }

    #[test]
    fn a_cycle_is_shown_as_a_path() {
        let error = graph(&["a:c", "b:a", "c:b"]).expect_err("a cycle");
        assert_eq!(error.to_string(), "steps wait for each other: a -> c -> b");
    }

    #[test]
    fn names_must_be_unique_and_known() {
        assert_eq!(graph(&["a", "a"]).expect_err("twice").to_string(), "two steps are named a");
        assert_eq!(graph(&["a", "b:x"]).expect_err("unknown").to_string(), "b needs x, which is no step of its list");
        assert!(graph(&["a", "~f:a"]).is_err(), "a step of finally cannot name one of the work");
    }

    #[test]
    fn long_chains_take_no_stack() {
        let lines: Vec<String> = (0..20_000).map(|n| format!("s{n}")).collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        assert_eq!(graph(&lines).expect("a chain").in_order().len(), 20_001);
    }
}
