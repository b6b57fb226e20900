//! What the processes from the guard down to the engine share.

use std::{
    io,
    os::fd::{IntoRawFd, OwnedFd},
};

use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, getppid, set_parent_process_death_signal, wait};

use super::{Above, Supervision, failed, signals, signals::Signals};
use crate::{error::LocalError, lock::Owner, processes::ProcessTable};

/// What every process of the chain has from the one above it.
pub(super) struct Chain {
    /// The process that the person started, and what ends steps' processes.
    pub(super) owner: Owner,
    /// `/proc` as that process sees it.
    pub(super) proc: OwnedFd,
    /// What is held back in all of them but the engine.
    pub(super) signals: Signals,
}

impl Chain {
    /// The chain that begins with this process.
    pub(super) fn begin(supervision: Supervision, proc: OwnedFd, signals: Signals) -> Self {
        Self { owner: supervision.owner(&ProcessTable::default()), proc, signals }
    }

    /// Makes this process the engine: it dies with the reaper from now on, and knows who stands above.
    pub(super) fn settle(self, reaper: Pid) -> Result<Above, LocalError> {
        signals::let_through().map_err(|error| failed("listen to signals", error))?;
        set_parent_process_death_signal(Some(Signal::KILL))
            .map_err(|error| failed("tie the engine to its reaper", error))?;
        if getppid() != Some(reaper) {
            return Err(failed("run without its reaper", io::Error::other("it is gone already")));
        }
        // It stays open as long as this process lives.
        let table = ProcessTable::new(format!("/proc/self/fd/{}", self.proc.into_raw_fd()));
        let reaper = table.own().and_then(|own| table.process(own.parent)).map(|process| process.name());
        Ok(Above { owner: Owner { reaper, ..self.owner }, table })
    }
}

/// Takes note of every process that ended, and says what this child ended with, where it is among them.
pub(super) fn bury(child: Pid) -> Option<i32> {
    let mut code = None;
    while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
        if pid == child {
            code = Some(code_of(status));
        }
    }
    code
}

/// As shells say it: a process that was ended by a signal ended with 128 and its number.
fn code_of(status: WaitStatus) -> i32 {
    status.exit_status().or_else(|| status.terminating_signal().map(|signal| 128 + signal)).unwrap_or(1)
}
