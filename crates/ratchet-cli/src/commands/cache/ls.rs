use std::fmt::Write as _;

use clap::Args;
use jiff::Timestamp;
use ratchet_engine::ports::Listed;
use serde_json::{Value, json};

use super::{Kept, Selection, short};
use crate::{
    command_error::CommandError,
    console::Console,
    exit_code::ExitCode,
    words::{ago, bytes, dollars, elapsed},
};

/// List kept results, the most recently used first
#[derive(Debug, Args)]
pub(super) struct LsArguments {
    #[command(flatten)]
    selection: Selection,
    /// At most so many; 0 for all
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: usize,
    /// Print a JSON array
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(
    arguments: &LsArguments,
    kept: Option<Kept>,
    console: Console,
) -> Result<ExitCode, CommandError> {
    let now = Timestamp::now();
    let mut listed = match kept {
        Some(kept) => kept.listed(&arguments.selection.filter(now), usize::MAX).await?,
        None => Vec::new(),
    };
    listed.sort_by(|one, other| (other.used_at, &one.name).cmp(&(one.used_at, &other.name)));
    let all = listed.len();
    if arguments.limit > 0 {
        listed.truncate(arguments.limit);
    }
    if arguments.json {
        console.json(&listed.iter().map(as_json).collect::<Vec<Value>>())?;
    } else if listed.is_empty() {
        console.say("no results are kept that fit; steps with `use_cache`, `cache_key` or `cache` keep theirs");
    } else {
        console.text(&table(&listed, now))?;
        if all > listed.len() {
            console.say(&format!("and {} more: --limit 0 shows all", all - listed.len()));
        }
    }
    Ok(ExitCode::Completed)
}

fn as_json(listed: &Listed) -> Value {
    match &listed.entry {
        Err(reason) => json!({
            "key": listed.name.key, "scope": listed.name.scope, "used_at": listed.used_at, "damaged": reason,
        }),
        Ok(entry) => json!({
            "key": listed.name.key,
            "scope": listed.name.scope,
            "workflow": entry.workflow,
            "step": entry.made_by.path.to_string(),
            "execution_id": entry.made_by.execution,
            "version": entry.version,
            "bytes": entry.bytes,
            "process_ms": entry.usage.process_ms,
            "cost_usd": entry.usage.cost_usd,
            "unproven": entry.unproven,
            "changes_files": entry.tree.is_some(),
            "created_at": entry.created_at,
            "used_at": listed.used_at,
            "expires_at": entry.expires_at,
        }),
    }
}

fn table(listed: &[Listed], now: Timestamp) -> String {
    let step = |one: &Listed| match &one.entry {
        Ok(entry) => format!("{}/{}", entry.workflow, entry.made_by.path),
        Err(_) => "(damaged)".to_owned(),
    };
    let width = listed.iter().map(|one| step(one).chars().count()).max().unwrap_or(0);
    let mut table = String::new();
    for one in listed {
        let (size, took, notes) = match &one.entry {
            Err(reason) => (String::new(), String::new(), reason.clone()),
            Ok(entry) => {
                let mut notes = Vec::new();
                notes.extend(entry.usage.cost_usd.map(dollars));
                notes.extend(entry.unproven.then(|| "unproven".to_owned()));
                notes.extend(entry.is_expired(now).then(|| "has had its time".to_owned()));
                let took = elapsed(std::time::Duration::from_millis(entry.usage.process_ms));
                (bytes(entry.bytes), took, notes.join(", "))
            }
        };
        let used = ago(one.used_at, now);
        let line =
            format!("{}  {:<width$}  {size:>9}  {took:>7}  used {used:<8}  {notes}", short(&one.name), step(one));
        let _ = writeln!(table, "{}", line.trim_end());
    }
    table
}
