//! What ends the processes of steps when their engine dies.
use crate::{lock::Owner, processes::ProcessTable};
use serde::{Deserialize, Serialize};

/// What ends the processes of steps when their engine dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Supervision {
    /// The kernel, with the process namespace that they live in.
    Namespace,
    /// A process above them.
    Reaper,
    /// Nothing.
    None,
}

impl Supervision {
    /// This process as the owner of a lock.
    pub fn owner(self, table: &ProcessTable) -> Owner {
        let pid = std::process::id();
        Owner { pid, started: table.process(pid).map_or(0, |process| process.started), supervision: self }
    }
}
