use clap::Args;

use crate::{
    arguments::CommonArguments,
    command_error::CommandError,
    console::Console,
    exit_code::ExitCode,
    figures::{
        self, Asked,
        returns::{Returns, rate},
        stats::{self, By},
    },
};

/// Show how executions ended, their times and costs, and what kept results saved
#[derive(Debug, Args)]
#[command(after_help = "\
Counted is what the state keeps: executions that were removed are not in it. Steps of executions
that steps started count to the outermost one, as build.compile.

  success      ended well, of those that ended well or failed; with failed steps is not well
  first try    ended well without a second attempt and without a resume
  median, p95  times of those that ended well: of executions from the call to the end; of steps
               from the claim to the result, without those that a kept result stood in for
  retries      attempts beyond the first
  hits, saved  kept results that stood in, of the steps with a key; what making them took and cost

Examples:
  ratchet stats
  ratchet stats increase-test-coverage --since 30d
  ratchet stats --hourly-rate 80
  ratchet stats --by step --json | jq '.figures[] | select(.success_rate < 0.9)'")]
pub(crate) struct StatsArguments {
    #[command(flatten)]
    asked: Asked,
    /// Count by workflow or by step [default: workflow; of one workflow: step]
    #[arg(long, value_enum, value_name = "WHAT", hide_possible_values = true)]
    by: Option<By>,
    /// What an hour of a person costs, for workflows that say what they save (`roi`)
    #[arg(long, value_name = "USD", env = "RATCHET_HOURLY_RATE", hide_env_values = true, value_parser = rate)]
    hourly_rate: Option<f64>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(
    arguments: &StatsArguments,
    common: &CommonArguments,
    console: Console,
) -> Result<ExitCode, CommandError> {
    let found = arguments.asked.read(common).await?;
    let sums = &found.figures.sums;
    let returns = Returns::of(&found.figures, arguments.hourly_rate);
    let by = arguments.by.unwrap_or(if found.is_of_one() { By::Step } else { By::Workflow });
    if arguments.json {
        let mut shown = stats::json(sums, by);
        shown["return"] = returns.json();
        console.json(&found.dated(shown))?;
    } else if sums.tallies.is_empty() {
        console.say(figures::NOTHING);
    } else {
        let parts = [stats::table(sums, by), stats::validated(sums), returns.text()];
        console.text(&parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n"))?;
    }
    Ok(ExitCode::Completed)
}
