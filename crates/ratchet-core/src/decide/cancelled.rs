//! The run goes on without the step.

use super::StepDecision;
use crate::{
    command::Command,
    step::{StepRow, StepState},
    transition::StepTransition,
};

pub(super) fn stop(row: &StepRow) -> StepDecision {
    let commands = match row.state {
        StepState::Running { .. } => vec![Command::StopStep],
        _ => vec![],
    };
    StepDecision::new(StepTransition::Cancelled, commands)
}
