//! All needs of a step arrived, or the time of its next attempt came.

use super::{StepDecision, StepPolicy, step_finished};
use crate::{
    command::Command,
    event::Verdict,
    ids::{ExecutionId, StepPath, TokenHash},
    transition::StepTransition,
};

pub(super) fn settle_or_start(path: &StepPath, verdict: &Verdict, policy: &StepPolicy) -> StepDecision {
    match verdict {
        Verdict::Run { token_hash, predecessor, execution, cache } => StepDecision::new(
            StepTransition::Claimed {
                token_hash: token_hash.clone(),
                predecessor: *predecessor,
                execution: execution.clone(),
                cache: cache.clone(),
            },
            [Command::LaunchStep],
        ),
        Verdict::FanOut { count, lanes, items, adopts } => StepDecision::new(
            StepTransition::FannedOut { count: *count, lanes: *lanes, items: items.clone(), adopts: *adopts },
            [Command::StartChildren],
        ),
        Verdict::Settle { outcome, predecessor, successor } => {
            let transition = step_finished::settled(outcome, *predecessor, *successor, policy);
            let commands = step_finished::after_settling(path, &transition, *successor);
            StepDecision::new(transition, commands)
        }
        Verdict::Wait { due, predecessor } => StepDecision::new(
            StepTransition::WaitBegan { due: *due, predecessor: *predecessor },
            [Command::WakeAt(*due)],
        ),
        Verdict::Ask { question, predecessor } => StepDecision::new(
            StepTransition::Asked { question: question.clone(), predecessor: *predecessor },
            question.due.map(Command::WakeAt).into_iter().collect::<Vec<_>>(),
        ),
        Verdict::Skip { reason, predecessor, successor } => {
            let (reason, predecessor) = (reason.clone(), *predecessor);
            let transition = StepTransition::Skipped { reason, predecessor, successor: *successor };
            let commands = step_finished::after_settling(path, &transition, *successor);
            StepDecision::new(transition, commands)
        }
        Verdict::Block => StepDecision::new(StepTransition::Blocked, [Command::TellDependents]),
    }
}

pub(super) fn start_again(token_hash: &TokenHash, execution: Option<&ExecutionId>) -> StepDecision {
    let transition = StepTransition::Reclaimed { token_hash: token_hash.clone(), execution: execution.cloned() };
    StepDecision::new(transition, [Command::LaunchStep])
}
