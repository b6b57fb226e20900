//! An attempt reports its end.

use jiff::{SignedDuration, Timestamp};

use super::{StepDecision, StepPolicy};
use crate::{
    command::Command,
    event::Outcome,
    ids::{StepPath, TokenHash},
    rejection::Rejection,
    step::{FailureClass, StepFailure, StepResult, StepRow},
    transition::StepTransition,
    workflow::OnFailure,
};

pub(super) fn settle_or_retry(
    row: &StepRow,
    outcome: &Outcome,
    chance: u32,
    successor: Option<u32>,
    policy: &StepPolicy,
    now: Timestamp,
) -> StepDecision {
    if let Outcome::Failed { failure, usage } = outcome
        && failure.session.is_some()
    {
        let transition = StepTransition::Suspended { failure: failure.clone(), usage: *usage };
        return StepDecision::new(transition, [Command::PauseExecution]);
    }
    if let Outcome::Failed { failure, usage } = outcome
        && let Some(delay) = policy.retry.next_delay(row.failures + 1, failure, chance)
    {
        let due = SignedDuration::try_from(delay).ok().and_then(|delay| now.checked_add(delay).ok()).unwrap_or(now);
        let transition = StepTransition::RetryScheduled { failure: failure.clone(), due, usage: *usage };
        return StepDecision::new(transition, [Command::WakeAt(due)]);
    }
    let transition = settled(outcome, None, successor, policy);
    let commands = after_settling(&row.key.path, &transition, successor);
    StepDecision::new(transition, commands)
}

/// The change that a last attempt's outcome makes.
pub(super) fn settled(
    outcome: &Outcome,
    predecessor: Option<u32>,
    successor: Option<u32>,
    policy: &StepPolicy,
) -> StepTransition {
    match outcome {
        Outcome::Succeeded(result) => StepTransition::Succeeded { result: result.clone(), predecessor, successor },
        Outcome::Failed { failure, .. } if policy.on_failure == OnFailure::Warn => {
            StepTransition::Succeeded { result: warned(failure), predecessor, successor }
        }
        Outcome::Failed { failure, .. }
            if policy.on_failure == OnFailure::Succeed && failure.class == FailureClass::Assertion =>
        {
            let result = StepResult { concludes: true, ..warned(failure) };
            StepTransition::Succeeded { result, predecessor, successor }
        }
        Outcome::Failed { failure, usage } => {
            let continued = policy.on_failure == OnFailure::Continue;
            StepTransition::Failed { failure: failure.clone(), continued, usage: *usage, predecessor, successor }
        }
        Outcome::Stopped => StepTransition::Cancelled,
    }
}

/// What follows once a step is settled: those that need it are told, and a child's lane is passed on. After one with which the run ends nothing follows.
pub(super) fn after_settling(path: &StepPath, transition: &StepTransition, successor: Option<u32>) -> Vec<Command> {
    if matches!(transition, StepTransition::Succeeded { result, .. } if result.concludes) {
        return vec![if path.child.is_some() { Command::TellDependents } else { Command::Conclude }];
    }
    if path.child.is_some() && successor.is_some() {
        vec![Command::TellDependents, Command::PassLane]
    } else {
        vec![Command::TellDependents]
    }
}

/// Why a report changes nothing: it is told twice, or of an attempt that no longer counts.
pub(super) fn too_late(row: &StepRow, token_hash: &TokenHash) -> Rejection {
    let is_of_last_attempt = row.records.iter().any(|record| match &record.transition {
        StepTransition::Claimed { token_hash: claimed, .. }
        | StepTransition::Reclaimed { token_hash: claimed, .. }
        | StepTransition::LostAndReclaimed { token_hash: claimed } => claimed == token_hash,
        _ => false,
    });
    if is_of_last_attempt && row.status().is_settled() && row.result.is_some() {
        Rejection::AlreadyRecorded { step: row.key.path.clone() }
    } else {
        Rejection::StaleAttempt { step: row.key.path.clone(), status: row.status() }
    }
}

fn warned(failure: &StepFailure) -> StepResult {
    StepResult { warning: Some(failure.message.clone()), ..StepResult::default() }
}
