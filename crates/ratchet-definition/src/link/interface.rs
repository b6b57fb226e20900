//! What steps may refer to, as those who look at the steps see it.

use std::{collections::BTreeMap, sync::Arc};

use ratchet_core::{
    execution::DefinitionRef,
    ids::Digest,
    workflow::{Action, Exec, InputDeclaration, OutputDeclaration, SubWorkflow, Workflow},
};

use super::reference::of_step;
use crate::yaml::Node;

/// What the steps of a file refer to. What is wrong, and was reported, is there without an interface.
#[derive(Debug, Default)]
pub(crate) struct Interfaces {
    file: String,
    /// Step types by name.
    pub(super) types: BTreeMap<String, Option<Interface>>,
    /// Workflows by what refers to them.
    pub(super) workflows: BTreeMap<String, Option<Interface>>,
}

/// What a step of a type, or one that runs a workflow, takes and gives.
#[derive(Debug, Clone)]
pub(crate) struct Interface {
    pub(crate) what: What,
    pub(crate) inputs: Vec<InputDeclaration>,
    pub(crate) outputs: Vec<OutputDeclaration>,
}

/// What it does.
#[derive(Debug, Clone)]
pub(crate) enum What {
    /// It is a run of its own.
    Run { definition: DefinitionRef, text: Arc<str>, workflow: Arc<Workflow> },
    /// It runs a program, which has this content where it lies beside the workflow's file.
    Exec(Vec<String>, Option<Digest>),
}

impl Interfaces {
    pub(super) fn new(file: &str) -> Self {
        Self { file: file.to_owned(), ..Self::default() }
    }

    pub(super) fn into_types(self) -> BTreeMap<String, Interface> {
        self.types.into_iter().filter_map(|(name, interface)| Some((name, interface?))).collect()
    }

    /// Of a step: what it refers to, if it does and that is known.
    pub(crate) fn of_step(&self, step: &Node) -> Option<&Interface> {
        match step.get("type")?.text()? {
            "workflow" => self.workflows.get(&of_step(step, &self.file)?.name())?.as_ref(),
            name => self.types.get(name)?.as_ref(),
        }
    }
}

impl Interface {
    /// The action of a step of this type.
    pub(crate) fn action(&self, step_type: &str) -> Action {
        let type_name = step_type.to_owned();
        match &self.what {
            What::Run { definition, text, workflow } => Action::Workflow(Box::new(SubWorkflow {
                type_name,
                definition: definition.clone(),
                text: text.clone(),
                workflow: workflow.clone(),
            })),
            What::Exec(command, digest) => Action::Exec(Box::new(Exec {
                type_name,
                command: command.clone(),
                digest: digest.clone(),
                inputs: self.inputs.clone(),
                outputs: self.outputs.clone(),
            })),
        }
    }
}
