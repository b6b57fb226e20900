use clap::Args;
use ratchet_core::artifact::{ArtifactRef, Readers};

use super::{find, lineage::Lineage, open, reference, view};
use crate::{
    arguments::CommonArguments,
    command_error::CommandError,
    console::Console,
    exit_code::ExitCode,
    words::{bytes, moment},
};

/// Show what is known of a version
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  ratchet artifacts show --lineage build/package@latest")]
pub(super) struct ShowArguments {
    /// The version: WORKFLOW/NAME@WHICH
    #[arg(value_name = "VERSION", value_parser = reference)]
    version: ArtifactRef,
    /// Also what it was made from, and what was made from it
    #[arg(long)]
    lineage: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(
    arguments: &ShowArguments,
    common: &CommonArguments,
    console: Console,
) -> Result<ExitCode, CommandError> {
    let state = open(common, &arguments.version).await?;
    let version = find(&state, &arguments.version).await?;
    let tags = view::tags(&state, &version).await?;
    let lineage = if arguments.lineage { Some(Lineage::of(&state, &version).await?) } else { None };
    if arguments.json {
        let mut object = view::object(&version, &tags);
        if let (Some(lineage), Some(fields)) = (lineage, object.as_object_mut()) {
            fields.insert("lineage".to_owned(), lineage.object());
        }
        console.json(&object)?;
        return Ok(ExitCode::Completed);
    }
    let artifact = &version.artifact;
    let content = &artifact.file.content;
    let mut lines = vec![
        ("file", format!("{}, {}, {}", artifact.file.path, bytes(content.size), artifact.media_type)),
        ("digest", content.digest.to_string()),
        ("made", format!("{} by {}", moment(artifact.made_at), view::maker(&version))),
    ];
    let cache_key = artifact.origin.maker().and_then(|maker| maker.cache_key.clone());
    lines.extend(cache_key.map(|key| ("cache key", key)));
    if !tags.is_empty() {
        lines.push(("tags", tags.join(", ")));
    }
    lines.push(("kept", artifact.retention.as_str().to_owned()));
    if let Readers::Only(names) = &artifact.readers {
        let names = if names.is_empty() { "no other workflow".to_owned() } else { names.join(", ") };
        lines.push(("read by", names));
    }
    console.line(&console.out.bold(&version.reference().to_string()))?;
    for (name, text) in &lines {
        console.line(&format!("  {name:<9}  {text}"))?;
    }
    if let Some(lineage) = lineage {
        console.text(&lineage.text(console))?;
    }
    Ok(ExitCode::Completed)
}
