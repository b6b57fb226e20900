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
    report::{LEFT_BEHIND, standing},
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
    /// Also executions that steps of others started
    #[arg(short, long)]
    all: bool,
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
    let filter = ExecutionFilter {
        workflow: arguments.workflow.clone(),
        status: arguments.status.map(ExecutionStatus::from),
        roots_only: !arguments.all,
    };
    let limit = if arguments.limit == 0 { usize::MAX } else { arguments.limit };
    let listed = match State::any(common).await? {
        Some(state) => listed(&state, &filter, limit).await?,
        None => Vec::new(),
    };
    if arguments.json {
        console.json(&listed.iter().map(|one| brief(&one.row, one.left_behind)).collect::<Vec<Value>>())?;
    } else if listed.is_empty() {
        console.say("no executions; `ratchet run FILE` makes one");
    } else {
        console.text(&table(&listed, console, Timestamp::now()))?;
        if let Some(one) = listed.iter().find(|one| one.left_behind) {
            console.say(&format!(
                "{}: no process drives it; `ratchet resume {}` goes on with it",
                console.err.warn(LEFT_BEHIND),
                one.row.id
            ));
        }
    }
    Ok(ExitCode::Completed)
}

/// An execution in the list.
struct Listed {
    row: ExecutionRow,
    left_behind: bool,
}

async fn listed(state: &State, filter: &ExecutionFilter, limit: usize) -> Result<Vec<Listed>, CommandError> {
    let mut listed = Vec::new();
    for row in newest(&*state.store, filter, limit).await? {
        listed.push(Listed { left_behind: state.is_left_behind(&row).await?, row });
    }
    Ok(listed)
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

/// An execution as `--json` prints it.
pub(crate) fn brief(row: &ExecutionRow, left_behind: bool) -> Value {
    json!({
        "execution_id": row.id,
        "workflow_id": row.definition.digest,
        "workflow_name": row.definition.name,
        "workflow_version": row.definition.version,
        "status": row.status,
        "left_behind": left_behind,
        "created_at": row.created_at,
        "updated_at": row.updated_at,
        "ended_at": row.ended_at,
    })
}

fn table(listed: &[Listed], console: Console, now: Timestamp) -> String {
    let paint = console.out;
    let widest = |of: fn(&Listed) -> usize| listed.iter().map(of).max().unwrap_or(0);
    let id_width = widest(|one| one.row.id.as_str().len());
    let name_width = widest(|one| one.row.definition.name.chars().count());
    let status_width = widest(|one| if one.left_behind { LEFT_BEHIND.len() } else { one.row.status.as_str().len() });
    let mut table = String::new();
    for Listed { row, left_behind } in listed {
        let took = row.ended_at.map(|ended| elapsed(between(row.created_at, ended))).unwrap_or_default();
        let status = standing(row.status, *left_behind, paint, status_width);
        let age = paint.dim(&ago(row.created_at, now));
        let (id, name) = (row.id.as_str(), row.definition.name.as_str());
        let _ = writeln!(table, "{id:<id_width$}  {name:<name_width$}  {status}  {took:>7}  {age}");
    }
    table
}
