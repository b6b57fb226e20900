//! Which steps come before a step, directly or through others.

use ratchet_core::{graph::Graph, ids::StepId};

/// For every node of a graph, a bit for each node that it needs.
///
/// With the most steps that a workflow may have, this is some 12 MB for a moment; a walk up the graph for each reading would take
/// the square of the steps in time.
#[derive(Debug)]
pub(crate) struct Reach<'graph> {
    words: usize,
    before: Vec<u64>,
    positions: std::collections::HashMap<&'graph StepId, usize>,
}

impl<'graph> Reach<'graph> {
    pub(crate) fn of(graph: &'graph Graph) -> Self {
        let count = graph.nodes().len();
        let words = count.div_ceil(64);
        let positions: std::collections::HashMap<&StepId, usize> =
            graph.nodes().iter().enumerate().map(|(position, node)| (&node.id, position)).collect();
        let mut before = vec![0_u64; words * count];
        for index in graph.in_order() {
            let node = graph.node(index);
            let at = positions[&node.id] * words;
            for need in &node.needs {
                let need = positions[&graph.node(*need).id];
                for word in 0..words {
                    let bits = before[need * words + word];
                    before[at + word] |= bits;
                }
                before[at + need / 64] |= 1 << (need % 64);
            }
        }
        Self { words, before, positions }
    }

    /// Whether `earlier` is done before `later` starts.
    pub(crate) fn comes_before(&self, earlier: &str, later: &str) -> bool {
        let position = |id: &str| self.positions.get(&StepId::new(id)).copied();
        match (position(earlier), position(later)) {
            (Some(earlier), Some(later)) => self.before[later * self.words + earlier / 64] & (1 << (earlier % 64)) != 0,
            // What is not in the graph was reported.
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use ratchet_core::{graph::StepShape, workflow::Place};

    use super::*;

    #[test]
    fn it_agrees_with_the_walk_up_the_graph() {
        // Each step needs two pseudo-random ones above it, so that many ways lead up.
        let shapes: Vec<StepShape> = (0_u64..200)
            .map(|n| {
                let pick = |salt: u64| StepId::new(format!("s{}", (n * 7919 + salt * 104_729) % n.max(1)));
                let needs = if n % 11 == 0 { Vec::new() } else { vec![pick(1), pick(2)] };
                StepShape {
                    id: StepId::new(format!("s{n}")),
                    place: Place::Work,
                    needs: Some(needs),
                    handles_failure: false,
                }
            })
            .collect();
        let graph = Graph::new(&shapes).expect("a graph");
        let reach = Reach::of(&graph);
        for later in graph.nodes() {
            let index = graph.index_of(&later.id).expect("a node");
            let ancestors = graph.ancestors(&[index]);
            for earlier in graph.nodes() {
                let expected =
                    earlier.id != later.id && ancestors.contains(&graph.index_of(&earlier.id).expect("a node"));
                assert_eq!(reach.comes_before(earlier.id.as_str(), later.id.as_str()), expected);
            }
        }
    }
}
