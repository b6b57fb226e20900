use clap::Args;

use crate::{arguments::CommonArguments, command_error::CommandError, console::Console, exit_code::ExitCode};

/// Send what a deployment could not deliver or do again
#[derive(Debug, Args)]
#[command(after_help = "\
Takes what lies in the deployment's queue of dead letters, once what kept it from being done is repaired.
Nothing is done twice: an event that came through meanwhile changes nothing. What still cannot be sent stays.

Example:
  ratchet --stack production redrive")]
pub(crate) struct RedriveArguments {}

#[cfg(feature = "aws")]
pub(super) async fn run(common: &CommonArguments, console: Console) -> Result<ExitCode, CommandError> {
    use ratchet_aws::remote::{Redriven, Remote};

    let Some(stack) = common.stack() else { return Err(CommandError::OnlyThere) };
    let remote = Remote::of_stack(stack).await?;
    let mut all = Redriven::default();
    loop {
        let some = remote.redrive().await?;
        all = Redriven { sent: all.sent + some.sent, left: all.left + some.left, more: some.more };
        if !all.more {
            break;
        }
    }
    let letters = |count: u64| if count == 1 { "1 dead letter".to_owned() } else { format!("{count} dead letters") };
    let done = console.out.good("✓");
    console.line(&format!("{done} {} sent again", letters(all.sent)))?;
    if all.left == 0 {
        return Ok(ExitCode::Completed);
    }
    console.line(&format!("{} stay: the log of the function trigger says why", letters(all.left)))?;
    Ok(ExitCode::Failed)
}

#[cfg(not(feature = "aws"))]
pub(super) async fn run(_common: &CommonArguments, _console: Console) -> Result<ExitCode, CommandError> {
    Err(CommandError::WithoutAws)
}
