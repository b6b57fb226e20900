//! An event meets what starts a workflow: whether a run starts, and with which inputs. Pure: whoever takes events in adds what they do not say.

mod occasion;

use std::{collections::BTreeMap, sync::Arc};

use globset::GlobBuilder;
use jiff::Timestamp;
use ratchet_core::{
    ids::ExecutionId,
    output::Output,
    trigger::{PushTrigger, Schedule, Triggers},
    workflow::Workflow,
};
use serde_json::{Value as Json, json};
use thiserror::Error;

use self::occasion::{Call, Occasion, Push, Tick};
use crate::{
    evaluate::{Evaluator, ExecutionView, Scope},
    files::NoFiles,
    inputs::GivenInput,
};

/// A run that an event starts.
#[derive(Debug, Clone, PartialEq)]
pub struct Start {
    /// What the run's expressions see as `trigger`.
    pub trigger: Json,
    /// The inputs that `on.inputs` maps. One that comes to null is not among them.
    pub inputs: BTreeMap<String, GivenInput>,
}

/// Why an event starts no run.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{reason}")]
pub struct NotStarted {
    /// What of it did not match, for each thing that could have started a run.
    pub reason: String,
}

/// The run that an event starts, if it starts one. `now` is when it came: the time that `now()` gives.
///
/// An event is an `EventBridge` event, a call (`headers` and `body`), or the body of a push as GitHub sends it. That of `CodeCommit` says neither which paths changed nor what the commit
/// says: whoever takes it in adds `detail.paths`, a list, and `detail.commitMessage`.
pub fn start(workflow: &Workflow, event: &Json, now: Timestamp) -> Result<Start, NotStarted> {
    let Some(triggers) = &workflow.triggers else {
        return Err(NotStarted {
            reason: format!("the workflow {} has no `on`: nothing starts it by itself", workflow.name),
        });
    };
    let trigger = occasion_of(triggers, event)?;
    let inputs = inputs(workflow, triggers, &trigger, now)?;
    Ok(Start { trigger, inputs })
}

/// What the event is to the workflow.
fn occasion_of(triggers: &Triggers, event: &Json) -> Result<Json, NotStarted> {
    let occasion = Occasion::of(event);
    let mut reasons: Vec<String> = Vec::new();
    if let Some(wanted) = &triggers.push {
        match &occasion.push {
            Some(push) => match check_push(wanted, push) {
                Ok(()) => return Ok(push.told(event)),
                Err(reason) => reasons.push(format!("push: {reason}")),
            },
            None => reasons.push("push: the event is none that is known as a push".to_owned()),
        }
    }
    if let Some(schedule) = &triggers.schedule {
        match &occasion.tick {
            Some(tick) => match check_tick(schedule, tick) {
                Ok(()) => {
                    return Ok(
                        json!({"type": "schedule", "time": tick.time, "expression": tick.expression, "event": event}),
                    );
                }
                Err(reason) => reasons.push(format!("schedule: {reason}")),
            },
            None => reasons.push("schedule: the event is no scheduled one".to_owned()),
        }
    }
    if let Some(webhook) = &triggers.webhook {
        match &occasion.call {
            Some(Call { body, headers }) => {
                match webhook.pattern.as_ref().map_or(Ok(()), |pattern| pattern.check(body)) {
                    Ok(()) => return Ok(json!({"type": "webhook", "body": body, "headers": headers})),
                    Err(path) => {
                        reasons.push(format!("webhook: `{path}` of the body is not what the pattern asks for"));
                    }
                }
            }
            None => reasons.push("webhook: the event is no call with `headers` and a `body`".to_owned()),
        }
    }
    if let Some(pattern) = &triggers.event {
        match pattern.check(event) {
            Ok(()) => {
                let field = |name: &str| event.get(name).cloned().unwrap_or_default();
                return Ok(json!({
                    "type": "event", "source": field("source"), "detail_type": field("detail-type"), "time": field("time"),
                    "detail": field("detail"), "event": event,
                }));
            }
            Err(path) => reasons.push(format!("event: `{path}` is not what the pattern asks for")),
        }
    }
    Err(NotStarted { reason: reasons.join("; ") })
}

fn check_push(wanted: &PushTrigger, push: &Push) -> Result<(), String> {
    let Push { repository, is_tag, name, .. } = push;
    if push.is_deletion {
        return Err(format!("`{name}` was deleted"));
    }
    if !matches(&wanted.repositories, repository) {
        return Err(format!("the repository `{repository}` is none of {}", listed(&wanted.repositories)));
    }
    let (what, globs, others) =
        if *is_tag { ("tag", &wanted.tags, &wanted.branches) } else { ("branch", &wanted.branches, &wanted.tags) };
    if globs.is_empty() && !others.is_empty() {
        return Err(format!("it is of the {what} `{name}`, and no {what} starts this workflow"));
    }
    if !globs.is_empty() && !matches(globs, name) {
        return Err(format!("the {what} `{name}` is none of {}", listed(globs)));
    }
    if !wanted.paths.is_empty() {
        match &push.paths {
            None => return Err("the event does not say which paths changed, and `paths` asks for some".to_owned()),
            Some(paths) if !paths.iter().any(|path| matches(&wanted.paths, path)) => {
                return Err(format!("none of the changed paths is one of {}", listed(&wanted.paths)));
            }
            Some(_) => {}
        }
    }
    if push.is_fork && !wanted.allow_forks {
        return Err("it is to a fork, and `allow_forks` is not set".to_owned());
    }
    if push.is_own() && !wanted.allow_self {
        return Err(
            "a run made it (its commits carry the trailer `Ratchet-Execution`), and `allow_self` is not set".to_owned()
        );
    }
    Ok(())
}

fn check_tick(schedule: &Schedule, tick: &Tick) -> Result<(), String> {
    match &tick.expression {
        Some(expression) if !schedule.times.iter().any(|time| time.expression() == *expression) => {
            Err(format!("`{expression}` is none of the schedule's expressions"))
        }
        _ => Ok(()),
    }
}

/// Whether one of the globs matches. A star stays between slashes.
fn matches(globs: &[String], text: &str) -> bool {
    globs.iter().any(|glob| {
        let built = GlobBuilder::new(glob).literal_separator(true).build();
        built.is_ok_and(|glob| glob.compile_matcher().is_match(text))
    })
}

fn listed(globs: &[String]) -> String {
    globs.iter().map(|glob| format!("`{glob}`")).collect::<Vec<_>>().join(", ")
}

fn inputs(
    workflow: &Workflow,
    triggers: &Triggers,
    trigger: &Json,
    now: Timestamp,
) -> Result<BTreeMap<String, GivenInput>, NotStarted> {
    let run = ExecutionView {
        id: ExecutionId::new(""),
        workflow: workflow.name.clone(),
        version: workflow.version.clone(),
        started_at: now,
    };
    let evaluator = Evaluator::new(Scope { trigger: trigger.clone(), ..Scope::of_run(run) }, Arc::new(NoFiles));
    let mut inputs = BTreeMap::new();
    for (name, template) in &triggers.inputs {
        let value = evaluator.value(template);
        let value =
            value.map_err(|error| NotStarted { reason: format!("the input `{name}` has no value: {error}") })?;
        match value {
            Output::Json(Json::Null) | Output::Each(_) | Output::File(_) | Output::Stored(_) => {}
            Output::Json(Json::String(text)) => drop(inputs.insert(name.clone(), GivenInput::Text(text))),
            Output::Json(value) => drop(inputs.insert(name.clone(), GivenInput::Value(value))),
        }
    }
    Ok(inputs)
}

#[cfg(test)]
mod tests;
