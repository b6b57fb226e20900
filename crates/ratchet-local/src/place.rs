//! What a run must remember to find its files and its agent again.

use std::path::{Path, PathBuf};

use ratchet_core::{execution::ExecutionRow, ids::ExecutionId};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::LocalError;

/// The local engine's part of a run's options (`RunOptions::place`). Fields that it does not know are other rooms' and are kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalPlace {
    /// The user's directory, absolute.
    pub workspace: PathBuf,
    /// Whether the run works in the directory itself.
    #[serde(default)]
    pub in_place: bool,
    /// The folder of the workflow's file, absolute: programs that it names by a relative path lie there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub definitions: Option<PathBuf>,
    /// The repository whose checkout the directory is, where it was made for the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkout: Option<Checkout>,
}

/// A repository, as a run found it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkout {
    /// Where it is.
    pub url: String,
    /// The commit; `None` where it has none yet.
    pub commit: Option<String>,
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

    /// Whether what the run changed goes into the directory at its end.
    pub fn is_applied(&self) -> bool {
        !self.in_place && self.checkout.is_none()
    }

    /// The folder of the workflow's file as the steps of a run find it, whose files they find at a path: in their own files, where it is a part of the user's directory.
    pub fn definitions(&self, files: &Path) -> Option<PathBuf> {
        let folder = self.definitions.as_ref()?;
        Some(match folder.strip_prefix(&self.workspace) {
            Ok(inside) => files.join(inside),
            Err(_) => folder.clone(),
        })
    }
}
