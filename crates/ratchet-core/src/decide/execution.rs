//! The state machine of an execution.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::{
    event::ExecutionEvent,
    execution::{Edit, ExecutionRow, Parent, Selection},
    ids::Digest,
    output::Outputs,
    rejection::Rejection,
    status::ExecutionStatus,
    step::StepFailure,
    transition::{Ending, ExecutionTransition},
};

/// How long a run and its `finally` may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExecutionPolicy {
    /// The whole run.
    pub timeout: Option<Duration>,
    /// What stands under `finally`.
    pub finally_timeout: Duration,
}

/// Decides what an event means for an execution.
#[rustfmt::skip]
pub fn decide_execution(
    row: &ExecutionRow,
    event: &ExecutionEvent,
    policy: &ExecutionPolicy,
    now: Timestamp,
) -> Result<ExecutionTransition, Rejection> {
    use ExecutionEvent as E;
    use ExecutionStatus as S;

    match (row.status, row.waits_for_turn(), event) {
        (S::Running, true, E::TurnCame)                      => Ok(ExecutionTransition::TurnCame { deadline: policy.timeout.map(|timeout| later(now, timeout)) }),
        (S::Running, true, E::TurnRefused { failure })       => Ok(never_began(S::Failed, Some(failure.clone()))),
        (S::Running, true, E::EndRequested { ending: Ending::Cancelled })
                                                             => Ok(never_began(S::Cancelled, None)),
        (S::Running | S::Paused, false, E::EndRequested { ending }) if may_end_early(row, ending)
                                                             => Ok(ExecutionTransition::EndingBegan { ending: ending.clone(), deadline: later(now, policy.finally_timeout) }),
        (S::Running, false, E::WorkOver) if !row.in_finally  => Ok(ExecutionTransition::FinallyBegan { deadline: later(now, policy.finally_timeout) }),
        (S::Running, false, E::PauseRequested { reason, step, wake_at })
                                                             => Ok(ExecutionTransition::Paused { reason: reason.clone(), step: step.clone(), wake_at: *wake_at }),
        (S::Paused, _, E::PauseOver) if row.is_watched()     => Ok(ExecutionTransition::WentOn),
        (S::Paused | S::Failed | S::Cancelled, _, E::ResumeRequested { reset_from, edit, files, added_usd }) if is_of_its_definition(row, edit.as_deref())
                                                             => Ok(resumed(row, reset_from, None, (edit.clone(), files.clone(), *added_usd), policy, now)),
        (S::Completed, _, E::ResumeRequested { reset_from, edit, files, added_usd }) if is_of_its_definition(row, edit.as_deref()) && (!reset_from.is_empty() || edit.is_some() || has_more(row))
                                                             => Ok(resumed(row, reset_from, None, (edit.clone(), files.clone(), *added_usd), policy, now)),
        (S::Paused | S::Failed | S::Cancelled, _, E::Adopted { parent }) if is_taken_over(row, parent)
                                                             => Ok(resumed(row, &[], Some(parent), (None, None, None), policy, now)),
        (S::Running | S::Completed, _, E::Adopted { parent }) if is_taken_over(row, parent)
                                                             => Ok(ExecutionTransition::Adopted { parent: parent.clone() }),
        (S::Running, false, E::AllSettled { failed, continued, outputs, tree })
                                                             => Ok(ended(row, *failed, *continued, outputs, tree.as_ref())),

        (status, _, E::TurnCame | E::TurnRefused { .. } | E::EndRequested { .. } | E::WorkOver | E::PauseRequested { .. } | E::PauseOver | E::Adopted { .. } | E::ResumeRequested { .. } | E::AllSettled { .. })
                                                             => Err(Rejection::ExecutionNotApplicable { status, event: event.name() }),
    }
}

/// A run that completed has more to do where a step failed and was passed over, or where the call left steps out.
fn has_more(row: &ExecutionRow) -> bool {
    row.continued || row.options.selection != Selection::All
}

/// What no longer holds under an edited definition was told of the one that the run followed then.
fn is_of_its_definition(row: &ExecutionRow, edit: Option<&Edit>) -> bool {
    edit.is_none_or(|edit| edit.from == row.definition)
}

/// A run ends early once; what then runs under `finally` may itself take too long.
fn may_end_early(row: &ExecutionRow, ending: &Ending) -> bool {
    match ending {
        Ending::Cancelled => !row.endings.contains(&Ending::Cancelled),
        Ending::TimedOut | Ending::Succeeded => !row.in_finally,
        Ending::FinallyTimedOut => row.in_finally && !row.endings.contains(&Ending::FinallyTimedOut),
    }
}

/// A run goes over to a later epoch of the run of its step, never back.
fn is_taken_over(row: &ExecutionRow, parent: &Parent) -> bool {
    row.parent.as_ref().is_some_and(|old| old.key.execution == parent.key.execution && old.key.epoch < parent.key.epoch)
}

fn resumed(
    row: &ExecutionRow,
    reset_from: &[crate::ids::StepId],
    parent: Option<&Parent>,
    (edit, files, added_usd): (Option<Box<Edit>>, Option<Digest>, Option<f64>),
    policy: &ExecutionPolicy,
    now: Timestamp,
) -> ExecutionTransition {
    // The time in which it waits for its turn again does not count.
    let waits = row.turn.is_some() && row.status.is_ended();
    ExecutionTransition::Resumed {
        reset_from: reset_from.to_vec(),
        parent: parent.cloned(),
        deadline: policy.timeout.filter(|_| !waits).map(|timeout| later(now, timeout)),
        edit,
        files,
        added_usd,
    }
}

/// The end of a run that waited for its turn: nothing of it ran in this epoch, so nothing is to be stopped or put right.
fn never_began(status: ExecutionStatus, failure: Option<StepFailure>) -> ExecutionTransition {
    ExecutionTransition::Ended { status, outputs: Outputs::new(), continued: false, failure, tree: None }
}

fn ended(
    row: &ExecutionRow,
    failed: bool,
    continued: bool,
    outputs: &Result<Outputs, StepFailure>,
    tree: Option<&Digest>,
) -> ExecutionTransition {
    let status = if row.endings.contains(&Ending::Cancelled) {
        ExecutionStatus::Cancelled
    } else if failed || outputs.is_err() || row.endings.iter().any(|ending| *ending != Ending::Succeeded) {
        ExecutionStatus::Failed
    } else {
        ExecutionStatus::Completed
    };
    let (outputs, failure) = match outputs {
        Ok(outputs) => (outputs.clone(), None),
        Err(failure) => (Outputs::new(), Some(failure.clone())),
    };
    ExecutionTransition::Ended { status, outputs, continued, failure, tree: tree.cloned() }
}

/// A time after another; the end of time where there is none.
pub(crate) fn later(now: Timestamp, by: Duration) -> Timestamp {
    SignedDuration::try_from(by).ok().and_then(|by| now.checked_add(by).ok()).unwrap_or(Timestamp::MAX)
}
