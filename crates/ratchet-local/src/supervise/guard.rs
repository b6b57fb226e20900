//! The process that a person started: it waits for the engine, passes signals on, and ends as it ends.

use std::{
    fs::File,
    io::{self, Read},
    os::fd::OwnedFd,
    process,
};

use rustix::{
    fs::{Mode, OFlags, open},
    pipe::{PipeFlags, pipe_with},
    process::{
        Pid, Signal, getpid, kill_process, kill_process_group, set_child_subreaper, set_parent_process_death_signal,
        setpgid,
    },
};

use super::{
    Above, Choice, Supervision,
    chain::{Chain, bury},
    failed, namespace, reaper,
    signals::{GUARD_DIED, Signals},
    split::{Half, split},
};
use crate::{
    error::LocalError,
    processes::{ProcessTable, end_all},
};

/// Starts those below and waits for them. Returns in the engine, and where nobody is to be above it: then this process is the engine.
pub(super) fn run(choice: Choice) -> Result<Option<Above>, LocalError> {
    if choice == Choice::This(Supervision::None) {
        return Ok(None);
    }
    if choice != Choice::This(Supervision::Reaper)
        && let Some(above) = try_namespace(begin(Supervision::Namespace)?)?
    {
        return Ok(Some(above));
    }
    if choice == Choice::This(Supervision::Namespace) {
        let reason = io::Error::other("this system does not let its user make one");
        return Err(failed("make a process namespace", reason));
    }
    set_child_subreaper(Some(getpid())).map_err(|error| failed("adopt what an engine leaves", error))?;
    let chain = begin(Supervision::Reaper)?;
    match start(&chain.signals, || Ok(()))? {
        Started::Below(ready) => reaper::run(chain, ready, false).map(Some),
        Started::Above { was_ready, code } => {
            end_descendants();
            if !was_ready {
                return Err(failed("start the reaper", io::Error::other("it ended before it was ready")));
            }
            end(code)
        }
    }
}

fn begin(supervision: Supervision) -> Result<Chain, LocalError> {
    let signals = Signals::hold().map_err(|error| failed("listen to signals", error))?;
    Ok(Chain::begin(supervision, open_proc()?, signals))
}

/// `None` where the system does not allow it.
fn try_namespace(chain: Chain) -> Result<Option<Above>, LocalError> {
    if namespace::begin().is_ok() {
        match start(&chain.signals, || Ok(()))? {
            Started::Below(ready) => return reaper::run(chain, ready, false).map(Some),
            Started::Above { was_ready: true, code } => end(code),
            Started::Above { .. } => {}
        }
        namespace::take_back().map_err(|error| failed("leave a process namespace", error))?;
        return Ok(None);
    }
    if !namespace::may_work_in_user_namespace() {
        return Ok(None);
    }
    match start(&chain.signals, || Ok(()))? {
        Started::Below(ready) => run_in_user_namespace(chain, &ready).map(Some),
        Started::Above { was_ready: true, code } => end(code),
        Started::Above { .. } => Ok(None),
    }
}

/// Stands between the guard and the reaper of a user namespace: the guard itself stays outside, so that it can do without where this fails.
fn run_in_user_namespace(chain: Chain, ready: &OwnedFd) -> Result<Above, LocalError> {
    if namespace::begin_in_user_namespace().is_err() {
        end(1);
    }
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(|error| failed("tie a process to its guard", error))?;
    match start(&chain.signals, || say_ready(ready))? {
        Started::Below(ready) => reaper::run(chain, ready, true),
        Started::Above { code, .. } => end(code),
    }
}

/// What [`start`] comes back with, in either process.
enum Started {
    /// In the new one: where it says that it is ready.
    Below(OwnedFd),
    /// In this one, when the new one has ended: with what, and whether it was ready before.
    Above { was_ready: bool, code: i32 },
}

/// Starts the process below in a group of its own and waits for its end. `once_ready` is called when it got ready.
fn start(signals: &Signals, once_ready: impl FnOnce() -> Result<(), LocalError>) -> Result<Started, LocalError> {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC).map_err(|error| failed("make a pipe", error))?;
    let below = match split().map_err(|error| failed("start the reaper", error))? {
        Half::Below => {
            setpgid(None, None).map_err(|error| failed("make a group of processes", error))?;
            return Ok(Started::Below(write));
        }
        Half::Above(below) => below,
    };
    drop(write);
    let was_ready = File::from(read).read(&mut [0]).is_ok_and(|count| count == 1);
    if was_ready {
        once_ready()?;
    }
    loop {
        match signals.next().map_err(|error| failed("wait for the engine", error))? {
            Signal::CHILD => {
                if let Some(code) = bury(below) {
                    return Ok(Started::Above { was_ready, code });
                }
            }
            GUARD_DIED => {}
            signal => pass_on(signal, below),
        }
    }
}

/// Tells the process above that this one can do its part. Where nobody reads it, that one is gone.
pub(super) fn say_ready(ready: &OwnedFd) -> Result<(), LocalError> {
    rustix::io::write(ready, b".").map_err(|error| failed("reach the guard", error))?;
    Ok(())
}

/// Gives a signal to those below. One that stops stops this process after them, so that a shell sees it stop.
fn pass_on(signal: Signal, group: Pid) {
    // Where they are gone, their end is noticed next.
    let _ = kill_process_group(group, signal);
    if signal == Signal::TSTP {
        let _ = kill_process(getpid(), Signal::STOP);
    }
}

/// Ends all that came to be below this process, where the reaper did not live to do it.
fn end_descendants() {
    let table = ProcessTable::default();
    // What cannot be ended is found by whoever takes the run over.
    let _ = end_all(|| table.descendants(process::id()), reaper::PATIENCE);
}

fn open_proc() -> Result<OwnedFd, LocalError> {
    open("/proc", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|error| failed("open /proc", error))
}

#[expect(clippy::exit, reason = "who stands above the engine ends as it ended, and has nothing to clean up")]
pub(super) fn end(code: i32) -> ! {
    process::exit(code)
}
