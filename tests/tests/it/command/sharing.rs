//! Several processes on one state directory.

use std::{fs, thread};

use ratchet_tests::{
    running::{Gate, Running},
    world::{Done, World},
};
use serde_json::Value;

use super::state;

/// Processes that begin in one moment.
const CALLERS: usize = 4;

/// A workflow whose only effect is noted outside, once for each time it happens, after a gate where there is one.
fn noting(world: &World, gate: Option<&Gate>) {
    let effects = world.outside("effects");
    let wait = gate.map(|gate| format!("echo ready > {0}; cat {0};", gate.path().display())).unwrap_or_default();
    let command = format!("{wait} echo happened >> {}", effects.display());
    let step = format!("  - {{ id: effect, type: shell, command: \"{command}\" }}\n");
    world.write("workflow.yaml", &format!("name: noting\nversion: \"1\"\nsteps:\n{step}"));
}

fn effects(world: &World) -> usize {
    fs::read_to_string(world.outside("effects")).unwrap_or_default().lines().count()
}

fn json(done: &Done) -> Value {
    serde_json::from_str(&done.stdout).unwrap_or_else(|error| panic!("{error}: {}{}", done.stdout, done.stderr))
}

#[test]
fn two_runs_with_one_key_are_one_while_the_first_goes_on() {
    let world = World::new();
    let gate = Gate::new(&world, "gate");
    noting(&world, Some(&gate));
    let call = ["run", ".", "--in-place", "--json", "--idempotency-key", "push-7"];
    let first = world.start(call);
    assert_eq!(gate.wait(), "ready\n");
    let mut second = world.start(call);
    second.says("another process drives");
    gate.open();
    let (first, second) = (first.end().expect_code(0), second.end().expect_code(0));
    assert_eq!(json(&first), json(&second), "both see the one run to its end");
    assert_eq!(effects(&world), 1);
}

#[test]
fn runs_with_one_key_that_begin_in_one_moment_are_one() {
    let world = World::new();
    noting(&world, None);
    let call = ["run", ".", "--in-place", "--json", "--idempotency-key", "push-7"];
    let runs: Vec<Running> = (0..CALLERS).map(|_| world.start(call)).collect();
    let ends: Vec<Value> = runs.into_iter().map(|run| json(&run.end().expect_code(0))).collect();
    assert!(ends.iter().all(|end| *end == ends[0]), "{ends:#?}");
    assert_eq!(effects(&world), 1);
    assert_eq!(state(&world, &["list", "--json"]).as_array().map(Vec::len), Some(1));
}

#[test]
fn runs_of_several_processes_do_not_get_in_each_others_way() {
    let world = World::new();
    noting(&world, None);
    let runs: Vec<Running> =
        (0..CALLERS).map(|_| world.start(["run", ".", "--in-place", "--json", "--max-parallel", "2"])).collect();
    // Others look and clear up meanwhile.
    thread::scope(|scope| {
        for arguments in [["list", "--json"], ["prune", "--dry-run"], ["doctor", "--json"]] {
            let world = &world;
            scope.spawn(move || world.ratchet(arguments).expect_code(0));
        }
    });
    let ends: Vec<Value> = runs.into_iter().map(|run| json(&run.end().expect_code(0))).collect();
    assert_eq!(effects(&world), CALLERS);
    let listed = state(&world, &["list", "--json"]);
    let mut listed: Vec<&Value> = listed.as_array().expect("a list").iter().map(|run| &run["execution_id"]).collect();
    let mut ran: Vec<&Value> = ends.iter().map(|end| &end["execution_id"]).collect();
    listed.sort_by_key(ToString::to_string);
    ran.sort_by_key(ToString::to_string);
    assert_eq!(listed, ran);
    for id in ran {
        world.ratchet(["replay", id.as_str().expect("a name")]).expect_code(0);
    }
}

#[test]
fn a_run_that_another_process_drives_is_waited_for_and_not_driven_twice() {
    let world = World::new();
    let gate = Gate::new(&world, "gate");
    noting(&world, Some(&gate));
    let run = world.start(["run", ".", "--in-place", "--json"]);
    assert_eq!(gate.wait(), "ready\n");
    let mut resume = world.start(["resume", "last", "--json"]);
    resume.says("another process drives");
    gate.open();
    let (run, resume) = (run.end().expect_code(0), resume.end().expect_code(0));
    assert_eq!((json(&run), effects(&world)), (json(&resume), 1));
}
