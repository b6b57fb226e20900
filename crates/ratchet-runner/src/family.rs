//! The processes of an attempt: those of its group, and those that left the group and are known by what they carry in their environment.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io, process,
    sync::{Mutex, PoisonError},
    thread,
    time::Duration,
};

use rustix::process::{Pid, WaitOptions};
use tokio::process::Child;

use crate::process::Signal;

/// Variables that every process of an attempt carries and no other process does.
#[derive(Debug, Clone)]
pub(crate) struct Mark(Vec<String>);

impl Mark {
    /// The names of the variables that together mark a process.
    const NAMES: [&str; 3] = ["RATCHET_EXECUTION_ID", "RATCHET_STEP", "RATCHET_ATTEMPT"];

    /// The mark of processes with this environment.
    pub(crate) fn of(environment: &BTreeMap<String, String>) -> Self {
        let entry = |name: &str| environment.get(name).map(|value| format!("{name}={value}"));
        Self(Self::NAMES.into_iter().filter_map(entry).collect())
    }

    fn is_on(&self, pid: i32) -> bool {
        let Some(environment) = environment(pid) else { return false };
        let entries: BTreeSet<&[u8]> = environment.split(|byte| *byte == 0).collect();
        self.0.len() == Self::NAMES.len() && self.0.iter().all(|entry| entries.contains(entry.as_bytes()))
    }
}

/// A process's environment. While a process becomes another program it has none for a while, and one that was opened before that moment is empty: so
/// the end of it is waited for, and what is empty is read again before that is believed.
fn environment(pid: i32) -> Option<Vec<u8>> {
    /// Of a millisecond each: the program's file may first have to come from a slow disk.
    const WAITS: usize = 200;
    const READINGS: usize = 3;
    let (mut waits, mut readings) = (0, 0);
    while waits < WAITS && readings < READINGS {
        let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
        if !environment.is_empty() {
            return Some(environment);
        }
        if is_becoming(pid) {
            waits += 1;
            thread::sleep(Duration::from_millis(1));
        } else {
            readings += 1;
            thread::yield_now();
        }
    }
    None
}

/// Whether a process is about to be another program: it has the program's file already and not yet its arguments. The kernel's own threads have neither,
/// and so has what is ending.
fn is_becoming(pid: i32) -> bool {
    let has_arguments = fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|arguments| !arguments.is_empty());
    !has_arguments && fs::read_link(format!("/proc/{pid}/exe")).is_ok()
}

/// The processes that runners in this process started and wait for. They are nobody's leavings.
static STARTED: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

/// Groups that were killed with nobody left to wait for their end: the next attempt does.
static ABANDONED: Mutex<Vec<Pid>> = Mutex::new(Vec::new());

/// A program and all that descends from it. Dropped before its end, it is killed.
pub(crate) struct Family {
    group: Option<Pid>,
    mark: Mark,
    /// Those that were found outside the group, with the time of their start: a number alone may be another process's later.
    found: Mutex<BTreeSet<(i32, u64)>>,
    is_over: bool,
}

impl Family {
    /// The family of a process that was just started as the head of a group of its own.
    pub(crate) fn of(child: &Child, mark: Mark) -> Self {
        let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let Some(group) = group {
            started().insert(group.as_raw_pid());
        }
        Self { group, mark, found: Mutex::default(), is_over: false }
    }

    /// Notes that the program itself has ended and was waited for.
    pub(crate) fn parent_ended(&self) {
        if let Some(group) = self.group {
            started().remove(&group.as_raw_pid());
        }
    }

    /// Notes that nothing of the family is left.
    pub(crate) fn all_ended(&mut self) {
        self.is_over = true;
    }

    /// Sends a signal to every process of the family that can be found.
    pub(crate) fn signal(&self, signal: Signal) {
        let signal = match signal {
            Signal::Terminate => rustix::process::Signal::TERM,
            Signal::Kill => rustix::process::Signal::KILL,
        };
        // Whoever is gone needs no signal.
        if let Some(group) = self.group {
            let _ = rustix::process::kill_process_group(group, signal);
        }
        for pid in self.look().living {
            let _ = rustix::process::kill_process(pid, signal);
        }
    }

    /// Whether a process of the family lives, the program itself having ended. Those that ended are waited for where that falls to this process.
    pub(crate) fn is_alive(&self) -> bool {
        if self.group.is_some_and(is_alive) {
            return true;
        }
        loop {
            let found = self.look();
            if !found.living.is_empty() {
                return true;
            }
            // What has just ended may have left orphans that came to this process after it looked.
            if !found.some_ended {
                return false;
            }
        }
    }

    /// Looks for processes that left the group and carry the mark. What was one of them stays one to its end, also while it ends and its environment
    /// can no longer be read.
    fn look(&self) -> Strays {
        abandoned().retain(|group| is_alive(*group));
        let mut strays = Strays { living: Vec::new(), some_ended: false };
        let mut known = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        for pid in candidates() {
            if started().contains(&pid) {
                continue;
            }
            let (Some(stat), Some(id)) = (Stat::of(pid), Pid::from_raw(pid)) else {
                // Its orphans were in a list of all processes, and are not in one of orphans.
                strays.some_ended |= adopts_orphans();
                continue;
            };
            let is_known = known.contains(&(pid, stat.started));
            if stat.is_zombie {
                // A known stray came to this process as an orphan, and so did what had a session of its own: nobody else waits for either.
                let is_orphan = || Stat::of(own_id()).is_some_and(|own| own.session != stat.session);
                if stat.parent == own_id() && (is_known || is_orphan()) {
                    let _ = rustix::process::waitpid(Some(id), WaitOptions::NOHANG);
                    strays.some_ended = true;
                }
            } else if is_known || self.mark.is_on(pid) {
                known.insert((pid, stat.started));
                strays.living.push(id);
            }
        }
        strays
    }
}

/// Whether a process of a group lives whose head has ended. What ended of it is waited for: it came to this process with the end of its parent.
fn is_alive(group: Pid) -> bool {
    while let Ok(Some(_)) = rustix::process::waitpgid(group, WaitOptions::NOHANG) {}
    rustix::process::test_kill_process_group(group).is_ok()
}

/// What was found outside the group.
struct Strays {
    living: Vec<Pid>,
    /// Whether a process ended while they were looked for.
    some_ended: bool,
}

impl Drop for Family {
    fn drop(&mut self) {
        self.parent_ended();
        if !self.is_over {
            self.signal(Signal::Kill);
            abandoned().extend(self.group);
        }
    }
}

/// Makes orphaned descendants of this process its children, so that what leaves its group is found cheaply and waited for.
pub(crate) fn adopt_orphans() -> io::Result<()> {
    if !adopts_orphans() {
        rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    }
    Ok(())
}

fn adopts_orphans() -> bool {
    process::id() == 1 || matches!(rustix::process::child_subreaper(), Ok(Some(_)))
}

/// Processes that may be strays: the orphans where they come to this process, else all there are.
fn candidates() -> Vec<i32> {
    if adopts_orphans()
        && let Some(orphans) = orphans()
    {
        orphans
    } else {
        everybody()
    }
}

/// The orphans that came to this process, where the kernel tells. They are children of its first thread, which lives as long as the process does.
fn orphans() -> Option<Vec<i32>> {
    let list = fs::read_to_string(format!("/proc/self/task/{}/children", process::id())).ok()?;
    Some(list.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect())
}

fn everybody() -> Vec<i32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let own = own_id();
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| *pid != own).collect()
}

fn own_id() -> i32 {
    rustix::process::getpid().as_raw_pid()
}

fn started() -> std::sync::MutexGuard<'static, BTreeSet<i32>> {
    STARTED.lock().unwrap_or_else(PoisonError::into_inner)
}

fn abandoned() -> std::sync::MutexGuard<'static, Vec<Pid>> {
    ABANDONED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What `/proc` says of a process.
struct Stat {
    is_zombie: bool,
    parent: i32,
    session: i32,
    /// Clock ticks from the machine's start.
    started: u64,
}

impl Stat {
    fn of(pid: i32) -> Option<Self> {
        let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name stands in parentheses and may hold anything.
        let mut fields = text.rsplit_once(')')?.1.split_ascii_whitespace();
        let state = fields.next()?;
        let parent = fields.next()?.parse().ok()?;
        let session = fields.nth(1)?.parse().ok()?;
        let started = fields.nth(15)?.parse().ok()?;
        Some(Self { is_zombie: state == "Z", parent, session, started })
    }
}

/// Every living process that carries a mark, on the whole machine.
#[cfg(test)]
pub(crate) fn marked(mark: &Mark) -> Vec<i32> {
    let lives = |pid: &i32| Stat::of(*pid).is_some_and(|stat| !stat.is_zombie);
    everybody().into_iter().filter(|pid| lives(pid) && mark.is_on(*pid)).collect()
}

/// Children of this process that ended and that nobody waited for.
#[cfg(test)]
pub(crate) fn zombies() -> Vec<i32> {
    let is_zombie = |pid: &i32| Stat::of(*pid).is_some_and(|stat| stat.is_zombie && stat.parent == own_id());
    everybody().into_iter().filter(is_zombie).collect()
}
