use ratchet_core::{
    execution::ExecutionRow,
    ids::{StepKey, StepPath},
    step::StepRow,
    workflow::{Action, Place, Step, TextSource, Wait},
};
use ratchet_engine::{
    masks::Masks,
    values::load_large,
    view::{StepRows, StepView},
};
use serde_json::{Value, json};

use super::{attempts, row};
use crate::{command_error::CommandError, commands::diff, definition, nested, state::State};

/// Children that are told in one answer.
const CHILDREN: usize = 500;

/// A step, or a child of one: what it says, how it stands, and its attempts.
pub(crate) async fn step(state: &State, id: &str, name: &str) -> Result<Value, CommandError> {
    let run = row(state, id).await?;
    let workflow = state.workflow(&run).await?;
    let path = nested::path(name);
    let step = definition::step(&workflow, path.step.as_str())?;
    let masks = state.masks(&run, Some(&workflow)).await?;
    let rows = rows(state, &run, &workflow, step, &path).await?;
    let view = StepView::of(step, rows.as_ref(), &masks);
    let children = match rows.as_ref().filter(|rows| rows.children.is_some()) {
        Some(rows) => children(state, &rows.row).await?,
        None => Value::Null,
    };
    let needs = workflow.graph.node_of(&step.id).map(|node| &node.needs);
    let needs: Vec<String> =
        needs.into_iter().flatten().map(|need| workflow.graph.node(*need).id.to_string()).collect();
    let says = says(step);
    Ok(json!({
        "execution_id": run.id,
        "step": path.to_string(),
        "title": step.name,
        "description": step.description,
        "needs": needs.iter().filter(|need| workflow.steps.iter().any(|step| step.id.as_str() == **need)).collect::<Vec<_>>(),
        "says": masked(&masks, says),
        "view": view,
        "timeline": masks.value(json!(rows.as_ref().map(attempts::spans).unwrap_or_default())),
        "children": children,
    }))
}

/// The rows of a step that count, with large values put back in their place.
async fn rows(
    state: &State,
    run: &ExecutionRow,
    workflow: &ratchet_core::workflow::Workflow,
    step: &Step,
    path: &StepPath,
) -> Result<Option<StepRows>, CommandError> {
    if path.child.is_none() {
        return Ok(state.rows(run, workflow).await?.step(&step.id).cloned());
    }
    let Some(mut row) = diff::find(state, run, path).await? else { return Ok(None) };
    let attempts = state.store.attempts(&row.key).await?;
    if let Some(result) = &mut row.result {
        result.outputs = load_large(&*state.blobs, &result.outputs).await?;
    }
    Ok(Some(StepRows::new(row, attempts, &[])))
}

/// The children of a fan-out in brief, the first ones.
async fn children(state: &State, fan_out: &StepRow) -> Result<Value, CommandError> {
    let StepKey { execution, epoch, path } = &fan_out.key;
    let children = state.store.children(execution, *epoch, &path.step, 0, CHILDREN).await?;
    let brief = |child: &StepRow| {
        json!({
            "step": child.key.path.to_string(),
            "status": child.status(),
            "attempts": child.attempt,
            "cached": child.hit().is_some(),
            "started_at": child.started_at,
            "completed_at": child.settled_at,
            "execution": child.execution,
        })
    };
    Ok(children.iter().map(brief).collect())
}

/// What the author wrote: names and texts, the most telling first.
fn says(step: &Step) -> Vec<(&'static str, String)> {
    let mut says: Vec<(&'static str, String)> = match &step.action {
        Action::Shell(shell) => vec![("command", shell.source.clone())],
        Action::ClaudeCode(agent) => {
            let verify = agent.verify.as_ref().map(|verify| ("verify", verify.command.source.clone()));
            [("prompt", agent.prompt.source.clone())].into_iter().chain(verify).collect()
        }
        Action::Assert(assert) => {
            assert.conditions.iter().map(|condition| ("condition", condition.expression.source.clone())).collect()
        }
        Action::Template(template) => vec![match &template.text {
            TextSource::Inline(text) => ("template", text.source.clone()),
            TextSource::File(path) => ("template file", path.source.clone()),
        }],
        Action::Webhook(webhook) => vec![("method", webhook.method.clone())],
        Action::Wait(Wait::For(time)) => vec![("for", time.source.clone())],
        Action::Wait(Wait::Until(time)) => vec![("until", time.source.clone())],
        Action::Approval(approval) => vec![("message", approval.message.source.clone())],
        Action::Workflow(_) | Action::Exec(_) => Vec::new(),
    };
    says.extend(step.foreach.iter().map(|each| ("foreach", each.items.source.clone())));
    says.extend(step.when.iter().map(|when| ("when", when.source.clone())));
    says.extend(step.environment.iter().map(|(name, value)| ("env", format!("{name}={}", value.source))));
    says.extend(step.secrets.keys().map(|name| ("env", format!("{name}=(a secret)"))));
    says.extend(step.working_directory.iter().map(|folder| ("working_directory", folder.source.clone())));
    match step.place {
        Place::Work => {}
        Place::OnFailure => says.push(("list", "on_failure".to_owned())),
        Place::Finally => says.push(("list", "finally".to_owned())),
    }
    says
}

fn masked(masks: &Masks, says: Vec<(&'static str, String)>) -> Value {
    says.into_iter().map(|(name, text)| json!({ "name": name, "text": masks.text(&text) })).collect()
}
