use clap::Args;
use jiff::{Timestamp, tz::TimeZone};
use ratchet_core::history::Actor;
use serde_json::{Value, json};

use crate::{
    arguments::CommonArguments,
    command_error::CommandError,
    console::Console,
    execution_name,
    exit_code::ExitCode,
    history::{Entry, History},
    nested::{self, Nested},
    state::State,
    words::counted,
};

/// Show every change of an execution: who, when, why
#[derive(Debug, Args)]
#[command(after_help = "\
Each event is sealed by a hash over itself and the one before it in its row. The chains are checked; a broken one is an error. \
Its number, in the first column, is what `ratchet replay --at` takes.

Examples:
  ratchet history
  ratchet history k3f9 --json | jq '.records[] | select(.actor != \"engine\")'")]
pub(crate) struct HistoryArguments {
    /// The execution
    #[arg(default_value = "last")]
    execution: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(
    arguments: &HistoryArguments,
    common: &CommonArguments,
    console: Console,
) -> Result<ExitCode, CommandError> {
    let state = State::any_for(common, &arguments.execution).await?;
    let row = execution_name::find(&*state.store, &arguments.execution).await?;
    // The order needs the graph; a history is shown also where the definition is gone.
    let workflow = state.workflow(&row).await.ok();
    let masks = state.masks(&row, workflow.as_ref()).await?;
    let history = History::load(&*state.store, workflow.as_ref(), &row, &masks).await?;
    let nested = match &workflow {
        Some(workflow) => nested::of(&state, &row, workflow).await?,
        None => Vec::new(),
    };
    if arguments.json {
        console.json(&json!({
            "execution_id": row.id,
            "whole": history.breaks.is_empty(),
            "breaks": history.breaks,
            "nested": nested.iter().map(|Nested { path, view }| json!({ "step": path, "execution_id": view.execution_id })).collect::<Vec<Value>>(),
            "records": history.entries.iter().enumerate().map(numbered).collect::<Vec<Value>>(),
        }))?;
    } else {
        let width = history.entries.iter().map(|entry| entry.row.chars().count()).max().unwrap_or(0);
        let digits = history.entries.len().to_string().len();
        let numbered = (1..).zip(&history.entries);
        let lines = numbered.fold(String::new(), |lines, (event, entry)| {
            lines + &format!("{event:>digits$}  {}", line(entry, width, console))
        });
        console.text(&lines)?;
        if history.breaks.is_empty() {
            console
                .say(&console.err.dim(&format!("{}, every chain is whole", counted(history.entries.len(), "event"))));
        }
        for Nested { path, view } in &nested {
            console.say(&console.err.dim(&format!("{path} is an execution: `ratchet history {}`", view.execution_id)));
        }
    }
    if history.breaks.is_empty() {
        return Ok(ExitCode::Completed);
    }
    Err(CommandError::BrokenHistory { execution: row.id, reason: history.breaks.join("; ") })
}

fn line(entry: &Entry, width: usize, console: Console) -> String {
    let paint = console.out;
    let change = entry.change["change"].as_str().unwrap_or("changed").replace('_', " ");
    let who = match &entry.actor {
        Actor::Engine => "engine".to_owned(),
        Actor::Runner => "runner".to_owned(),
        Actor::Person(name) => name.clone(),
    };
    format!(
        "{}  {:<width$}  {}  {}\n",
        paint.dim(&clock(entry.at)),
        entry.row,
        paint.bold(&format!("{change}{}", detail(&entry.change))),
        paint.dim(&format!("by {who}: {}", entry.cause)),
    )
}

/// A record with the number that `replay --at` takes.
fn numbered((position, entry): (usize, &Entry)) -> Value {
    let mut record = json!(entry);
    record["event"] = json!(position + 1);
    record
}

/// What of a change is worth a word.
fn detail(change: &Value) -> String {
    if let Some(message) = change["failure"]["message"].as_str() {
        return format!(": {}", crate::words::one_line(message.lines().next().unwrap_or_default()));
    }
    if let (Some(from), Some(to)) = (definition(&change["edit"]["from"]), definition(&change["edit"]["to"])) {
        return format!(" (under {to}, before {from})");
    }
    let words = ["status", "reason", "ending", "count"].iter().find_map(|name| match &change[*name] {
        Value::String(text) => Some(text.replace('_', " ")),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    });
    words.map(|words| format!(" ({words})")).unwrap_or_default()
}

/// A definition by its version and the beginning of its digest.
fn definition(definition: &Value) -> Option<String> {
    let digest = definition["digest"].as_str()?.get(..12)?;
    Some(format!("version {} {digest}", definition["version"].as_str()?))
}

fn clock(at: Timestamp) -> String {
    at.to_zoned(TimeZone::UTC).strftime("%Y-%m-%d %H:%M:%S%.3f").to_string()
}
