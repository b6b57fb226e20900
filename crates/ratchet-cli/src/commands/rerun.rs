use std::{collections::BTreeMap, sync::Arc};

use clap::Args;
use ratchet_core::{execution::ExecutionRow, output::Outputs, workflow::Workflow};
use ratchet_definition::inputs::GivenInput;
use ratchet_engine::values::load_large;
use serde_json::json;

use crate::{
    arguments::CommonArguments,
    command_error::CommandError,
    console::Console,
    driving::{self, Shown, Start},
    execution_name,
    exit_code::ExitCode,
    inputs::InputArguments,
    state::State,
};

/// Run an execution's workflow again, as a new execution
#[derive(Debug, Args)]
#[command(after_help = "\
The file is taken as it was then, with the same inputs, variables, directory and agent; -i and --env change single ones.

Examples:
  ratchet rerun
  ratchet rerun k3f9 -i target_coverage=95")]
pub(crate) struct RerunArguments {
    /// The execution
    #[arg(default_value = "last")]
    execution: String,
    #[command(flatten)]
    inputs: InputArguments,
    #[command(flatten)]
    shown: Shown,
}

pub(super) async fn run(
    arguments: &RerunArguments,
    common: &CommonArguments,
    console: Console,
) -> Result<ExitCode, CommandError> {
    let state = State::open_for(common, &arguments.execution)?;
    let row = execution_name::find(&*state.store, &arguments.execution).await?;
    let workflow = state.workflow(&row).await?;
    let text = state.text(&row).await?;
    let before = load_large(&*state.blobs, &row.inputs).await?;
    let start = start(arguments, row, workflow, text, before)?;
    drop(state);
    driving::start(common, start, arguments.shown, console).await
}

fn start(
    arguments: &RerunArguments,
    row: ExecutionRow,
    workflow: Workflow,
    text: String,
    before: Outputs,
) -> Result<Start, CommandError> {
    let inputs = if arguments.inputs.is_empty() {
        before
    } else {
        let before: BTreeMap<String, GivenInput> =
            before.into_iter().map(|(name, value)| (name, GivenInput::Output(value))).collect();
        arguments.inputs.resolve(&workflow, before)?
    };
    let mut environment = row.environment;
    environment.extend(arguments.inputs.environment()?);
    Ok(Start {
        execution: driving::fresh_name(),
        definition: row.definition,
        workflow: Arc::new(workflow),
        text,
        inputs,
        environment,
        trigger: json!({ "type": "rerun", "execution": row.id }),
        options: row.options,
    })
}
