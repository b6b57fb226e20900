//! The names that a file declares: its inputs, its steps, and what the steps give.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Range,
};

use ratchet_core::workflow::{AGENT_OUTPUTS, Place};

use crate::{
    check::kinds::Kind,
    link::{Interface, Interfaces},
    yaml::{Entry, Node},
};

/// What a file declares.
#[derive(Debug)]
pub(crate) struct Symbols<'tree> {
    /// The inputs.
    pub(crate) inputs: BTreeMap<&'tree str, InputSymbol>,
    /// The steps in the order of the file: the work, `on_failure`, `finally`.
    pub(crate) steps: Vec<StepSymbol<'tree>>,
    by_id: HashMap<&'tree str, usize>,
    /// The positions of the steps that declare an output of a name.
    declaring: HashMap<&'tree str, Vec<usize>>,
    /// The names of the secrets that the workflow may use.
    pub(crate) secrets: Vec<&'tree str>,
    /// The variables of the workflow that hold secrets.
    pub(crate) secret_variables: Vec<&'tree str>,
}

/// What is known of an input.
#[derive(Debug)]
pub(crate) struct InputSymbol {
    /// Whether it is a file.
    pub(crate) is_file: bool,
    /// What its value is.
    pub(crate) kind: Option<Kind>,
    /// Whether its value must not be seen.
    pub(crate) is_sensitive: bool,
}

/// The outputs that a step declares, in the order of the file. There may be thousands, so they are found by name without a search.
#[derive(Debug, Default)]
pub(crate) struct DeclaredOutputs<'tree> {
    /// Their names.
    pub(crate) names: Vec<&'tree str>,
    /// By name: the position, whether it is a file, and what its value is.
    by_name: HashMap<&'tree str, (usize, bool, Option<Kind>)>,
}

impl<'tree> DeclaredOutputs<'tree> {
    /// Of a step that refers to what gives them.
    fn of(interface: &'tree Interface) -> Self {
        let names = || interface.outputs.iter().map(|output| output.name.as_str());
        let kinds = interface.outputs.iter().map(|output| Kind::of(output.value_type));
        let by_name = (0..).zip(names().zip(kinds));
        Self {
            names: names().collect(),
            by_name: by_name
                .map(|(position, (name, kind))| (name, (position, kind == Kind::File, Some(kind))))
                .collect(),
        }
    }
}

impl DeclaredOutputs<'_> {
    /// Whether this output is a file, where it is among the first `count`.
    pub(crate) fn is_file(&self, name: &str, count: usize) -> Option<bool> {
        self.by_name.get(name).filter(|(position, ..)| *position < count).map(|(_, is_file, _)| *is_file)
    }

    /// What the value of this output is, where that is known.
    pub(crate) fn kind(&self, name: &str) -> Option<Kind> {
        self.by_name.get(name).and_then(|(.., kind)| kind.clone())
    }
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
    /// What it declares to give.
    pub(crate) outputs: DeclaredOutputs<'tree>,
    /// Whether it runs once for each value of a list.
    pub(crate) fans_out: bool,
    /// What it refers to: a workflow, or a step type.
    pub(crate) interface: Option<&'tree Interface>,
}

/// What a step of type `template` gives that writes a file.
const TEMPLATE_OUTPUTS: &[&str] = &["text", "file"];

/// What a step of type `approval` gives: what the person said.
const APPROVAL_OUTPUTS: &[&str] = &["approved", "comment", "by"];

/// What a step of type `webhook` gives: the reply.
const WEBHOOK_OUTPUTS: &[&str] = &["status", "body", "json", "headers"];

/// All outputs that need no declaration.
const ALWAYS_GIVEN: [&[&str]; 4] = [AGENT_OUTPUTS, TEMPLATE_OUTPUTS, APPROVAL_OUTPUTS, WEBHOOK_OUTPUTS];

impl<'tree> Symbols<'tree> {
    /// Reads the names of a tree whose structure was checked.
    pub(crate) fn of(root: &'tree Node, interfaces: &'tree Interfaces) -> Self {
        let entries = root.get("inputs").map(Node::entries).unwrap_or_default();
        let inputs = entries
            .iter()
            .map(|entry| {
                let (is_file, kind) = (is_file_type(&entry.value), Kind::declared(&entry.value));
                let sensitive = entry.value.get("sensitive").is_some_and(|node| node.to_json() == true);
                (entry.key.text.as_str(), InputSymbol { is_file, kind, is_sensitive: sensitive })
            })
            .collect();
        let secrets = root.get("secrets").map(Node::items).unwrap_or_default().iter().filter_map(Node::text).collect();
        let lists = [("steps", Place::Work), ("on_failure", Place::OnFailure), ("finally", Place::Finally)];
        let steps: Vec<StepSymbol<'tree>> = lists
            .into_iter()
            .flat_map(|(name, place)| {
                root.get(name).map(Node::items).unwrap_or_default().iter().map(move |n| (n, place))
            })
            .map(|(node, place)| StepSymbol::of(node, place, interfaces))
            .collect();
        let mut by_id = HashMap::with_capacity(steps.len());
        let mut declaring: HashMap<&str, Vec<usize>> = HashMap::new();
        for (position, step) in steps.iter().enumerate() {
            by_id.entry(step.id).or_insert(position);
            for name in &step.outputs.names {
                declaring.entry(name).or_default().push(position);
            }
        }
        let variables = root.get("environment").map(Node::entries).unwrap_or_default();
        let holds_secret = |entry: &&'tree Entry| crate::lower::reads_secret(entry);
        let secret_variables = variables.iter().filter(holds_secret).map(|entry| entry.key.text.as_str()).collect();
        Self { inputs, steps, by_id, declaring, secrets, secret_variables }
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
        if let Some(declaring) = self.declaring.get(output) {
            return declaring.iter().map(|position| &self.steps[*position]).collect();
        }
        if !ALWAYS_GIVEN.iter().any(|names| names.contains(&output)) {
            return Vec::new();
        }
        self.steps.iter().filter(|step| step.always_gives().contains(&output)).collect()
    }
}

impl<'tree> StepSymbol<'tree> {
    fn of(node: &'tree Node, place: Place, interfaces: &'tree Interfaces) -> Self {
        let interface = interfaces.of_step(node);
        let id = node.get("id");
        let outputs = node.get("outputs").map(Node::entries).unwrap_or_default();
        Self {
            node,
            id: id.and_then(Node::text).unwrap_or_default(),
            id_span: id.map_or_else(|| node.head(), |id| id.span.clone()),
            // Of a step whose type is wrong, or refers to what is wrong, nothing is known.
            step_type: node
                .get("type")
                .and_then(Node::text)
                .filter(|name| interface.is_some() || (*name != "workflow" && crate::shape::step_type(name).is_some())),
            place,
            interface,
            outputs: match interface {
                Some(interface) => DeclaredOutputs::of(interface),
                None => DeclaredOutputs {
                    names: outputs.iter().map(|entry| entry.key.text.as_str()).collect(),
                    by_name: (0..)
                        .zip(outputs)
                        .map(|(position, entry)| {
                            let is_file = is_file_output(&entry.value);
                            let kind = if is_file { Some(Kind::File) } else { Kind::declared(&entry.value) };
                            (entry.key.text.as_str(), (position, is_file, kind))
                        })
                        .collect(),
                },
            },
            fans_out: node.get("foreach").is_some(),
        }
    }

    /// What its type gives without a declaration.
    pub(crate) fn always_gives(&self) -> &'static [&'static str] {
        match self.step_type {
            Some("claude_code") => AGENT_OUTPUTS,
            Some("template") if self.node.get("output").is_some() => TEMPLATE_OUTPUTS,
            Some("template") => &["text"],
            Some("approval") => APPROVAL_OUTPUTS,
            Some("webhook") => WEBHOOK_OUTPUTS,
            _ => &[],
        }
    }

    /// Whether it gives an output of this name.
    pub(crate) fn has_output(&self, name: &str) -> bool {
        self.outputs.by_name.contains_key(name) || self.always_gives().contains(&name)
    }

    /// What the value of an output is, where that is known.
    pub(crate) fn kind_of(&self, output: &str) -> Option<Kind> {
        if self.outputs.by_name.contains_key(output) {
            return self.outputs.kind(output);
        }
        match (self.step_type?, output) {
            ("claude_code", "response" | "session_id") | ("template", "text") | ("webhook", "body") => Some(Kind::TEXT),
            ("webhook", "headers") | ("claude_code", "models") => Some(Kind::Map),
            ("webhook", "status") | ("claude_code", "cost_usd" | "turns") => Some(Kind::Number),
            ("claude_code", "files_changed" | "permission_denials") => Some(Kind::List),
            ("template", "file") => Some(Kind::File),
            _ => None,
        }
    }

    /// Everything that it gives.
    pub(crate) fn gives(&self) -> Vec<&'tree str> {
        self.outputs.names.iter().chain(self.always_gives()).copied().collect()
    }

    /// Whether this output is a file.
    pub(crate) fn gives_file(&self, output: &str) -> bool {
        self.outputs.is_file(output, usize::MAX) == Some(true)
            || (output == "file" && self.step_type == Some("template"))
    }
}

fn is_file_output(value: &Node) -> bool {
    value.text().is_some() || value.get("path").is_some() || is_file_type(value)
}

fn is_file_type(declaration: &Node) -> bool {
    matches!(declaration.get("type").and_then(Node::text), Some("file" | "artifact"))
}
