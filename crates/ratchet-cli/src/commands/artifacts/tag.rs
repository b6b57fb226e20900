use clap::Args;
use ratchet_core::artifact::{ArtifactRef, is_tag};
use ratchet_engine::ports::Write;

use super::{find, open, reference};
use crate::{arguments::CommonArguments, command_error::CommandError, console::Console, exit_code::ExitCode};

/// Give a version a tag, which keeps it
#[derive(Debug, Args)]
#[command(after_help = "\
A tag stands for one version of a name: given to another, it moves there.

Examples:
  ratchet artifacts tag build/package@latest stable
  ratchet artifacts tag --remove build/package@stable stable")]
pub(super) struct TagArguments {
    /// The version: WORKFLOW/NAME@WHICH
    #[arg(value_name = "VERSION", value_parser = reference)]
    version: ArtifactRef,
    /// The tag
    #[arg(value_name = "TAG", value_parser = tag_argument)]
    tag: String,
    /// Take the tag away from the version
    #[arg(long)]
    remove: bool,
}

pub(super) async fn run(
    arguments: &TagArguments,
    common: &CommonArguments,
    console: Console,
) -> Result<ExitCode, CommandError> {
    let state = open(common, &arguments.version).await?;
    let version = find(&state, &arguments.version).await?;
    let (name, tag) = (version.reference(), &arguments.tag);
    let has_it = super::view::tags(&state, &version).await?.contains(tag);
    if arguments.remove && !has_it {
        return Err(CommandError::Artifact {
            code: "RT-0197",
            message: format!("{name} has no tag {tag}"),
            hint: Some(format!("`ratchet artifacts list {}` shows its versions and tags", version.artifact.name)),
        });
    }
    let number = (!arguments.remove).then_some(version.number);
    let write = Write::TagArtifact { artifact: version.artifact.name.clone(), tag: tag.clone(), number };
    if state.store.commit(vec![write]).await?.conflict.is_some() {
        // It was dropped just now.
        find(&state, &version.reference()).await?;
    }
    let said = if arguments.remove { format!("{name} is no longer {tag}") } else { format!("{name} is {tag}") };
    console.line(&format!("{} {said}", console.out.good("✓")))?;
    Ok(ExitCode::Completed)
}

/// A tag as it is typed.
pub(super) fn tag_argument(text: &str) -> Result<String, String> {
    if is_tag(text) {
        return Ok(text.to_owned());
    }
    Err(format!("'{text}' is no tag: letters, digits, hyphens and points, and neither `latest` nor a number"))
}
