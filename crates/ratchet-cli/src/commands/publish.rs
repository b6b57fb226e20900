use std::path::PathBuf;

use clap::Args;
use jiff::Timestamp;
#[cfg(feature = "aws")]
use ratchet_aws::remote::Remote;
use ratchet_core::workflow::{Action, Step};
use ratchet_local::published::{Publication, Published};

use crate::{
    arguments::CommonArguments, command_error::CommandError, console::Console, definition, exit_code::ExitCode,
    state::State,
};

/// Keep a workflow under its name and version
#[derive(Debug, Args)]
#[command(after_help = "\
What is kept is the file with all that it refers to. Its name and version stand for it from then on, and for nothing else: a workflow
that has changed needs another version. On a deployment its `on` starts it from then on.

Examples:
  ratchet publish deploy.yaml
  ratchet run deploy                      the version that was published last
  ratchet run deploy@2.1 -i stage=test")]
pub(crate) struct PublishArguments {
    /// The file, or a folder with a workflow.yaml in it
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

pub(super) async fn run(
    arguments: &PublishArguments,
    common: &CommonArguments,
    console: Console,
) -> Result<ExitCode, CommandError> {
    let definition = definition::load(&arguments.file, common, console)?;
    let workflow = &definition.workflow;
    let name = format!("{}@{}", workflow.name, workflow.version);
    if let Some((step, program)) = workflow.steps.iter().find_map(beside) {
        return Err(CommandError::NotPublishable { name, step, program });
    }
    #[cfg(feature = "aws")]
    if let Some(stack) = common.stack() {
        let sent = Remote::of_stack(stack).await?.publish(&definition.text).await?;
        return say(&name, sent.created, console);
    }
    // The state directory is made where it is not there.
    State::open(common)?;
    let published = definition::published(common)?;
    let publication = published.publish(&Published {
        name: workflow.name.clone(),
        version: workflow.version.clone(),
        published_at: Timestamp::now(),
        text: definition.text,
    })?;
    match publication {
        Publication::New => say(&name, true, console),
        Publication::Already => say(&name, false, console),
        Publication::Taken(known) => Err(CommandError::VersionTaken { name, published_at: known.published_at }),
    }
}

fn say(name: &str, is_new: bool, console: Console) -> Result<ExitCode, CommandError> {
    let done = console.out.good("✓");
    console.line(&if is_new {
        format!("{done} published {name}")
    } else {
        format!("{done} {name} was published before, as it is")
    })?;
    Ok(ExitCode::Completed)
}

/// A step, here or in what the workflow runs, whose program lies beside the file: it is not kept with it.
fn beside(step: &Step) -> Option<(String, String)> {
    match &step.action {
        Action::Exec(exec) => {
            let program = exec.command.first().filter(|program| program.starts_with("./"))?;
            Some((step.id.to_string(), program.clone()))
        }
        Action::Workflow(sub) => {
            let (inner, program) = sub.workflow.steps.iter().find_map(beside)?;
            Some((format!("{}.{inner}", step.id), program))
        }
        _ => None,
    }
}
