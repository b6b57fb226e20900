//! A run that is ended from outside, and goes on. Steps and the test wait for each other at a named pipe: no time is involved.

use std::fs::{self, File};

use ratchet_tests::{
    eventually,
    running::{Gate, Running},
    world::{Done, World},
};
use rustix::{
    fs::{FlockOperation, flock},
    process::Signal,
};
use serde_json::Value;

use super::{call, state};

/// Each step says outside that it began. The second one, and what runs at the end, wait for ever at the gate until the file `go` is there; every process
/// of theirs holds the file `held` locked.
const WAITING: &str = "\
name: waiting
version: \"1\"
environment:
  OUTSIDE: \"{{ env.OUTSIDE }}\"
steps:
  - id: first
    type: shell
    command: echo first >> done.txt; echo first >> \"$OUTSIDE/effects\"
  - id: waits
    type: shell
    on_lost: ON_LOST
    command: |
      echo waiting
      echo waits >> \"$OUTSIDE/effects\"
      exec 9>\"$OUTSIDE/held\"; flock 9
      test -e \"$OUTSIDE/go\" || { echo ready > \"$OUTSIDE/gate\"; tail -f /dev/null; }
      echo second >> done.txt
finally:
  - id: tidy
    type: shell
    command: |
      exec 9>\"$OUTSIDE/held\"; flock 9
      test ! -e \"$OUTSIDE/slow\" || { echo tidying > \"$OUTSIDE/gate\"; tail -f /dev/null; }
      echo tidied >> \"$OUTSIDE/tidied\"
";

struct Waiting {
    world: World,
    gate: Gate,
}

impl Waiting {
    /// A run whose second step waits for ever, and has begun to.
    fn start(on_lost: &str, arguments: &[&str]) -> (Self, Running) {
        let world = World::new();
        world.write("workflow.yaml", &WAITING.replace("ON_LOST", on_lost));
        fs::create_dir(world.outside("outside")).expect("a folder can be made");
        let outside = world.outside("outside");
        let gate = Gate::new(&world, "outside/gate");
        let variable = format!("OUTSIDE={}", outside.display());
        let run = world.start([&["run", "workflow.yaml", "--env", &variable], arguments].concat());
        assert_eq!(gate.wait(), "ready\n");
        (Self { world, gate }, run)
    }

    fn mark(&self, name: &str) {
        fs::write(self.world.outside("outside").join(name), "").expect("a file can be written");
    }

    /// What the steps did outside, in order.
    fn effects(&self) -> String {
        fs::read_to_string(self.world.outside("outside/effects")).unwrap_or_default().replace('\n', " ")
    }

    fn has_tidied(&self) -> bool {
        self.world.outside("outside/tidied").exists()
    }

    /// Whether no process of a step is left: none holds the lock.
    fn nothing_is_left(&self) -> bool {
        let held = File::open(self.world.outside("outside/held")).expect("the lock");
        flock(&held, FlockOperation::NonBlockingLockExclusive).is_ok()
    }

    fn is_left_behind(&self) -> Value {
        // The last of its processes gives the run up a moment after the first one has ended.
        eventually("the run is left behind", || {
            Some(state(&self.world, &["status", "--json"])).filter(|state| state["left_behind"] == true)
        })
    }
}

fn json(done: &Done) -> Value {
    serde_json::from_str(&done.stdout).unwrap_or_else(|error| panic!("{error}: {}{}", done.stdout, done.stderr))
}

#[test]
fn the_first_signal_cancels_cleanly_and_a_resume_goes_on() {
    for signal in [Signal::INT, Signal::TERM] {
        let (waiting, run) = Waiting::start("rerun", &["--json"]);
        run.signal(signal);
        let done = run.end().expect_code(130);
        let cancelled = json(&done);
        assert_eq!(cancelled["status"], "cancelled");
        assert_eq!(cancelled["steps"]["first"]["status"], "completed");
        assert_eq!(cancelled["steps"]["waits"]["status"], "cancelled", "{cancelled:#}");
        assert_eq!(cancelled["steps"]["tidy"]["status"], "completed", "{cancelled:#}");
        assert!(waiting.has_tidied() && waiting.nothing_is_left());
        assert!(!waiting.world.work().join("done.txt").exists(), "the directory is as it was");

        waiting.mark("go");
        let resumed = state(&waiting.world, &["resume", "--json"]);
        assert_eq!(resumed["status"], "completed");
        assert_eq!(resumed["steps"]["first"], cancelled["steps"]["first"], "a step with a result does not run again");
        assert_eq!(waiting.effects(), "first waits waits ");
        assert_eq!(waiting.world.read("done.txt"), "first\nsecond\n");
    }
}

#[test]
fn the_second_signal_ends_everything_at_once_and_a_resume_goes_on() {
    let (waiting, mut run) = Waiting::start("rerun", &[]);
    waiting.mark("slow");
    run.signal(Signal::INT);
    assert_eq!(waiting.gate.wait(), "tidying\n", "the first one lets `finally` run");
    run.says("again ends everything at once");
    run.signal(Signal::INT);
    let done = run.end().expect_code(130);
    assert!(done.stdout.contains("left behind") && done.stdout.contains("ratchet resume"), "{}", done.stdout);
    assert!(!waiting.has_tidied() && waiting.nothing_is_left());
    let left = waiting.is_left_behind();
    assert_eq!(
        (&left["steps"]["waits"]["status"], &left["steps"]["first"]["status"]),
        (&"cancelled".into(), &"completed".into())
    );

    fs::remove_file(waiting.world.outside("outside/slow")).expect("it was made");
    let ended = json(&waiting.world.ratchet(["resume", "--json"]).expect_code(1));
    assert_eq!(ended["status"], "cancelled", "it was being cancelled, and is to its end");
    assert!(waiting.has_tidied());
    waiting.mark("go");
    assert_eq!(state(&waiting.world, &["resume", "--json"])["status"], "completed");
    assert_eq!(waiting.effects(), "first waits waits ");
}

#[test]
fn another_process_cancels() {
    let (waiting, run) = Waiting::start("rerun", &[]);
    waiting.world.ratchet(["cancel", "last", "--quiet"]).expect_code(0);
    // A cancelled run is no success.
    run.end().expect_code(1);
    assert_eq!(state(&waiting.world, &["status", "--json"])["status"], "cancelled");
    assert!(waiting.has_tidied() && waiting.nothing_is_left());
}

#[test]
fn a_killed_run_is_resumed_where_it_was() {
    let (waiting, run) = Waiting::start("rerun", &[]);
    let world = &waiting.world;
    run.signal(Signal::KILL);
    run.end().expect_code(-1);
    let before = waiting.is_left_behind();
    assert_eq!(before["status"], "running");
    assert!(waiting.nothing_is_left());
    insta::assert_snapshot!("left_behind_status", call(world, &["status"]));
    insta::assert_snapshot!("left_behind_list", call(world, &["list"]));
    assert_eq!(state(world, &["list", "--json"])[0]["left_behind"], true);
    let refused = world.ratchet(["rm", "last"]).expect_code(2);
    assert!(refused.stderr.contains("RT-0407"), "{}", refused.stderr);

    let resumed = world.start(["resume", "last", "--json"]);
    assert_eq!(waiting.gate.wait(), "ready\n");
    for arguments in [["status", "--json"], ["list", "--json"]] {
        let shown = state(world, &arguments);
        assert_eq!(shown.get(0).unwrap_or(&shown)["left_behind"], false);
    }
    insta::assert_snapshot!("driven_status", call(world, &["status"]));
    let refused = world.ratchet(["resume", "last", "--from", "first"]).expect_code(2);
    assert!(refused.stderr.contains("RT-0407"), "{}", refused.stderr);
    resumed.signal(Signal::INT);
    let after = json(&resumed.end().expect_code(130));
    assert_eq!(after["steps"]["first"], before["steps"]["first"], "a step with a result does not run again");
    assert_eq!(after["steps"]["waits"]["attempts"], 2, "{after:#}");
}

#[test]
fn a_lost_step_that_must_not_happen_twice_waits_for_a_person() {
    let (waiting, run) = Waiting::start("pause", &[]);
    let world = &waiting.world;
    run.signal(Signal::KILL);
    run.end().expect_code(-1);
    waiting.is_left_behind();
    waiting.mark("go");
    insta::assert_snapshot!("paused_resume", call(world, &["resume", "last"]));
    insta::assert_snapshot!("paused_status", call(world, &["status"]));
    assert_eq!(waiting.effects(), "first waits ", "nothing ran again by itself");
    world.ratchet(["status", "--json"]).expect_code(0);
    // The person looked, and lets it happen again.
    let resumed = state(world, &["resume", "--json"]);
    assert_eq!((&resumed["status"], waiting.effects().as_str()), (&"completed".into(), "first waits waits "));
}

#[test]
fn a_directory_that_changed_meanwhile_is_left_alone() {
    let world = World::new();
    world.write("shared.txt", "before");
    let gate = Gate::new(&world, "gate");
    let path = gate.path().display();
    let command = format!("echo ready > {path}; cat {path}; echo mine > shared.txt");
    let step = format!("  - {{ id: changes, type: shell, command: \"{command}\" }}\n");
    world.write("workflow.yaml", &format!("name: changing\nversion: \"1\"\nsteps:\n{step}"));
    let run = world.start(["run", "workflow.yaml", "--json"]);
    assert_eq!(gate.wait(), "ready\n");
    world.write("shared.txt", "the user's own");
    gate.open();
    let done = run.end().expect_code(5);
    let state = json(&done);
    assert_eq!(state["application"]["outcome"], "not_applied", "{state:#}");
    assert_eq!(world.read("shared.txt"), "the user's own");
    assert!(done.stderr.contains("shared.txt"), "{}", done.stderr);
}

#[test]
fn what_could_not_be_applied_is_applied_by_a_resume() {
    let world = World::new();
    let away = world.outside("away");
    let gate = Gate::new(&world, "gate");
    let path = gate.path().display();
    let command = format!("echo ready > {path}; cat {path}; echo done > done.txt");
    let step = format!("  - {{ id: only, type: shell, command: \"{command}\" }}\n");
    world.write("workflow.yaml", &format!("name: short\nversion: \"1\"\nsteps:\n{step}"));
    let run = world.start(["run", ".", "--quiet"]);
    assert_eq!(gate.wait(), "ready\n");
    // The directory is gone when the run has ended, as a disk that is not mounted is.
    fs::rename(world.work(), &away).expect("it goes");
    gate.open();
    let done = run.end().expect_code(2);
    assert!(done.stderr.contains("RT-0253"), "{}", done.stderr);
    fs::rename(&away, world.work()).expect("it comes back");
    insta::assert_snapshot!("not_yet_applied", call(&world, &["status"]));
    assert_eq!(state(&world, &["resume", "--json"])["left_behind"], false);
    assert_eq!(world.read("done.txt"), "done\n");
}
