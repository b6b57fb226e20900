use clap::Args;
use ratchet_core::status::ExecutionStatus;

use crate::{
    arguments::CommonArguments,
    command_error::CommandError,
    console::Console,
    driving::{self, Going, Shown},
    execution_name,
    exit_code::ExitCode,
    state::State,
};

/// End an execution: what runs is stopped, `finally` runs
#[derive(Debug, Args)]
#[command(after_help = "\
Works from any terminal. A cancelled execution can be resumed.

Example:
  ratchet cancel k3f9")]
pub(crate) struct CancelArguments {
    /// The execution
    execution: String,
    #[command(flatten)]
    shown: Shown,
}

pub(super) async fn run(
    arguments: &CancelArguments,
    common: &CommonArguments,
    console: Console,
) -> Result<ExitCode, CommandError> {
    let state = State::any_for(common, &arguments.execution).await?;
    let row = execution_name::find(&*state.store, &arguments.execution).await?;
    drop(state);
    if row.status.is_ended() {
        return Err(CommandError::NotApplicable {
            status: row.status.to_string(),
            action: "cancelled",
            hint: format!("`ratchet status {}` shows how it ended", row.id),
            execution: row.id,
        });
    }
    let code = driving::go_on(common, &row, Going::ToItsEnd, arguments.shown, console).await?;
    // Cancelling is what was asked for.
    let state = State::any_for(common, row.id.as_str()).await?;
    let row = execution_name::find(&*state.store, row.id.as_str()).await?;
    Ok(if row.status == ExecutionStatus::Cancelled { ExitCode::Completed } else { code })
}
