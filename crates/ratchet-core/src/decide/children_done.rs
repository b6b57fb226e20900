//! All children of a fan-out settled, or one failed for all.

use super::{StepDecision, StepPolicy, step_finished};
use crate::{command::Command, event::Outcome};

pub(super) fn settle(outcome: &Outcome, policy: &StepPolicy) -> StepDecision {
    StepDecision::new(step_finished::settled(outcome, None, None, policy), [Command::TellDependents])
}
