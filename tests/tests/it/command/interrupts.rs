//! A run that is ended from outside. Steps and the test wait for each other at a named pipe: no time is involved.

use std::{
    fs,
    io::Read,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use ratchet_tests::{eventually, ratchet, world::World};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::call;

const WAITING: &str = "\
name: waiting
version: \"1\"
environment:
  GATE: \"{{ env.GATE }}\"
steps:
  - id: first
    type: shell
    command: echo first >> done.txt
  - id: waits
    type: shell
    command: |
      echo waiting
      echo ready > \"$GATE\"
      tail -f /dev/null
finally:
  - id: tidy
    type: shell
    command: echo tidied > \"$GATE.tidied\"
";

struct Waiting {
    world: World,
    gate: PathBuf,
    run: Option<Child>,
}

impl Waiting {
    /// A run whose second step waits for ever, and has begun to.
    fn start(arguments: &[&str]) -> Self {
        let world = World::new();
        world.write("workflow.yaml", WAITING);
        let gate = world.outside("gate");
        assert!(Command::new("mkfifo").arg(&gate).status().expect("mkfifo").success());
        let mut command = world.program(ratchet());
        command.args(["run", "workflow.yaml", "--env", &format!("GATE={}", gate.display())]).args(arguments);
        let run = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("ratchet can be started");
        let waiting = Self { world, gate, run: Some(run) };
        waiting.wait_until_ready();
        waiting
    }

    fn wait_until_ready(&self) {
        let mut said = String::new();
        fs::File::open(&self.gate).and_then(|mut gate| gate.read_to_string(&mut said)).expect("the gate");
        assert_eq!(said, "ready\n");
    }

    fn signal(&self, signal: Signal) {
        let run = self.run.as_ref().expect("a run");
        let pid = Pid::from_raw(i32::try_from(run.id()).expect("a process")).expect("a process");
        kill_process(pid, signal).expect("a signal");
    }

    /// The exit code, and what was printed.
    fn end(&mut self) -> (Option<i32>, String, String) {
        let output = self.run.take().expect("a run").wait_with_output().expect("an end");
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        (output.status.code(), text(output.stdout), text(output.stderr))
    }

    fn state(&self) -> Value {
        serde_json::from_str(&self.world.ratchet(["status", "--json"]).expect_code(0).stdout).expect("JSON")
    }

    fn list(&self) -> Value {
        serde_json::from_str(&self.world.ratchet(["list", "--json"]).expect_code(0).stdout).expect("JSON")
    }

    fn has_tidied(&self) -> bool {
        self.world.outside("gate.tidied").exists()
    }
}

#[test]
fn the_first_signal_cancels_cleanly() {
    for signal in [Signal::INT, Signal::TERM] {
        let mut waiting = Waiting::start(&["--json"]);
        waiting.signal(signal);
        let (code, stdout, stderr) = waiting.end();
        assert_eq!(code, Some(130), "{stderr}");
        let state: Value = serde_json::from_str(&stdout).expect("the state is printed all the same");
        assert_eq!(state["status"], "cancelled");
        assert_eq!(state["steps"]["first"]["status"], "completed");
        assert_eq!(state["steps"]["waits"]["status"], "cancelled", "{state:#}");
        assert_eq!(state["steps"]["tidy"]["status"], "completed", "{state:#}");
        assert!(waiting.has_tidied() && !waiting.world.work().join("done.txt").exists());
    }
}

#[test]
fn another_process_cancels() {
    let mut waiting = Waiting::start(&[]);
    waiting.world.ratchet(["cancel", "last", "--quiet"]).expect_code(0);
    assert_eq!(waiting.end().0, Some(1), "a cancelled run is no success");
    assert_eq!(waiting.state()["status"], "cancelled");
    assert!(waiting.has_tidied());
}

#[test]
fn a_killed_run_is_resumed_where_it_was() {
    let mut waiting = Waiting::start(&[]);
    waiting.signal(Signal::KILL);
    assert_eq!(waiting.end().0, None);
    // The last of its processes gives the run up a moment after the first one has ended.
    let before =
        eventually("the run is left behind", || Some(waiting.state()).filter(|state| state["left_behind"] == true));
    assert_eq!(before["status"], "running");
    insta::assert_snapshot!("left_behind_status", call(&waiting.world, &["status"]));
    insta::assert_snapshot!("left_behind_list", call(&waiting.world, &["list"]));
    assert_eq!(waiting.list()[0]["left_behind"], true);
    let refused = waiting.world.ratchet(["rm", "last"]).expect_code(2);
    assert!(refused.stderr.contains("RT-0407"), "{}", refused.stderr);

    let mut command = waiting.world.program(ratchet());
    command.args(["resume", "last", "--json"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    waiting.run = Some(command.spawn().expect("ratchet can be started"));
    waiting.wait_until_ready();
    assert_eq!((&waiting.state()["left_behind"], &waiting.list()[0]["left_behind"]), (&false.into(), &false.into()));
    insta::assert_snapshot!("driven_status", call(&waiting.world, &["status"]));
    let refused = waiting.world.ratchet(["resume", "last", "--from", "first"]).expect_code(2);
    assert!(refused.stderr.contains("RT-0407"), "{}", refused.stderr);
    waiting.signal(Signal::INT);
    let (code, stdout, stderr) = waiting.end();
    assert_eq!(code, Some(130), "{stderr}");
    let after: Value = serde_json::from_str(&stdout).expect("JSON");
    assert_eq!(after["steps"]["first"], before["steps"]["first"], "a step with a result does not run again");
    assert_eq!(after["steps"]["waits"]["attempts"], 2, "{after:#}");
}

#[test]
fn a_directory_that_changed_meanwhile_is_left_alone() {
    let world = World::new();
    world.write("shared.txt", "before");
    world.write("workflow.yaml", &WAITING.replace("tail -f /dev/null", "cat \"$GATE\"; echo mine > shared.txt"));
    let gate = world.outside("gate");
    assert!(Command::new("mkfifo").arg(&gate).status().expect("mkfifo").success());
    let mut command = world.program(ratchet());
    command.args(["run", "workflow.yaml", "--json", "--env", &format!("GATE={}", gate.display())]);
    let run = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("ratchet can be started");
    let waiting = Waiting { world, gate, run: Some(run) };
    waiting.wait_until_ready();
    waiting.world.write("shared.txt", "the user's own");
    fs::write(&waiting.gate, "go on\n").expect("the gate");
    let mut waiting = waiting;
    let (code, stdout, stderr) = waiting.end();
    assert_eq!(code, Some(5), "{stdout}{stderr}");
    let state: Value = serde_json::from_str(&stdout).expect("JSON");
    assert_eq!(state["application"]["outcome"], "not_applied", "{state:#}");
    assert_eq!(waiting.world.read("shared.txt"), "the user's own");
    assert!(stderr.contains("shared.txt"), "{stderr}");
}

#[test]
fn what_could_not_be_applied_is_applied_by_a_resume() {
    let world = World::new();
    let away = world.outside("away");
    // The directory is gone when the run has ended, as a disk that is not mounted is.
    let command = format!("echo done > done.txt; mv {} {}", world.work().display(), away.display());
    let step = format!("  - {{ id: only, type: shell, command: \"{command}\" }}\n");
    world.write("workflow.yaml", &format!("name: short\nversion: \"1\"\nsteps:\n{step}"));
    let done = world.ratchet(["run", ".", "--quiet"]).expect_code(2);
    assert!(done.stderr.contains("RT-0253"), "{}", done.stderr);
    fs::rename(&away, world.work()).expect("it comes back");
    insta::assert_snapshot!("not_yet_applied", call(&world, &["status"]));
    let state = serde_json::from_str::<Value>(&world.ratchet(["resume", "--json"]).expect_code(0).stdout);
    assert_eq!(state.expect("JSON")["left_behind"], false);
    assert_eq!(world.read("done.txt"), "done\n");
}
