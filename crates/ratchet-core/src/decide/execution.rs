//! The state machine of an execution.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::{
    event::ExecutionEvent,
    execution::{ExecutionRow, Selection},
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

    match (row.status, event) {
        (S::Running | S::Paused, E::EndRequested { ending }) if may_end_early(row, ending)
                                                             => Ok(ExecutionTransition::EndingBegan { ending: ending.clone(), deadline: later(now, policy.finally_timeout) }),
        (S::Running, E::WorkOver) if !row.in_finally         => Ok(ExecutionTransition::FinallyBegan { deadline: later(now, policy.finally_timeout) }),
        (S::Running, E::PauseRequested { reason, step, wake_at })
                                                             => Ok(ExecutionTransition::Paused { reason: reason.clone(), step: step.clone(), wake_at: *wake_at }),
        (S::Paused, E::PauseOver) if row.is_watched()        => Ok(ExecutionTransition::WentOn),
        (S::Paused | S::Failed | S::Cancelled, E::ResumeRequested { reset_from })
                                                             => Ok(resumed(reset_from, policy, now)),
        (S::Completed, E::ResumeRequested { reset_from }) if !reset_from.is_empty() || has_more(row)
                                                             => Ok(resumed(reset_from, policy, now)),
        (S::Running, E::AllSettled { failed, continued, outputs })
                                                             => Ok(ended(row, *failed, *continued, outputs)),

        (status, E::EndRequested { .. } | E::WorkOver | E::PauseRequested { .. } | E::PauseOver | E::ResumeRequested { .. } | E::AllSettled { .. })
                                                             => Err(Rejection::ExecutionNotApplicable { status, event: event.name() }),
    }
}

/// A run that completed has more to do where a step failed and was passed over, or where the call left steps out.
fn has_more(row: &ExecutionRow) -> bool {
    row.continued || row.options.selection != Selection::All
}

/// A run ends early once; what then runs under `finally` may itself take too long.
fn may_end_early(row: &ExecutionRow, ending: &Ending) -> bool {
    match ending {
        Ending::Cancelled => !row.endings.contains(&Ending::Cancelled),
        Ending::TimedOut | Ending::Succeeded => !row.in_finally,
        Ending::FinallyTimedOut => row.in_finally && !row.endings.contains(&Ending::FinallyTimedOut),
    }
}

fn resumed(reset_from: &[crate::ids::StepId], policy: &ExecutionPolicy, now: Timestamp) -> ExecutionTransition {
    ExecutionTransition::Resumed {
        reset_from: reset_from.to_vec(),
        deadline: policy.timeout.map(|timeout| later(now, timeout)),
    }
}

fn ended(
    row: &ExecutionRow,
    failed: bool,
    continued: bool,
    outputs: &Result<Outputs, StepFailure>,
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
    ExecutionTransition::Ended { status, outputs, continued, failure }
}

/// A time after another; the end of time where there is none.
pub(crate) fn later(now: Timestamp, by: Duration) -> Timestamp {
    SignedDuration::try_from(by).ok().and_then(|by| now.checked_add(by).ok()).unwrap_or(Timestamp::MAX)
}
