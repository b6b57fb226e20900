use clap::Args;
use serde_json::json;

use crate::{
    arguments::CommonArguments,
    command_error::CommandError,
    console::Console,
    execution_name,
    exit_code::ExitCode,
    nested::{self, Nested},
    replay::Replay,
    report::Report,
    state::State,
    words::counted,
};

/// Decide an execution again from its history, and show the state as it was
#[derive(Debug, Args)]
#[command(after_help = "\
Every record is decided again by the engine's own tables and compared with what was recorded; nothing runs. A difference is an error. \
Executions that steps are, are decided again too; the state that is shown is that of the one.

Examples:
  ratchet replay                     decide all of the newest execution again
  ratchet replay k3f9 --at 7         the state after the seventh line of `ratchet history k3f9`")]
pub(crate) struct ReplayArguments {
    /// The execution
    #[arg(default_value = "last")]
    execution: String,
    /// The number of an event in `ratchet history`, counted from 1
    #[arg(long, value_name = "EVENT")]
    at: Option<usize>,
    /// Print the state as one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(
    arguments: &ReplayArguments,
    common: &CommonArguments,
    console: Console,
) -> Result<ExitCode, CommandError> {
    let state = State::open_for(common, &arguments.execution)?;
    let row = execution_name::find(&*state.store, &arguments.execution).await?;
    let workflow = state.workflow(&row).await?;
    let masks = state.masks(&row, Some(&workflow)).await?;
    let mut replay = Replay::of(&state, &workflow, &row, &masks, arguments.at).await?;
    let mut nested = 0;
    for Nested { path, view } in nested::of(&state, &row, &workflow).await? {
        let row = execution_name::find(&*state.store, view.execution_id.as_str()).await?;
        let workflow = state.workflow(&row).await?;
        let masks = state.masks(&row, Some(&workflow)).await?;
        let below = Replay::of(&state, &workflow, &row, &masks, None).await?;
        replay.findings.extend(below.findings.into_iter().map(|finding| format!("{path}: {finding}")));
        nested += below.entries.len();
    }
    let count = replay.entries.len();
    let at = arguments.at.unwrap_or(count);
    if at == 0 || at > count {
        return Err(CommandError::Argument {
            argument: "--at",
            reason: format!("the history has the events 1 to {count}"),
            hint: "`ratchet history` lists them",
        });
    }
    let entry = &replay.entries[at - 1];
    if arguments.json {
        console.json(&json!({ "at": at, "event": entry, "state": replay.view, "findings": replay.findings }))?;
    } else {
        let paint = console.out;
        let change = entry.change["change"].as_str().unwrap_or_default().replace('_', " ");
        let report = Report::new(&replay.view, paint, entry.at);
        let mut lines = vec![paint.dim(&format!("after event {at} of {count}: {} {change}", entry.row))];
        lines.extend(report.head());
        lines.extend(report.steps());
        console.text(&(lines.join("\n") + "\n"))?;
    }
    if replay.findings.is_empty() {
        let nested = if nested > 0 { format!(" and {nested} of its steps' own executions") } else { String::new() };
        console.say(&console.err.dim(&format!("{}{nested} decided again, all as recorded", counted(count, "event"))));
        return Ok(ExitCode::Completed);
    }
    Err(CommandError::NotReplayed { execution: row.id, reason: replay.findings.join("; ") })
}
