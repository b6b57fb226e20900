//! The words for where a step and an execution stand.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Where a step stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepStatus {
    /// Its needs are not all there yet.
    Pending,
    /// An attempt was launched, or its children run.
    Running,
    /// For a time, or for a person.
    Waiting,
    /// It ended well.
    Completed,
    /// Its last attempt failed.
    Failed,
    /// Its `when` was false.
    Skipped,
    /// A need failed or is blocked.
    Blocked,
    /// The run was cancelled before it ended.
    Cancelled,
}

impl StepStatus {
    /// All of them, in the order of a step's life.
    pub const ALL: [Self; 8] = [
        Self::Pending,
        Self::Running,
        Self::Waiting,
        Self::Completed,
        Self::Failed,
        Self::Skipped,
        Self::Blocked,
        Self::Cancelled,
    ];

    /// Whether nothing more happens to the step in its epoch.
    pub fn is_settled(self) -> bool {
        match self {
            Self::Pending | Self::Running | Self::Waiting => false,
            Self::Completed | Self::Failed | Self::Skipped | Self::Blocked | Self::Cancelled => true,
        }
    }

    /// The word that people and JSON see.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::Blocked => "blocked",
            Self::Cancelled => "cancelled",
        }
    }
}

impl fmt::Display for StepStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where an execution stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExecutionStatus {
    /// Steps run, or will.
    Running,
    /// A limit or a lost attempt stopped it; a person resumes it.
    Paused,
    /// It ended well.
    Completed,
    /// A step failed.
    Failed,
    /// A person ended it.
    Cancelled,
}

impl ExecutionStatus {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Running, Self::Paused, Self::Completed, Self::Failed, Self::Cancelled];

    /// Whether the execution has ended (a resume begins a new epoch of it).
    pub fn is_ended(self) -> bool {
        match self {
            Self::Running | Self::Paused => false,
            Self::Completed | Self::Failed | Self::Cancelled => true,
        }
    }

    /// The word that people and JSON see.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

impl fmt::Display for ExecutionStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
