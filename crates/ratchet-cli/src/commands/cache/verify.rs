use clap::Args;
use ratchet_core::ids::Digest;
use ratchet_engine::{
    ports::{BlobError, BlobStore, Entry, EntryFilter},
    step_cache::check_outputs,
};
use serde_json::{Value, json};

use super::{Kept, short};
use crate::{command_error::CommandError, console::Console, exit_code::ExitCode, words::counted};

/// Compare kept results with their digests, and remove those that are damaged
#[derive(Debug, Args)]
#[command(after_help = "\
The exit code is 1 where something was damaged: its steps run again. What a result says of changed files is compared; the files themselves are when they are restored.")]
pub(super) struct VerifyArguments {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(
    arguments: &VerifyArguments,
    kept: Option<Kept>,
    console: Console,
) -> Result<ExitCode, CommandError> {
    let (mut whole, mut damaged) = (0, Vec::new());
    if let Some(kept) = kept {
        for listed in kept.listed(&EntryFilter::default(), usize::MAX).await? {
            let checked = match listed.entry {
                Ok(entry) => check(kept.state.blobs.as_ref(), &entry).await?,
                Err(reason) => Err(reason),
            };
            match checked {
                Ok(()) => whole += 1,
                Err(reason) => {
                    kept.cache.remove(&listed.name).await?;
                    damaged.push((listed.name, reason));
                }
            }
        }
    }
    if arguments.json {
        let damaged: Vec<Value> =
            damaged.iter().map(|(name, reason)| json!({ "key": name.key, "reason": reason })).collect();
        console.json(&json!({ "whole": whole, "damaged": damaged }))?;
    } else {
        for (name, reason) in &damaged {
            console.line(&format!("{}  {reason}", short(name)))?;
        }
        let removed = match damaged.len() {
            0 => String::new(),
            count => format!(", {count} damaged and removed"),
        };
        console.say(&format!("{} whole{removed}", counted(whole, "kept result")));
    }
    Ok(if damaged.is_empty() { ExitCode::Completed } else { ExitCode::Failed })
}

/// Whether all that an entry names is there and as it was; a reason where it is not.
async fn check(blobs: &dyn BlobStore, entry: &Entry) -> Result<Result<(), String>, CommandError> {
    if let Err(reason) = check_outputs(blobs, &entry.outputs).await? {
        return Ok(Err(reason));
    }
    match &entry.tree {
        Some(tree) => there(blobs, tree).await,
        None => Ok(Ok(())),
    }
}

async fn there(blobs: &dyn BlobStore, digest: &Digest) -> Result<Result<(), String>, CommandError> {
    match blobs.get(digest).await {
        Ok(_) => Ok(Ok(())),
        Err(error @ (BlobError::NotFound(_) | BlobError::Damaged(_))) => Ok(Err(error.to_string())),
        Err(error) => Err(error.into()),
    }
}
