//! The state machines: of a step, and of an execution. Each is one table; a cell's body stands in the file named after its event.
//!
//! A decision is pure: the row as it is, an event, the step's policy and the time give a transition and what to do once it is
//! committed, or a rejection. `docs/state-machine.md` is drawn from these tables.

mod cancelled;
mod children_done;
mod execution;
mod lane_taken;
mod step_finished;
mod step_ready;
mod task_lost;
mod waited;

use jiff::Timestamp;

pub use execution::{ExecutionPolicy, decide_execution};

use crate::{
    command::Command,
    event::StepEvent,
    ids::StepPath,
    rejection::Rejection,
    retry::RetryPolicy,
    status::StepStatus,
    step::{StepRow, StepState, Waiting},
    transition::StepTransition,
    workflow::{OnFailure, OnLost, Step},
};

/// How often an attempt of a step may be lost before the step fails: what kills its task every time will do so again.
pub const LOSSES_MAX: u32 = 3;

/// What a step's author decided about its failures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepPolicy {
    /// When it is tried again.
    pub retry: RetryPolicy,
    /// What is done with a lost attempt.
    pub on_lost: OnLost,
    /// What its failure means for the run.
    pub on_failure: OnFailure,
}

impl StepPolicy {
    /// What the engine's own steps follow.
    pub const INTERNAL: Self = Self { retry: RetryPolicy::ONCE, on_lost: OnLost::Rerun, on_failure: OnFailure::Fail };

    /// The policy of a step of the workflow.
    pub fn of(step: &Step) -> Self {
        Self { retry: step.retry.clone(), on_lost: step.on_lost, on_failure: step.on_failure }
    }

    /// The policy of a child of a fan-out: what its failure means is decided for all children together, unless it ends the fan-out as a success.
    #[must_use]
    pub fn for_child(self) -> Self {
        let on_failure = if self.on_failure == OnFailure::Succeed { OnFailure::Succeed } else { OnFailure::Fail };
        Self { on_failure, ..self }
    }
}

/// What changes and what to do once it is committed.
#[derive(Debug, Clone, PartialEq)]
pub struct StepDecision {
    /// The change.
    pub transition: StepTransition,
    /// What to do, in this order.
    pub commands: Vec<Command>,
}

impl StepDecision {
    fn new(transition: StepTransition, commands: impl Into<Vec<Command>>) -> Self {
        Self { transition, commands: commands.into() }
    }
}

/// Decides what an event means for a step. A step without a row is pending.
#[rustfmt::skip]
pub fn decide_step(
    path: &StepPath,
    row: Option<&StepRow>,
    event: &StepEvent,
    policy: &StepPolicy,
    now: Timestamp,
) -> Result<StepDecision, Rejection> {
    use StepEvent as E;
    use StepState as S;

    let Some(row) = row else {
        return match event {
            E::Ready(verdict) => Ok(step_ready::settle_or_start(path, verdict, policy)),
            E::Cancelled => Ok(StepDecision::new(StepTransition::Cancelled, [])),
            E::Finished { .. } | E::Lost { .. } | E::RetryDue { .. } | E::TimeCome { .. } | E::Answered(_) | E::GivenUp { .. } | E::ChildrenDone(_)
            | E::LaneTaken { .. } => {
                not_applicable(path, StepStatus::Pending, event)
            }
        };
    };
    match (&row.state, event) {
        (S::Running { token_hash: mine }, E::Finished { token_hash, outcome, chance, successor }) if mine == token_hash
                                                         => Ok(step_finished::settle_or_retry(row, outcome, *chance, *successor, policy, now)),
        (S::Running { .. }, E::Lost { attempt, token_hash, found_in }) if *attempt == row.attempt
                                                         => Ok(task_lost::relaunch_or_pause(row, token_hash, *found_in, policy)),
        (S::Waiting(Waiting::Retry { due }), E::RetryDue { attempt, token_hash, execution }) if *attempt == row.attempt && *due <= now
                                                         => Ok(step_ready::start_again(token_hash, execution.as_ref())),
        (S::Waiting(Waiting::Time { due }), E::TimeCome { successor }) if *due <= now
                                                         => Ok(waited::time_came(&row.key.path, *successor, policy)),
        (S::Waiting(Waiting::Approval(question)), E::TimeCome { successor }) if question.due.is_some_and(|due| due <= now)
                                                         => Ok(waited::nobody_answered(&row.key.path, *successor, policy)),
        (S::Waiting(Waiting::Approval(question)), E::Answered(answer))
                                                         => waited::answered(path, question, answer, policy),
        (S::Running { .. } | S::Waiting(Waiting::Retry { .. }), E::GivenUp { failure })
                                                         => Ok(task_lost::give_up(row, failure, policy)),
        (S::FannedOut { .. }, E::ChildrenDone(outcome))  => Ok(children_done::settle(outcome, policy)),
        (S::Running { .. } | S::FannedOut { .. } | S::Waiting(_), E::Cancelled)
                                                         => Ok(cancelled::stop(row)),
        (S::Completed | S::Failed { .. } | S::Skipped(_), E::LaneTaken { successor }) if row.successor != *successor
                                                         => Ok(lane_taken::pass_on(*successor)),

        (_, E::Ready(_))                                 => Err(Rejection::AlreadyClaimed { step: path.clone(), status: row.status() }),
        (_, E::Finished { token_hash, .. })              => Err(step_finished::too_late(row, token_hash)),
        (_, E::Lost { .. } | E::RetryDue { .. } | E::TimeCome { .. } | E::Answered(_) | E::GivenUp { .. } | E::ChildrenDone(_) | E::LaneTaken { .. } | E::Cancelled)
                                                         => not_applicable(path, row.status(), event),
    }
}

fn not_applicable<T>(path: &StepPath, status: StepStatus, event: &StepEvent) -> Result<T, Rejection> {
    Err(Rejection::NotApplicable { step: path.clone(), status, event: event.name() })
}
