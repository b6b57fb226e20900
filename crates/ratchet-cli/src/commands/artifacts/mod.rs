//! What people do with artifacts.

mod content;
mod diff;
mod gc;
mod lineage;
mod list;
mod show;
mod tag;
mod view;

use clap::{Args, Subcommand};
use ratchet_core::artifact::{ArtifactRef, ArtifactVersion};
use ratchet_engine::artifacts::named;

use crate::{
    arguments::CommonArguments, command_error::CommandError, console::Console, exit_code::ExitCode, state::State,
};

/// Keep, find and compare files that runs made
#[derive(Debug, Args)]
#[command(after_help = "\
A version is called workflow/name@which, where which is a number, latest, the name of the run that made it, or a tag.

Examples:
  ratchet artifacts list increase-test-coverage
  ratchet artifacts get increase-test-coverage/coverage_report@latest
  ratchet artifacts show --lineage build/package@stable
  ratchet artifacts diff build/report@3 build/report@latest")]
pub(crate) struct ArtifactsArguments {
    #[command(subcommand)]
    command: ArtifactsCommand,
}

#[derive(Debug, Subcommand)]
enum ArtifactsCommand {
    List(list::ListArguments),
    Show(show::ShowArguments),
    Get(content::GetArguments),
    Put(content::PutArguments),
    Tag(tag::TagArguments),
    Diff(diff::DiffArguments),
    Gc(gc::GcArguments),
}

pub(super) async fn run(
    arguments: &ArtifactsArguments,
    common: &CommonArguments,
    console: Console,
) -> Result<ExitCode, CommandError> {
    if let (ArtifactsCommand::Put(_) | ArtifactsCommand::Tag(_) | ArtifactsCommand::Gc(_), Some(stack)) =
        (&arguments.command, common.stack())
    {
        return Err(CommandError::OnlyHere { stack: stack.to_owned() });
    }
    match &arguments.command {
        ArtifactsCommand::List(arguments) => list::run(arguments, common, console).await,
        ArtifactsCommand::Show(arguments) => show::run(arguments, common, console).await,
        ArtifactsCommand::Get(arguments) => content::get(arguments, common, console).await,
        ArtifactsCommand::Put(arguments) => content::put(arguments, common, console).await,
        ArtifactsCommand::Tag(arguments) => tag::run(arguments, common, console).await,
        ArtifactsCommand::Diff(arguments) => diff::run(arguments, common, console).await,
        ArtifactsCommand::Gc(arguments) => gc::run(arguments, common, console).await,
    }
}

/// A version that a person names. People who may read the state may read every version.
async fn find(state: &State, reference: &ArtifactRef) -> Result<ArtifactVersion, CommandError> {
    let found = named(&*state.store, reference).await?;
    found.map_err(|error| CommandError::Artifact { code: error.code, message: error.message, hint: error.help })
}

/// The state directory of a command that is about a version that must be there.
async fn open(common: &CommonArguments, reference: &ArtifactRef) -> Result<State, CommandError> {
    State::any(common).await?.ok_or_else(|| CommandError::Artifact {
        code: "RT-0197",
        message: format!("there is no artifact {}", reference.artifact),
        hint: Some("nothing ran with this state directory: name another with --state-dir".to_owned()),
    })
}

fn reference(text: &str) -> Result<ArtifactRef, String> {
    text.parse().map_err(|error: ratchet_core::artifact::ReferenceError| error.to_string())
}
