use std::fmt::Write as _;

use clap::Args;
use serde_json::{Value, json};

use crate::{
    catalogue::{ReferenceWorkflow, nearest, reference_workflow, reference_workflows},
    command_error::CommandError,
    console::Console,
    exit_code::ExitCode,
};

/// List the reference workflows, or print what one is for
#[derive(Debug, Args)]
#[command(after_help = "\
They come with the command. `ratchet new --from NAME` writes one into a folder.

Examples:
  ratchet workflows
  ratchet workflows code-review | less
  ratchet new --from code-review")]
pub(crate) struct WorkflowsArguments {
    /// Print this one's page: what for, inputs, outputs, what it may touch and cost, when not to use it
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// Print a JSON array, or with a name an object
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &WorkflowsArguments, console: Console) -> Result<ExitCode, CommandError> {
    match (&arguments.name, arguments.json) {
        (None, false) => console.text(&list())?,
        (None, true) => console.json(&reference_workflows().iter().map(described).collect::<Vec<Value>>())?,
        (Some(name), false) => console.text(find(name)?.readme())?,
        (Some(name), true) => console.json(&described(find(name)?))?,
    }
    Ok(ExitCode::Completed)
}

/// The reference workflow that a person names.
pub(super) fn find(name: &str) -> Result<&'static ReferenceWorkflow, CommandError> {
    reference_workflow(name).ok_or_else(|| CommandError::ArgumentValue {
        message: format!("there is no reference workflow {name}"),
        hint: match nearest(name) {
            Some(nearest) => format!("did you mean {nearest}?"),
            None => "`ratchet workflows` lists them".to_owned(),
        },
    })
}

fn list() -> String {
    let mut text = String::new();
    for shipped in reference_workflows() {
        let _ = writeln!(text, "{}\n    {}", shipped.name, shipped.workflow().description.unwrap_or_default());
    }
    text
}

fn described(shipped: &ReferenceWorkflow) -> Value {
    let workflow = shipped.workflow();
    let inputs: Vec<Value> = workflow
        .inputs
        .iter()
        .map(|input| {
            json!({
                "name": input.name,
                "type": input.value_type.word(),
                "required": input.required,
                "default": input.default,
                "description": input.description,
            })
        })
        .collect();
    let outputs: Vec<Value> = workflow
        .outputs
        .iter()
        .map(|output| json!({ "name": output.name, "type": output.value_type.word(), "description": output.description }))
        .collect();
    json!({
        "name": workflow.name,
        "version": workflow.version,
        "description": workflow.description,
        "inputs": inputs,
        "outputs": outputs,
    })
}
