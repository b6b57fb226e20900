use std::time::Duration;

use clap::Args;
use jiff::Timestamp;
use serde_json::json;

use super::prune::age;
use crate::{
    arguments::CommonArguments,
    command_error::CommandError,
    console::Console,
    exit_code::ExitCode,
    figures::{
        self, Figures, Wanted,
        cost::{self, By},
    },
    state::State,
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
    /// Only executions of this workflow
    workflow: Option<String>,
    /// Only executions that were asked for since so long ago (`12h`, `30d`, `8w`)
    #[arg(long, value_name = "PERIOD", value_parser = age)]
    since: Option<Duration>,
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
    let now = Timestamp::now();
    let wanted = Wanted::new(arguments.workflow.as_ref(), arguments.since, now);
    let Figures { sums, .. } = match State::open_existing(common)? {
        Some(state) => figures::of(&state, &wanted).await?,
        None => Figures::default(),
    };
    let by = arguments.by.unwrap_or(if wanted.workflow.is_some() { By::Step } else { By::Workflow });
    if arguments.json {
        let mut shown = cost::json(&sums, by);
        shown["since"] = json!(wanted.since);
        shown["until"] = json!(now);
        console.json(&shown)?;
    } else if let Some(table) = cost::table(&sums, by) {
        console.text(&table)?;
    } else if sums.tallies.is_empty() {
        console.say(figures::NOTHING);
    } else {
        console.say("no agent was asked");
    }
    Ok(ExitCode::Completed)
}
