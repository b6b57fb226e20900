use clap::Args;
use jiff::Timestamp;

use crate::{
    arguments::CommonArguments, command_error::CommandError, console::Console, execution_name, exit_code::ExitCode,
    report, state::State,
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
    let state = State::open_for(common, &arguments.execution)?;
    let row = execution_name::find(&*state.store, &arguments.execution).await?;
    let outcome = state.outcome(&row).await?;
    let view = &outcome.view;
    if arguments.json {
        console.json(&outcome)?;
        return Ok(ExitCode::Completed);
    }
    let (paint, now) = (console.out, Timestamp::now());
    let mut lines = vec![report::headline(view, paint, now)];
    lines.extend(view.pause_reason.iter().map(|reason| format!("  {}", paint.warn(reason))));
    lines.extend(report::steps(view, paint, now));
    for (title, part) in [("Outputs", report::outputs(view, paint)), ("Failures", report::failures(view, paint))] {
        if !part.is_empty() {
            lines.extend([String::new(), paint.bold(title)]);
            lines.extend(part);
        }
    }
    console.text(&(lines.join("\n") + "\n"))?;
    Ok(ExitCode::Completed)
}
