use std::fs;

use clap::Args;
use ratchet_core::{
    execution::ExecutionRow,
    ids::{StepKey, StepPath},
    step::{Answer, StepRow, StepState, Waiting},
};

use crate::{
    arguments::CommonArguments,
    command_error::CommandError,
    console::Console,
    definition,
    driving::{self, Going, Shown},
    execution_name,
    exit_code::ExitCode,
    nested, report,
    state::State,
};

/// Say yes to a step that waits for an approval, and go on
#[derive(Debug, Args)]
#[command(after_help = "\
The answer is given in the name of the account that runs the command, on a deployment in that of the caller of AWS. The same answer again changes nothing.

Examples:
  ratchet approve k3f9 deploy
  ratchet approve k3f9 'deploy[2]' --comment \"looks right\"     the child of a foreach")]
pub(crate) struct ApproveArguments {
    #[command(flatten)]
    question: Question,
    #[command(flatten)]
    shown: Shown,
}

/// Say no to a step that waits for an approval: it fails
#[derive(Debug, Args)]
#[command(after_help = "\
The answer is given in the name of the account that runs the command, on a deployment in that of the caller of AWS. The same answer again changes nothing.

Example:
  ratchet reject k3f9 deploy --comment \"not on a Friday\"")]
pub(crate) struct RejectArguments {
    #[command(flatten)]
    question: Question,
    #[command(flatten)]
    shown: Shown,
}

/// What is answered.
#[derive(Debug, Args)]
struct Question {
    /// The execution
    execution: String,
    /// The step that asks; may be left out where only one does
    step: Option<String>,
    /// What later steps read as the step's output `comment`
    #[arg(long, value_name = "TEXT")]
    comment: Option<String>,
}

pub(super) async fn approve(
    arguments: &ApproveArguments,
    common: &CommonArguments,
    console: Console,
) -> Result<ExitCode, CommandError> {
    answer(&arguments.question, true, arguments.shown, common, console).await
}

pub(super) async fn reject(
    arguments: &RejectArguments,
    common: &CommonArguments,
    console: Console,
) -> Result<ExitCode, CommandError> {
    answer(&arguments.question, false, arguments.shown, common, console).await
}

async fn answer(
    question: &Question,
    approved: bool,
    shown: Shown,
    common: &CommonArguments,
    console: Console,
) -> Result<ExitCode, CommandError> {
    let state = State::any_for(common, &question.execution).await?;
    let row = execution_name::find(&*state.store, &question.execution).await?;
    let (row, path) = path(&state, row, question.step.as_deref()).await?;
    let key = StepKey { execution: row.id.clone(), epoch: row.epoch, path };
    let step = state.store.step(&key).await?;
    if step.as_ref().and_then(StepRow::answer).is_some_and(|given| given.approved == approved) {
        drop(state);
        return driving::go_on(common, &row, Going::On, shown, console).await;
    }
    if row.status.is_ended() {
        return Err(CommandError::NotApplicable {
            status: row.status.to_string(),
            action: "answered",
            hint: format!("`ratchet status {}` shows how it ended", row.id),
            execution: row.id,
        });
    }
    let answer = Answer { approved, comment: question.comment.clone(), by: account() };
    // Who answers a deployment is known to it alone.
    if let Some(StepState::Waiting(Waiting::Approval(asked))) = step.map(|step| step.state)
        && common.stack().is_none()
        && !asked.approvers.is_empty()
        && !asked.approvers.contains(&answer.by)
    {
        return Err(CommandError::NotAnApprover { by: answer.by, step: key.path, approvers: asked.approvers });
    }
    drop(state);
    driving::go_on(common, &row, Going::Answered { key, answer }, shown, console).await
}

/// The step that is meant: by name, or the only one that asks.
async fn path(state: &State, row: ExecutionRow, name: Option<&str>) -> Result<(ExecutionRow, StepPath), CommandError> {
    let asking = report::asking(&state.outcome(&row, &state.workflow(&row).await?).await?);
    let name = match (name, &asking[..]) {
        (Some(name), _) => name,
        (None, [one]) => one,
        (None, _) => {
            let reason = if asking.is_empty() {
                format!("nothing of {} waits for an approval", row.id)
            } else {
                format!("more than one step waits for an approval: {}", asking.join(", "))
            };
            return Err(CommandError::Argument { argument: "STEP", reason, hint: "`ratchet status` shows what asks" });
        }
    };
    let (row, name) = nested::descend(state, &row, name.trim_matches('\'')).await?;
    let path = nested::path(name);
    definition::step(&state.workflow(&row).await?, path.step.as_str())?;
    Ok((row, path))
}

/// The account that this process runs under: not what the environment says, which is the caller's to choose.
fn account() -> String {
    let uid = rustix::process::getuid().as_raw().to_string();
    let accounts = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let mut lines = accounts.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let own = lines.find(|fields| fields.get(2).is_some_and(|id| **id == uid));
    own.map_or_else(|| format!("uid {uid}"), |fields| fields[0].to_owned())
}
