use clap::Args;

use crate::{
    arguments::CommonArguments,
    command_error::CommandError,
    console::Console,
    exit_code::ExitCode,
    figures::{
        self, Asked,
        cost::{self, By},
    },
};

/// Show what agents cost, and what kept results saved of that
#[derive(Debug, Args)]
#[command(after_help = "\
Counted is what the state keeps: executions that were removed are not in it. Every attempt that
said what it cost is, also one that failed. What failed, and what an agent does not say the models
of, stands under the model `unknown`. A session with several models is a call of each.

Examples:
  ratchet cost --since 7d --by day
  ratchet cost increase-test-coverage
  ratchet cost --by model --json | jq .total.cost_usd")]
pub(crate) struct CostArguments {
    #[command(flatten)]
    asked: Asked,
    /// Sum by workflow, step, model or day [default: workflow; of one workflow: step]
    #[arg(long, value_enum, value_name = "WHAT", hide_possible_values = true)]
    by: Option<By>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(
    arguments: &CostArguments,
    common: &CommonArguments,
    console: Console,
) -> Result<ExitCode, CommandError> {
    let found = arguments.asked.read(common).await?;
    let sums = &found.figures.sums;
    let by = arguments.by.unwrap_or(if found.is_of_one() { By::Step } else { By::Workflow });
    if arguments.json {
        console.json(&found.dated(cost::json(sums, by)))?;
    } else if let Some(table) = cost::table(sums, by) {
        console.text(&table)?;
    } else if sums.tallies.is_empty() {
        console.say(figures::NOTHING);
    } else {
        console.say("no agent was asked");
    }
    Ok(ExitCode::Completed)
}
