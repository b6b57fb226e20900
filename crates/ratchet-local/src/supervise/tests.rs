//! Real processes under the example `supervised`: whoever of those above is killed, nothing that a step started is left.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    os::unix::{fs::PermissionsExt, process::ExitStatusExt},
    path::PathBuf,
    process::{Child, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, getuid, kill_process};
use tempfile::TempDir;

use super::*;
use crate::processes::Process;

/// What a step may leave behind: a session of its own that will not be asked, and a process whose parents are gone.
const LEAVE: &str = r#"
    hold='trap "" TERM HUP INT; echo up; exec >&-; while :; do sleep 7; done'
    setsid bash -c "$hold" &
    (setsid bash -c "$hold" &)
    (bash -c "$hold" & bash -c "$hold" &)
    echo up
    wait
"#;
const LEFT: usize = 5;

/// How long something that must happen may take on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(30);

/// Who runs it, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Setting {
    choice: &'static str,
    ordinary_user: bool,
}

/// Every setting that this machine and this user can give.
fn settings() -> Vec<Setting> {
    let mut settings = vec![];
    for choice in ["namespace", "reaper"] {
        for ordinary_user in [false, true] {
            if ordinary_user && !getuid().is_root() {
                continue;
            }
            let setting = Setting { choice, ordinary_user };
            if choice == "reaper" || Scene::new().start(setting, "true", &[]).wait() == Some(0) {
                settings.push(setting);
            }
        }
    }
    settings
}

struct Scene {
    folder: TempDir,
    id: ExecutionId,
    state: StateDirectory,
}

impl Scene {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let built = std::env::current_exe().unwrap();
        let built = built.ancestors().nth(2).unwrap().join("examples/supervised");
        assert!(built.exists(), "the example is built with the tests of this crate");
        // Where every user can reach it.
        fs::copy(built, folder.path().join("supervised")).unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let state = StateDirectory::open(&folder.path().join("state")).unwrap();
        fs::set_permissions(state.root(), fs::Permissions::from_mode(0o755)).unwrap();
        Self { folder, id: ExecutionId::new(uuid::Uuid::new_v4().to_string()), state }
    }

    fn program(&self) -> PathBuf {
        self.folder.path().join("supervised")
    }

    /// Starts a script under supervision; what the script starts carries the mark of the run.
    fn start(&self, setting: Setting, script: &str, before: &[&str]) -> Running {
        let mut words: Vec<String> = before.iter().map(|word| (*word).to_owned()).collect();
        if setting.ordinary_user {
            let user = "setpriv --reuid 65534 --regid 65534 --clear-groups";
            words.extend(user.split(' ').map(str::to_owned));
        }
        words.push(self.program().to_str().unwrap().to_owned());
        words.push(self.state.root().to_str().unwrap().to_owned());
        words.extend(["bash", "-c"].map(str::to_owned));
        words.push(format!("export {}={}; {script}", crate::processes::EXECUTION_VARIABLE, self.id));
        let mut child = Command::new(&words[0])
            .args(&words[1..])
            .env(CHOICE_VARIABLE, setting.choice)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Running { child, output }
    }

    fn left(&self) -> Vec<Process> {
        ProcessTable::default().of_execution(&self.state, &self.id).unwrap()
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        // A failed test leaves nothing either.
        let _ = end_leftovers(&ProcessTable::default(), &self.state, &self.id);
    }
}

struct Running {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Running {
    fn expect(&mut self, text: &str, times: usize) {
        for _ in 0..times {
            let mut line = String::new();
            self.output.read_line(&mut line).unwrap();
            assert_eq!(line.trim(), text);
        }
    }

    fn wait(mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }

    /// The guard and those below it, down to the engine.
    fn above(&self) -> Vec<Process> {
        let table = ProcessTable::default();
        let mut all = vec![table.process(self.child.id()).unwrap()];
        all.extend(table.descendants(self.child.id()).unwrap());
        all.retain(|process| is_named(process.pid, "supervised"));
        all.sort_by_key(|process| process.started);
        all
    }
}

fn is_named(pid: u32, name: &str) -> bool {
    fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|text| text.trim() == name)
}

fn state_of(pid: u32) -> Option<char> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    text.rsplit_once(')')?.1.trim().chars().next()
}

fn send(pid: u32, signal: Signal) {
    kill_process(Pid::from_raw(pid.try_into().unwrap()).unwrap(), signal).unwrap();
}

/// Waits until something is so, and fails the test where it does not become so.
fn until(what: &str, is_so: impl Fn() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < PATIENCE, "{what}");
        std::thread::yield_now();
    }
}

#[test]
fn whoever_is_killed_nothing_is_left() {
    for setting in settings() {
        for victim in 0.. {
            let scene = Scene::new();
            let mut running = scene.start(setting, LEAVE, &[]);
            running.expect("up", LEFT);
            let above = running.above();
            let Some(process) = above.get(victim) else {
                send(running.child.id(), Signal::KILL);
                until(&format!("{setting:?}"), || scene.left().is_empty());
                let expected = 3 + usize::from(setting == Setting { choice: "namespace", ordinary_user: true });
                let root_or_more = above.len() == expected || !getuid().is_root();
                assert!(root_or_more, "{setting:?} has guard, reaper, engine: {above:?}");
                running.wait();
                break;
            };
            assert!(scene.left().len() >= LEFT - 1, "{setting:?}");
            send(process.pid, Signal::KILL);
            let status = running.child.wait().unwrap();
            let expected = if victim == 0 { (None, Some(9)) } else { (Some(137), None) };
            assert_eq!((status.code(), status.signal()), expected, "{setting:?}, {victim}");
            until(&format!("nothing is left of {setting:?} when {victim} is killed"), || scene.left().is_empty());
        }
    }
}

#[test]
fn what_outlives_its_step_ends_with_the_engine() {
    for setting in settings() {
        let scene = Scene::new();
        let script = LEAVE.replace("wait", "read line; exit 7");
        let mut running = scene.start(setting, &script, &[]);
        running.expect("up", LEFT);
        assert!(!scene.left().is_empty());
        running.child.stdin.as_mut().unwrap().write_all(b"go\n").unwrap();
        assert_eq!(running.wait(), Some(7), "{setting:?}");
        until(&format!("{setting:?}"), || scene.left().is_empty());
    }
}

#[test]
fn signals_reach_the_engine_and_its_end_is_told() {
    for setting in settings() {
        for (signal, code) in [(Signal::TERM, 143), (Signal::INT, 130), (Signal::HUP, 129), (Signal::USR1, 138)] {
            let scene = Scene::new();
            let mut running = scene.start(setting, "echo up; while :; do sleep 7; done", &[]);
            running.expect("up", 1);
            send(running.child.id(), signal);
            assert_eq!(running.wait(), Some(code), "{setting:?}, {signal:?}");
        }
    }
}

#[test]
fn a_signal_that_the_caller_ignores_stays_ignored() {
    for setting in settings() {
        let scene = Scene::new();
        let mut running = scene.start(
            setting,
            "echo up; read line; echo $line; exit 3",
            &["bash", "-c", "trap '' HUP; exec \"$@\"", "_"],
        );
        running.expect("up", 1);
        send(running.child.id(), Signal::HUP);
        running.child.stdin.as_mut().unwrap().write_all(b"still here\n").unwrap();
        running.expect("still here", 1);
        assert_eq!(running.wait(), Some(3), "{setting:?}");
    }
}

#[test]
fn a_stop_stops_all_and_a_continue_goes_on() {
    for setting in settings() {
        let scene = Scene::new();
        let mut running = scene.start(setting, LEAVE, &[]);
        running.expect("up", LEFT);
        let guard = running.child.id();
        let all = || scene.left().into_iter().map(|process| process.pid).chain([guard]);
        // A shell's own children come and go, so a moment is looked for in which all of them stand still.
        send(guard, Signal::TSTP);
        until(&format!("{setting:?} stops"), || all().all(|pid| matches!(state_of(pid), Some('T') | None)));
        send(guard, Signal::CONT);
        until(&format!("{setting:?} goes on"), || all().all(|pid| matches!(state_of(pid), Some('S' | 'R') | None)));
        send(guard, Signal::TERM);
        assert_eq!(running.wait(), Some(143), "{setting:?}");
        until(&format!("{setting:?} ends"), || scene.left().is_empty());
    }
}

#[test]
fn processes_see_themselves_as_they_are() {
    for setting in settings() {
        let scene = Scene::new();
        let script = "test -e /proc/$$/stat && readlink /proc/self/exe >/dev/null && ps -p $$ >/dev/null && id -u && cat /proc/self/status";
        let mut running = scene.start(setting, script, &[]);
        let mut output = String::new();
        running.output.read_to_string(&mut output).unwrap();
        let user = if setting.ordinary_user { "65534" } else { &getuid().as_raw().to_string() };
        assert_eq!(output.lines().next(), Some(user), "{setting:?}");
        if setting.ordinary_user {
            assert!(output.contains("CapEff:\t0000000000000000"), "{setting:?}: {output}");
            assert!(output.contains("CapAmb:\t0000000000000000"), "{setting:?}: {output}");
        }
        assert_eq!(running.wait(), Some(0), "{setting:?}");
    }
}

#[test]
fn what_is_left_when_all_above_are_killed_at_once_is_ended_by_the_next_command() {
    let setting = Setting { choice: "reaper", ordinary_user: false };
    let scene = Scene::new();
    let mut running = scene.start(setting, LEAVE, &[]);
    running.expect("up", LEFT);
    let above = running.above();
    // Stopped first, so that none of them does anything any more. Who is killed may take the next one along before it is its turn.
    for process in &above {
        send(process.pid, Signal::STOP);
    }
    for process in &above {
        let _ = kill_process(Pid::from_raw(process.pid.try_into().unwrap()).unwrap(), Signal::KILL);
    }
    running.child.wait().unwrap();
    assert!(!scene.left().is_empty(), "nobody was left to end them");
    let mark = scene.state.unsupervised().join(scene.id.as_str());
    fs::create_dir(scene.state.unsupervised()).unwrap();
    fs::write(&mark, "").unwrap();
    for choice in ["namespace", "reaper"] {
        scene.start(Setting { choice, ..setting }, "true", &[]).wait();
        assert_eq!((scene.left(), mark.exists()), (vec![], false), "{choice}");
    }
}

#[test]
fn a_choice_that_is_none_is_refused() {
    let scene = Scene::new();
    let setting = Setting { choice: "prayer", ordinary_user: false };
    assert_eq!(scene.start(setting, "true", &[]).wait(), Some(3));
    let setting = Setting { choice: "none", ordinary_user: false };
    assert_eq!(scene.start(setting, "exit 5", &[]).wait(), Some(5));
}
