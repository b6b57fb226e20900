//! The names that a file declares: its inputs, its steps, and what the steps give.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Range,
};

use ratchet_core::workflow::Place;

use crate::yaml::Node;

/// What a file declares.
#[derive(Debug)]
pub(crate) struct Symbols<'tree> {
    /// The inputs, each with whether it is a file.
    pub(crate) inputs: BTreeMap<&'tree str, bool>,
    /// The steps in the order of the file: the work, `on_failure`, `finally`.
    pub(crate) steps: Vec<StepSymbol<'tree>>,
    by_id: HashMap<&'tree str, usize>,
}

/// What is known of a step before its fields are read.
#[derive(Debug)]
pub(crate) struct StepSymbol<'tree> {
    /// Its fields.
    pub(crate) node: &'tree Node,
    /// Its name; empty where it has none, which is reported.
    pub(crate) id: &'tree str,
    /// Where its name stands.
    pub(crate) id_span: Range<usize>,
    /// Its type, where it has one that is known.
    pub(crate) step_type: Option<&'tree str>,
    /// The list that it stands in.
    pub(crate) place: Place,
    /// What it declares to give, each with whether it is a file.
    pub(crate) outputs: Vec<(&'tree str, bool)>,
    /// Whether it runs once for each value of a list.
    pub(crate) fans_out: bool,
}

/// What a step of type `claude_code` gives without declaring it.
const AGENT_OUTPUTS: &[&str] =
    &["response", "json", "cost_usd", "tokens", "turns", "session_id", "files_changed", "permission_denials"];

impl<'tree> Symbols<'tree> {
    /// Reads the names of a tree whose structure was checked.
    pub(crate) fn of(root: &'tree Node) -> Self {
        let entries = root.get("inputs").map(Node::entries).unwrap_or_default();
        let inputs = entries.iter().map(|entry| (entry.key.text.as_str(), is_file_type(&entry.value))).collect();
        let lists = [("steps", Place::Work), ("on_failure", Place::OnFailure), ("finally", Place::Finally)];
        let steps: Vec<StepSymbol<'tree>> = lists
            .into_iter()
            .flat_map(|(name, place)| {
                root.get(name).map(Node::items).unwrap_or_default().iter().map(move |n| (n, place))
            })
            .map(|(node, place)| StepSymbol::of(node, place))
            .collect();
        let mut by_id = HashMap::with_capacity(steps.len());
        for (position, step) in steps.iter().enumerate() {
            by_id.entry(step.id).or_insert(position);
        }
        Self { inputs, steps, by_id }
    }

    /// The position of the first step of this name.
    pub(crate) fn position(&self, id: &str) -> Option<usize> {
        self.by_id.get(id).copied().filter(|_| !id.is_empty())
    }

    /// The names of the steps.
    pub(crate) fn ids(&self) -> impl Iterator<Item = &'tree str> + Clone {
        self.steps.iter().map(|step| step.id).filter(|id| !id.is_empty())
    }

    /// The steps that give an output of this name: those that declare it, else those whose type always gives it.
    pub(crate) fn givers(&self, output: &str) -> Vec<&StepSymbol<'tree>> {
        let with = |gives: &dyn Fn(&StepSymbol<'tree>) -> bool| {
            self.steps.iter().filter(|step| gives(step)).collect::<Vec<_>>()
        };
        let declared = with(&|step| step.outputs.iter().any(|(name, _)| *name == output));
        if declared.is_empty() { with(&|step| step.always_gives().contains(&output)) } else { declared }
    }
}

impl<'tree> StepSymbol<'tree> {
    fn of(node: &'tree Node, place: Place) -> Self {
        let id = node.get("id");
        let outputs = node.get("outputs").map(Node::entries).unwrap_or_default();
        Self {
            node,
            id: id.and_then(Node::text).unwrap_or_default(),
            id_span: id.map_or_else(|| node.head(), |id| id.span.clone()),
            step_type: node.get("type").and_then(Node::text).filter(|name| crate::shape::step_type(name).is_some()),
            place,
            outputs: outputs.iter().map(|entry| (entry.key.text.as_str(), is_file_output(&entry.value))).collect(),
            fans_out: node.get("foreach").is_some(),
        }
    }

    /// What its type gives without a declaration.
    pub(crate) fn always_gives(&self) -> &'static [&'static str] {
        match self.step_type {
            Some("claude_code") => AGENT_OUTPUTS,
            Some("template") if self.node.get("output").is_some() => &["text", "file"],
            Some("template") => &["text"],
            _ => &[],
        }
    }

    /// Everything that it gives.
    pub(crate) fn gives(&self) -> Vec<&'tree str> {
        self.outputs.iter().map(|(name, _)| *name).chain(self.always_gives().iter().copied()).collect()
    }

    /// Whether this output is a file.
    pub(crate) fn gives_file(&self, output: &str) -> bool {
        self.outputs.iter().any(|(name, is_file)| *name == output && *is_file)
            || (output == "file" && self.step_type == Some("template"))
    }
}

fn is_file_output(value: &Node) -> bool {
    value.text().is_some() || value.get("path").is_some() || is_file_type(value)
}

fn is_file_type(declaration: &Node) -> bool {
    matches!(declaration.get("type").and_then(Node::text), Some("file" | "artifact"))
}
