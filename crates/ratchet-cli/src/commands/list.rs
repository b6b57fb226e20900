use std::fmt::Write as _;

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use ratchet_core::{execution::ExecutionRow, ids::ExecutionId, status::ExecutionStatus};
use ratchet_engine::ports::{ExecutionFilter, StateStore};
use serde_json::{Value, json};

use crate::{
    arguments::CommonArguments,
    command_error::CommandError,
    console::Console,
    exit_code::ExitCode,
    state::State,
    words::{ago, between, elapsed},
};

/// List executions, newest first
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ratchet list
  ratchet list --status failed --workflow increase-test-coverage
  ratchet list --json | jq -r '.[0].execution_id'")]
pub(crate) struct ListArguments {
    /// Only executions of this workflow
    #[arg(long, value_name = "NAME")]
    workflow: Option<String>,
    /// Only executions that stand here
    #[arg(long, value_enum)]
    status: Option<StatusArgument>,
    /// At most so many; 0 for all
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: usize,
    /// Print a JSON array
    #[arg(long)]
    json: bool,
}

/// A status as it is typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum StatusArgument {
    /// Steps run, or will
    Running,
    /// Waits for a person
    Paused,
    /// Ended well
    Completed,
    /// A step failed
    Failed,
    /// A person ended it
    Cancelled,
}

impl From<StatusArgument> for ExecutionStatus {
    fn from(status: StatusArgument) -> Self {
        match status {
            StatusArgument::Running => Self::Running,
            StatusArgument::Paused => Self::Paused,
            StatusArgument::Completed => Self::Completed,
            StatusArgument::Failed => Self::Failed,
            StatusArgument::Cancelled => Self::Cancelled,
        }
    }
}

pub(super) async fn run(
    arguments: &ListArguments,
    common: &CommonArguments,
    console: Console,
) -> Result<ExitCode, CommandError> {
    let filter =
        ExecutionFilter { workflow: arguments.workflow.clone(), status: arguments.status.map(ExecutionStatus::from) };
    let limit = if arguments.limit == 0 { usize::MAX } else { arguments.limit };
    let rows = match State::open_existing(common)? {
        Some(state) => newest(&*state.store, &filter, limit).await?,
        None => Vec::new(),
    };
    if arguments.json {
        console.json(&rows.iter().map(brief).collect::<Vec<Value>>())?;
    } else if rows.is_empty() {
        console.say("no executions; `ratchet run FILE` makes one");
    } else {
        console.text(&table(&rows, console, Timestamp::now()))?;
    }
    Ok(ExitCode::Completed)
}

/// Executions, newest first.
pub(super) async fn newest(
    store: &dyn StateStore,
    filter: &ExecutionFilter,
    limit: usize,
) -> Result<Vec<ExecutionRow>, CommandError> {
    let mut rows: Vec<ExecutionRow> = Vec::new();
    let mut after: Option<ExecutionId> = None;
    while rows.len() < limit {
        let page = store.executions(filter, after.as_ref(), (limit - rows.len()).min(200)).await?;
        after = page.rows.last().map(|row| row.id.clone());
        rows.extend(page.rows);
        if !page.more {
            break;
        }
    }
    Ok(rows)
}

fn brief(row: &ExecutionRow) -> Value {
    json!({
        "execution_id": row.id,
        "workflow_id": row.definition.digest,
        "workflow_name": row.definition.name,
        "workflow_version": row.definition.version,
        "status": row.status,
        "created_at": row.created_at,
        "updated_at": row.updated_at,
        "ended_at": row.ended_at,
    })
}

fn table(rows: &[ExecutionRow], console: Console, now: Timestamp) -> String {
    let paint = console.out;
    let id_width = rows.iter().map(|row| row.id.as_str().len()).max().unwrap_or(0);
    let name_width = rows.iter().map(|row| row.definition.name.chars().count()).max().unwrap_or(0);
    let mut table = String::new();
    for row in rows {
        let took = row.ended_at.map(|ended| elapsed(between(row.created_at, ended))).unwrap_or_default();
        let status = paint.execution(row.status, &format!("{:<9}", row.status.as_str()));
        let age = paint.dim(&ago(row.created_at, now));
        let (id, name) = (row.id.as_str(), row.definition.name.as_str());
        let _ = writeln!(table, "{id:<id_width$}  {name:<name_width$}  {status}  {took:>7}  {age}");
    }
    table
}
