//! Pictures of a workflow: who needs whom.

mod dot;
mod layout;
mod mermaid;
mod svg;

pub(crate) use self::{dot::dot, mermaid::mermaid, svg::svg};

use std::collections::HashMap;

use ratchet_core::{
    ids::StepId,
    workflow::{Place, Step, Workflow},
};

/// What is drawn: the steps of a workflow, and an arrow from each need to the step that needs it.
#[derive(Debug, Clone)]
pub(crate) struct Picture {
    /// The steps in the order of the file, and the point that all of the work comes to before `on_failure` and `finally`.
    pub(crate) nodes: Vec<PictureNode>,
    /// Positions of a need and of what needs it.
    pub(crate) arrows: Vec<(usize, usize)>,
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

impl Picture {
    /// The picture of a workflow.
    pub(crate) fn of(workflow: &Workflow) -> Self {
        let graph = &workflow.graph;
        let mut nodes = Vec::new();
        let mut positions: HashMap<&StepId, usize> = HashMap::new();
        let drawn = |id: &StepId| id.as_str() != StepId::END;
        for node in graph.nodes().iter().filter(|node| drawn(&node.id)) {
            positions.insert(&node.id, nodes.len());
            nodes.push(match node.step {
                Some(position) => step_node(&workflow.steps[position]),
                None => PictureNode { name: "the work".to_owned(), note: "has ended".to_owned(), look: Look::Joint },
            });
        }
        let mut arrows = Vec::new();
        for node in graph.nodes().iter().filter(|node| drawn(&node.id)) {
            for need in &node.needs {
                let ends = (positions.get(&graph.node(*need).id), positions.get(&node.id));
                if let (Some(from), Some(to)) = ends {
                    arrows.push((*from, *to));
                }
            }
        }
        Self { nodes, arrows }
    }
}

fn step_node(step: &Step) -> PictureNode {
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
    PictureNode { name: step.id.to_string(), note: notes.join(", "), look }
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
        Picture { nodes: names.iter().enumerate().map(node).collect(), arrows: arrows.to_vec() }
    }

    #[test]
    fn a_diamond_in_three_notations() {
        let diamond = picture(&["end", "b", "c", "d"], &[(0, 1), (0, 2), (1, 3), (2, 3), (0, 3)]);
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
