//! Executions by name: how a person may call one.

use ratchet_core::{execution::ExecutionRow, ids::ExecutionId};
use ratchet_engine::ports::{ExecutionFilter, StateStore};

use crate::command_error::CommandError;

/// The fewest characters of a name that may stand for the whole.
const SHORTEST: usize = 4;
/// The word for the newest execution.
const LAST: &str = "last";

/// The execution that a person means: its whole name, a prefix or suffix of at least four characters that no other has, or `last`.
pub(crate) async fn find(store: &dyn StateStore, name: &str) -> Result<ExecutionRow, CommandError> {
    if let Some(row) = store.execution(&ExecutionId::new(name)).await? {
        return Ok(row);
    }
    let unknown = || CommandError::UnknownExecution { name: name.to_owned() };
    let all = ExecutionFilter { roots_only: true, ..ExecutionFilter::default() };
    if name == LAST {
        let newest = store.executions(&all, None, 1).await?;
        return newest.rows.into_iter().next().ok_or(CommandError::NoExecutions);
    }
    if name.chars().count() < SHORTEST {
        return Err(unknown());
    }
    let mut found: Vec<ExecutionRow> = Vec::new();
    let mut after: Option<ExecutionId> = None;
    loop {
        let page = store.executions(&all, after.as_ref(), 200).await?;
        after = page.rows.last().map(|row| row.id.clone());
        let fits = |row: &ExecutionRow| row.id.as_str().starts_with(name) || row.id.as_str().ends_with(name);
        found.extend(page.rows.into_iter().filter(fits));
        if !page.more {
            break;
        }
    }
    match (found.pop(), found.is_empty()) {
        (Some(row), true) => Ok(row),
        (Some(row), false) => {
            found.push(row);
            let names = found.iter().map(|row| row.id.to_string()).collect();
            Err(CommandError::AmbiguousExecution { name: name.to_owned(), found: names })
        }
        (None, _) => Err(unknown()),
    }
}
