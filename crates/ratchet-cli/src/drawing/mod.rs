//! Pictures of a workflow: who needs whom.

mod dot;
mod layout;
mod mermaid;
mod svg;

pub(crate) use self::{
    dot::dot,
    mermaid::mermaid,
    svg::{placed, svg},
};

use std::{
    cmp::Reverse,
    collections::{HashMap, HashSet},
    ops::Range,
};

use ratchet_core::{
    graph::Node,
    ids::StepId,
    workflow::{Action, Place, Step, Workflow},
};

/// What is drawn: the steps of a workflow, and an arrow from each need to the step that needs it.
#[derive(Debug, Clone)]
pub(crate) struct Picture {
    /// The steps in the order of the file, and the point that all of the work comes to before `on_failure` and `finally`.
    pub(crate) nodes: Vec<PictureNode>,
    /// Positions of a need and of what needs it.
    pub(crate) arrows: Vec<(usize, usize)>,
    /// Which nodes are a step that is a run of its own and the steps of that run: ranges of positions, an outer one before those in it.
    pub(crate) frames: Vec<Range<usize>>,
}

/// One box of a picture.
#[derive(Debug, Clone)]
pub(crate) struct PictureNode {
    /// The step's name.
    pub(crate) name: String,
    /// The word for what it does, and what is special about it.
    pub(crate) note: String,
    /// How it looks.
    pub(crate) look: Look,
}

/// How a box looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    /// A command.
    Shell,
    /// An agent.
    Agent,
    /// A check.
    Check,
    /// A text.
    Text,
    /// Where all of the work has ended.
    Joint,
}

/// With more boxes than this, the steps of further runs are not drawn: they may be in each other ever more often.
const NODES_MOST: usize = 5_000;

impl Picture {
    /// The picture of a workflow. Where a step is a run of its own, what runs there stands below it.
    pub(crate) fn of(workflow: &Workflow) -> Self {
        let mut picture = Self { nodes: Vec::new(), arrows: Vec::new(), frames: Vec::new() };
        picture.add(workflow, "");
        picture
    }

    /// Adds the steps of a workflow. Gives the positions of those that need none of the others, and of those that none needs.
    fn add(&mut self, workflow: &Workflow, path: &str) -> (Vec<usize>, Vec<usize>) {
        let graph = &workflow.graph;
        let drawn = |node: &&Node| node.id.as_str() != StepId::END;
        // Of each node, its own position, and those that come to its end.
        let mut ends: HashMap<&StepId, (usize, Vec<usize>)> = HashMap::new();
        for node in graph.nodes().iter().filter(drawn) {
            let position = self.nodes.len();
            let mut node_ends = vec![position];
            if let Some(step) = node.step.map(|position| &workflow.steps[position]) {
                self.nodes.push(step_node(step, path));
                if let Action::Workflow(run) = &step.action
                    && self.nodes.len() + run.workflow.steps.len() <= NODES_MOST
                {
                    let (begin, end) = self.add(&run.workflow, &format!("{path}{}.", step.id));
                    self.arrows.extend(begin.into_iter().map(|first| (position, first)));
                    self.frames.push(position..self.nodes.len());
                    node_ends = end;
                }
            } else {
                let (name, note) = (format!("{path}the work"), "has ended".to_owned());
                self.nodes.push(PictureNode { name, note, look: Look::Joint });
            }
            ends.insert(&node.id, (position, node_ends));
        }
        let mut last: HashSet<usize> = ends.values().flat_map(|(_, ends)| ends).copied().collect();
        let mut first = Vec::new();
        for node in graph.nodes().iter().filter(drawn) {
            let Some((to, _)) = ends.get(&node.id) else { continue };
            let needs: Vec<usize> = node
                .needs
                .iter()
                .filter_map(|need| ends.get(&graph.node(*need).id))
                .flat_map(|(_, ends)| ends.iter().copied())
                .collect();
            if needs.is_empty() {
                first.push(*to);
            }
            last.retain(|node| !needs.contains(node));
            self.arrows.extend(needs.into_iter().map(|from| (from, *to)));
        }
        let mut last: Vec<usize> = last.into_iter().collect();
        last.sort_unstable();
        self.frames.sort_by_key(|frame| (frame.start, Reverse(frame.end)));
        (first, last)
    }
}

fn step_node(step: &Step, path: &str) -> PictureNode {
    let word = step.action.type_name();
    let look = match word {
        "claude_code" => Look::Agent,
        "assert" => Look::Check,
        "template" => Look::Text,
        _ => Look::Shell,
    };
    let mut notes = vec![word];
    notes.extend(step.foreach.is_some().then_some("for each"));
    notes.extend(step.when.is_some().then_some("when"));
    notes.extend(match step.place {
        Place::Work => None,
        Place::OnFailure => Some("on failure"),
        Place::Finally => Some("finally"),
    });
    PictureNode { name: format!("{path}{}", step.id), note: notes.join(", "), look }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Boxes as `name`, arrows as positions.
    fn picture(names: &[&str], arrows: &[(usize, usize)]) -> Picture {
        let looks = [Look::Shell, Look::Agent, Look::Check, Look::Text, Look::Joint];
        let node = |(position, name): (usize, &&str)| PictureNode {
            name: (*name).to_owned(),
            note: "note <&\">".to_owned(),
            look: looks[position % looks.len()],
        };
        Picture { nodes: names.iter().enumerate().map(node).collect(), arrows: arrows.to_vec(), frames: Vec::new() }
    }

    #[test]
    fn a_diamond_in_three_notations() {
        let mut diamond = picture(&["end", "b", "b.c", "d"], &[(0, 1), (0, 2), (1, 3), (2, 3), (0, 3)]);
        diamond.frames = vec![1..3, 2..3];
        insta::assert_snapshot!("diamond_mermaid", mermaid(&diamond));
        insta::assert_snapshot!("diamond_dot", dot(&diamond));
        insta::assert_snapshot!("diamond_svg", svg(&diamond));
    }

    #[test]
    fn large_graphs_are_drawn_at_once() {
        let names: Vec<String> = (0..5_000).map(|n| format!("s{n}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let chain: Vec<(usize, usize)> = (1..names.len()).map(|n| (n - 1, n)).collect();
        assert!(svg(&picture(&names, &chain)).contains("s4999"));
        let fan: Vec<(usize, usize)> = (1..names.len()).map(|n| (0, n)).collect();
        assert!(svg(&picture(&names, &fan)).contains("s4999"));
        // Every step also needs the first: as many long arrows as steps.
        let both: Vec<(usize, usize)> = chain.iter().chain(&fan).copied().collect();
        assert!(svg(&picture(&names, &both)).contains("s4999"));
    }

    #[test]
    fn nothing_to_draw_is_a_picture_too() {
        assert!(svg(&picture(&[], &[])).starts_with("<svg"));
    }
}
