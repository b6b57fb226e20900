//! What a person may want to type next, and what each of these commands does.

use ratchet_core::{
    ids::{ExecutionId, StepId},
    status::{ExecutionStatus, StepStatus},
};
use ratchet_engine::view::{ExecutionView, StepView};
use ratchet_local::workspace::Application;

use crate::{nested::Nested, paint::Paint, report::asking, state::Outcome};

/// A command, without the program's name, and what it does.
type Suggestion = (String, &'static str);

/// The commands, a line each.
pub(crate) fn next(outcome: &Outcome, paint: Paint) -> Vec<String> {
    let mut suggestions = suggestions(outcome);
    // A deployment has no command that does all of it again: that is another run.
    suggestions.retain(|(command, _)| outcome.stack.is_none() || !command.starts_with("rerun"));
    let width = suggestions.iter().map(|(command, _)| command.chars().count()).max().unwrap_or(0);
    let program =
        outcome.stack.as_ref().map_or_else(|| "ratchet".to_owned(), |stack| format!("ratchet --stack {stack}"));
    let line = |(command, what): &Suggestion| format!("  {program} {command:<width$}  {}", paint.dim(what));
    suggestions.iter().map(line).collect()
}

fn suggestions(outcome: &Outcome) -> Vec<Suggestion> {
    let view = &outcome.view;
    let id = &view.execution_id;
    let resume = |what| (format!("resume {id}"), what);
    let status = (format!("status {id}"), "each step, and what it gave");
    if outcome.left_behind {
        let is_done = view.status == ExecutionStatus::Completed;
        return vec![resume(if is_done { "applies its changes" } else { "goes on from the last finished step" })];
    }
    let failed = failed(view);
    let below = || {
        let is_of_failed = |nested: &&Nested| failed.is_some_and(|(step, _)| nested.path.starts_with(step.as_str()));
        let deepest = outcome.nested.iter().filter(is_of_failed);
        let mut found = deepest.filter_map(|nested| {
            let (step, view) = self::failed(&nested.view)?;
            logs(id, &format!("{}.{step}", nested.path), view)
        });
        found.next_back()
    };
    let logs = failed.and_then(|(step, failed)| logs(id, step.as_str(), failed)).or_else(below);
    match view.status {
        ExecutionStatus::Running if view.waits_for.is_some() => {
            let before = outcome.abandoned.iter();
            let before = before.map(|id| (format!("resume {id}"), "goes on with the one before it"));
            before.chain([(format!("cancel {id}"), "has it wait no longer")]).collect()
        }
        ExecutionStatus::Running => vec![
            (format!("logs {id} --follow"), "what its steps write, until it ends"),
            (format!("cancel {id}"), "ends it"),
        ],
        ExecutionStatus::Paused => paused(outcome),
        ExecutionStatus::Failed => {
            let in_place = outcome.in_place;
            let resume = resume(if in_place {
                "tries again what did not end well, on the directory as it is now"
            } else {
                "tries again what did not end well, on the run's own files"
            });
            let anew = match &outcome.checkout {
                Some(_) => "does all of it again, on a new checkout",
                None => "does all of it again, on the directory as it is now",
            };
            let again = (format!("rerun {id}"), anew);
            logs.into_iter().chain([resume]).chain((!in_place).then_some(again)).collect()
        }
        ExecutionStatus::Cancelled => vec![resume("goes on from the last finished step")],
        ExecutionStatus::Completed if matches!(outcome.application, Some(Application::NotApplied { .. })) => {
            let again = (format!("rerun {id}"), "does it again, on the directory as it is now");
            let diff = (format!("diff {id}"), "what it changed");
            vec![diff, (format!("apply {id}"), "applies it, once nothing stands in the way"), again, status]
        }
        ExecutionStatus::Completed => logs.into_iter().chain([status]).collect(),
    }
}

/// What waits for a person: a question, or a lost attempt.
fn paused(outcome: &Outcome) -> Vec<Suggestion> {
    let view = &outcome.view;
    let id = &view.execution_id;
    if is_out_of_budget(view) {
        let is_of_money = view.pause_reason.as_ref().is_some_and(|reason| reason.contains('$'));
        let more = (format!("resume {id} --add-budget 1"), "goes on with a dollar more");
        let again = (format!("resume {id}"), "asks again, and pauses again while the budget is reached");
        let cancel = (format!("cancel {id}"), "ends it here; `finally` runs");
        return vec![if is_of_money { more } else { again }, cancel];
    }
    if is_at_a_limit(view) {
        let waiting = view.steps.iter().filter(|(_, step)| step.status == StepStatus::Waiting);
        let logs = waiting.filter_map(|(step, waiting)| logs(id, step.as_str(), waiting));
        return logs
            .chain([
                (format!("resume {id}"), "lets the agent go on in the same session, with its limits anew"),
                (format!("cancel {id}"), "ends it here; `finally` runs"),
            ])
            .collect();
    }
    let asks = asking(outcome);
    let answer = |step: &String| {
        [(format!("approve {id} {step}"), "says yes, and goes on"), (format!("reject {id} {step}"), "says no")]
    };
    let mut suggestions: Vec<Suggestion> = asks.iter().flat_map(answer).collect();
    if suggestions.is_empty() {
        let lost = view.steps.iter().filter(|(_, step)| step.status == StepStatus::Waiting);
        suggestions.extend(lost.filter_map(|(step, lost)| logs(id, step.as_str(), lost)));
        suggestions.push((format!("resume {id}"), "runs it again, where its effect did not happen"));
        suggestions.push((format!("cancel {id}"), "ends it here"));
    }
    suggestions
}

/// Whether it is paused because of its budget.
fn is_out_of_budget(view: &ExecutionView) -> bool {
    view.pause_reason.as_ref().is_some_and(|reason| reason.contains("[RT-0188]"))
}

/// Whether it is paused because an agent reached a limit.
fn is_at_a_limit(view: &ExecutionView) -> bool {
    view.steps.iter().any(|(_, step)| step.status == StepStatus::Waiting && step.error.is_some())
}

/// The step that made the run fail; else one that was let pass.
fn failed(view: &ExecutionView) -> Option<(&StepId, &StepView)> {
    let failed = || view.failed_steps.iter().filter_map(|id| Some((id, view.step(id)?)));
    failed().find(|(_, step)| !step.continued).or_else(|| failed().next())
}

/// What shows what a step wrote; none where it has not written.
fn logs(id: &ExecutionId, step: &str, view: &StepView) -> Option<Suggestion> {
    let has_started = view.attempts > 0 || view.children.is_some();
    let could_not = view.error.as_ref().is_some_and(|error| matches!(error.class, "launch" | "definition"));
    if !has_started || could_not {
        return None;
    }
    match view.step_type.as_str() {
        "shell" => Some((format!("logs {id} {step}"), "all that it wrote")),
        "claude_code" => Some((format!("logs {id} {step} --transcript"), "all that it said and did")),
        _ => None,
    }
}
