//! Steps' processes die with their engine.
//!
//! The command that a person starts (the *guard*) does not do the work. It makes a *reaper* out of itself, which makes the *engine* out of itself: the
//! same program, at the same place of it. Where the kernel allows it, the reaper is the first process of a process namespace, so that the kernel itself ends every
//! process of every step when the guard, the reaper or the engine dies, whatever those processes did to get away. Elsewhere guard and reaper adopt what the
//! engine leaves and end it. `docs/decisions/0003-steps-die-with-their-engine.md` says why it is so.

mod chain;
mod guard;
mod namespace;
mod reaper;
mod signals;
mod split;
#[cfg(test)]
mod tests;

use std::{fs, path::Path, sync::OnceLock};

use ratchet_core::ids::ExecutionId;
use serde::{Deserialize, Serialize};

use crate::{
    directory::StateDirectory,
    error::LocalError,
    lock::{EngineLock, Owner},
    processes::{ProcessName, ProcessTable, end_leftovers},
};

/// Chooses how steps are supervised: `namespace`, `reaper` or `none`. Unset: the best that this machine can do.
pub const CHOICE_VARIABLE: &str = "RATCHET_SUPERVISION";

/// What ends the processes of steps when their engine dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Supervision {
    /// The kernel, with the process namespace that they live in.
    Namespace,
    /// A process above them, unless it is killed in the same moment.
    Reaper,
    /// Nothing: whoever takes the run over looks for them.
    None,
}

impl Supervision {
    /// This very process as the owner of a lock.
    pub fn owner(self, table: &ProcessTable) -> Owner {
        let pid = std::process::id();
        let started = table.process(pid).map_or(0, |process| process.started);
        Owner { guard: ProcessName { pid, started }, reaper: None, supervision: self }
    }
}

/// What the engine knows of those above it.
struct Above {
    owner: Owner,
    table: ProcessTable,
}

static ABOVE: OnceLock<Above> = OnceLock::new();

/// Puts this process under supervision. To be called early in `main`, before there is a thread.
///
/// In the process that a person started it never returns: it waits for the engine, passes signals on to it, and ends as it ends. In the engine it returns,
/// and the rest of `main` runs there. The engine is not in the terminal's foreground group: it may write to the terminal and not read from it.
pub fn enter(state_dir: &Path) -> Result<Supervision, LocalError> {
    if ABOVE.get().is_none() {
        end_orphans(&StateDirectory::new(state_dir))?;
        if let Some(above) = guard::run(Choice::from_environment()?)? {
            // Those above stay the same.
            let _ = ABOVE.set(above);
        }
    }
    Ok(current())
}

/// The name under which this process holds the locks of runs.
pub(crate) fn owner() -> Owner {
    ABOVE.get().map_or_else(|| Supervision::None.owner(&ProcessTable::default()), |above| above.owner.clone())
}

/// The processes that owners of locks are looked up in: those that the guard sees.
pub(crate) fn table() -> ProcessTable {
    ABOVE.get().map_or_else(ProcessTable::default, |above| above.table.clone())
}

/// What supervises this process.
pub fn current() -> Supervision {
    ABOVE.get().map_or(Supervision::None, |above| above.owner.supervision)
}

/// What the caller chose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Choice {
    Best,
    This(Supervision),
}

impl Choice {
    fn from_environment() -> Result<Self, LocalError> {
        match std::env::var(CHOICE_VARIABLE).as_deref() {
            Err(_) | Ok("") => Ok(Self::Best),
            Ok("namespace") => Ok(Self::This(Supervision::Namespace)),
            Ok("reaper") => Ok(Self::This(Supervision::Reaper)),
            Ok("none") => Ok(Self::This(Supervision::None)),
            Ok(other) => Err(LocalError::Supervision {
                action: format!("use {CHOICE_VARIABLE}={other}"),
                source: std::io::Error::other("it is none of namespace, reaper and none"),
            }),
        }
    }
}

/// Ends what engines left that died with nobody above them. From inside a namespace it could not be seen.
fn end_orphans(state: &StateDirectory) -> Result<(), LocalError> {
    let Ok(entries) = fs::read_dir(state.unsupervised()) else { return Ok(()) };
    for entry in entries.flatten() {
        let Ok(name) = entry.file_name().into_string() else { continue };
        let id = ExecutionId::new(name);
        if !EngineLock::is_held(state, &id) {
            end_leftovers(&ProcessTable::default(), state, &id)?;
            // Another process may have done the same.
            let _ = fs::remove_file(entry.path());
        }
    }
    Ok(())
}

fn failed(action: &str, source: impl Into<std::io::Error>) -> LocalError {
    LocalError::Supervision { action: action.to_owned(), source: source.into() }
}
