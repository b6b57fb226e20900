//! `ratchet cache`: one file per thing that is done with kept results.

mod clear;
mod ls;
mod stats;
mod verify;

use std::{sync::Arc, time::Duration};

use clap::{Args, Subcommand};
use jiff::Timestamp;
use ratchet_core::ids::StepId;
use ratchet_engine::ports::{EntryFilter, EntryName, Listed, StepCache};

use super::prune::age;
use crate::{
    arguments::CommonArguments, command_error::CommandError, console::Console, driving::cache_bytes_max,
    exit_code::ExitCode, figures::before, state::State,
};

/// Entries that are read at a time.
const PAGE: usize = 500;
/// Characters of a key that are shown: as many as tell keys apart.
const KEY_SHOWN: usize = 12;

/// Look after results of steps that are kept for other runs
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ratchet cache ls --workflow increase-test-coverage
  ratchet cache stats --since 30d
  ratchet cache invalidate --step generate_tests
  ratchet cache prune --max-size 2G --unused-for 30d
  ratchet cache verify")]
pub(crate) struct CacheArguments {
    #[command(subcommand)]
    action: CacheAction,
}

#[derive(Debug, Subcommand)]
enum CacheAction {
    Ls(ls::LsArguments),
    Stats(stats::StatsArguments),
    Prune(clear::PruneArguments),
    Invalidate(clear::InvalidateArguments),
    Verify(verify::VerifyArguments),
}

pub(super) async fn run(
    arguments: &CacheArguments,
    common: &CommonArguments,
    console: Console,
) -> Result<ExitCode, CommandError> {
    let kept = match State::any(common).await? {
        Some(state) => Some(Kept::of(state)?),
        None => None,
    };
    let changes = !matches!(arguments.action, CacheAction::Ls(_) | CacheAction::Stats(_));
    if let Some(kept) = kept.as_ref().filter(|_| changes) {
        kept.state.here()?;
    }
    match &arguments.action {
        CacheAction::Ls(arguments) => ls::run(arguments, kept, console).await,
        CacheAction::Stats(arguments) => stats::run(arguments, kept, console).await,
        CacheAction::Prune(arguments) => clear::prune(arguments, kept, console).await,
        CacheAction::Invalidate(arguments) => clear::invalidate(arguments, kept, console).await,
        CacheAction::Verify(arguments) => verify::run(arguments, kept, console).await,
    }
}

/// Which entries are meant: those for which all holds that is said
#[derive(Debug, Clone, Default, Args)]
struct Selection {
    /// With a key that begins so
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// Made by runs of this workflow
    #[arg(long, value_name = "NAME")]
    workflow: Option<String>,
    /// Made by this step
    #[arg(long, value_name = "STEP")]
    step: Option<String>,
    /// Of this `version` of the cache
    #[arg(long = "version", value_name = "VERSION")]
    cache_version: Option<String>,
    /// Made longer ago than this (`90m`, `12h`, `30d`, `8w`)
    #[arg(long, value_name = "TIME", value_parser = age)]
    older_than: Option<Duration>,
}

impl Selection {
    fn filter(&self, now: Timestamp) -> EntryFilter {
        EntryFilter {
            key: self.key.clone(),
            workflow: self.workflow.clone(),
            step: self.step.as_ref().map(StepId::new),
            version: self.cache_version.clone(),
            made_before: self.older_than.map(|age| before(now, age)),
            ..EntryFilter::default()
        }
    }
}

/// The kept results of the state directory.
struct Kept {
    state: State,
    cache: Arc<dyn StepCache>,
}

impl Kept {
    fn of(state: State) -> Result<Self, CommandError> {
        let cache = state.step_cache(cache_bytes_max()?);
        Ok(Self { state, cache })
    }

    /// The entries that a filter selects, some at most, in the order of their names.
    async fn listed(&self, filter: &EntryFilter, limit: usize) -> Result<Vec<Listed>, CommandError> {
        let (mut listed, mut after): (Vec<Listed>, Option<EntryName>) = (Vec::new(), None);
        while listed.len() < limit {
            let page = self.cache.entries(filter, after.as_ref(), PAGE.min(limit - listed.len())).await?;
            after = page.rows.last().map(|one| one.name.clone());
            listed.extend(page.rows);
            if !page.more {
                break;
            }
        }
        Ok(listed)
    }
}

fn short(name: &EntryName) -> &str {
    name.key.as_str().get(..KEY_SHOWN).unwrap_or(name.key.as_str())
}
