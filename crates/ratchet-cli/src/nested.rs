//! Executions that steps of others started: found by the step, and shown beside it.

use ratchet_core::{
    execution::ExecutionRow,
    ids::{ExecutionId, StepKey, StepPath},
    workflow::Workflow,
};
use ratchet_engine::view::{ExecutionRows, ExecutionView};

use crate::{command_error::CommandError, state::State};

/// More executions than this below one are not shown.
const SHOWN_MOST: usize = 200;

/// An execution that a step is.
#[derive(Debug)]
pub(crate) struct Nested {
    /// The step, as it is called from the execution that is shown: `deploy`, `deploy.migrate`, `deploy[2].migrate`.
    pub(crate) path: String,
    /// What is known of it.
    pub(crate) view: ExecutionView,
}

/// The executions below one.
pub(crate) async fn of(
    state: &State,
    execution: &ExecutionRow,
    workflow: &Workflow,
) -> Result<Vec<Nested>, CommandError> {
    let rows = ExecutionRows::load(&*state.store, &*state.blobs, workflow, &execution.id).await?;
    let Some(rows) = rows else { return Ok(Vec::new()) };
    below(state, rows.nested(workflow)).await
}

/// The executions that steps of one are, and those of their steps, each after the one that it belongs to.
pub(crate) async fn below(state: &State, rows: Vec<(StepPath, ExecutionId)>) -> Result<Vec<Nested>, CommandError> {
    let mut found = Vec::new();
    let mut open: Vec<(String, ExecutionId)> =
        rows.into_iter().rev().map(|(path, id)| (path.to_string(), id)).collect();
    while let Some((path, id)) = open.pop().filter(|_| found.len() < SHOWN_MOST) {
        let Some(row) = state.store.execution(&id).await? else { continue };
        let workflow = state.workflow(&row).await?;
        let Some(rows) = ExecutionRows::load(&*state.store, &*state.blobs, &workflow, &id).await? else { continue };
        let inner = rows.nested(&workflow).into_iter().rev();
        open.extend(inner.map(|(step, id)| (format!("{path}.{step}"), id)));
        found.push(Nested { path, view: ExecutionView::new(&workflow, &rows) });
    }
    Ok(found)
}

/// The execution that a step's name leads to, and what is left of the name: `deploy.migrate` is the step `migrate` of the execution that `deploy` is.
pub(crate) async fn descend<'a>(
    state: &State,
    execution: &ExecutionRow,
    name: &'a str,
) -> Result<(ExecutionRow, &'a str), CommandError> {
    let (mut row, mut rest) = (execution.clone(), name);
    while let Some((step, inner)) = rest.split_once('.') {
        let path = path(step);
        let newest = state.store.newest_steps(&row.id, row.epoch, std::slice::from_ref(&path.step)).await?;
        let newest = match newest.into_iter().flatten().next() {
            Some(fan_out) if path.child.is_some() => {
                state.store.step(&StepKey { path: path.clone(), ..fan_out.key.clone() }).await?
            }
            newest => newest,
        };
        let nested = match newest.and_then(|step| step.execution) {
            Some(id) => Some(id),
            None => taken_over(state, &row, &path).await?,
        };
        let nested = match nested {
            Some(id) => state.store.execution(&id).await?,
            None => None,
        };
        row = nested.ok_or_else(|| CommandError::Argument {
            argument: "STEP",
            reason: format!("{path} of {} is no execution of its own, or has not begun", row.id),
            hint: "`ratchet status` shows the steps and what they are",
        })?;
        rest = inner;
    }
    Ok((row, rest))
}

/// The execution that an item was before it was taken over by a resume.
async fn taken_over(state: &State, row: &ExecutionRow, path: &StepPath) -> Result<Option<ExecutionId>, CommandError> {
    let workflow = state.workflow(row).await?;
    let rows = ExecutionRows::load(&*state.store, &*state.blobs, &workflow, &row.id).await?;
    let nested = rows.map(|rows| rows.nested(&workflow)).unwrap_or_default();
    Ok(nested.into_iter().find(|(known, _)| known == path).map(|(_, id)| id))
}

/// A step as a person names it: by its name, with the item of a fan-out in brackets.
pub(crate) fn path(name: &str) -> StepPath {
    StepPath::named(name.trim_matches('\''))
}

/// Refuses what is for an execution as a whole.
pub(crate) fn refuse(row: &ExecutionRow, action: &'static str, command: &str) -> Result<(), CommandError> {
    if !row.id.is_nested() {
        return Ok(());
    }
    Err(CommandError::NotApplicable {
        execution: row.id.clone(),
        status: format!("a part of {}", row.id.root()),
        action,
        hint: format!("`ratchet {command} {}` is about all of it", row.id.root()),
    })
}
