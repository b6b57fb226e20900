//! What happened, as far as it concerns one row.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    cached::CacheUse,
    execution::{Edit, Parent},
    ids::{Digest, Epoch, ExecutionId, StepId, TokenHash},
    output::{BlobRef, Outputs},
    step::{Answer, Question, StepFailure, StepResult, Usage},
    transition::{Ending, SkipReason},
};

/// Something happened to a step.
#[derive(Debug, Clone, PartialEq)]
pub enum StepEvent {
    /// All of its needs arrived, and its expressions were evaluated: this is what they say.
    Ready(Verdict),
    /// An attempt ended.
    Finished {
        /// The hash of the token that the report came with.
        token_hash: TokenHash,
        /// What came of it.
        outcome: Outcome,
        /// The randomness of the retry's jitter.
        chance: u32,
        /// Of a child: who would take over its lane.
        successor: Option<u32>,
    },
    /// The task of an attempt is gone and will not report.
    Lost {
        /// Which attempt.
        attempt: u32,
        /// The hash of a fresh token, for another attempt.
        token_hash: TokenHash,
        /// The epoch in which that was found.
        found_in: Epoch,
    },
    /// The time of the next attempt has come.
    RetryDue {
        /// The attempt that failed.
        attempt: u32,
        /// The hash of a fresh token.
        token_hash: TokenHash,
        /// The run that the next attempt is, where it is one.
        execution: Option<ExecutionId>,
    },
    /// The time that it waited for has come, or it is too late for an answer.
    TimeCome {
        /// Of a child: who would take over its lane.
        successor: Option<u32>,
    },
    /// A person gave the answer that it waits for.
    Answered(Answer),
    /// Its next attempt cannot be made: what it reads no longer says what to run.
    GivenUp {
        /// Why.
        failure: StepFailure,
    },
    /// All of its children settled, or one failed for all.
    ChildrenDone(Outcome),
    /// Of a settled child: who was to take over its lane was taken by another.
    LaneTaken {
        /// Who may take it over instead.
        successor: Option<u32>,
    },
    /// The run goes on without it: it was cancelled, resumed, or its siblings failed.
    Cancelled,
}

impl StepEvent {
    /// The word for it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Ready(_) => "StepReady",
            Self::Finished { .. } => "StepFinished",
            Self::Lost { .. } => "TaskLost",
            Self::RetryDue { .. } => "RetryDue",
            Self::TimeCome { .. } => "TimeCome",
            Self::Answered(_) => "Answered",
            Self::GivenUp { .. } => "GivenUp",
            Self::ChildrenDone(_) => "ChildrenDone",
            Self::LaneTaken { .. } => "LaneTaken",
            Self::Cancelled => "StepCancelled",
        }
    }
}

/// What a step's expressions said when all of its needs were there.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// It runs in a task.
    Run {
        /// The hash of the first attempt's token.
        token_hash: TokenHash,
        /// Of a child: whose lane it takes over.
        predecessor: Option<u32>,
        /// The run that it is, where it needs no task but is one.
        execution: Option<ExecutionId>,
        /// The key that its result will be kept under, where its step is cached.
        cache: Option<Box<CacheUse>>,
    },
    /// It runs once for each value of a list.
    FanOut {
        /// How many values.
        count: u32,
        /// How many children at once.
        lanes: u32,
        /// The values, in the blob store.
        items: BlobRef,
        /// The epoch whose settled children are taken over.
        adopts: Option<Epoch>,
    },
    /// The engine did it at once.
    Settle {
        /// What came of it.
        outcome: Outcome,
        /// Of a child: whose lane it takes over.
        predecessor: Option<u32>,
        /// Of a child: who takes over its lane.
        successor: Option<u32>,
    },
    /// It waits for a time.
    Wait {
        /// When that is.
        due: Timestamp,
        /// Of a child: whose lane it takes over.
        predecessor: Option<u32>,
    },
    /// It waits for a person's word.
    Ask {
        /// What is asked, of whom, and until when.
        question: Question,
        /// Of a child: whose lane it takes over.
        predecessor: Option<u32>,
    },
    /// It does not have to run.
    Skip {
        /// Why.
        reason: SkipReason,
        /// Of a child: whose lane it takes over.
        predecessor: Option<u32>,
        /// Of a child: who takes over its lane.
        successor: Option<u32>,
    },
    /// A need failed or is blocked.
    Block,
}

/// What came of an attempt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It ended well.
    Succeeded(StepResult),
    /// It did not.
    Failed {
        /// Why.
        failure: StepFailure,
        /// What it took.
        usage: Usage,
    },
    /// It was told to stop, and did.
    Stopped,
}

/// Something happened to an execution.
#[derive(Debug, Clone, PartialEq)]
pub enum ExecutionEvent {
    /// It is to end before its work is done.
    EndRequested {
        /// Why.
        ending: Ending,
    },
    /// The work is over, whatever came of it; what stands under `finally` begins.
    WorkOver,
    /// Its turn in its group has come.
    TurnCame,
    /// Others are in its way, and it does not wait for its turn.
    TurnRefused {
        /// Who they are.
        failure: StepFailure,
    },
    /// Something needs a person.
    PauseRequested {
        /// Why, for people.
        reason: String,
        /// The step that it is about.
        step: Option<StepId>,
        /// When it is looked at again, where an answer lets it go on.
        wake_at: Option<Timestamp>,
    },
    /// What it was paused for is there.
    PauseOver,
    /// The step that it was started for runs in a new epoch of its own run.
    Adopted {
        /// The step as it is now.
        parent: Parent,
    },
    /// A person wants it to go on.
    ResumeRequested {
        /// Steps that run again, with all that depend on them.
        reset_from: Vec<StepId>,
        /// The definition that it follows from now on, where that is another one. What no longer holds under it is among the steps that run again.
        edit: Option<Box<Edit>>,
        /// What changed meanwhile in the directory that it is about, as a tree: it is brought into the files that steps begin with from now on.
        files: Option<Digest>,
        /// What is added to the money of its budget, in US dollars.
        added_usd: Option<f64>,
    },
    /// Every step is settled.
    AllSettled {
        /// Whether one of them failed.
        failed: bool,
        /// Whether one failed that was told to let the run go on.
        continued: bool,
        /// What the run gave, or why that could not be evaluated.
        outputs: Result<Outputs, StepFailure>,
        /// The files as the steps left them.
        tree: Option<Digest>,
    },
}

impl ExecutionEvent {
    /// The word for it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::EndRequested { ending: Ending::Cancelled } => "CancelRequested",
            Self::EndRequested { ending: Ending::TimedOut } => "DeadlinePassed",
            Self::EndRequested { ending: Ending::Succeeded } => "NothingLeftToDo",
            Self::EndRequested { ending: Ending::FinallyTimedOut } => "FinallyDeadlinePassed",
            Self::WorkOver => "WorkOver",
            Self::TurnCame => "TurnCame",
            Self::TurnRefused { .. } => "TurnRefused",
            Self::PauseRequested { .. } => "PauseRequested",
            Self::PauseOver => "PauseOver",
            Self::Adopted { .. } => "Adopted",
            Self::ResumeRequested { .. } => "ResumeRequested",
            Self::AllSettled { .. } => "AllSettled",
        }
    }
}
