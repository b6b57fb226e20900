use std::{path::Path, sync::Arc};

use jiff::Timestamp;
use ratchet_core::{
    artifact::{Artifact, ArtifactName, ArtifactRead, ArtifactVersion},
    budget::{AgentCall, Budget, BudgetRow},
    execution::ExecutionRow,
    group::{GroupRow, Member},
    ids::{Epoch, ExecutionId, StepKey},
    join::{JoinKey, JoinKind, JoinRow, NeedOutcome},
    step::{AttemptRow, StepRow, Usage},
};
use ratchet_engine::ports::{Committed, Conflict, Current, Expectation, StoreError, Write, WriteOutcome};
use serde::{Serialize, de::DeserializeOwned};

use super::{error::StoreFailure, kept::KeptRow};

/// A write as columns and text: made by the caller, so that the writer's thread only talks to the database.
#[derive(Debug)]
pub(super) enum RowWrite {
    Execution { row: Arc<ExecutionRow>, body: String, expect: Expectation },
    Step { row: Arc<StepRow>, body: String, expect: Expectation },
    Attempt { key: StepKey, attempt: u32, records: usize, body: String },
    Unite { key: JoinKey, arrival: JoinRow },
    EnterCall { owner: ExecutionId, call: AgentCall, budget: Budget },
    SettleCall { owner: ExecutionId, call: AgentCall, usage: Option<Usage> },
    TakeTurn { group: String, member: Member, waits: bool },
    LeaveGroup { group: String, execution: ExecutionId, epoch: Epoch },
    Artifact { artifact: Box<Artifact>, body: String },
    ReadArtifact(ArtifactRead),
    TagArtifact { artifact: ArtifactName, tag: String, number: Option<u64> },
    DropArtifact { artifact: ArtifactName, number: u64, uses: u64 },
}

impl RowWrite {
    pub(super) fn from_write(write: Write) -> Result<Self, StoreError> {
        Ok(match write {
            Write::Execution { row, expect } => Self::Execution { body: encode(&*row)?, row: row.into(), expect },
            Write::Step { row, expect } => Self::Step { body: encode(&*row)?, row: row.into(), expect },
            Write::Attempt(row) => {
                Self::Attempt { body: encode(&*row)?, attempt: row.attempt, records: row.records.len(), key: row.key }
            }
            Write::Unite { key, place, outcome } => Self::Unite { arrival: arrival(&key, place, outcome), key },
            Write::EnterCall { owner, call, budget } => Self::EnterCall { owner, call, budget },
            Write::SettleCall { owner, call, usage } => Self::SettleCall { owner, call, usage },
            Write::TakeTurn { group, member, waits } => Self::TakeTurn { group, member, waits },
            Write::LeaveGroup { group, execution, epoch } => Self::LeaveGroup { group, execution, epoch },
            Write::Artifact(artifact) => Self::Artifact { body: encode(&*artifact)?, artifact },
            Write::ReadArtifact(read) => Self::ReadArtifact(read),
            Write::TagArtifact { artifact, tag, number } => Self::TagArtifact { artifact, tag, number },
            Write::DropArtifact { artifact, number, uses } => Self::DropArtifact { artifact, number, uses },
        })
    }

    /// The row that it writes, where that can be kept.
    pub(super) fn kept(&self) -> Option<KeptRow> {
        match self {
            Self::Execution { row, .. } => Some(KeptRow::Execution(row.clone())),
            Self::Step { row, .. } => Some(KeptRow::Step(row.clone())),
            Self::Attempt { .. }
            | Self::Unite { .. }
            | Self::EnterCall { .. }
            | Self::SettleCall { .. }
            | Self::TakeTurn { .. }
            | Self::LeaveGroup { .. }
            | Self::Artifact { .. }
            | Self::ReadArtifact(_)
            | Self::TagArtifact { .. }
            | Self::DropArtifact { .. } => None,
        }
    }
}

/// What a commit did, its rows still text.
#[derive(Debug, Default)]
pub(super) struct Written {
    pub(super) applied: Vec<WriteOutcome>,
    pub(super) conflict: Option<(usize, Obstacle)>,
}

/// The row that stood in a write's way.
#[derive(Debug)]
pub(super) enum Obstacle {
    Absent,
    Execution(String),
    Step(String),
    Budget(Box<BudgetRow>),
    Artifact(Box<ArtifactVersion>),
}

impl Written {
    /// Reads the row that stood in the way, where one did.
    pub(super) fn decode(self, path: &Path) -> Result<Committed, StoreError> {
        let conflict = match self.conflict {
            None => None,
            Some((position, obstacle)) => {
                let current = match obstacle {
                    Obstacle::Absent => Current::Absent,
                    Obstacle::Execution(body) => {
                        Current::Execution(Box::new(decode::<ExecutionRow>(&body).map_err(|error| error.at(path))?))
                    }
                    Obstacle::Step(body) => {
                        Current::Step(Box::new(decode::<StepRow>(&body).map_err(|error| error.at(path))?))
                    }
                    Obstacle::Budget(row) => Current::Budget(row),
                    Obstacle::Artifact(version) => Current::Artifact(version),
                };
                Some(Conflict { position, current })
            }
        };
        Ok(Committed { applied: self.applied, conflict })
    }
}

/// A type whose rows are kept as JSON, with the word for them in an error.
pub(super) trait Row: DeserializeOwned {
    const NAME: &'static str;
}

impl Row for ExecutionRow {
    const NAME: &'static str = "an execution";
}

impl Row for StepRow {
    const NAME: &'static str = "a step";
}

impl Row for AttemptRow {
    const NAME: &'static str = "an attempt";
}

impl Row for BudgetRow {
    const NAME: &'static str = "a budget";
}

impl Row for GroupRow {
    const NAME: &'static str = "a concurrency group";
}

/// Reads a row's text.
pub(super) fn decode<T: Row>(body: &str) -> Result<T, StoreFailure> {
    serde_json::from_str(body)
        .map_err(|error| StoreFailure::Row(format!("the row of {} cannot be read: {error}", T::NAME)))
}

fn encode<T: Serialize>(row: &T) -> Result<String, StoreError> {
    serde_json::to_string(row)
        .map_err(|error| StoreError::Refused { action: "write a row".to_owned(), reason: error.to_string() })
}

/// A bucket with this arrival alone: what is united into the stored one.
fn arrival(key: &JoinKey, place: u32, outcome: NeedOutcome) -> JoinRow {
    let mut row = JoinRow::empty(key.clone());
    row.unite(place, outcome);
    row
}

/// The word for a join's kind in its column.
pub(super) fn kind(kind: JoinKind) -> &'static str {
    match kind {
        JoinKind::Needs => "needs",
        JoinKind::Children => "children",
    }
}

/// The item of a row's key in its column; -1 for a step that is no child.
pub(super) fn item(key: &StepKey) -> i64 {
    key.path.child.map_or(-1, i64::from)
}

/// A time in its column. What lies after the year 2262 counts as that year's.
pub(super) fn nanoseconds(time: Timestamp) -> i64 {
    i64::try_from(time.as_nanosecond()).unwrap_or(if time > Timestamp::UNIX_EPOCH { i64::MAX } else { i64::MIN })
}

/// A count in its column.
pub(super) fn integer(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
