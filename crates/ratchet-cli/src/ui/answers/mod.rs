//! What the page asks for, as JSON. What must not be seen of an execution is masked in all of it.

mod attempts;
mod execution;
mod executions;
mod log;
mod step;

pub(super) use self::{
    execution::execution,
    executions::{Query, executions},
    log::{LogQuery, Written, log},
    step::step,
};

use ratchet_core::{execution::ExecutionRow, ids::ExecutionId};
use ratchet_engine::masks::Masks;
use serde_json::Value;

use crate::{
    command_error::CommandError,
    commands::{diff, why},
    state::State,
};

/// What is masked in what is known of an execution.
async fn masks(state: &State, row: &ExecutionRow) -> Result<Masks, CommandError> {
    let workflow = state.workflow(row).await?;
    state.masks(row, Some(&workflow)).await
}

/// The execution of exactly this name: what a page asks for, it was told the whole name of.
pub(super) async fn row(state: &State, id: &str) -> Result<ExecutionRow, CommandError> {
    let row = state.store.execution(&ExecutionId::new(id)).await?;
    row.ok_or_else(|| CommandError::UnknownExecution { name: id.to_owned() })
}

/// What an execution changed, or one step of it.
pub(super) async fn changed(state: &State, id: &str, step: Option<&str>) -> Result<Value, CommandError> {
    let row = row(state, id).await?;
    Ok(masks(state, &row).await?.value(diff::answer(state, &row, step).await?))
}

/// Why a step ran, or why a kept result stood in for it, and what its key is made of.
pub(super) async fn reason(state: &State, id: &str, step: &str) -> Result<Value, CommandError> {
    let row = row(state, id).await?;
    Ok(masks(state, &row).await?.value(why::answer(state, &row, step).await?))
}
