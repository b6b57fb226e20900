//! What a step waited for has come: a time, a person's word, or the end of the time for it.

use super::{StepDecision, StepPolicy, step_finished};
use crate::{
    command::Command,
    event::Outcome,
    ids::StepPath,
    rejection::Rejection,
    step::{Answer, FailureClass, Question, StepFailure, StepResult, Usage},
    transition::StepTransition,
    workflow::OnFailure,
};

/// The stable code of a step that nobody answered in time.
const NOT_ANSWERED: &str = "RT-0182";

pub(super) fn time_came(path: &StepPath, successor: Option<u32>, policy: &StepPolicy) -> StepDecision {
    settle(path, &Outcome::Succeeded(StepResult::default()), successor, policy)
}

pub(super) fn nobody_answered(path: &StepPath, successor: Option<u32>, policy: &StepPolicy) -> StepDecision {
    let failure = StepFailure::new(FailureClass::Timeout, "nobody answered in time")
        .with_code(NOT_ANSWERED)
        .with_hint("`ratchet resume` asks again");
    settle(path, &Outcome::Failed { failure, usage: Usage::default() }, successor, policy)
}

/// Only those who were asked may answer. Nobody is asked again after a no.
pub(super) fn answered(
    path: &StepPath,
    question: &Question,
    answer: &Answer,
    policy: &StepPolicy,
) -> Result<StepDecision, Rejection> {
    if !question.approvers.is_empty() && !question.approvers.contains(&answer.by) {
        return Err(Rejection::NotAsked {
            step: path.clone(),
            by: answer.by.clone(),
            approvers: question.approvers.clone(),
        });
    }
    let continued = !answer.approved && policy.on_failure == OnFailure::Continue;
    let transition = StepTransition::Answered { answer: answer.clone(), continued };
    Ok(StepDecision::new(transition, [Command::TellDependents]))
}

fn settle(path: &StepPath, outcome: &Outcome, successor: Option<u32>, policy: &StepPolicy) -> StepDecision {
    let transition = step_finished::settled(outcome, None, successor, policy);
    let commands = step_finished::after_settling(path, &transition, successor);
    StepDecision::new(transition, commands)
}
