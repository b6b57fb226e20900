mod expected;
mod forecast;

use std::fmt::Write as _;

use clap::Args;
use ratchet_core::{execution::ExecutionRow, status::ExecutionStatus};
use ratchet_engine::masks::Masks;
use serde_json::{Value, json};

use self::{
    expected::{Records, Sum},
    forecast::{Forecast, Kind, forecasts},
};
use super::run::Wanted;
use crate::{
    arguments::CommonArguments,
    command_error::CommandError,
    console::Console,
    driving::{self, Start},
    exit_code::ExitCode,
    paint::Paint,
    state::State,
    words::counted,
};

/// Say before a run what it would do, and what that is expected to take
#[derive(Debug, Args)]
#[command(after_help = "\
Nothing runs, and nothing is changed. A step that begins is as far as can be seen: what a later step's key is made of may depend on what it gives.
What steps take is told by the runs before, where there were any.

  hit      a kept result stands in for the step
  miss     it runs: no result is kept under its key
  runs     it runs: its results are not kept
  unknown  it depends on what steps before it give
  done     the engine does it at once

Examples:
  ratchet plan workflow.yaml -i target_file=src/main.py
  ratchet plan workflow.yaml --json | jq '.expected.cost_usd'")]
pub(crate) struct PlanArguments {
    #[command(flatten)]
    wanted: Wanted,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(
    arguments: &PlanArguments,
    common: &CommonArguments,
    console: Console,
) -> Result<ExitCode, CommandError> {
    let start = arguments.wanted.start(None, common, console)?;
    let state = State::open_existing(common)?;
    let rehearsal = driving::rehearse(state.as_ref(), &start).await?;
    let row = rehearsal.store.execution(&start.execution).await?;
    let row = row.ok_or_else(|| CommandError::UnknownExecution { name: start.execution.to_string() })?;
    let mut records = Records::new(state.as_ref().map(|state| &*state.store), &*rehearsal.step_cache);
    let steps = forecasts(&rehearsal, &mut records, &row, &start.workflow).await?;
    let plan = Plan { masks: Masks::of(&start.workflow, &start.inputs), start, row, steps };
    if arguments.json {
        console.json(&plan.json())?;
    } else {
        console.text(&plan.text(console.out))?;
    }
    Ok(ExitCode::Completed)
}

/// What a run would do.
struct Plan {
    start: Start,
    /// The execution as it was played.
    row: ExecutionRow,
    steps: Vec<Forecast>,
    masks: Masks,
}

impl Plan {
    /// What surely runs, as far as is known.
    fn expected(&self) -> Sum {
        Sum::of(self.steps.iter().filter(|step| matches!(step.kind, Kind::Miss | Kind::Runs)))
    }

    /// The same, and what may run.
    fn at_most(&self) -> Sum {
        Sum::of(self.steps.iter().filter(|step| matches!(step.kind, Kind::Miss | Kind::Runs | Kind::Unknown)))
    }

    /// How it would end, where no process stands before its end.
    fn end(&self) -> Option<ExecutionStatus> {
        Some(self.row.status).filter(|status| status.is_ended())
    }

    fn text(&self, paint: Paint) -> String {
        let definition = &self.start.definition;
        let mut text = format!("{} {}: nothing was run\n\n", paint.bold(&definition.name), definition.version);
        let width = self.steps.iter().map(|step| step.path.chars().count()).max().unwrap_or_default();
        for step in &self.steps {
            let kind = step.kind.painted(paint);
            let mut parts = vec![self.masks.text(&step.reason()).into_owned()];
            parts.extend(step.kind.may_run().then(|| step.takes()));
            parts.retain(|part| !part.is_empty());
            let line = format!("  {:width$}  {kind}  {}", step.path, parts.join("; "));
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text.push('\n');
        let counts = [Kind::Hit, Kind::Miss, Kind::Runs, Kind::Unknown].map(|kind| {
            let count = self.steps.iter().filter(|step| step.kind == kind).count();
            (count, kind)
        });
        let counts: Vec<String> =
            counts.into_iter().filter(|(count, _)| *count > 0).map(|(count, kind)| kind.counted(count)).collect();
        if let Some(status) = self.end() {
            let _ = writeln!(text, "no process is needed: it would end {status}");
        } else {
            let _ = writeln!(text, "{}", counts.join(", "));
            self.sums(&mut text);
        }
        text
    }

    fn sums(&self, text: &mut String) {
        let (expected, at_most) = (self.expected(), self.at_most());
        let _ = writeln!(text, "expected: {}", expected.in_words());
        if at_most.steps > expected.steps {
            let _ = writeln!(text, "at most:  {}, where all that is unknown runs", at_most.in_words());
        }
        if !at_most.no_record.is_empty() {
            let _ = writeln!(
                text,
                "no record of what {} {}: {}",
                counted(at_most.no_record.len(), "step"),
                if at_most.no_record.len() == 1 { "takes" } else { "take" },
                at_most.no_record.join(", ")
            );
        }
    }

    fn json(&self) -> Value {
        let steps: Vec<Value> = self.steps.iter().map(|step| step.json(&self.masks)).collect();
        json!({
            "workflow_id": self.start.definition.digest,
            "workflow_name": self.start.definition.name,
            "workflow_version": self.start.definition.version,
            "workspace": self.start.options.place["workspace"],
            "steps": steps,
            "expected": self.expected().json(),
            "at_most": self.at_most().json(),
            "ends": self.end(),
        })
    }
}
