//! The process that a person started: it waits for the engine, passes signals on, and ends as it ends.

use std::{
    fs::File,
    io::{self, Read},
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::process::{CommandExt, ExitStatusExt},
    },
    process::{self, ExitStatus},
};

use rustix::{
    fs::{Mode, OFlags, open},
    pipe::{PipeFlags, pipe_with},
    process::{
        Pid, Signal, getpid, kill_process, kill_process_group, set_child_subreaper, set_parent_process_death_signal,
    },
};

use super::{
    Choice, Supervision, failed, inherited, namespace,
    role::{Chain, GuardRole, ReaperRole, Role},
    signals::{PASSED_ON, Signals},
};
use crate::{
    error::LocalError,
    processes::{ProcessTable, end_all},
};

/// Ends with this where the engine was killed by a signal: as shells say it.
const SIGNAL_BASE: i32 = 128;

/// Starts those below and waits for them. Returns only where nobody is to be above the engine: then this process is the engine.
pub(super) fn run(choice: Choice) -> Result<Supervision, LocalError> {
    if choice == Choice::This(Supervision::None) {
        return Ok(Supervision::None);
    }
    let proc = open_proc()?;
    if choice != Choice::This(Supervision::Reaper)
        && let Some(ended) = try_namespace(&proc)?
    {
        end(ended);
    }
    if choice == Choice::This(Supervision::Namespace) {
        let reason = io::Error::other("this system does not let its user make one");
        return Err(failed("make a process namespace", reason));
    }
    let myself = getpid();
    set_child_subreaper(Some(myself)).map_err(|error| failed("adopt what an engine leaves", error))?;
    let chain = Chain::begin(Supervision::Reaper, &proc)?;
    let (started, ended) = start_and_wait(|ready| Role::Reaper(ReaperRole { chain, ready, in_user_namespace: false }))?;
    end_descendants();
    if !started {
        return Err(failed("start the reaper", io::Error::other("it ended before it was ready")));
    }
    end(ended)
}

/// Stands between the guard and the reaper of a user namespace: the guard itself stays outside, so that it can do without where this fails.
pub(super) fn run_in_user_namespace(role: GuardRole) -> Result<Supervision, LocalError> {
    let ready = inherited::take(role.ready).map_err(|error| failed("reach the guard", error))?;
    namespace::begin_in_user_namespace().map_err(|error| failed("make a user namespace", error))?;
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(|error| failed("tie a process to its guard", error))?;
    let chain = role.chain;
    let start = |ready| Role::Reaper(ReaperRole { chain, ready, in_user_namespace: true });
    let say_ready = || {
        // Where nobody reads it, the guard is gone.
        rustix::io::write(&ready, b".").map_err(|error| failed("reach the guard", error))?;
        Ok(())
    };
    let (_, ended) = start_and_wait_saying(start, say_ready)?;
    end(ended)
}

/// `None` where the system does not allow it.
fn try_namespace(proc: &OwnedFd) -> Result<Option<ExitStatus>, LocalError> {
    let chain = Chain::begin(Supervision::Namespace, proc)?;
    if namespace::begin().is_ok() {
        let (started, ended) =
            start_and_wait(|ready| Role::Reaper(ReaperRole { chain, ready, in_user_namespace: false }))?;
        if started {
            return Ok(Some(ended));
        }
        namespace::take_back().map_err(|error| failed("leave a process namespace", error))?;
        return Ok(None);
    }
    if !namespace::may_work_in_user_namespace() {
        return Ok(None);
    }
    let (started, ended) = start_and_wait(|ready| Role::Guard(GuardRole { chain, ready }))?;
    Ok(started.then_some(ended))
}

fn start_and_wait(role: impl FnOnce(i32) -> Role) -> Result<(bool, ExitStatus), LocalError> {
    start_and_wait_saying(role, || Ok(()))
}

/// Starts the process below in a group of its own, and says whether it got ready and how it ended. `say_ready` is called in between.
fn start_and_wait_saying(
    role: impl FnOnce(i32) -> Role,
    say_ready: impl FnOnce() -> Result<(), LocalError>,
) -> Result<(bool, ExitStatus), LocalError> {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC).map_err(|error| failed("make a pipe", error))?;
    inherited::pass_on(&write).map_err(|error| failed("pass a pipe on", error))?;
    let mut command = role(write.as_raw_fd()).command()?;
    command.process_group(0);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| failed("wait for the engine", error))?;
    runtime.block_on(async move {
        // Listened to before there is anybody to pass them to, so that none is lost and none ends this process alone.
        let mut signals = Signals::listen(&PASSED_ON).map_err(|error| failed("listen to signals", error))?;
        let mut child =
            tokio::process::Command::from(command).spawn().map_err(|error| failed("start the reaper", error))?;
        drop(write);
        let mut byte = [0];
        let is_ready = File::from(read).read(&mut byte).is_ok_and(|count| count == 1);
        if is_ready {
            say_ready()?;
        }
        let group = child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        loop {
            tokio::select! {
                ended = child.wait() => {
                    return ended.map(|ended| (is_ready, ended)).map_err(|error| failed("wait for the engine", error));
                }
                signal = signals.next() => if let Some(group) = group { pass_on(signal, group) },
            }
        }
    })
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
    let _ = end_all(|| table.descendants(process::id()), super::reaper::PATIENCE);
}

fn open_proc() -> Result<OwnedFd, LocalError> {
    open("/proc", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|error| failed("open /proc", error))
}

#[expect(clippy::exit, reason = "the guard ends as the engine ended, and has nothing to clean up")]
fn end(ended: ExitStatus) -> ! {
    process::exit(ended.code().unwrap_or_else(|| SIGNAL_BASE + ended.signal().unwrap_or_default()))
}
