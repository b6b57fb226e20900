//! Executions of a deployment: asked for, gone on with and shown while they run. Nothing of them is driven here.

use std::{sync::Arc, time::Duration};

use ratchet_aws::remote::{Asked, Remote};
use ratchet_core::{
    execution::ExecutionRow,
    ids::{Digest, ExecutionId},
    output::Outputs,
    status::ExecutionStatus,
    workflow::Workflow,
};
use ratchet_engine::view::ExecutionRows;

use super::{Going, Shown, interrupts::Interrupts, refuse_other_work, show};
use crate::{
    command_error::CommandError,
    console::Console,
    exit_code::ExitCode,
    nested,
    progress::{Progress, Stream},
    state::State,
};

/// How often an execution is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// An execution that a deployment was asked for.
pub(crate) struct Begun {
    /// What it said.
    pub(crate) asked: Asked,
    /// The definition that was meant.
    pub(crate) definition: Digest,
    /// The inputs that were meant.
    pub(crate) inputs: Outputs,
}

/// Goes on with an execution, and shows it until it has ended or paused.
pub(super) async fn go_on(
    state: &State,
    row: &ExecutionRow,
    going: Going,
    shown: Shown,
    console: Console,
) -> Result<ExitCode, CommandError> {
    let remote = remote(state)?;
    match going {
        Going::On => {}
        Going::Anew(request) => remote.resume(&row.id, &request.from, request.added_usd).await?,
        Going::Answered { key, answer } => remote.answer(&key, &answer).await?,
        Going::ToItsEnd => remote.cancel(&row.id).await?,
        Going::IntoTheDirectory => return Err(CommandError::OnlyHere { stack: remote.name.clone() }),
    }
    // What a step started is shown with the run at the root.
    watch(state, &row.id.root(), shown, console).await
}

/// Shows an execution that was asked for, until it has ended or paused.
pub(crate) async fn follow(
    state: &State,
    begun: &Begun,
    shown: Shown,
    console: Console,
) -> Result<ExitCode, CommandError> {
    if !begun.asked.created {
        let row = read(state, &begun.asked.execution_id).await?;
        refuse_other_work(&row, &*state.blobs, &begun.definition, &begun.inputs).await?;
    }
    watch(state, &begun.asked.execution_id, shown, console).await
}

fn remote(state: &State) -> Result<&Remote, CommandError> {
    state.remote().ok_or_else(|| CommandError::Engine("this machine is no deployment".to_owned()))
}

async fn read(state: &State, id: &ExecutionId) -> Result<ExecutionRow, CommandError> {
    state.store.execution(id).await?.ok_or_else(|| CommandError::UnknownExecution { name: id.to_string() })
}

async fn watch(state: &State, id: &ExecutionId, shown: Shown, console: Console) -> Result<ExitCode, CommandError> {
    let workflow = Arc::new(state.workflow(&read(state, id).await?).await?);
    let stream = if shown.json { Stream::Err } else { Stream::Out };
    let progress = if shown.quiet { Progress::quiet() } else { Progress::start(&workflow, stream) };
    let mut interrupts = Interrupts::listen()?;
    let mut is_left = false;
    while tell(state, id, &workflow, &progress).await? && !is_left {
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = interrupts.next() => is_left = true,
        }
    }
    progress.finish();
    let row = read(state, id).await?;
    let outcome = state.outcome(&row, &workflow).await?;
    if is_left && row.status == ExecutionStatus::Running {
        console.say("it goes on without this command");
    }
    show(&outcome, shown, console)?;
    Ok(if is_left { ExitCode::Interrupted } else { ExitCode::of_execution(row.status, row.continued) })
}

/// Shows what is done. Whether it goes on.
async fn tell(state: &State, id: &ExecutionId, workflow: &Workflow, progress: &Progress) -> Result<bool, CommandError> {
    let rows = ExecutionRows::load(&*state.store, &*state.blobs, workflow, id).await?;
    let Some(rows) = rows else { return Ok(false) };
    progress.know(workflow.steps.iter().filter_map(|step| rows.step(&step.id)));
    let below = nested::below(state, rows.nested(workflow)).await?;
    progress.know_below(&rows.execution, &below);
    Ok(rows.execution.status == ExecutionStatus::Running)
}
