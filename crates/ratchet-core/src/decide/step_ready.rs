//! All needs of a step arrived, or the time of its next attempt came.

use super::{StepDecision, StepPolicy, step_finished};
use crate::{
    command::Command,
    event::Verdict,
    ids::{StepPath, TokenHash},
    transition::StepTransition,
};

pub(super) fn settle_or_start(path: &StepPath, verdict: &Verdict, policy: &StepPolicy) -> StepDecision {
    match verdict {
        Verdict::Run { token_hash, predecessor } => StepDecision::new(
            StepTransition::Claimed { token_hash: token_hash.clone(), predecessor: *predecessor },
            [Command::LaunchStep],
        ),
        Verdict::FanOut { count, lanes, items, adopts } => StepDecision::new(
            StepTransition::FannedOut { count: *count, lanes: *lanes, items: items.clone(), adopts: *adopts },
            [Command::StartChildren],
        ),
        Verdict::Settle { outcome, predecessor, successor } => {
            let transition = step_finished::settled(outcome, *predecessor, *successor, policy);
            StepDecision::new(transition, step_finished::after_settling(path, *successor))
        }
        Verdict::Wait { due, predecessor } => StepDecision::new(
            StepTransition::WaitBegan { due: *due, predecessor: *predecessor },
            [Command::WakeAt(*due)],
        ),
        Verdict::Ask { question, predecessor } => StepDecision::new(
            StepTransition::Asked { question: question.clone(), predecessor: *predecessor },
            question.due.map(Command::WakeAt).into_iter().collect::<Vec<_>>(),
        ),
        Verdict::Skip { reason, predecessor, successor } => StepDecision::new(
            StepTransition::Skipped { reason: reason.clone(), predecessor: *predecessor, successor: *successor },
            step_finished::after_settling(path, *successor),
        ),
        Verdict::Block => StepDecision::new(StepTransition::Blocked, [Command::TellDependents]),
    }
}

pub(super) fn start_again(token_hash: &TokenHash) -> StepDecision {
    StepDecision::new(StepTransition::Reclaimed { token_hash: token_hash.clone() }, [Command::LaunchStep])
}
