use std::time::{Duration, SystemTime};

use clap::Args;
use jiff::Timestamp;
use ratchet_engine::ports::EntryFilter;
use ratchet_local::housekeeping::sweep;

use super::{Kept, Selection, before};
use crate::{
    bytes as sizes,
    command_error::CommandError,
    commands::prune::age,
    console::Console,
    driving::cache_bytes_max,
    exit_code::ExitCode,
    words::{bytes, counted},
};

/// Remove results that have had their time, and the longest unused ones above a size
#[derive(Debug, Args)]
#[command(after_help = "\
What was saved so far stays in `ratchet cache stats`. Content that nothing needs any more goes too, once it is a day old.")]
pub(super) struct PruneArguments {
    /// Keep no more than this (`500M`, `10G`); else what `RATCHET_CACHE_SIZE` says, or 10G
    #[arg(long, value_name = "SIZE", value_parser = sizes::parse)]
    max_size: Option<u64>,
    /// Also remove what was not used for so long (`12h`, `30d`, `8w`)
    #[arg(long, value_name = "TIME", value_parser = age)]
    unused_for: Option<Duration>,
}

pub(super) async fn prune(
    arguments: &PruneArguments,
    kept: Option<Kept>,
    console: Console,
) -> Result<ExitCode, CommandError> {
    let Some(kept) = kept else {
        nothing(console);
        return Ok(ExitCode::Completed);
    };
    let now = Timestamp::now();
    let expired = EntryFilter { expired_by: Some(now), ..EntryFilter::default() };
    let mut removed = kept.cache.invalidate(&expired).await?;
    if let Some(age) = arguments.unused_for {
        let unused = EntryFilter { unused_since: Some(before(now, age)), ..EntryFilter::default() };
        removed += kept.cache.invalidate(&unused).await?;
    }
    let bytes_max = match arguments.max_size {
        Some(size) => size,
        None => cache_bytes_max()?,
    };
    removed += kept.cache.evict(bytes_max).await?.entries;
    let swept = sweep(&kept.state.here()?.directory, &kept.state.here()?.store, SystemTime::now()).await?;
    if removed == 0 && swept.contents == 0 {
        nothing(console);
        return Ok(ExitCode::Completed);
    }
    let given_back =
        if swept.contents > 0 { format!(", and {} given back", bytes(swept.bytes)) } else { String::new() };
    console.say(&format!("{} removed{given_back}", results(removed)));
    Ok(ExitCode::Completed)
}

/// Remove results, so that their steps run again
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ratchet cache invalidate --key 3f9a41
  ratchet cache invalidate --workflow increase-test-coverage --step generate_tests
  ratchet cache invalidate --version 1 --older-than 7d
  ratchet cache invalidate --all")]
pub(super) struct InvalidateArguments {
    #[command(flatten)]
    selection: Selection,
    /// All of them
    #[arg(long)]
    all: bool,
    /// Only say how many
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn invalidate(
    arguments: &InvalidateArguments,
    kept: Option<Kept>,
    console: Console,
) -> Result<ExitCode, CommandError> {
    let filter = arguments.selection.filter(Timestamp::now());
    if filter == EntryFilter::default() && !arguments.all {
        return Err(CommandError::Argument {
            argument: "invalidate",
            reason: "it does not say which results".to_owned(),
            hint: "name a --key, --workflow, --step, --version or --older-than, or say --all",
        });
    }
    let Some(kept) = kept else {
        nothing(console);
        return Ok(ExitCode::Completed);
    };
    if arguments.dry_run {
        let found = kept.listed(&filter, usize::MAX).await?.len() as u64;
        console.say(&format!("{} would be removed", results(found)));
        return Ok(ExitCode::Completed);
    }
    let removed = kept.cache.invalidate(&filter).await?;
    console.say(&format!("{} removed", results(removed)));
    Ok(ExitCode::Completed)
}

fn results(count: u64) -> String {
    counted(usize::try_from(count).unwrap_or(usize::MAX), "kept result")
}

fn nothing(console: Console) {
    console.say("nothing to remove");
}
