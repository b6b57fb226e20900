use async_trait::async_trait;
use jiff::Timestamp;
use ratchet_core::{
    artifact::{Artifact, ArtifactName, ArtifactRead, ArtifactVersion},
    budget::{AgentCall, Budget, BudgetRow},
    execution::ExecutionRow,
    group::{GroupRow, Member},
    ids::{Epoch, ExecutionId, StepId, StepKey},
    join::{JoinKey, JoinRow, NeedOutcome},
    status::ExecutionStatus,
    step::{AttemptRow, StepRow, Usage},
};
use thiserror::Error;

use super::ArtifactStore;

/// The durable state of executions, row by row.
///
/// Contract of [`commit`](Self::commit): the writes are applied in their order, each as one conditional write of one row. The first whose expectation
/// does not hold ends the sequence: it and what follows it are not applied, what stands before it is. A crash leaves a prefix: a later
/// write is never there without the ones before it. When `commit` returns, what it applied survives a power loss. Two commits that
/// race for a row are put in an order: exactly one of two writes that expect the same revision is applied. Writes without a revision (a union, a budget's, a
/// group's) read the row and change it in one step: none is lost, whatever races with it.
///
/// Contract of the reads: every read sees all that was committed before it began, but for [`due`](Self::due) and
/// [`executions`](Self::executions), which read an index that may lag and are only hints.
#[async_trait]
pub trait StateStore: ArtifactStore {
    /// Applies writes in order, up to the first that conflicts.
    async fn commit(&self, writes: Vec<Write>) -> Result<Committed, StoreError>;

    /// The row of an execution.
    async fn execution(&self, id: &ExecutionId) -> Result<Option<ExecutionRow>, StoreError>;

    /// The row of one step in one epoch.
    async fn step(&self, key: &StepKey) -> Result<Option<StepRow>, StoreError>;

    /// For each of some steps (never children) its row of the newest epoch up to `epoch`, where it has one. In the order asked.
    async fn newest_steps(
        &self,
        id: &ExecutionId,
        epoch: Epoch,
        steps: &[StepId],
    ) -> Result<Vec<Option<StepRow>>, StoreError>;

    /// Every step's row of every epoch, without children, by page and in an order of the store's own: `after` is the last key of the page before.
    async fn steps(&self, id: &ExecutionId, after: Option<&StepKey>, limit: usize)
    -> Result<Page<StepRow>, StoreError>;

    /// The rows of a fan-out's children in one epoch, in the order of their items, from item `from` on.
    async fn children(
        &self,
        id: &ExecutionId,
        epoch: Epoch,
        step: &StepId,
        from: u32,
        limit: usize,
    ) -> Result<Vec<StepRow>, StoreError>;

    /// The highest item of a fan-out whose child has a row. Where children that start at once leave a gap, it may be the last one before that.
    async fn last_child(&self, id: &ExecutionId, epoch: Epoch, step: &StepId) -> Result<Option<u32>, StoreError>;

    /// A bucket of a join.
    async fn join(&self, key: &JoinKey) -> Result<Option<JoinRow>, StoreError>;

    /// The earlier attempts of a step, oldest first. The current one may be among them, where a handler lost the race for the next: it is the row's own.
    async fn attempts(&self, key: &StepKey) -> Result<Vec<AttemptRow>, StoreError>;

    /// What was spent of an execution's budget; `None` where no attempt was entered.
    async fn budget(&self, owner: &ExecutionId) -> Result<Option<BudgetRow>, StoreError>;

    /// Who is in a concurrency group; `None` where nobody is.
    async fn group(&self, name: &str) -> Result<Option<GroupRow>, StoreError>;

    /// Executions by the time at which they were asked for, newest first; of one moment, by identifier. `after` is the last identifier of the page before. May lag.
    async fn executions(
        &self,
        filter: &ExecutionFilter,
        after: Option<&ExecutionId>,
        limit: usize,
    ) -> Result<Page<ExecutionRow>, StoreError>;

    /// Executions whose `wake_at` is not after `now`, earliest first. May lag.
    async fn due(&self, now: Timestamp, limit: usize) -> Result<Vec<ExecutionId>, StoreError>;
}

/// Which executions are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExecutionFilter {
    /// Of this workflow only.
    pub workflow: Option<String>,
    /// That stand here only.
    pub status: Option<ExecutionStatus>,
    /// Without those that steps of others started.
    pub roots_only: bool,
}

/// A part of a long answer.
#[derive(Debug, Clone)]
pub struct Page<T> {
    /// The rows.
    pub rows: Vec<T>,
    /// Whether there are more after the last.
    pub more: bool,
}

/// What a conditional write expects of the row that it replaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expectation {
    /// There is none.
    Absent,
    /// It is at this revision.
    Revision(u64),
}

/// A conditional write of one row.
#[derive(Debug, Clone, PartialEq)]
pub enum Write {
    /// Puts an execution's row.
    Execution {
        /// The row as it will be.
        row: Box<ExecutionRow>,
        /// What it replaces.
        expect: Expectation,
    },
    /// Puts a step's row.
    Step {
        /// The row as it will be.
        row: Box<StepRow>,
        /// What it replaces.
        expect: Expectation,
    },
    /// Puts an attempt's item. The same item again changes nothing and is no conflict; of two that differ, the one with more records stays (a handler
    /// that lost a race may have seen fewer), and the first of two as long.
    Attempt(Box<AttemptRow>),
    /// Unites an arrival into a bucket, which is made where it is not there. Never conflicts.
    Unite {
        /// The bucket.
        key: JoinKey,
        /// The place in it.
        place: u32,
        /// What arrived.
        outcome: NeedOutcome,
    },
    /// Enters an attempt into the budget of an execution ([`BudgetRow::enter`]), whose row is made where it is not there. Conflicts where a limit is reached, and
    /// shows the row.
    EnterCall {
        /// Whose budget it is.
        owner: ExecutionId,
        /// The attempt.
        call: AgentCall,
        /// What may be spent.
        budget: Budget,
    },
    /// Takes an attempt out of a budget and adds what it used ([`BudgetRow::settle`]), where it is in: so it counts once, however often that is written. Never
    /// conflicts.
    SettleCall {
        /// Whose budget it is.
        owner: ExecutionId,
        /// The attempt.
        call: AgentCall,
        /// What it used; `None` where it was given up before it was launched.
        usage: Option<Usage>,
    },
    /// Makes it an execution's turn in a group, or has it wait for that ([`GroupRow::take_turn`]). The row is made where it is not there. Never conflicts: the outcome says how
    /// the execution stands.
    TakeTurn {
        /// The group.
        group: String,
        /// The execution.
        member: Member,
        /// Whether it waits where its turn has not come.
        waits: bool,
    },
    /// Takes an execution out of a group ([`GroupRow::leave`]). A row that nobody is left in is gone with it. Never conflicts.
    LeaveGroup {
        /// The group.
        group: String,
        /// The execution.
        execution: ExecutionId,
        /// Where it asked for its turn in a later epoch it stays.
        epoch: Epoch,
    },
    /// Registers a version of an artifact under the next number, unless it is there already ([`Artifact::is`], [`Artifact::hands_on`]). Never conflicts: the outcome says
    /// which version it is.
    Artifact(Box<Artifact>),
    /// Notes that a run relies on a version from now on, which counts as a use each time. Conflicts where there is no such version.
    ReadArtifact(ArtifactRead),
    /// Gives a version a tag, which any other version of the name loses; `None` takes the tag away. Conflicts where there is no such version.
    TagArtifact {
        /// Of which artifact.
        artifact: ArtifactName,
        /// The tag.
        tag: String,
        /// Which version.
        number: Option<u64>,
    },
    /// Drops a version that nobody began to rely on since it was looked at. Its number is not given again. Conflicts where it is gone, or was used meanwhile, or has
    /// a tag.
    DropArtifact {
        /// Of which artifact.
        artifact: ArtifactName,
        /// Which version.
        number: u64,
        /// Its [`uses`](ArtifactVersion::uses) as they were seen.
        uses: u64,
    },
}

/// What a commit did.
#[derive(Debug, Clone, PartialEq)]
pub struct Committed {
    /// One entry for each write that was applied, in order.
    pub applied: Vec<WriteOutcome>,
    /// The write that ended the sequence, where one did.
    pub conflict: Option<Conflict>,
}

/// What an applied write left.
#[derive(Debug, Clone, PartialEq)]
pub enum WriteOutcome {
    /// The row is as it was given.
    Written,
    /// The bucket after the union.
    United(JoinRow),
    /// The budget's row, and whether the write changed it.
    Budget {
        /// As it is now; an empty one where there is none.
        row: BudgetRow,
        /// Whether this write made it so.
        changed: bool,
    },
    /// The group's row as it is now; an empty one where there is none.
    Group(GroupRow),
    /// The version that an artifact is.
    Artifact(Box<ArtifactVersion>),
}

/// A write whose expectation did not hold.
#[derive(Debug, Clone, PartialEq)]
pub struct Conflict {
    /// Its position in the commit.
    pub position: usize,
    /// The row that is there instead.
    pub current: Current,
}

/// The row that stood in the way.
#[derive(Debug, Clone, PartialEq)]
pub enum Current {
    /// None: it was expected to be there.
    Absent,
    /// An execution's.
    Execution(Box<ExecutionRow>),
    /// A step's.
    Step(Box<StepRow>),
    /// A budget of which a limit is reached.
    Budget(Box<BudgetRow>),
    /// A version that is in use.
    Artifact(Box<ArtifactVersion>),
}

/// Why the state could not be read or written.
#[derive(Debug, Error)]
pub enum StoreError {
    /// For now: the same call may succeed later.
    #[error("the state store is not available: {0}")]
    Unavailable(String),
    /// The place where the state lives refuses (read only, full, no access).
    #[error("the state store cannot {action}: {reason}")]
    Refused {
        /// What was tried: a fragment that reads after "cannot".
        action: String,
        /// What the system said.
        reason: String,
    },
    /// The state was written by a newer version of the engine.
    #[error("the state at {place} is of schema version {found}, and this version of ratchet knows up to {known}")]
    Newer {
        /// Where it is.
        place: String,
        /// Its version.
        found: u32,
        /// The newest that is known.
        known: u32,
    },
    /// What is stored is not what was written.
    #[error("the state at {place} is damaged: {reason}")]
    Damaged {
        /// Where it is.
        place: String,
        /// What is wrong.
        reason: String,
    },
}

impl StoreError {
    /// The stable code of the error's page in `docs/errors`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unavailable(_) => "RT-0200",
            Self::Refused { .. } => "RT-0201",
            Self::Newer { .. } => "RT-0202",
            Self::Damaged { .. } => "RT-0203",
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Unavailable(_) => "try again: what was committed is there, and a run goes on with `ratchet resume`",
            Self::Refused { .. } => {
                "make room or make the place writable; what was committed is there, and a run goes on with `ratchet resume`"
            }
            Self::Newer { .. } => "use the newer version of ratchet, or another state directory: --state-dir DIR",
            Self::Damaged { .. } => {
                "nothing was changed: restore the state from a copy, or move it away and begin anew"
            }
        }
    }
}
