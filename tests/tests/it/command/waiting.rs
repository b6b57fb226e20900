//! Steps that wait for a person or for a time.

use std::process::Stdio;

use ratchet_tests::{ratchet, world::World};
use serde_json::Value;

use super::call;

const RELEASE: &str = "\
name: release
version: \"1\"
steps:
  - id: build
    type: shell
    command: echo built
  - id: go
    type: approval
    needs: [build]
    message: |
      Release version 1?
      It cannot be taken back.
  - id: publish
    type: shell
    needs: [go]
    command: echo \"{{ go.outputs.by }} said {{ go.outputs.comment }}, {{ go.outputs.approved }}\" > published.txt
  - id: tell
    type: template
    needs: [go]
    when: failure()
    template: \"not now: {{ go.outputs.comment }} ({{ go.outputs.approved }})\"
    output: rejected.txt
finally:
  - id: tidy
    type: shell
    command: echo tidied
";

fn world(workflow: &str) -> World {
    let world = World::new();
    world.write("workflow.yaml", workflow);
    world
}

fn state(world: &World) -> Value {
    serde_json::from_str(&world.ratchet(["status", "--json"]).expect_code(0).stdout).expect("JSON")
}

/// The account that the tests run under.
fn account(world: &World) -> String {
    world.must("id", &["-un"]).trim().to_owned()
}

#[test]
fn an_approval_pauses_the_run_and_an_answer_lets_it_go_on() {
    let world = world(RELEASE);
    insta::assert_snapshot!("approval_run", call(&world, &["run", "."]));
    insta::assert_snapshot!("approval_status", call(&world, &["status"]));
    insta::assert_snapshot!("approval_resume", call(&world, &["resume"]));
    let by = account(&world);
    let approve = ["approve", "last", "go", "--comment", "it is time"];
    let done = world.ratchet(approve).expect_code(0);
    assert!(done.stdout.contains("release completed"), "{}", done.stdout);
    assert_eq!(world.read("published.txt"), format!("{by} said it is time, true\n"));
    let after = state(&world);
    assert_eq!(after["epoch"], 1, "an answer begins no epoch");
    assert_eq!(after["steps"]["go"]["outputs"]["comment"], "it is time");
    let history = world.ratchet(["history"]).expect_code(0).stdout;
    let answered: Vec<&str> = history.lines().filter(|line| line.contains("answered")).collect();
    assert!(matches!(answered[..], [line] if line.contains(&format!("by {by}"))), "{history}");

    world.ratchet(approve).expect_code(0);
    let again = world.ratchet(["history"]).expect_code(0).stdout;
    assert_eq!(again, history, "the same answer twice is one");
    insta::assert_snapshot!("approval_rejected_late", call(&world, &["reject", "last", "go"]));
    world.ratchet(["replay"]).expect_code(0);
}

#[test]
fn a_no_fails_the_step_and_can_be_read() {
    let world = world(RELEASE);
    world.ratchet(["run", ".", "--quiet"]).expect_code(3);
    let done = world.ratchet(["reject", "last", "--comment", "not on a Friday", "--in-vain"]);
    assert_eq!(done.code, 2, "an unknown option is no answer: {}", done.stderr);
    world.ratchet(["reject", "last", "--comment", "not on a Friday"]).expect_code(1);
    let after = state(&world);
    let statuses = ["go", "publish", "tell", "tidy"].map(|step| after["steps"][step]["status"].as_str());
    assert_eq!(statuses, [Some("failed"), Some("blocked"), Some("completed"), Some("completed")]);
    assert_eq!(after["steps"]["go"]["error"]["code"], "RT-0181");
    assert_eq!(after["steps"]["tell"]["outputs"]["text"], "not now: not on a Friday (false)");
    // After a resume it asks again.
    world.ratchet(["resume", "--quiet"]).expect_code(3);
    world.ratchet(["approve", "last", "--quiet"]).expect_code(0);
    assert!(world.work().join("published.txt").exists());
}

#[test]
fn only_those_who_are_asked_may_answer() {
    let by = account(&world(""));
    let asks = |approver: &str| {
        world(&RELEASE.replace("needs: [build]\n", &format!("needs: [build]\n    approvers: [\"{approver}\"]\n")))
    };
    let others = asks("{{ 'nobody-' ~ execution.workflow }}");
    others.ratchet(["run", ".", "--quiet"]).expect_code(3);
    // What the environment says is no proof.
    let mut named = others;
    named.variables.push(("USER".to_owned(), "nobody-release".to_owned()));
    let refused = named.ratchet(["approve", "last"]).expect_code(2);
    assert!(refused.stderr.contains("RT-0419") && refused.stderr.contains("nobody-release"), "{}", refused.stderr);
    assert_eq!(state(&named)["steps"]["go"]["status"], "waiting");
    let own = asks(&by);
    own.ratchet(["run", ".", "--quiet"]).expect_code(3);
    own.ratchet(["approve", "last", "--quiet"]).expect_code(0);
}

#[test]
fn an_approval_that_nobody_gives_in_time_fails() {
    let world = world(&RELEASE.replace("    message: |", "    timeout: 500ms\n    message: |"));
    let mut code = world.ratchet(["run", ".", "--quiet"]).code;
    while code == 3 {
        code = world.ratchet(["resume", "--quiet"]).code;
    }
    assert_eq!(code, 1);
    let after = state(&world);
    assert_eq!(after["steps"]["go"]["error"]["code"], "RT-0182");
    assert_eq!(after["epoch"], 1, "it is the same question");
}

#[test]
fn children_ask_each_for_themselves() {
    let fan = RELEASE
        .replace("    needs: [build]\n    message: |", "    needs: [build]\n    foreach: [a, b]\n    message: |")
        .replace(
            "echo \"{{ go.outputs.by }} said {{ go.outputs.comment }}, {{ go.outputs.approved }}\"",
            "echo {{ go.outputs.comment }}",
        );
    let world = world(&fan);
    let done = world.ratchet(["run", "."]).expect_code(3);
    assert!(done.stdout.contains("'go[0]'") && done.stdout.contains("'go[1]'"), "{}", done.stdout);
    assert_eq!(world.ratchet(["approve", "last"]).expect_code(2).stdout, "", "which one is not said");
    world.ratchet(["approve", "last", "go[1]", "--comment", "one", "--quiet"]).expect_code(3);
    world.ratchet(["approve", "last", "go[0]", "--comment", "zero", "--quiet"]).expect_code(0);
    assert_eq!(world.read("published.txt"), "zero one\n");
}

#[test]
fn a_run_that_asks_can_be_cancelled() {
    let world = world(RELEASE);
    world.ratchet(["run", ".", "--quiet"]).expect_code(3);
    world.ratchet(["cancel", "last", "--quiet"]).expect_code(0);
    let after = state(&world);
    assert_eq!((&after["status"], &after["steps"]["tidy"]["status"]), (&"cancelled".into(), &"completed".into()));
    assert_eq!(world.ratchet(["approve", "last", "go"]).code, 2);
}

#[test]
fn a_wait_goes_on_until_the_same_moment_after_its_process_died() {
    let world = world(
        "name: w\nversion: \"1\"\nsteps:\n  - { id: pause, type: wait, for: 3s }\n  - { id: after, type: shell, command: echo after }\n",
    );
    let mut run = world.program(ratchet());
    let mut run = run.args(["run", "."]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("ratchet");
    let due = loop {
        let status = world.ratchet(["status", "--json"]);
        let state: Value = serde_json::from_str(&status.stdout).unwrap_or_default();
        if state["steps"]["pause"]["status"] == "waiting" {
            break state["steps"]["pause"]["due"].as_str().expect("a time").to_owned();
        }
    };
    run.kill().expect("it runs");
    run.wait().expect("it ended");
    world.ratchet(["resume", "--quiet"]).expect_code(0);
    let after = state(&world);
    let completed = after["steps"]["pause"]["completed_at"].as_str().expect("a time").to_owned();
    assert!(completed >= due, "{completed} is before {due}");
    let history = world.ratchet(["history"]).expect_code(0).stdout;
    assert_eq!(history.matches("wait began").count(), 1, "{history}");
}

#[test]
fn a_wait_ends_at_once_where_its_moment_has_passed_and_says_what_is_none() {
    let wait = |field: &str| {
        world(&format!(
            "name: w\nversion: \"1\"\ninputs: {{ x: {{ type: string }} }}\nsteps: [{{ id: pause, type: wait, {field} }}]\n"
        ))
    };
    wait("until: 2001-01-01T00:00:00Z").ratchet(["run", "."]).expect_code(0);
    wait("for: 0s").ratchet(["run", "."]).expect_code(0);
    wait("for: 0.05").ratchet(["run", "."]).expect_code(0);
    let templated = || wait("for: \"{{ inputs.x }}\"");
    templated().ratchet(["run", ".", "-i", "x=20ms"]).expect_code(0);
    let templated = templated();
    templated.ratchet(["run", ".", "-i", "x=soon"]).expect_code(1);
    assert_eq!(state(&templated)["steps"]["pause"]["error"]["code"], "RT-0180");
}

#[test]
fn an_answer_comes_from_another_process_while_others_run() {
    let world = world(
        "\
name: beside
version: \"1\"
environment: { GATE: \"{{ env.GATE }}\" }
steps:
  - { id: go, type: approval, needs: [], message: \"go on?\" }
  - { id: works, type: shell, needs: [], command: \"echo works > \\\"$GATE\\\"; read -r word < \\\"$GATE\\\"; test \\\"$word\\\" = published\" }
  - { id: publish, type: shell, needs: [go], command: \"echo published > \\\"$GATE\\\"\" }
",
    );
    let gate = world.outside("gate");
    world.must("mkfifo", &[&gate.display().to_string()]);
    let mut run = world.program(ratchet());
    run.args(["run", ".", "--quiet", "--max-parallel", "2", "--env", &format!("GATE={}", gate.display())]);
    let mut run = run.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("ratchet");
    assert_eq!(std::fs::read_to_string(&gate).expect("the gate"), "works\n");
    while state(&world)["steps"]["go"]["status"] != "waiting" {}
    assert_eq!(state(&world)["status"], "running", "what runs goes on while it asks");
    world.ratchet(["approve", "last", "--quiet"]).expect_code(0);
    assert!(run.wait().expect("it ended").success());
    assert_eq!(state(&world)["steps"]["publish"]["status"], "completed");
}

/// What stands under `finally` has its time after work that went well too. The step would take longer than any test may.
#[test]
fn what_runs_at_the_end_takes_no_longer_than_it_may() {
    let world = world(
        "name: w\nversion: \"1\"\nfinally_timeout: 300ms\nsteps:\n  - { id: work, type: shell, command: \"true\" }\nfinally:\n  - { id: tidy, type: shell, command: sleep 600 }\n",
    );
    world.ratchet(["run", "."]).expect_code(1);
    let state = state(&world);
    assert_eq!(
        (&state["steps"]["work"]["status"], &state["steps"]["tidy"]["status"]),
        (&"completed".into(), &"cancelled".into())
    );
    world.ratchet(["replay"]).expect_code(0);
}
