//! Events that no longer apply. They are logged and acknowledged: nothing is wrong when one comes.

use thiserror::Error;

use crate::{
    ids::{Epoch, StepPath},
    status::{ExecutionStatus, StepStatus},
};

/// Why an event changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Rejection {
    /// Another handler was first.
    #[error("{step} was claimed already and is {status}")]
    AlreadyClaimed {
        /// The step.
        step: StepPath,
        /// Where it stands.
        status: StepStatus,
    },
    /// The report of an attempt that no longer counts.
    #[error("the report is of an attempt of {step} that no longer counts: the step is {status}")]
    StaleAttempt {
        /// The step.
        step: StepPath,
        /// Where it stands.
        status: StepStatus,
    },
    /// The step has its result, from the very attempt that reports again.
    #[error("{step} has its result already")]
    AlreadyRecorded {
        /// The step.
        step: StepPath,
    },
    /// The step is not where the event finds it.
    #[error("{step} is {status}, so {event} does not apply")]
    NotApplicable {
        /// The step.
        step: StepPath,
        /// Where it stands.
        status: StepStatus,
        /// The event.
        event: &'static str,
    },
    /// Somebody answered who was not asked.
    #[error("{by} may not answer {step}: it asks {}", approvers.join(", "))]
    NotAsked {
        /// The step.
        step: StepPath,
        /// Who answered.
        by: String,
        /// Who may.
        approvers: Vec<String>,
    },
    /// The step was answered otherwise before.
    #[error("{step} was {} by {by} already", if *approved { "approved" } else { "rejected" })]
    AnsweredOtherwise {
        /// The step.
        step: StepPath,
        /// What was said.
        approved: bool,
        /// Who said it.
        by: String,
    },
    /// The event is of an epoch that a cancel or a resume has ended.
    #[error("the event is of epoch {event}, and the execution is in epoch {current}")]
    OldEpoch {
        /// The event's.
        event: Epoch,
        /// The execution's.
        current: Epoch,
    },
    /// The execution is not where the event finds it.
    #[error("the execution is {status}, so {event} does not apply")]
    ExecutionNotApplicable {
        /// Where it stands.
        status: ExecutionStatus,
        /// The event.
        event: &'static str,
    },
}
