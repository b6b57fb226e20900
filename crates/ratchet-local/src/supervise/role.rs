//! Which of the processes this one is: what the one above wrote into its environment.

use std::{
    env,
    ffi::OsString,
    os::{
        fd::{OwnedFd, RawFd},
        unix::process::CommandExt,
    },
    path::PathBuf,
    process::Command,
};

use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};
use serde::{Deserialize, Serialize};

use super::{Above, Supervision, failed, inherited};
use crate::{error::LocalError, lock::Owner, processes::ProcessTable};

const ROLE_VARIABLE: &str = "RATCHET_ROLE";

/// What a process is to be. A process without a role is the one that a person started.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Role {
    /// Makes a user namespace for those below, which the guard itself must not be in.
    Guard(GuardRole),
    /// Stands between guard and engine.
    Reaper(ReaperRole),
    /// Does the work.
    Engine(EngineRole),
}

/// What every role passes on.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Chain {
    /// The process that the person started.
    pub(super) owner: Owner,
    /// A descriptor of `/proc` as that process sees it.
    pub(super) proc: RawFd,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct GuardRole {
    pub(super) chain: Chain,
    /// Where it says that it, and the reaper below it, are ready.
    pub(super) ready: RawFd,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ReaperRole {
    pub(super) chain: Chain,
    pub(super) ready: RawFd,
    /// Whether it may do more than its user may, and must give that up.
    pub(super) in_user_namespace: bool,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct EngineRole {
    pub(super) chain: Chain,
    /// The reaper's number, as the engine sees it.
    pub(super) reaper: u32,
}

impl Role {
    /// The role that the process above gave this one.
    pub(super) fn of_this_process() -> Option<Self> {
        serde_json::from_str(&env::var(ROLE_VARIABLE).ok()?).ok()
    }

    /// This program again, with the same arguments, in this role.
    pub(super) fn command(&self) -> Result<Command, LocalError> {
        let mut arguments = env::args_os();
        let name = arguments.next().unwrap_or_else(|| OsString::from("ratchet"));
        // By its path, so that it keeps its name in lists of processes; the link works also where the file was replaced meanwhile.
        let program =
            env::current_exe().ok().filter(|path| path.exists()).unwrap_or_else(|| PathBuf::from("/proc/self/exe"));
        let role = serde_json::to_string(self).map_err(|error| failed("say what a process is to be", error))?;
        let mut command = Command::new(program);
        command.arg0(name).args(arguments).env(ROLE_VARIABLE, role);
        Ok(command)
    }
}

impl EngineRole {
    /// Dies with the reaper from now on, and learns who stands above.
    pub(super) fn settle(self) -> Result<Above, LocalError> {
        set_parent_process_death_signal(Some(Signal::KILL))
            .map_err(|error| failed("tie the engine to its reaper", error))?;
        let parent = getppid().map(Pid::as_raw_pid).and_then(|pid| u32::try_from(pid).ok());
        if parent != Some(self.reaper) {
            return Err(failed("run without its reaper", std::io::Error::other("it is gone already")));
        }
        let proc = inherited::take(self.chain.proc).map_err(|error| failed("see the processes above", error))?;
        let table = table_of(proc);
        let reaper = table.own().and_then(|own| table.process(own.parent)).map(|process| process.name());
        Ok(Above { owner: Owner { reaper, ..self.chain.owner }, table })
    }
}

/// The processes below a descriptor of `/proc`, which stays open as long as this process lives.
fn table_of(proc: OwnedFd) -> ProcessTable {
    use std::os::fd::IntoRawFd;
    ProcessTable::new(format!("/proc/self/fd/{}", proc.into_raw_fd()))
}

impl Chain {
    /// The chain that begins with this process.
    pub(super) fn begin(supervision: Supervision, proc: &OwnedFd) -> Result<Self, LocalError> {
        let proc = inherited::pass_on(proc).map_err(|error| failed("pass /proc on", error))?;
        Ok(Self { owner: supervision.owner(&ProcessTable::default()), proc })
    }
}
