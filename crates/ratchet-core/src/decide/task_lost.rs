//! The task of an attempt is gone and will not report. What its process did to the outside world cannot be known.

use super::{LOSSES_MAX, StepDecision, StepPolicy, step_finished};
use crate::{
    command::Command,
    event::Outcome,
    ids::{Epoch, TokenHash},
    step::{FailureClass, StepFailure, StepRow, Usage},
    transition::StepTransition,
    workflow::OnLost,
};

pub(super) fn relaunch_or_pause(
    row: &StepRow,
    token_hash: &TokenHash,
    found_in: Epoch,
    policy: &StepPolicy,
) -> StepDecision {
    match policy.on_lost {
        OnLost::Pause => StepDecision::new(StepTransition::LostAndSuspended { found_in }, [Command::PauseExecution]),
        OnLost::Rerun if row.losses < LOSSES_MAX => StepDecision::new(
            StepTransition::LostAndReclaimed { token_hash: token_hash.clone() },
            [Command::LaunchStep],
        ),
        OnLost::Rerun => {
            let failure = StepFailure::new(
                FailureClass::Launch,
                format!("the task of {} was lost {} times", row.key.path, row.losses + 1),
            )
            .with_hint("see what ends it: memory, a kill, or the machine itself; then resume the execution");
            give_up(row, &failure, policy)
        }
    }
}

/// No further attempt is made. Who takes over the lane of a child is found when its fan-out is told.
pub(super) fn give_up(row: &StepRow, failure: &StepFailure, policy: &StepPolicy) -> StepDecision {
    let outcome = Outcome::Failed { failure: failure.clone(), usage: Usage::default() };
    let transition = step_finished::settled(&outcome, None, None, policy);
    let commands = step_finished::after_settling(&row.key.path, &transition, None);
    StepDecision::new(transition, commands)
}
