use clap::Args;
use ratchet_core::{execution::ExecutionRow, status::ExecutionStatus};
use ratchet_local::{housekeeping::remove, lock::EngineLock};

use crate::{
    arguments::CommonArguments, command_error::CommandError, console::Console, execution_name, exit_code::ExitCode,
    nested, state::State,
};

/// Remove executions with their state, logs and files
#[derive(Debug, Args)]
#[command(after_help = "\
An execution that goes on is not removed: cancel it first. A paused one is removed only with --force, because it could go on.

Example:
  ratchet rm k3f9 20261123-0115")]
pub(crate) struct RmArguments {
    /// The executions
    #[arg(required = true, value_name = "EXECUTION")]
    executions: Vec<String>,
    /// Remove also what is paused, or was left behind by a process that died
    #[arg(long)]
    force: bool,
}

pub(super) async fn run(
    arguments: &RmArguments,
    common: &CommonArguments,
    console: Console,
) -> Result<ExitCode, CommandError> {
    let state = State::open_for(common, &arguments.executions[0])?;
    let mut rows: Vec<ExecutionRow> = Vec::new();
    for name in &arguments.executions {
        let row = execution_name::find(&*state.store, name).await?;
        nested::refuse(&row, "removed by itself", "rm")?;
        refuse_unless_removable(&state, &row, arguments.force)?;
        rows.push(row);
    }
    for row in rows {
        remove(&state.here()?.directory, &state.here()?.store, &row.id).await?;
        console.say(&format!("removed {}", row.id));
    }
    Ok(ExitCode::Completed)
}

fn refuse_unless_removable(state: &State, row: &ExecutionRow, force: bool) -> Result<(), CommandError> {
    let refused = |hint: String| CommandError::NotApplicable {
        execution: row.id.clone(),
        status: row.status.to_string(),
        action: "removed",
        hint,
    };
    if EngineLock::is_held(&state.here()?.directory, &row.id) {
        return Err(refused(format!("cancel it first: `ratchet cancel {}`", row.id)));
    }
    match row.status {
        ExecutionStatus::Running | ExecutionStatus::Paused if !force => {
            Err(refused(format!("`ratchet resume {0}` goes on with it; `ratchet rm --force {0}` removes it", row.id)))
        }
        _ => Ok(()),
    }
}
