use clap::Args;
use ratchet_core::status::ExecutionStatus;
use ratchet_local::place::LocalPlace;

use crate::{
    arguments::CommonArguments,
    command_error::CommandError,
    console::Console,
    driving::{self, Going, Shown},
    execution_name,
    exit_code::ExitCode,
    nested,
    state::State,
};

/// Apply what a completed execution changed, where that was not possible before
#[derive(Debug, Args)]
#[command(after_help = "\
All changes are applied or none. What you changed is never overwritten: while a path stands in the
way it is named, and the exit code is 5. A path that is as it was when the execution began, or as
the execution left it, is in nobody's way. What is applied already is only told.

Examples:
  ratchet diff last                    what it changed
  ratchet apply last")]
pub(crate) struct ApplyArguments {
    /// The execution
    execution: String,
    #[command(flatten)]
    shown: Shown,
}

pub(super) async fn run(
    arguments: &ApplyArguments,
    common: &CommonArguments,
    console: Console,
) -> Result<ExitCode, CommandError> {
    let state = State::open_for(common, &arguments.execution)?;
    let row = execution_name::find(&*state.store, &arguments.execution).await?;
    nested::refuse(&row, "applied by itself", "apply")?;
    let refused = |status: String, hint: String| CommandError::NotApplicable {
        execution: row.id.clone(),
        status,
        action: "applied",
        hint,
    };
    let place = LocalPlace::of(&row)?;
    if place.in_place {
        let hint = "what it changed is in the directory already".to_owned();
        return Err(refused(format!("{} in the directory itself", row.status), hint));
    }
    if !place.is_applied() {
        let hint = format!("what it changed was not pushed by a step: `ratchet diff {}` shows it", row.id);
        return Err(refused(format!("{} on a checkout of its own", row.status), hint));
    }
    if row.status != ExecutionStatus::Completed {
        let hint = format!("only what a completed execution left is applied; `ratchet diff {}` shows it", row.id);
        return Err(refused(row.status.to_string(), hint));
    }
    drop(state);
    driving::go_on(common, &row, Going::IntoTheDirectory, arguments.shown, console).await
}
