//! Steps of executions that steps of the run are: each is called by the way to it, as in `deploy.migrate`.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use ratchet_core::{
    execution::ExecutionRow,
    ids::{ExecutionId, StepKey},
    step::StepRow,
};
use ratchet_engine::view::StepRows;

/// What is known of executions below the one that is shown.
#[derive(Debug, Default)]
pub(super) struct Names(Mutex<HashMap<ExecutionId, Way>>);

/// The way to an execution: the step of the run that it belongs to, and the names from there on.
#[derive(Debug, Clone)]
struct Way {
    root: StepKey,
    path: String,
}

/// A step below the run that is shown.
pub(super) struct Below {
    /// The step of the run that it belongs to.
    pub(super) root: StepKey,
    /// What it is called from the run.
    pub(super) path: String,
    /// The same from the step of the run.
    pub(super) name: String,
}

impl Names {
    /// Notes what a step starts. Gives the step's own name where it is below the run that is shown.
    pub(super) fn of_row(&self, row: &StepRow) -> Option<Below> {
        let below = self.of_key(&row.key);
        if let Some(execution) = &row.execution {
            let way = match &below {
                Some(below) => Way { root: below.root.clone(), path: below.path.clone() },
                None => Way { root: row.key.clone(), path: row.key.path.to_string() },
            };
            self.insert(execution, way);
        }
        below
    }

    /// The name of a step that is below the run that is shown.
    pub(super) fn of_key(&self, key: &StepKey) -> Option<Below> {
        let ways = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Way { root, path } = ways.get(&key.execution)?;
        let path = format!("{path}.{}", key.path);
        let name = path.strip_prefix(&format!("{}.", root.path)).unwrap_or(&path).to_owned();
        Some(Below { root: root.clone(), path, name })
    }

    /// Notes what was started before this process.
    pub(super) fn know(&self, step: &StepRows) {
        let root = &step.row.key;
        if let Some(execution) = &step.row.execution {
            self.insert(execution, Way { root: root.clone(), path: root.path.to_string() });
        }
        for child in step.children.iter().flatten() {
            if let Some(execution) = &child.execution {
                let path = format!("{}[{}]", root.path, child.index);
                self.insert(execution, Way { root: root.clone(), path });
            }
        }
    }

    /// Notes an execution that was started before this process, by the way to it from the run that is shown.
    pub(super) fn know_below(&self, run: &ExecutionRow, path: &str, execution: &ExecutionId) {
        let first = path.split('.').next().unwrap_or(path);
        let root = StepKey { execution: run.id.clone(), epoch: run.epoch, path: crate::nested::path(first) };
        self.insert(execution, Way { root, path: path.to_owned() });
    }

    fn insert(&self, execution: &ExecutionId, way: Way) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(execution.clone(), way);
    }
}
