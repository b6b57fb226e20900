//! Assertions with which a run, or a fan-out, ends as a success.

use ratchet_tests::world::World;
use serde_json::Value;

fn world(workflow: &str) -> World {
    let world = World::new();
    world.write("workflow.yaml", workflow);
    world
}

fn statuses(world: &World, steps: &[&str]) -> Vec<String> {
    let state: Value = serde_json::from_str(&world.ratchet(["status", "--json"]).expect_code(0).stdout).expect("JSON");
    steps.iter().map(|step| state["steps"][step]["status"].as_str().unwrap_or("none").to_owned()).collect()
}

const NOTHING_TO_DO: &str = "\
name: nothing-to-do
version: \"1\"
outputs:
  found: { type: integer, from: look.outputs.found }
steps:
  - id: look
    type: shell
    command: echo 0
    outputs: { found: { type: integer, from: stdout } }
  - id: beside
    type: shell
    needs: []
    command: touch begun; tail -f /dev/null
  - id: anything
    type: assert
    needs: [look]
    condition: look.outputs.found > 0
    message: nothing was found
    on_failure: succeed
  - id: work
    type: shell
    needs: [anything]
    command: touch worked
on_failure:
  - { id: mourn, type: shell, command: touch mourned }
finally:
  - { id: tidy, type: shell, command: touch tidied }
";

#[test]
fn a_run_ends_as_a_success_where_nothing_is_left_to_do() {
    let world = world(NOTHING_TO_DO);
    let done = world.ratchet(["run", "."]).expect_code(0);
    assert!(
        done.stdout.contains("✓ nothing-to-do completed") && done.stdout.contains("nothing was found"),
        "{}",
        done.stdout
    );
    let steps = ["look", "anything", "work", "mourn", "tidy"];
    assert_eq!(
        statuses(&world, &steps),
        ["completed", "completed", "none", "skipped", "completed"].map(|s| if s == "none" { "pending" } else { s })
    );
    assert!(world.work().join("tidied").exists() && !world.work().join("worked").exists());
    world.ratchet(["replay"]).expect_code(0);
}

#[test]
fn what_such_a_run_can_give_it_gives() {
    let from = "json_parse(work.outputs.text).n";
    let outputs = format!("outputs:\n  worked: {{ type: integer, from: \"{from}\" }}\n");
    let workflow = NOTHING_TO_DO.replace("outputs:\n", &outputs).replace(
        "command: touch worked\n",
        "command: echo '{\"n\":1}'\n    outputs: { text: { type: string, from: stdout } }\n",
    );
    let world = world(&workflow);
    let done = world.ratchet(["run", ".", "--json"]).expect_code(0);
    let state: Value = serde_json::from_str(&done.stdout).expect("JSON");
    assert_eq!(state["outputs"], serde_json::json!({ "found": 0, "worked": null }), "{}", done.stderr);
}

#[test]
fn an_assertion_that_holds_or_cannot_be_evaluated_concludes_nothing() {
    let fine = NOTHING_TO_DO.replace("command: echo 0", "command: echo 1").replace("tail -f /dev/null", "true");
    let fine = world(&fine);
    fine.ratchet(["run", "."]).expect_code(0);
    assert_eq!(statuses(&fine, &["work"]), ["completed"]);
    let broken = NOTHING_TO_DO
        .replace("look.outputs.found > 0", "json_parse('no JSON').found > 0")
        .replace("tail -f /dev/null", "true");
    let broken = world(&broken);
    broken.ratchet(["run", "."]).expect_code(1);
    assert_eq!(statuses(&broken, &["anything", "work", "mourn"]), ["failed", "blocked", "completed"]);
}

#[test]
fn a_fan_out_ends_alone() {
    let world = world(
        "\
name: first-of-many
version: \"1\"
steps:
  - id: until
    type: assert
    foreach: range(50)
    max_parallel: 1
    condition: item < 3
    on_failure: succeed
  - { id: after, type: shell, command: touch after }
",
    );
    world.ratchet(["run", "."]).expect_code(0);
    assert_eq!(statuses(&world, &["until", "after"]), ["completed", "completed"]);
    let state: Value = serde_json::from_str(&world.ratchet(["status", "--json"]).expect_code(0).stdout).expect("JSON");
    assert_eq!(state["steps"]["until"]["children"]["completed"], 4, "{}", state["steps"]["until"]);
    assert!(world.work().join("after").exists());
}
