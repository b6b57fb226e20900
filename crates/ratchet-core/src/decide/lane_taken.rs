//! The child that was to take over a lane was taken by another lane first.

use super::StepDecision;
use crate::{command::Command, transition::StepTransition};

pub(super) fn pass_on(successor: Option<u32>) -> StepDecision {
    let commands = if successor.is_some() { vec![Command::PassLane] } else { vec![] };
    StepDecision::new(StepTransition::LanePassed { successor }, commands)
}
