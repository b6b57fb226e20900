use ratchet_engine::view::ExecutionRows;
use serde_json::{Map, Value, json};

use super::{attempts::spans, row};
use crate::{
    command_error::CommandError,
    drawing::{Picture, placed},
    report::asking,
    state::{Outcome, State},
};

/// An execution: what `ratchet status --json` says of it, and what else a page shows.
pub(crate) async fn execution(state: &State, id: &str) -> Result<Value, CommandError> {
    let row = row(state, id).await?;
    let workflow = state.workflow(&row).await?;
    let rows = state.rows(&row, &workflow).await?;
    let outcome = state.outcome_of(&rows, &workflow).await?;
    let masks = state.masks(&row, Some(&workflow)).await?;
    let mut answer = serde_json::to_value(&outcome).map_err(|error| CommandError::Output(error.into()))?;
    let timeline: Map<String, Value> = workflow
        .steps
        .iter()
        .filter_map(|step| Some((step.id.to_string(), json!(spans(rows.step(&step.id)?)))))
        .collect();
    answer["timeline"] = masks.value(Value::Object(timeline));
    answer["description"] = masks.value(json!(workflow.description));
    answer["order"] = json!(workflow.steps.iter().map(|step| &step.id).collect::<Vec<_>>());
    answer["graph"] = json!(placed(&Picture::of(&workflow)));
    answer["nested"] = nested(&outcome);
    answer["asking"] = json!(asking(&outcome).iter().map(|name| name.trim_matches('\'')).collect::<Vec<_>>());
    answer["saved"] = saved(&outcome);
    answer["trace_id"] = json!(row.trace.0.split('-').nth(1));
    answer["origin"] = json!(row.definition.origin);
    answer["root"] = json!(row.id.root());
    answer["way"] = json!(row.parent.as_ref().map(|parent| &parent.way));
    answer["resumable"] = json!(is_resumable(&outcome, &rows));
    Ok(answer)
}

/// The executions that its steps are, with where their steps stand.
fn nested(outcome: &Outcome) -> Value {
    let steps = |view: &ratchet_engine::view::ExecutionView| -> Map<String, Value> {
        view.steps.iter().map(|(id, step)| (id.to_string(), json!(step.status))).collect()
    };
    outcome
        .nested
        .iter()
        .map(|nested| {
            json!({
                "path": nested.path, "execution_id": nested.view.execution_id, "status": nested.view.status,
                "steps": steps(&nested.view),
            })
        })
        .collect()
}

/// What results of other runs saved.
fn saved(outcome: &Outcome) -> Value {
    let views = outcome.nested.iter().map(|nested| &nested.view).chain([&outcome.view]);
    let saved: Vec<_> = views.flat_map(|view| &view.steps).filter_map(|(_, step)| step.saved.as_ref()).collect();
    json!({
        "steps": saved.len(),
        "process_ms": saved.iter().map(|saved| saved.process_ms).sum::<u64>(),
        "cost_usd": saved.iter().filter_map(|saved| saved.cost_usd).fold(0.0, |sum, cost| sum + cost),
    })
}

/// Whether `ratchet resume` goes on with it as it stands.
fn is_resumable(outcome: &Outcome, rows: &ExecutionRows) -> bool {
    use ratchet_core::status::ExecutionStatus::{Cancelled, Completed, Failed, Paused, Running};
    let is_root = !rows.execution.id.is_nested();
    is_root
        && match outcome.view.status {
            Failed | Cancelled | Paused => true,
            Running | Completed => outcome.left_behind,
        }
}
