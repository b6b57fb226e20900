use clap::Args;
use ratchet_core::artifact::{ArtifactRef, ArtifactVersion};
use similar::TextDiff;

use super::{find, open, reference};
use crate::{
    arguments::CommonArguments,
    command_error::CommandError,
    console::Console,
    exit_code::ExitCode,
    state::State,
    words::{bytes, harmless},
};

/// The most bytes of a text that are compared line by line.
const TEXT_MAX: u64 = 4 << 20;

/// Show what differs between two versions
#[derive(Debug, Args)]
#[command(after_help = "\
The exit code is 1 where they differ.

Example:
  ratchet artifacts diff build/report@3 build/report@latest")]
pub(super) struct DiffArguments {
    /// The one version: WORKFLOW/NAME@WHICH
    #[arg(value_name = "VERSION", value_parser = reference)]
    first: ArtifactRef,
    /// The other
    #[arg(value_name = "OTHER", value_parser = reference)]
    second: ArtifactRef,
}

pub(super) async fn run(
    arguments: &DiffArguments,
    common: &CommonArguments,
    console: Console,
) -> Result<ExitCode, CommandError> {
    let state = open(common, &arguments.first).await?;
    let first = find(&state, &arguments.first).await?;
    let second = find(&state, &arguments.second).await?;
    let (one, other) = (first.reference().to_string(), second.reference().to_string());
    if first.artifact.file.content.digest == second.artifact.file.content.digest {
        console.say(&format!("{one} and {other} have the same content"));
        return Ok(ExitCode::Completed);
    }
    let texts = (text(&state, &first).await?, text(&state, &second).await?);
    if let (Some(before), Some(after)) = texts {
        let diff = TextDiff::from_lines(&before, &after);
        console.text(&harmless(&diff.unified_diff().header(&one, &other).to_string()))?;
    } else {
        let size = |version: &ArtifactVersion| bytes(version.artifact.file.content.size);
        console.line(&format!("{one} ({}) and {other} ({}) differ", size(&first), size(&second)))?;
    }
    Ok(ExitCode::Failed)
}

/// The content as text, where it is some and not too much of it.
async fn text(state: &State, version: &ArtifactVersion) -> Result<Option<String>, CommandError> {
    let content = &version.artifact.file.content;
    if content.size > TEXT_MAX {
        return Ok(None);
    }
    let bytes = state.blobs.get(&content.digest).await?;
    Ok(String::from_utf8(bytes).ok().filter(|text| !text.contains('\0')))
}
