//! The process above the engine: the first of its namespace, or the one that adopts what the engine leaves.

use std::{io, process, time::Duration};

use rustix::process::{
    Pid, Signal, WaitOptions, WaitStatus, getpid, kill_process, kill_process_group, set_child_subreaper,
    set_parent_process_death_signal, wait,
};

use super::{
    Supervision, failed, inherited, namespace,
    role::{EngineRole, ReaperRole, Role},
    signals::{PASSED_ON, Signals},
};
use crate::{
    error::LocalError,
    processes::{ProcessTable, end_all},
};

/// How long what an engine leaves may take to be gone.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// Told to a reaper without a namespace when its guard died: no person sends this one.
const GUARD_DIED: Signal = Signal::POWER;

/// Starts the engine, waits for its end, ends all that it left, and ends as it ended.
pub(super) fn run(role: ReaperRole) -> Result<Supervision, LocalError> {
    let ready = inherited::take(role.ready).map_err(|error| failed("reach the guard", error))?;
    let is_namespace = role.chain.owner.supervision == Supervision::Namespace;
    if is_namespace {
        namespace::mount_proc().map_err(|error| failed("mount /proc", error))?;
        if role.in_user_namespace {
            namespace::drop_capabilities().map_err(|error| failed("give capabilities up", error))?;
        }
    } else {
        set_child_subreaper(Some(getpid())).map_err(|error| failed("adopt what an engine leaves", error))?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| failed("wait for the engine", error))?;
    let code = runtime.block_on(async move {
        let listened: Vec<Signal> = PASSED_ON.into_iter().chain([Signal::CHILD, GUARD_DIED]).collect();
        let signals = Signals::listen(&listened).map_err(|error| failed("listen to signals", error))?;
        let death = if is_namespace { Signal::KILL } else { GUARD_DIED };
        set_parent_process_death_signal(Some(death)).map_err(|error| failed("tie the reaper to its guard", error))?;
        // Where nobody reads it, the guard died before it could be noticed.
        rustix::io::write(&ready, b".").map_err(|error| failed("reach the guard", error))?;
        drop(ready);
        let role = Role::Engine(EngineRole { chain: role.chain, reaper: process::id() });
        let engine = role.command()?.spawn().map_err(|error| failed("start the engine", error))?;
        Ok::<_, LocalError>(watch(engine.id(), is_namespace, signals).await)
    })?;
    if !is_namespace {
        end_descendants();
    }
    end(code)
}

/// Waits for the engine's end and says what it ended with; buries whatever else ends.
async fn watch(engine: u32, is_namespace: bool, mut signals: Signals) -> i32 {
    loop {
        match signals.next().await {
            Signal::CHILD => {
                if let Some(code) = bury(engine) {
                    return code;
                }
            }
            // The engine has these already: the guard gave them to the whole group. What it started is in groups of its own.
            Signal::TSTP => send_to_all(Signal::STOP, is_namespace),
            Signal::CONT => send_to_all(Signal::CONT, is_namespace),
            GUARD_DIED if !is_namespace => {
                end_descendants();
                return 128 + Signal::KILL.as_raw();
            }
            _ => {}
        }
    }
}

/// Takes note of every process that ended, and says what the engine ended with, where it is among them.
fn bury(engine: u32) -> Option<i32> {
    let mut code = None;
    while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
        if u32::try_from(pid.as_raw_pid()).ok() == Some(engine) {
            code = Some(code_of(status));
        }
    }
    code
}

fn code_of(status: WaitStatus) -> i32 {
    status.exit_status().or_else(|| status.terminating_signal().map(|signal| 128 + signal)).unwrap_or(1)
}

/// Stops or continues everything below.
fn send_to_all(signal: Signal, is_namespace: bool) {
    if is_namespace && getpid().is_init() {
        // For the first process of a namespace, "all" are those of the namespace, itself not among them.
        let _ = kill_process_group(Pid::INIT, signal);
        return;
    }
    for process in descendants().unwrap_or_default() {
        if let Some(pid) = i32::try_from(process.pid).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, signal);
        }
    }
}

fn descendants() -> io::Result<Vec<crate::processes::Process>> {
    ProcessTable::default().descendants(process::id())
}

fn end_descendants() {
    // What cannot be ended is found by whoever takes the run over.
    let _ = end_all(descendants, PATIENCE);
}

#[expect(clippy::exit, reason = "the reaper ends as the engine ended, and has nothing to clean up")]
fn end(code: i32) -> ! {
    process::exit(code)
}
