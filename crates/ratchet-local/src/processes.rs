//! The processes of this machine, as `/proc` shows them: to find and end what an engine left behind.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    fs, io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use ratchet_core::ids::ExecutionId;
use serde::{Deserialize, Serialize};

use rustix::process::{Pid, PidfdFlags, Signal, getpid, pidfd_open, pidfd_send_signal};

use crate::{directory::StateDirectory, error::LocalError, scratch};

/// The variable that marks every process of a run.
pub const EXECUTION_VARIABLE: &str = "RATCHET_EXECUTION_ID";

/// How long a killed process may take to be gone. A process in the middle of a disk access is not gone at once.
const KILL_PATIENCE: Duration = Duration::from_secs(10);

/// What names a process for good: numbers are used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessName {
    /// Its number.
    pub pid: u32,
    /// Clock ticks from the machine's start to its own.
    pub started: u64,
}

/// One process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// Its parent's number.
    pub parent: u32,
    /// Clock ticks from the machine's start to its own: with the number, a name that is never used again.
    pub started: u64,
    /// Whether it has ended and only waits to be noticed.
    pub zombie: bool,
}

impl Process {
    /// Its name for good.
    pub fn name(&self) -> ProcessName {
        ProcessName { pid: self.pid, started: self.started }
    }
}

/// A view of `/proc`.
#[derive(Debug, Clone)]
pub struct ProcessTable {
    root: PathBuf,
}

impl Default for ProcessTable {
    fn default() -> Self {
        Self::new("/proc")
    }
}

impl ProcessTable {
    /// The view that is mounted there.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Whether a process is there and has not ended.
    pub fn is_alive(&self, name: ProcessName) -> bool {
        self.process(name.pid).is_some_and(|process| process.name() == name && !process.zombie)
    }

    /// The process that reads this, by the number that it has in this view.
    pub fn own(&self) -> Option<Process> {
        self.process(fs::read_link(self.root.join("self")).ok()?.to_str()?.parse().ok()?)
    }

    /// A process by its number.
    pub fn process(&self, pid: u32) -> Option<Process> {
        let text = fs::read(self.root.join(pid.to_string()).join("stat")).ok()?;
        // The name stands in parentheses and may hold anything, so the fields are counted from its end.
        let after_name = text.iter().rposition(|byte| *byte == b')')? + 1;
        let mut fields = std::str::from_utf8(&text[after_name..]).ok()?.split_ascii_whitespace();
        let state = fields.next()?;
        let parent = fields.next()?.parse().ok()?;
        let started = fields.nth(17)?.parse().ok()?;
        Some(Process { pid, parent, started, zombie: matches!(state, "Z" | "X") })
    }

    /// All processes that are shown.
    pub fn all(&self) -> io::Result<Vec<Process>> {
        let mut processes = Vec::new();
        for entry in fs::read_dir(&self.root)? {
            let name = entry?.file_name();
            if let Some(process) = name.to_str().and_then(|name| name.parse().ok()).and_then(|pid| self.process(pid)) {
                processes.push(process);
            }
        }
        Ok(processes)
    }

    /// The living descendants of a process, not itself.
    pub fn descendants(&self, of: u32) -> io::Result<Vec<Process>> {
        let mut children: BTreeMap<u32, Vec<Process>> = BTreeMap::new();
        for process in self.all()? {
            children.entry(process.parent).or_default().push(process);
        }
        let (mut found, mut open) = (Vec::new(), vec![of]);
        while let Some(pid) = open.pop() {
            for process in children.remove(&pid).unwrap_or_default() {
                open.push(process.pid);
                found.push(process);
            }
        }
        found.retain(|process| !process.zombie);
        Ok(found)
    }

    /// The living processes of a run: those that carry its mark, and those that work in its folder. This process and those above it are not among
    /// them.
    pub fn of_execution(&self, state: &StateDirectory, id: &ExecutionId) -> io::Result<Vec<Process>> {
        let mark = Mark::new(state, id);
        let folder = state.execution(id);
        let above = self.above(getpid().as_raw_pid().unsigned_abs());
        let mut found = self.all()?;
        found.retain(|process| {
            !process.zombie
                && !above.contains(&process.pid)
                && (self.carries(process.pid, &mark)
                    || self.works_in(process.pid, state, &folder)
                    || self.sees(process.pid, &folder))
        });
        Ok(found)
    }

    fn above(&self, pid: u32) -> BTreeSet<u32> {
        let mut above = BTreeSet::new();
        let mut next = Some(pid);
        while let Some(pid) = next.filter(|pid| *pid != 0) {
            if !above.insert(pid) {
                break;
            }
            next = self.process(pid).map(|process| process.parent);
        }
        above
    }

    fn carries(&self, pid: u32, mark: &Mark) -> bool {
        // Another user's process cannot be read, and is none of ours.
        fs::read(self.root.join(pid.to_string()).join("environ")).is_ok_and(|environment| mark.is_in(&environment))
    }

    /// Whether a process sees the files of a run where a view shows them to it.
    fn sees(&self, pid: u32, folder: &Path) -> bool {
        // The kernel writes some bytes of a path as octal numbers.
        let written = |byte: u8| match byte {
            b' ' | b'\t' | b'\n' | b'\\' => format!("\\{byte:03o}").into_bytes(),
            other => vec![other],
        };
        let folder: Vec<u8> = folder.as_os_str().as_bytes().iter().copied().flat_map(written).chain([b'/']).collect();
        let mounts = fs::read(self.root.join(pid.to_string()).join("mountinfo")).unwrap_or_default();
        mounts.windows(folder.len()).any(|window| window == folder)
    }

    /// Whether a process works in the folder of a run, or in the scratch of an engine that is gone: none of those may be left of any run.
    fn works_in(&self, pid: u32, state: &StateDirectory, folder: &Path) -> bool {
        fs::read_link(self.root.join(pid.to_string()).join("cwd")).is_ok_and(|path| {
            // The kernel adds " (deleted)" where the folder is gone.
            let path = path.as_os_str().as_bytes();
            let path = Path::new(OsStr::from_bytes(path.strip_suffix(b" (deleted)").unwrap_or(path)));
            path.starts_with(folder) || scratch::is_abandoned(state, path)
        })
    }
}

/// What the environment of a run's process looks like. A run of the same name in another state directory is another run.
struct Mark {
    variable: Vec<u8>,
    /// Where this run's attempts have their folders, and where they may be while they run; and how any run of this name would call both.
    folders: [Vec<u8>; 2],
    any_folder: Vec<u8>,
}

/// The variables that say where a process has its home and temporary folder.
const HOMES: [&[u8]; 2] = [b"HOME=", b"TMPDIR="];

impl Mark {
    fn new(state: &StateDirectory, id: &ExecutionId) -> Self {
        let any_folder = format!("/executions/{id}/").into_bytes();
        let folder = [state.root().as_os_str().as_bytes(), &any_folder].concat();
        let scratch = [state.scratch().as_os_str().as_bytes(), b"/"].concat();
        Self { variable: format!("{EXECUTION_VARIABLE}={id}").into_bytes(), folders: [folder, scratch], any_folder }
    }

    fn is_in(&self, environment: &[u8]) -> bool {
        let contains = |text: &[u8], part: &[u8]| text.windows(part.len()).any(|window| window == part);
        // A step's run that is one of its own has the name of the run at the root before its own.
        let is_mark = |variable: &[u8]| {
            variable.strip_prefix(self.variable.as_slice()).is_some_and(|rest| rest.is_empty() || rest[0] == b'.')
        };
        let is_named = environment.split(|byte| *byte == 0).any(is_mark);
        let is_here = self.folders.iter().any(|folder| contains(environment, folder));
        let is_elsewhere = contains(environment, &self.any_folder)
            || environment
                .split(|byte| *byte == 0)
                .any(|variable| HOMES.iter().any(|home| variable.strip_prefix(*home).is_some_and(is_scratch)));
        is_named && (is_here || !is_elsewhere)
    }
}

/// Whether a folder looks like the scratch of some state directory: `scratch/<engine>/<number>/<home or tmp>`.
fn is_scratch(folder: &[u8]) -> bool {
    let path = Path::new(OsStr::from_bytes(folder));
    let parts: Vec<&[u8]> = path.iter().rev().take(4).map(OsStr::as_bytes).collect();
    matches!(&*parts, [b"home" | b"tmp", number, _, b"scratch"] if number.iter().all(u8::is_ascii_digit))
}

/// Ends every process of a run that an earlier engine left, and returns when none is there any more.
pub fn end_leftovers(table: &ProcessTable, state: &StateDirectory, id: &ExecutionId) -> Result<usize, LocalError> {
    let list = || {
        table
            .of_execution(state, id)
            .map_err(|source| LocalError::Supervision { action: format!("list the processes of the run {id}"), source })
    };
    end_all(list, KILL_PATIENCE)?.map_err(|left| LocalError::Leftovers {
        execution: id.clone(),
        pids: left.iter().map(|process| process.pid).collect(),
    })
}

/// Kills what a list shows until it shows nothing, and says how many that were; the inner error is what is left when patience ends.
pub(crate) fn end_all<E>(
    list: impl Fn() -> Result<Vec<Process>, E>,
    patience: Duration,
) -> Result<Result<usize, Vec<Process>>, E> {
    let begin = Instant::now();
    let mut seen = BTreeSet::new();
    loop {
        let found = list()?;
        if found.is_empty() {
            return Ok(Ok(seen.len()));
        }
        if begin.elapsed() > patience {
            return Ok(Err(found));
        }
        // Stopped first, all of them, so that none makes another while the rest is killed.
        for signal in [Signal::STOP, Signal::KILL] {
            for process in &found {
                send(process, signal);
            }
        }
        seen.extend(found.iter().map(|process| (process.pid, process.started)));
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn send(process: &Process, signal: Signal) {
    let Some(pid) = i32::try_from(process.pid).ok().and_then(Pid::from_raw) else { return };
    // The descriptor names this very process, so that a number used again is never hit.
    if let Ok(descriptor) = pidfd_open(pid, PidfdFlags::empty())
        && ProcessTable::default().process(process.pid).is_none_or(|now| now.started == process.started)
    {
        // It may have ended meanwhile, which is what is wanted.
        let _ = pidfd_send_signal(&descriptor, signal);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead, BufReader},
        process::{Command, Stdio},
    };

    use super::*;

    #[test]
    fn a_process_is_read_though_its_name_is_odd() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("7")).unwrap();
        let tail = "S 3 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4242 9 9";
        fs::write(folder.path().join("7/stat"), format!("7 (a) Z 9 (b) {tail}")).unwrap();
        let table = ProcessTable::new(folder.path());
        assert_eq!(table.process(7), Some(Process { pid: 7, parent: 3, started: 4242, zombie: false }));
        assert_eq!(table.all().unwrap().len(), 1);
    }

    #[test]
    fn a_run_of_the_same_name_elsewhere_is_another_run() {
        let mark = Mark::new(&StateDirectory::new("/state"), &ExecutionId::new("r1"));
        for (environment, is_ours) in [
            ("PATH=/bin\0RATCHET_EXECUTION_ID=r1\0", true),
            ("HOME=/state/executions/r1/attempts/1/s/1/home\0RATCHET_EXECUTION_ID=r1", true),
            ("RATCHET_EXECUTION_ID=r1\0HOME=/elsewhere/executions/r1/attempts/1/s/1/home\0", false),
            ("RATCHET_EXECUTION_ID=r12\0", false),
            ("RATCHET_EXECUTION_ID=r1.0a\0", true),
            ("XRATCHET_EXECUTION_ID=r1\0", false),
            ("HOME=/state/executions/r1/home\0", false),
            ("HOME=/state/scratch/a1/0/home\0RATCHET_EXECUTION_ID=r1\0", true),
            ("RATCHET_EXECUTION_ID=r1\0HOME=/elsewhere/scratch/a1/0/home\0", false),
            ("HOME=/home/me/scratch\0RATCHET_EXECUTION_ID=r1\0", true),
            ("", false),
        ] {
            assert_eq!(mark.is_in(environment.as_bytes()), is_ours, "{environment:?}");
        }
    }

    /// Starts a shell that leaves processes of its own session behind, and returns when they run.
    fn leave(script: &str, id: &str, folder: &Path) {
        let mut child = Command::new("bash")
            .args(["-c", script])
            .env(EXECUTION_VARIABLE, id)
            .current_dir(folder)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        child.wait().unwrap();
    }

    #[test]
    fn processes_left_by_an_engine_are_found_and_ended_whatever_they_do() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDirectory::open(&folder.path().join("state")).unwrap();
        let elsewhere = folder.path().to_owned();
        let id = ExecutionId::new(format!("left-{}", uuid::Uuid::new_v4()));
        let other = ExecutionId::new(format!("other-{}", uuid::Uuid::new_v4()));
        let inside = state.views(&id);
        fs::create_dir_all(&inside).unwrap();
        let own_session = "setsid bash -c 'trap \"\" TERM HUP; echo ready; exec >&-; while :; do sleep 5; done' &";
        let forgets_its_mark = "(env -i setsid bash -c 'echo ready; exec >&-; while :; do /bin/sleep 5; done' &)";
        leave(own_session, id.as_str(), &elsewhere);
        leave(forgets_its_mark, id.as_str(), &inside);
        leave(own_session, other.as_str(), &elsewhere);

        let table = ProcessTable::default();
        let ended = end_leftovers(&table, &state, &id).unwrap();
        assert!(ended >= 2, "{ended}");
        assert_eq!(table.of_execution(&state, &id).unwrap(), []);
        assert!(!table.of_execution(&state, &other).unwrap().is_empty(), "another run's are left alone");
        end_leftovers(&table, &state, &other).unwrap();
    }
}
