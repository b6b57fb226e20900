//! What a run must remember to find its files and its agent again.

use std::path::PathBuf;

use ratchet_core::{execution::ExecutionRow, ids::ExecutionId};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{directory::StateDirectory, error::LocalError};

/// The local engine's part of a run's options (`RunOptions::place`). Fields that it does not know are other rooms' and are kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalPlace {
    /// The user's directory, absolute.
    pub workspace: PathBuf,
    /// Whether the run works in the directory itself.
    #[serde(default)]
    pub in_place: bool,
}

impl LocalPlace {
    /// Reads the options of a run.
    pub fn parse(execution: &ExecutionId, place: &Value) -> Result<Self, LocalError> {
        Self::deserialize(place)
            .map_err(|error| LocalError::Place { execution: execution.clone(), reason: error.to_string() })
    }

    /// Reads the options in a run's row.
    pub fn of(row: &ExecutionRow) -> Result<Self, LocalError> {
        Self::parse(&row.id, &row.options.place)
    }

    /// The root of the files that the steps of a run work on.
    pub fn root(&self, state: &StateDirectory, execution: &ExecutionId) -> PathBuf {
        if self.in_place { self.workspace.clone() } else { state.workspace(execution) }
    }
}
