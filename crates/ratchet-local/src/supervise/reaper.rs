//! The process above the engine: the first of its namespace, or the one that adopts what the engine leaves.

use std::{io, os::fd::OwnedFd, process, time::Duration};

use rustix::process::{
    Pid, Signal, getpid, kill_process, kill_process_group, set_child_subreaper, set_parent_process_death_signal,
};

use super::{
    Above, Supervision,
    chain::{Chain, bury},
    failed,
    guard::{end, say_ready},
    namespace,
    signals::{GUARD_DIED, Signals},
    split::{Half, split},
};
use crate::{
    error::LocalError,
    processes::{ProcessTable, end_all},
};

/// How long what an engine leaves may take to be gone.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// Starts the engine, where this returns; waits for its end, ends all that it left, and ends as it ended.
pub(super) fn run(chain: Chain, ready: OwnedFd, in_user_namespace: bool) -> Result<Above, LocalError> {
    let is_namespace = chain.owner.supervision == Supervision::Namespace;
    if !is_namespace {
        set_child_subreaper(Some(getpid())).map_err(|error| failed("adopt what an engine leaves", error))?;
    } else if make_place(in_user_namespace).is_err() {
        // The guard goes on without.
        end(1);
    }
    let death = if is_namespace { Signal::KILL } else { GUARD_DIED };
    set_parent_process_death_signal(Some(death)).map_err(|error| failed("tie the reaper to its guard", error))?;
    // Where nobody reads it, the guard died before it could be noticed.
    say_ready(&ready)?;
    drop(ready);
    let reaper = getpid();
    let engine = match split().map_err(|error| failed("start the engine", error))? {
        Half::Below => return chain.settle(reaper),
        Half::Above(engine) => engine,
    };
    let code = watch(engine, is_namespace, &chain.signals).map_err(|error| failed("wait for the engine", error))?;
    if !is_namespace {
        end_descendants();
    }
    end(code)
}

/// Makes the namespace a place to work in, in which nobody may do more than the user may.
fn make_place(in_user_namespace: bool) -> io::Result<()> {
    namespace::mount_proc()?;
    if in_user_namespace {
        namespace::drop_capabilities()?;
    }
    Ok(())
}

/// Waits for the engine's end and says what it ended with; buries whatever else ends.
fn watch(engine: Pid, is_namespace: bool, signals: &Signals) -> io::Result<i32> {
    loop {
        match signals.next()? {
            Signal::CHILD => {
                if let Some(code) = bury(engine) {
                    return Ok(code);
                }
            }
            // The engine has these already: the guard gave them to the whole group. What it started is in groups of its own.
            Signal::TSTP => send_to_all(Signal::STOP, is_namespace),
            Signal::CONT => send_to_all(Signal::CONT, is_namespace),
            GUARD_DIED if !is_namespace => {
                end_descendants();
                return Ok(128 + Signal::KILL.as_raw());
            }
            _ => {}
        }
    }
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
