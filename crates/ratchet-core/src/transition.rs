//! What changes in the state.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    cached::CacheUse,
    execution::{Edit, Parent},
    ids::{Digest, Epoch, ExecutionId, StepId, TokenHash},
    output::{BlobRef, Outputs},
    status::ExecutionStatus,
    step::{Answer, Question, StepFailure, StepResult, Usage},
};

/// Why a step did not have to run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SkipReason {
    /// Its `when` was false.
    WhenFalse,
    /// The call asked for other steps only (`--until`, `--only`).
    NotSelected,
    /// Its list belongs to a failed run, and the run did not fail.
    NothingFailed,
    /// The run ends early, and its list is only for runs that failed.
    RunCancelled,
}

/// A change of a step's row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "change")]
pub enum StepTransition {
    /// The first attempt was claimed.
    Claimed {
        /// The hash of the attempt's token.
        token_hash: TokenHash,
        /// Of a child: whose lane it takes over.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        predecessor: Option<u32>,
        /// The run that the attempt is, where it is one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        execution: Option<ExecutionId>,
        /// The key that its result will be kept under, and why none was found there, where its step is cached.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cache: Option<Box<CacheUse>>,
    },
    /// The step's list was evaluated; its children start.
    FannedOut {
        /// How many children.
        count: u32,
        /// How many at once.
        lanes: u32,
        /// The list, in the blob store.
        items: BlobRef,
        /// The epoch whose settled children are taken over.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        adopts: Option<Epoch>,
    },
    /// It ended well.
    Succeeded {
        /// What it gave.
        result: StepResult,
        /// Of a child that never was claimed: whose lane it takes over.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        predecessor: Option<u32>,
        /// Of a child: who takes over its lane.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        successor: Option<u32>,
    },
    /// Its last attempt failed.
    Failed {
        /// Why.
        failure: StepFailure,
        /// Whether the run goes on all the same.
        continued: bool,
        /// What the attempt took.
        usage: Usage,
        /// Of a child that never was claimed: whose lane it takes over.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        predecessor: Option<u32>,
        /// Of a child: who takes over its lane.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        successor: Option<u32>,
    },
    /// An attempt failed and there will be another.
    RetryScheduled {
        /// Why it failed.
        failure: StepFailure,
        /// When the next may start.
        due: Timestamp,
        /// What the attempt took.
        usage: Usage,
    },
    /// An attempt reached a limit, and is gone on with once a person lets the run go on.
    Suspended {
        /// What it reached, with the session.
        failure: StepFailure,
        /// What the attempt took.
        usage: Usage,
    },
    /// The next attempt was claimed.
    Reclaimed {
        /// The hash of its token.
        token_hash: TokenHash,
        /// The run that the attempt is, where it is one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        execution: Option<ExecutionId>,
    },
    /// The attempt's task was lost and another attempt was claimed.
    LostAndReclaimed {
        /// The hash of its token.
        token_hash: TokenHash,
    },
    /// The attempt's task was lost and a person must decide.
    LostAndSuspended {
        /// The epoch in which that was found.
        found_in: Epoch,
    },
    /// It did not have to run.
    Skipped {
        /// Why.
        reason: SkipReason,
        /// Of a child: whose lane it takes over.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        predecessor: Option<u32>,
        /// Of a child: who takes over its lane.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        successor: Option<u32>,
    },
    /// It waits for a time, which is all that it does.
    WaitBegan {
        /// When that is.
        due: Timestamp,
        /// Of a child: whose lane it takes over.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        predecessor: Option<u32>,
    },
    /// It waits for a person's word.
    Asked {
        /// What is asked, of whom, and until when.
        question: Question,
        /// Of a child: whose lane it takes over.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        predecessor: Option<u32>,
    },
    /// A person said yes, which completes the step, or no, which fails it. Later steps read both.
    Answered {
        /// What they said.
        answer: Answer,
        /// Whether the run goes on all the same after a no.
        continued: bool,
    },
    /// A need failed or is blocked.
    Blocked,
    /// The run was cancelled before the step ended.
    Cancelled,
    /// Of a settled child: the one that was to take over its lane was taken already, so another does.
    LanePassed {
        /// Who.
        successor: Option<u32>,
    },
}

impl StepTransition {
    /// What the attempt used that ended with it, where it said so.
    pub fn usage(&self) -> Option<Usage> {
        match self {
            Self::Succeeded { result, .. } => Some(result.usage),
            Self::Failed { usage, .. } | Self::RetryScheduled { usage, .. } | Self::Suspended { usage, .. } => {
                Some(*usage)
            }
            Self::Claimed { .. }
            | Self::FannedOut { .. }
            | Self::Reclaimed { .. }
            | Self::LostAndReclaimed { .. }
            | Self::LostAndSuspended { .. }
            | Self::Skipped { .. }
            | Self::WaitBegan { .. }
            | Self::Asked { .. }
            | Self::Answered { .. }
            | Self::Blocked
            | Self::Cancelled
            | Self::LanePassed { .. } => None,
        }
    }
}

/// Why a run ends before its work is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// A person ended it.
    Cancelled,
    /// The run's `timeout` has passed.
    TimedOut,
    /// An assertion says that nothing is left to do: the run ends as a success.
    Succeeded,
    /// What stands under `finally` took longer than it may: nothing more runs.
    FinallyTimedOut,
}

/// A change of an execution's row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "change")]
pub enum ExecutionTransition {
    /// It was asked for.
    Created {
        /// Of the definition's text.
        definition: Digest,
        /// When the run's `timeout` passes; of one that waits for its turn it begins then.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        deadline: Option<Timestamp>,
        /// The concurrency group in which its turn must come before anything of it runs.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        group: Option<String>,
        /// The step that it was started for, where it was.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        parent: Option<Parent>,
        /// The files that it begins with.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tree: Option<Digest>,
    },
    /// Its turn in its group has come: its steps may start.
    TurnCame {
        /// When the run's `timeout` passes.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        deadline: Option<Timestamp>,
    },
    /// What runs is stopped, `finally` runs in a new epoch, then the run ends.
    EndingBegan {
        /// Why.
        ending: Ending,
        /// When `finally` must be done.
        deadline: Timestamp,
    },
    /// The work is over; what stands under `finally` began.
    FinallyBegan {
        /// When it must be done.
        deadline: Timestamp,
    },
    /// It waits for a person.
    Paused {
        /// Why, for people.
        reason: String,
        /// The step that it is about.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        step: Option<StepId>,
        /// When it is looked at again although nobody resumed it: only where an answer, not a resume, lets it go on.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        wake_at: Option<Timestamp>,
    },
    /// What it was paused for is there: it goes on in the same epoch.
    WentOn,
    /// The step that it was started for runs in a new epoch of its own run, and takes it over as it is.
    Adopted {
        /// The step as it is now.
        parent: Parent,
    },
    /// A new epoch began: it goes on.
    Resumed {
        /// Steps that run again, with all that depend on them, though they were done.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        reset_from: Vec<StepId>,
        /// When the run's `timeout` passes, which begins anew.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        deadline: Option<Timestamp>,
        /// The step that it goes on for, where one takes it over.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        parent: Option<Parent>,
        /// The definition that it follows from now on, where a person edited it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        edit: Option<Box<Edit>>,
        /// What changed meanwhile in the directory that it is about, as a tree: it is brought into the files that steps begin with from now on.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        files: Option<Digest>,
        /// What is added to the money of its budget, in US dollars.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        added_usd: Option<f64>,
    },
    /// It ended.
    Ended {
        /// How.
        status: ExecutionStatus,
        /// What it gave.
        outputs: Outputs,
        /// Whether a step failed that was told to let the run go on.
        continued: bool,
        /// Why the run failed although its steps did not: its outputs could not be evaluated.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        failure: Option<StepFailure>,
        /// The files as it left them.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tree: Option<Digest>,
    },
}
