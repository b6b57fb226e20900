use std::{collections::BTreeSet, io::IsTerminal, time::Duration};

use clap::Args;
use jiff::Timestamp;
use ratchet_core::{
    execution::ExecutionRow,
    status::{ExecutionStatus, StepStatus},
};
use ratchet_engine::{
    ports::ExecutionFilter,
    view::{ExecutionView, StepView},
};
use serde_json::{Value, json};

use super::list;
use crate::{
    arguments::CommonArguments,
    command_error::CommandError,
    console::Console,
    exit_code::ExitCode,
    paint::{Paint, is_dumb, mark},
    report::LEFT_BEHIND,
    state::{Outcome, State},
    words::{between, counted, dollars, elapsed},
};

/// How often a terminal is drawn anew.
const FRAME: Duration = Duration::from_millis(500);
/// Executions that are looked at.
const EXECUTIONS_MOST: usize = 100;
/// Steps of an execution that are shown.
const STEPS_MOST: usize = 10;

/// Show what runs now: executions, their running steps, times and costs so far
#[derive(Debug, Args)]
#[command(after_help = "\
On a terminal it goes on until Ctrl-C; elsewhere it prints what runs once.

Examples:
  ratchet top
  ratchet top | cat
  ratchet top --json | jq '.executions[].steps[].step'")]
pub(crate) struct TopArguments {
    /// Print JSON, once
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(
    arguments: &TopArguments,
    common: &CommonArguments,
    console: Console,
) -> Result<ExitCode, CommandError> {
    let state = State::open_existing(common)?;
    if arguments.json {
        console.json(&Now::look(state.as_ref()).await?.json())?;
    } else if std::io::stdout().is_terminal() && !is_dumb() {
        tokio::select! {
            drawn = draw(common, state, console.out) => drawn?,
            _ = tokio::signal::ctrl_c() => {}
        }
    } else {
        let lines = Now::look(state.as_ref()).await?.lines(console.out, usize::MAX);
        console.text(&(lines.join("\n") + "\n"))?;
    }
    Ok(ExitCode::Completed)
}

/// Draws what runs in its place, until nobody wants to see it any more.
async fn draw(common: &CommonArguments, mut state: Option<State>, paint: Paint) -> Result<(), CommandError> {
    let term = console::Term::stdout();
    let mut drawn = 0;
    loop {
        if state.is_none() {
            state = State::open_existing(common)?;
        }
        let (height, width) = term.size();
        let lines = Now::look(state.as_ref()).await?.lines(paint, usize::from(height).saturating_sub(2).max(1));
        let back = if drawn > 0 { format!("\u{1b}[{drawn}A") } else { String::new() };
        drawn = lines.len();
        let text: String = lines
            .iter()
            .map(|line| console::truncate_str(line, usize::from(width).saturating_sub(1).max(20), "…").into_owned())
            .fold(String::new(), |text, line| text + &line + "\u{1b}[K\n");
        term.write_str(&format!("{back}\r{text}\u{1b}[J")).map_err(CommandError::Output)?;
        tokio::time::sleep(FRAME).await;
    }
}

/// What runs at a moment.
struct Now {
    at: Timestamp,
    running: Vec<(ExecutionRow, Outcome)>,
}

/// A step that goes on.
struct Going<'a> {
    path: String,
    step: &'a StepView,
}

impl Now {
    async fn look(state: Option<&State>) -> Result<Self, CommandError> {
        let mut running = Vec::new();
        if let Some(state) = state {
            let filter =
                ExecutionFilter { status: Some(ExecutionStatus::Running), roots_only: true, ..Default::default() };
            for row in list::newest(&*state.store, &filter, EXECUTIONS_MOST).await? {
                let workflow = state.workflow(&row).await?;
                let outcome = state.outcome(&row, &workflow).await?;
                // It may have ended since it was listed.
                if outcome.view.status == ExecutionStatus::Running {
                    running.push((row, outcome));
                }
            }
        }
        Ok(Self { at: Timestamp::now(), running })
    }

    fn lines(&self, paint: Paint, most: usize) -> Vec<String> {
        let total = self.running.iter().map(|(_, outcome)| cost(outcome)).fold(0.0, |sum, cost| sum + cost);
        let head = match self.running.len() {
            0 => "nothing runs".to_owned(),
            count => format!("{}, {} so far", counted(count, "execution"), dollars(total)),
        };
        let mut lines = vec![paint.bold(&head)];
        for (row, outcome) in &self.running {
            let took = elapsed(between(row.created_at, self.at));
            let (status, sign) = if outcome.left_behind {
                (paint.warn(LEFT_BEHIND), paint.warn(mark(StepStatus::Waiting)))
            } else {
                (paint.busy(row.status.as_str()), paint.busy(mark(StepStatus::Running)))
            };
            let (name, id, cost) =
                (paint.bold(&row.definition.name), paint.dim(row.id.as_str()), dollars(cost(outcome)));
            lines.push(format!("{sign} {name} {status} for {took}  {cost}  {id}"));
            let going = going(outcome);
            for one in going.iter().take(STEPS_MOST) {
                let since = one.step.started_at.map(|at| elapsed(between(at, self.at))).unwrap_or_default();
                let again =
                    if one.step.attempts > 1 { format!("  attempt {}", one.step.attempts) } else { String::new() };
                let sign = paint.step(one.step.status, mark(one.step.status));
                lines.push(format!("    {sign} {}  {since}{again}{}", one.path, children(one.step)));
            }
            if going.len() > STEPS_MOST {
                lines.push(paint.dim(&format!("    … and {} more", going.len() - STEPS_MOST)));
            }
        }
        if lines.len() > most {
            let more = lines.len() - most;
            lines.truncate(most.saturating_sub(1));
            lines.push(paint.dim(&format!("… and {} more", counted(more + 1, "line"))));
        }
        lines
    }

    fn json(&self) -> Value {
        let step = |one: &Going<'_>| {
            json!({
                "step": one.path, "status": one.step.status, "started_at": one.step.started_at,
                "attempts": one.step.attempts, "children": one.step.children,
            })
        };
        let execution = |(row, outcome): &(ExecutionRow, Outcome)| {
            let mut brief = list::brief(row, outcome.left_behind);
            brief["elapsed_ms"] = json!(between(row.created_at, self.at).as_millis());
            brief["cost_usd"] = json!(cost(outcome));
            brief["steps"] = going(outcome).iter().map(step).collect();
            brief
        };
        json!({ "at": self.at, "executions": self.running.iter().map(execution).collect::<Vec<Value>>() })
    }
}

/// An execution and those that its steps are, each with what stands before the names of its steps.
fn views(outcome: &Outcome) -> impl Iterator<Item = (String, &ExecutionView)> {
    let nested = outcome.nested.iter().map(|nested| (format!("{}.", nested.path), &nested.view));
    [(String::new(), &outcome.view)].into_iter().chain(nested)
}

/// The steps that run or wait, those of nested executions with their way; a step that is a run is told by the steps of that.
fn going(outcome: &Outcome) -> Vec<Going<'_>> {
    let is_going = |step: &StepView| matches!(step.status, StepStatus::Running | StepStatus::Waiting);
    let steps = views(outcome)
        .flat_map(|(way, view)| view.steps.iter().map(move |(id, step)| Going { path: format!("{way}{id}"), step }));
    steps.filter(|one| is_going(one.step) && one.step.execution.is_none()).collect()
}

/// What agents cost so far. A step that is a run says what that cost when it has ended, so only the steps of that are counted.
fn cost(outcome: &Outcome) -> f64 {
    // `build[2]` is a child of `build`, which says the sum of its children.
    let whole = |path: &str| {
        path.strip_suffix(']').and_then(|path| path.rsplit_once('[')).map_or(path, |(step, _)| step).to_owned()
    };
    let runs: BTreeSet<String> = outcome.nested.iter().map(|nested| whole(&nested.path)).collect();
    let steps =
        views(outcome).flat_map(|(way, view)| view.steps.iter().map(move |(id, step)| (format!("{way}{id}"), step)));
    steps
        .filter(|(path, _)| !runs.contains(path))
        .filter_map(|(_, step)| step.cost_usd)
        .fold(0.0, |sum, cost| sum + cost)
}

fn children(step: &StepView) -> String {
    let Some(children) = &step.children else { return String::new() };
    let settled: u32 =
        children.by_status.iter().filter(|(status, _)| status.is_settled()).map(|(_, count)| count).sum();
    format!("  {settled} of {} done", children.count)
}
