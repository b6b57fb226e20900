//! What a run must remember so that its tasks find its files.

use ratchet_core::workflow::Workflow;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A deployment's part of a run's options (`RunOptions::place`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeployedPlace {
    /// Globs of what is no part of the run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
}

impl DeployedPlace {
    /// Of a run of a workflow.
    pub fn of_workflow(workflow: &Workflow) -> Self {
        Self { exclude: workflow.workspace.exclude.clone() }
    }

    /// As the options of a run have it; that of a run without any says nothing.
    pub fn of(place: &Value) -> Self {
        Self::deserialize(place).unwrap_or_default()
    }

    /// For the options of a run.
    pub fn to_value(&self) -> Value {
        serde_json::to_value(self).unwrap_or_default()
    }
}
