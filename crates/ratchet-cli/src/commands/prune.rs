use std::time::{Duration, SystemTime};

use clap::Args;
use jiff::Timestamp;
use ratchet_core::execution::ExecutionRow;
use ratchet_engine::ports::ExecutionFilter;
use ratchet_local::{
    housekeeping::{remove, sweep},
    lock::EngineLock,
};

use super::list;
use crate::{
    arguments::CommonArguments,
    command_error::CommandError,
    console::Console,
    exit_code::ExitCode,
    state::State,
    words::{ago, between, bytes, counted},
};

/// Remove old executions that have ended
#[derive(Debug, Args)]
#[command(after_help = "\
What runs or is paused is never pruned. Content that no run needs any more goes too, once it is a day old.

Examples:
  ratchet prune                             all that ended over 30 days ago
  ratchet prune --older-than 7d --keep 5
  ratchet prune --older-than 0s --dry-run   what could go")]
pub(crate) struct PruneArguments {
    /// Remove what ended longer ago than this (`90m`, `12h`, `30d`, `8w`)
    #[arg(long, value_name = "TIME", default_value = "30d", value_parser = age)]
    older_than: Duration,
    /// Keep the newest N of each workflow in any case
    #[arg(long, value_name = "N", default_value_t = 0)]
    keep: usize,
    /// Only say what would be removed
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn run(
    arguments: &PruneArguments,
    common: &CommonArguments,
    console: Console,
) -> Result<ExitCode, CommandError> {
    let Some(state) = State::open_existing(common)? else {
        console.say("nothing to prune");
        return Ok(ExitCode::Completed);
    };
    let here = state.here()?;
    let now = Timestamp::now();
    let rows =
        list::newest(&*state.store, &ExecutionFilter { roots_only: true, ..ExecutionFilter::default() }, usize::MAX)
            .await?;
    let old: Vec<ExecutionRow> = prunable(rows, arguments, now)
        .into_iter()
        .filter(|row| !EngineLock::is_held(&here.directory, &row.id))
        .collect();
    for row in &old {
        if !arguments.dry_run {
            remove(&here.directory, &here.store, &row.id).await?;
        }
        console.line(&format!("{}  {}  {}", row.id, row.definition.name, ago(row.created_at, now)))?;
    }
    let executions = counted(old.len(), "execution");
    if arguments.dry_run {
        console.say(&format!("{executions} would be removed"));
        return Ok(ExitCode::Completed);
    }
    let swept = sweep(&here.directory, &here.store, SystemTime::now()).await?;
    if !old.is_empty() {
        here.store.compact().await?;
    }
    let rest =
        if swept.contents > 0 { format!(", and {} that no run needs", bytes(swept.bytes)) } else { String::new() };
    let said = if old.is_empty() && swept.contents == 0 {
        "nothing to prune".to_owned()
    } else {
        format!("{executions} removed{rest}")
    };
    console.say(&said);
    Ok(ExitCode::Completed)
}

fn prunable(rows: Vec<ExecutionRow>, arguments: &PruneArguments, now: Timestamp) -> Vec<ExecutionRow> {
    let mut seen: std::collections::HashMap<String, usize> = std::collections::HashMap::new();
    rows.into_iter()
        .filter(|row| {
            let newer = seen.entry(row.definition.name.clone()).or_insert(0);
            *newer += 1;
            let ended = row.ended_at.filter(|_| row.status.is_ended());
            *newer > arguments.keep && ended.is_some_and(|ended| between(ended, now) >= arguments.older_than)
        })
        .collect()
}

/// A length of time as it is typed: a number and its unit.
pub(crate) fn age(text: &str) -> Result<Duration, String> {
    let wrong = || format!("'{text}' is no length of time: write a number and s, m, h, d or w, like 30d");
    let split = text.find(|character: char| !character.is_ascii_digit()).ok_or_else(wrong)?;
    let (number, unit) = text.split_at(split);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        "w" => 604_800,
        _ => return Err(wrong()),
    };
    number.checked_mul(seconds).map(Duration::from_secs).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_are_a_number_and_a_unit() {
        assert_eq!(age("90m"), Ok(Duration::from_mins(90)));
        assert_eq!(age("2w"), Ok(Duration::from_hours(336)));
        for wrong in ["", "d", "30", "3 d", "3y", "-1d", "99999999999999999999d", "18446744073709551615w"] {
            assert!(age(wrong).is_err(), "{wrong}");
        }
    }
}
