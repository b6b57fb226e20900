use clap::Args;
use jiff::Timestamp;
use ratchet_core::status::ExecutionStatus;

use crate::{
    arguments::CommonArguments, command_error::CommandError, console::Console, execution_name, exit_code::ExitCode,
    next::next, report::Report, state::State,
};

/// Show where an execution stands, step by step
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ratchet status                     the newest execution
  ratchet status k3f9                by the end of its name
  ratchet status last --json | jq .steps.tests.outputs")]
pub(crate) struct StatusArguments {
    /// The execution
    #[arg(default_value = "last")]
    execution: String,
    /// Print its state as one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(
    arguments: &StatusArguments,
    common: &CommonArguments,
    console: Console,
) -> Result<ExitCode, CommandError> {
    let state = State::any_for(common, &arguments.execution).await?;
    let row = execution_name::find(&*state.store, &arguments.execution).await?;
    let workflow = state.workflow(&row).await?;
    let outcome = state.outcome(&row, &workflow).await?;
    if arguments.json {
        console.json(&outcome)?;
        return Ok(ExitCode::Completed);
    }
    let paint = console.out;
    let report = Report::of(&outcome, paint, Timestamp::now());
    let mut lines = report.head();
    lines.extend(report.steps());
    let questions = report.questions();
    if !questions.is_empty() {
        lines.push(String::new());
        lines.extend(questions);
    }
    let is_done = outcome.view.status == ExecutionStatus::Completed && !outcome.left_behind;
    let next = if is_done { Vec::new() } else { next(&outcome, paint) };
    for (title, part) in [("Outputs", report.outputs()), ("Failures", report.failures()), ("Next", next)] {
        if !part.is_empty() {
            lines.extend([String::new(), paint.bold(title)]);
            lines.extend(part);
        }
    }
    console.text(&(lines.join("\n") + "\n"))?;
    Ok(ExitCode::Completed)
}
