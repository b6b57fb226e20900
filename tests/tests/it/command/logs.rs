//! What steps write, while they write it and afterwards.

use ratchet_tests::{running::Gate, world::World};
use rustix::process::Signal;

/// A step that prints, waits at the gate, prints again and ends; another one beside it.
fn talking(gate: &Gate) -> String {
    let path = gate.path().display();
    format!(
        "name: talking\nversion: \"1\"\nsteps:\n  \
         - {{ id: talks, type: shell, command: \"echo one; echo ready > {path}; cat {path} > /dev/null; echo two\" }}\n  \
         - {{ id: beside, type: shell, needs: [], command: echo beside }}\n"
    )
}

#[test]
fn a_live_run_is_followed_to_its_end() {
    let world = World::new();
    let gate = Gate::new(&world, "gate");
    world.write("workflow.yaml", &talking(&gate));
    let run = world.start(["run", ".", "--quiet"]);
    assert_eq!(gate.wait(), "ready\n");
    let mut all = world.start(["logs", "last", "--follow"]);
    let mut one = world.start(["logs", "last", "talks", "-f", "--json"]);
    assert_eq!(all.prints("one"), "talks | one\n");
    assert!(one.prints("one").contains("\"step\":\"talks\""));
    gate.open();
    let (all, one) = (all.end().expect_code(0), one.end().expect_code(0));
    run.end().expect_code(0);
    let mut lines: Vec<&str> = all.stdout.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["beside | beside", "talks | one", "talks | two"]);
    assert_eq!(one.stdout.lines().count(), 2, "{}", one.stdout);
}

#[test]
fn a_run_that_nobody_drives_any_more_is_not_followed_for_ever() {
    let world = World::new();
    let gate = Gate::new(&world, "gate");
    world.write("workflow.yaml", &talking(&gate));
    let run = world.start(["run", ".", "--quiet"]);
    assert_eq!(gate.wait(), "ready\n");
    let mut follower = world.start(["logs", "last", "talks", "-f"]);
    follower.prints("one");
    run.signal(Signal::KILL);
    run.end().expect_code(-1);
    let done = follower.end().expect_code(0);
    assert!(done.stderr.contains("ratchet resume"), "{}", done.stderr);
}
