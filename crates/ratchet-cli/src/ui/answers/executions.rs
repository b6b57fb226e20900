use ratchet_core::{ids::ExecutionId, status::ExecutionStatus};
use ratchet_engine::ports::ExecutionFilter;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{command_error::CommandError, commands::list::brief, state::State};

/// Executions on a page of the list, and the most that may be asked for.
const PAGE: usize = 50;
const PAGE_MAX: usize = 500;

/// Which executions are wanted. Fields that are empty say nothing.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Query {
    #[serde(default)]
    workflow: String,
    #[serde(default)]
    status: String,
    /// A part of the name of the execution or of its workflow.
    #[serde(default)]
    text: String,
    /// The last one of the page before.
    #[serde(default)]
    after: String,
    limit: Option<usize>,
}

/// A page of the list, newest first, and how many there are of which kind.
pub(crate) async fn executions(state: &State, query: &Query) -> Result<Value, CommandError> {
    let given = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
    let status = given(&query.status).map(|word| status(&word)).transpose()?;
    let filter = ExecutionFilter { workflow: given(&query.workflow), status, roots_only: true };
    let after = given(&query.after).map(ExecutionId::new);
    let limit = query.limit.unwrap_or(PAGE).clamp(1, PAGE_MAX);
    let page = match given(&query.text) {
        Some(text) => state.here()?.store.executions_with(&text, &filter, after.as_ref(), limit)?,
        None => state.store.executions(&filter, after.as_ref(), limit).await?,
    };
    let mut listed = Vec::with_capacity(page.rows.len());
    for row in &page.rows {
        listed.push(brief(row, state.is_left_behind(row).await?));
    }
    let overview = state.here()?.store.overview()?;
    Ok(json!({
        "executions": listed, "more": page.more,
        "by_status": overview.by_status, "by_workflow": overview.by_workflow,
    }))
}

fn status(word: &str) -> Result<ExecutionStatus, CommandError> {
    let found = ExecutionStatus::ALL.into_iter().find(|status| status.as_str() == word);
    found.ok_or_else(|| CommandError::Argument {
        argument: "status",
        reason: format!("{word} is not where an execution can stand"),
        hint: "running, paused, completed, failed or cancelled",
    })
}
