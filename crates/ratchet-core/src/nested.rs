//! Actions that refer to something else: to a workflow, or to a program of the author's.

use std::{fmt, sync::Arc};

use crate::{
    edit::do_the_same,
    execution::DefinitionRef,
    ids::Digest,
    workflow::{Action, InputDeclaration, OutputDeclaration, Step, Workflow},
};

/// A step that is a run of its own: another workflow, or a group of steps that its author named. What it is given are the step's named inputs, and the
/// outputs of the run are the step's.
#[derive(Clone)]
pub struct SubWorkflow {
    /// The word for it in the file: `workflow`, or the name of the step type.
    pub type_name: String,
    /// What the run follows.
    pub definition: DefinitionRef,
    /// The definition's text, which holds all that it refers to: a run does not depend on files that change later.
    pub text: Arc<str>,
    /// What the text says.
    pub workflow: Arc<Workflow>,
}

/// Without what the workflow says: its name is enough to tell which it is.
impl fmt::Debug for SubWorkflow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let DefinitionRef { name, version, origin, .. } = &self.definition;
        let mut shown = f.debug_struct("SubWorkflow");
        shown.field("type_name", &self.type_name).field("name", name).field("version", version).field("origin", origin);
        shown.finish_non_exhaustive()
    }
}

/// By what it does. The text of a group of steps holds the whole file that it stands in, where other steps may be otherwise.
impl PartialEq for SubWorkflow {
    fn eq(&self, other: &Self) -> bool {
        let is_same_text = self.definition.digest == other.definition.digest;
        self.type_name == other.type_name && (is_same_text || do_the_same(&self.workflow, &other.workflow))
    }
}

/// A step that runs a program of its author's. The program reads one JSON object, the step's named inputs, and writes one, the step's outputs.
#[derive(Debug, Clone, PartialEq)]
pub struct Exec {
    /// The name of the step type.
    pub type_name: String,
    /// The program and its arguments. A program that is named by a relative path lies beside the workflow's file.
    pub command: Vec<String>,
    /// The content of a program that lies beside the workflow's file, as it was when that was read; where it was there.
    pub digest: Option<Digest>,
    /// What it takes.
    pub inputs: Vec<InputDeclaration>,
    /// What it gives. Nothing is said of where from: each is the field of its name.
    pub outputs: Vec<OutputDeclaration>,
}

/// What a step that asks an agent gives without declaring it.
pub const AGENT_OUTPUTS: &[&str] =
    &["response", "json", "cost_usd", "tokens", "turns", "models", "session_id", "files_changed", "permission_denials"];

impl Step {
    /// The names of what it gives by declaration: its own, or those of the group, workflow or program that it runs.
    pub fn output_names(&self) -> Vec<&str> {
        let declared: &[OutputDeclaration] = match &self.action {
            Action::Workflow(sub) => &sub.workflow.outputs,
            Action::Exec(exec) => &exec.outputs,
            _ => &[],
        };
        let always = if matches!(self.action, Action::ClaudeCode(_)) { AGENT_OUTPUTS } else { &[] };
        let own = self.outputs.iter().map(|output| output.name.as_str());
        own.chain(declared.iter().map(|output| output.name.as_str())).chain(always.iter().copied()).collect()
    }
}
