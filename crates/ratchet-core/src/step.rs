//! A step's row: what is known of one step in one epoch.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    cached::{CacheUse, Hit},
    history::{Chain, Record},
    ids::{Digest, Epoch, ExecutionId, StepKey, TokenHash},
    join::NeedOutcome,
    output::{BlobRef, Output, Outputs},
    status::StepStatus,
    transition::{SkipReason, StepTransition},
};

/// What kind of failure it was: what decides about another attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureClass {
    /// The process ended with this exit code (128 + n for signal n).
    Exit(i32),
    /// The attempt took longer than its `timeout`.
    Timeout,
    /// The agent's API was busy.
    RateLimited,
    /// The agent failed otherwise.
    AgentError,
    /// A request was answered with this status code.
    Status(u16),
    /// A condition was false.
    Assertion,
    /// A declared output was not there, or not of its type.
    Output,
    /// The process could not be started.
    Launch,
    /// An expression or template of the step could not be evaluated.
    Definition,
    /// A person said no.
    Rejected,
    /// Steps that it needs changed one path to different content.
    Conflict,
}

/// Why an attempt failed. It is data: stored, and read by people and by the retry policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepFailure {
    /// What kind of failure it was.
    pub class: FailureClass,
    /// The stable code of the error's page in `docs/errors`, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// What happened, in one line or few.
    pub message: String,
    /// The last lines that the process wrote, or the values that a condition read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The files as the attempt left them, where it changed any: a tree in the blob store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tree: Option<Digest>,
    /// Where an agent's session is gone on from once a person lets the run go on: kept in the blob store. With it the step waits for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<Digest>,
}

impl StepFailure {
    /// A failure with nothing more to say than its message.
    pub fn new(class: FailureClass, message: impl Into<String>) -> Self {
        Self { class, code: None, message: message.into(), detail: None, hint: None, tree: None, session: None }
    }

    /// With the stable code of its page.
    #[must_use]
    pub fn with_code(mut self, code: impl Into<String>) -> Self {
        self.code = Some(code.into());
        self
    }

    /// With the last lines of output, or the values that were read.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// With what to do about it.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for StepFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// What an attempt gave when it succeeded.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct StepResult {
    /// By name.
    #[serde(default)]
    pub outputs: Outputs,
    /// Of the process, where there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// Times and costs.
    #[serde(default)]
    pub usage: Usage,
    /// What the step had to say although it succeeded (an assertion that only warns).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
    /// Whether with it ends as a success, although it is not done: the run, or the fan-out whose child it is. Of a fan-out: whether it ended so.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub concludes: bool,
    /// The result that stood in for it, where one did: then no attempt was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<Box<CacheUse>>,
    /// The files as the attempt left them, where it changed any: a tree in the blob store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tree: Option<Digest>,
    /// An agent's session, where another step goes on with it: kept in the blob store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<BlobRef>,
}

/// What an attempt took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// Milliseconds from the launch order to the process's start.
    #[serde(default)]
    pub start_ms: u64,
    /// Milliseconds that the process ran.
    #[serde(default)]
    pub process_ms: u64,
    /// Milliseconds from the process's end until its outputs were kept.
    #[serde(default)]
    pub capture_ms: u64,
    /// US dollars that an agent cost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_usd: Option<f64>,
    /// Tokens that an agent read and wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<u64>,
    /// Turns that an agent took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turns: Option<u32>,
}

impl Usage {
    /// This and another together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        fn sum<T: std::ops::Add<Output = T>>(one: Option<T>, other: Option<T>) -> Option<T> {
            match (one, other) {
                (Some(one), Some(other)) => Some(one + other),
                (one, other) => one.or(other),
            }
        }
        Self {
            start_ms: self.start_ms + other.start_ms,
            process_ms: self.process_ms + other.process_ms,
            capture_ms: self.capture_ms + other.capture_ms,
            cost_usd: sum(self.cost_usd, other.cost_usd),
            tokens: sum(self.tokens, other.tokens),
            turns: sum(self.turns, other.turns),
        }
    }
}

/// What a step asks a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    /// What is asked.
    pub message: String,
    /// Who may answer; empty for anybody.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approvers: Vec<String>,
    /// When it is too late.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due: Option<Timestamp>,
}

/// What a person said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Yes or no.
    pub approved: bool,
    /// What they had to say about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Who they are, as the edge that they came through proved or knows them.
    pub by: String,
}

impl Answer {
    /// The stable code of a step that a person said no to.
    pub const REJECTED: &'static str = "RT-0181";

    /// What later steps read of it: `approved`, `comment` and `by`.
    pub fn outputs(&self) -> Outputs {
        let comment = self.comment.clone().map_or(Value::Null, Value::String);
        let values =
            [("approved", Value::Bool(self.approved)), ("comment", comment), ("by", Value::String(self.by.clone()))];
        values.into_iter().map(|(name, value)| (name.to_owned(), Output::Json(value))).collect()
    }

    fn state(&self, continued: bool) -> StepState {
        if self.approved {
            return StepState::Completed;
        }
        let comment = self.comment.as_ref().map(|comment| format!(": {comment}")).unwrap_or_default();
        let failure = StepFailure::new(FailureClass::Rejected, format!("rejected by {}{comment}", self.by));
        StepState::Failed { failure: failure.with_code(Self::REJECTED), continued }
    }
}

/// Why a step waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Waiting {
    /// For the time of its next attempt.
    Retry {
        /// When that is.
        due: Timestamp,
    },
    /// For a person: its attempt was lost and its effect is unknown.
    Lost {
        /// The epoch in which that was found: whoever lets the run go on in a later one was told of it.
        found_in: Epoch,
    },
    /// For a person: its agent reached a limit, and goes on once the run does.
    Limit(Box<StepFailure>),
    /// For a time, which is all that it does.
    Time {
        /// When that is.
        due: Timestamp,
    },
    /// For a person's word.
    Approval(Question),
}

/// The state of a step that has a row. A step without one is pending.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepState {
    /// An attempt was claimed: whoever holds its token may report its end.
    Running {
        /// The hash of that token.
        token_hash: TokenHash,
    },
    /// Its children run.
    FannedOut {
        /// How many children it has.
        count: u32,
        /// How many of them may run at once.
        lanes: u32,
    },
    /// For a time, or for a person.
    Waiting(Waiting),
    /// It ended well.
    Completed,
    /// Its last attempt failed.
    Failed {
        /// Why.
        failure: StepFailure,
        /// Whether the run goes on all the same (`on_failure: continue`).
        continued: bool,
    },
    /// It did not have to run.
    Skipped(SkipReason),
    /// A need failed or is blocked.
    Blocked,
    /// The run was cancelled before it ended.
    Cancelled,
}

impl StepState {
    /// The word for it.
    pub fn status(&self) -> StepStatus {
        match self {
            Self::Running { .. } | Self::FannedOut { .. } => StepStatus::Running,
            Self::Waiting(_) => StepStatus::Waiting,
            Self::Completed => StepStatus::Completed,
            Self::Failed { .. } => StepStatus::Failed,
            Self::Skipped(_) => StepStatus::Skipped,
            Self::Blocked => StepStatus::Blocked,
            Self::Cancelled => StepStatus::Cancelled,
        }
    }
}

/// The row of a step in one epoch. It is what its records say, folded: [`StepRow::apply`] is the only thing that changes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepRow {
    /// Which step.
    pub key: StepKey,
    /// Where it stands.
    pub state: StepState,
    /// The number of the current attempt, from 1; 0 where none was made.
    pub attempt: u32,
    /// Attempts that failed.
    pub failures: u32,
    /// Attempts that were lost: they have a count of their own.
    pub losses: u32,
    /// What the step's needs said when it became ready.
    pub needs: NeedOutcome,
    /// The files that each of its attempts begins with: a tree in the blob store. `None` where the run works in the directory itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<Digest>,
    /// When the first attempt was claimed, or the step settled without one.
    pub started_at: Timestamp,
    /// When the step settled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settled_at: Option<Timestamp>,
    /// What it gave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<StepResult>,
    /// Of a step that fanned out: the list that its children work on, in the blob store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub items: Option<BlobRef>,
    /// Of a step that fanned out: the epoch whose settled children are taken over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adopts: Option<Epoch>,
    /// Of a child: the child whose lane it took over. Children without one began a lane.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub predecessor: Option<u32>,
    /// Of a settled child: the child that takes over its lane.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub successor: Option<u32>,
    /// The run that its current attempt is, where it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution: Option<ExecutionId>,
    /// The key of its result, and what was found under it, where the step is cached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<Box<CacheUse>>,
    /// The chain of its records, those of earlier attempts included.
    pub chain: Chain,
    /// The records of the current attempt, oldest first; those of earlier attempts moved into items of their own.
    pub records: Vec<Record<StepTransition>>,
}

impl StepRow {
    /// The number of changes that the row has seen: what a conditional write compares.
    pub fn revision(&self) -> u64 {
        self.chain.length
    }

    /// The word for where the step stands.
    pub fn status(&self) -> StepStatus {
        self.state.status()
    }

    /// Of a step whose children run: how many there are.
    pub fn children(&self) -> Option<u32> {
        match self.state {
            StepState::FannedOut { count, .. } => Some(count),
            _ => None,
        }
    }

    /// Of a step that waits: the time that it waits for, or until which.
    pub fn due(&self) -> Option<Timestamp> {
        match &self.state {
            StepState::Waiting(Waiting::Retry { due } | Waiting::Time { due }) => Some(*due),
            StepState::Waiting(Waiting::Approval(question)) => question.due,
            _ => None,
        }
    }

    /// What a person said to it, where it was answered.
    pub fn answer(&self) -> Option<&Answer> {
        self.records.iter().find_map(|record| match &record.transition {
            StepTransition::Answered { answer, .. } => Some(answer),
            _ => None,
        })
    }

    /// Whether the run, the fan-out whose child it is, or its own children end with it as a success.
    pub fn concludes(&self) -> bool {
        self.result.as_ref().is_some_and(|result| result.concludes)
    }

    /// The result that stood in for it, where one did.
    pub fn hit(&self) -> Option<&Hit> {
        self.cache.as_ref().and_then(|cache| cache.hit())
    }

    /// Of a step that fanned out: whether it ended before its children did, so that some may still run.
    pub fn left_children_behind(&self) -> bool {
        let ended_early = matches!(self.status(), StepStatus::Failed | StepStatus::Cancelled) || self.concludes();
        self.items.is_some() && ended_early
    }

    /// The files that those see that need it, once it is settled: as it left them; as it found them, where it changed none, or failed and was passed over.
    pub fn tree(&self) -> Option<&Digest> {
        let left = match &self.state {
            StepState::Completed => self.result.as_ref().and_then(|result| result.tree.as_ref()),
            StepState::Failed { failure, continued: false } => failure.tree.as_ref(),
            _ => None,
        };
        left.or(self.base.as_ref())
    }

    /// What its agent stopped at that is gone on with in another epoch: its last attempt reached a limit.
    pub fn suspended(&self) -> Option<&StepFailure> {
        self.records.iter().rev().find_map(|record| match &record.transition {
            StepTransition::Suspended { failure, .. } => Some(failure),
            _ => None,
        })
    }

    /// What the step tells those that need it, once it is settled.
    pub fn outcome(&self) -> Option<NeedOutcome> {
        let above = self.needs;
        let fine = NeedOutcome { satisfied: true, ..above };
        let broken = NeedOutcome { satisfied: false, failed_above: true, ..above };
        match &self.state {
            StepState::Running { .. } | StepState::FannedOut { .. } | StepState::Waiting(_) => None,
            StepState::Completed | StepState::Skipped(_) => Some(fine),
            StepState::Failed { continued: true, .. } => Some(NeedOutcome { continued_above: true, ..fine }),
            StepState::Failed { continued: false, .. } | StepState::Blocked | StepState::Cancelled => Some(broken),
        }
    }

    /// The row that a first transition makes.
    pub fn first(key: StepKey, record: Record<StepTransition>, needs: NeedOutcome, base: Option<Digest>) -> Self {
        let mut row = Self {
            key,
            state: StepState::Blocked,
            attempt: 0,
            failures: 0,
            losses: 0,
            needs,
            base,
            started_at: record.at,
            settled_at: None,
            result: None,
            items: None,
            adopts: None,
            predecessor: None,
            successor: None,
            execution: None,
            cache: None,
            chain: Chain::EMPTY,
            records: Vec::new(),
        };
        row.apply(record);
        row
    }

    /// Changes the row as a record says.
    pub fn apply(&mut self, record: Record<StepTransition>) {
        match &record.transition {
            StepTransition::Claimed { token_hash, predecessor, execution, cache } => {
                self.attempt += 1;
                self.cache.clone_from(cache);
                self.execution.clone_from(execution);
                self.predecessor = *predecessor;
                self.state = StepState::Running { token_hash: token_hash.clone() };
            }
            StepTransition::FannedOut { count, lanes, items, adopts } => {
                self.attempt += 1;
                self.items = Some(items.clone());
                self.adopts = *adopts;
                self.state = StepState::FannedOut { count: *count, lanes: *lanes };
            }
            StepTransition::Succeeded { result, predecessor, successor } => {
                self.state = StepState::Completed;
                self.result = Some(result.clone());
                if result.cache.is_some() {
                    self.cache.clone_from(&result.cache);
                }
                self.predecessor = self.predecessor.or(*predecessor);
                self.successor = *successor;
                self.attempt = self.attempt.max(1);
            }
            StepTransition::Failed { failure, continued, usage, predecessor, successor } => {
                self.failures += 1;
                self.attempt = self.attempt.max(1);
                self.predecessor = self.predecessor.or(*predecessor);
                self.successor = *successor;
                self.state = StepState::Failed { failure: failure.clone(), continued: *continued };
                self.result = Some(StepResult { usage: *usage, ..StepResult::default() });
            }
            StepTransition::RetryScheduled { due, .. } => {
                self.failures += 1;
                self.state = StepState::Waiting(Waiting::Retry { due: *due });
            }
            StepTransition::Reclaimed { token_hash, execution } => {
                self.attempt += 1;
                self.execution.clone_from(execution);
                self.records.clear();
                self.state = StepState::Running { token_hash: token_hash.clone() };
            }
            StepTransition::LostAndReclaimed { token_hash } => {
                self.attempt += 1;
                self.losses += 1;
                self.records.clear();
                self.state = StepState::Running { token_hash: token_hash.clone() };
            }
            StepTransition::Suspended { failure, .. } => {
                self.failures += 1;
                self.state = StepState::Waiting(Waiting::Limit(Box::new(failure.clone())));
            }
            StepTransition::LostAndSuspended { found_in } => {
                self.losses += 1;
                self.state = StepState::Waiting(Waiting::Lost { found_in: *found_in });
            }
            StepTransition::Skipped { reason, predecessor, successor } => {
                self.state = StepState::Skipped(reason.clone());
                self.predecessor = *predecessor;
                self.successor = *successor;
            }
            StepTransition::WaitBegan { due, predecessor } => {
                self.attempt = 1;
                self.predecessor = *predecessor;
                self.state = StepState::Waiting(Waiting::Time { due: *due });
            }
            StepTransition::Asked { question, predecessor } => {
                self.attempt = 1;
                self.predecessor = *predecessor;
                self.state = StepState::Waiting(Waiting::Approval(question.clone()));
            }
            StepTransition::Answered { answer, continued } => {
                self.failures += u32::from(!answer.approved);
                self.state = answer.state(*continued);
                self.result = Some(StepResult { outputs: answer.outputs(), ..StepResult::default() });
            }
            StepTransition::Blocked => self.state = StepState::Blocked,
            StepTransition::Cancelled => self.state = StepState::Cancelled,
            StepTransition::LanePassed { successor } => self.successor = *successor,
        }
        if self.settled_at.is_none() && self.status().is_settled() {
            self.settled_at = Some(record.at);
        }
        self.chain = Chain { length: record.number, head: record.hash.clone() };
        self.records.push(record);
    }
}

/// An earlier attempt of a step, moved out of its row so that the row stays small.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AttemptRow {
    /// Which step.
    pub key: StepKey,
    /// Which attempt of it.
    pub attempt: u32,
    /// Its records, oldest first.
    pub records: Vec<Record<StepTransition>>,
}
