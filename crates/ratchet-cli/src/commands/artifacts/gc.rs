use std::time::SystemTime;

use clap::Args;
use jiff::Timestamp;
use ratchet_engine::artifacts::collect;
use ratchet_local::housekeeping::sweep;

use crate::{
    arguments::CommonArguments,
    command_error::CommandError,
    console::Console,
    exit_code::ExitCode,
    state::State,
    words::{bytes, counted},
};

/// Remove versions that nothing keeps
#[derive(Debug, Args)]
#[command(after_help = "\
A version stays as long as its workflow says (`artifacts: {retention: …}`), as long as it has a tag, and while a run that has not ended made it or
reads it. Content that nothing needs any more goes too, once it is a day old.

Example:
  ratchet artifacts gc --dry-run")]
pub(super) struct GcArguments {
    /// Only say what would be removed
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn run(
    arguments: &GcArguments,
    common: &CommonArguments,
    console: Console,
) -> Result<ExitCode, CommandError> {
    let Some(state) = State::open_existing(common)? else {
        console.say("nothing to remove");
        return Ok(ExitCode::Completed);
    };
    let collected = collect(&*state.store, Timestamp::now(), arguments.dry_run).await?;
    for version in &collected.dropped {
        console.line(&version.reference().to_string())?;
    }
    let versions = counted(collected.dropped.len(), "version");
    if arguments.dry_run {
        console.say(&format!("{versions} would be removed, {} kept", collected.kept));
        return Ok(ExitCode::Completed);
    }
    let swept = sweep(&state.here()?.directory, &state.here()?.store, SystemTime::now()).await?;
    let rest =
        if swept.contents > 0 { format!(", and {} that nothing needs", bytes(swept.bytes)) } else { String::new() };
    console.say(&format!("{versions} removed{rest}, {} kept", collected.kept));
    Ok(ExitCode::Completed)
}
