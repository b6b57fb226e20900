use ratchet_tests::world::World;
use serde_json::Value;

use super::{call, is_untouched, redacted, shown};

const GREETING: &str = "\
name: greeting
version: \"1.2\"
description: Greets, and counts the letters
inputs:
  who: { type: string, default: world }
  token: { type: string, default: secret, sensitive: true } # ratchet: ignore RT-0068
outputs:
  letters: { type: integer, from: count.outputs.letters }
  card: { type: artifact }
steps:
  - id: greet
    type: shell
    command: printf 'hello %s' {{ inputs.who }} > card.txt
    outputs:
      card: ./card.txt
  - id: count
    type: shell
    command: wc -c < card.txt
    outputs:
      letters: { type: integer, from: stdout }
  - id: check
    type: assert
    condition: count.outputs.letters > 3
  - id: never
    type: shell
    when: \"{{ false }}\"
    command: exit 9
";

const FAILING: &str = "\
name: failing
version: \"1\"
steps:
  - id: fine
    type: shell
    command: echo fine
  - id: beside
    type: shell
    on_failure: continue
    command: exit 1
  - id: breaks
    type: shell
    command: |
      echo before >&2
      echo 'it broke' >&2
      exit 3
  - id: after
    type: shell
    command: echo after
";

fn world(workflow: &str) -> World {
    let world = World::new();
    world.write("workflow.yaml", workflow);
    world
}

#[test]
fn a_workflow_is_validated_drawn_and_rendered() {
    let world = world(GREETING);
    insta::assert_snapshot!("validate", call(&world, &["validate", "workflow.yaml", "."]));
    insta::assert_snapshot!("validate_json", call(&world, &["validate", "workflow.yaml", "--json"]));
    for format in ["mermaid", "dot", "svg"] {
        insta::assert_snapshot!(format!("graph_{format}"), call(&world, &["graph", ".", "--format", format]));
    }
    insta::assert_snapshot!("render", call(&world, &["render", ".", "greet", "-i", "who=$(touch pwned); you"]));
    insta::assert_snapshot!("render_json", call(&world, &["render", ".", "count", "--json"]));
    insta::assert_snapshot!("render_assert", call(&world, &["render", ".", "check"]));
    assert!(!world.work().join("pwned").exists() && is_untouched(&world), "nothing ran");
}

#[test]
fn a_run_is_told_listed_and_looked_at() {
    let world = world(GREETING);
    insta::assert_snapshot!("run", call(&world, &["run", "workflow.yaml", "-i", "who=you"]));
    assert_eq!(world.read("card.txt"), "hello you", "what the run changed is in the directory");
    insta::assert_snapshot!("status", call(&world, &["status"]));
    insta::assert_snapshot!("status_json", call(&world, &["status", "--json"]));
    insta::assert_snapshot!("list_json", call(&world, &["list", "--json"]));
    insta::assert_snapshot!("list", call(&world, &["list", "--status", "completed"]));
    insta::assert_snapshot!("logs", call(&world, &["logs"]));
    insta::assert_snapshot!("logs_step", call(&world, &["logs", "last", "count"]));
    insta::assert_snapshot!("logs_of_a_check", call(&world, &["logs", "last", "check"]));
    insta::assert_snapshot!("logs_of_a_skipped", call(&world, &["logs", "last", "never"]));
    insta::assert_snapshot!("logs_of_a_silent", call(&world, &["logs", "last", "greet"]));
    insta::assert_snapshot!("logs_of_no_attempt", call(&world, &["logs", "last", "greet", "--attempt", "2"]));
    insta::assert_snapshot!("logs_of_no_step", call(&world, &["logs", "last", "grete"]));
    insta::assert_snapshot!("logs_json", call(&world, &["logs", "last", "count", "--json"]));
    let doctor = super::state(&world, &["doctor", "--json"]);
    let disk = &doctor["state"]["disk"];
    assert!(["database", "contents", "executions"].iter().all(|part| disk[part].as_u64() > Some(0)), "{doctor:#}");
    assert_eq!(doctor["state"]["executions"], 1);
    insta::assert_snapshot!("history", call(&world, &["history"]));
    insta::assert_snapshot!("replay_at", call(&world, &["replay", "last", "--at", "4"]));
    insta::assert_snapshot!("replay_beyond", call(&world, &["replay", "last", "--at", "10"]));
    let history: Value =
        serde_json::from_str(&world.ratchet(["history", "--json"]).expect_code(0).stdout).expect("JSON");
    assert_eq!((&history["records"][3]["event"], &history["records"][3]["row"]), (&4.into(), &"1/count".into()));
    insta::assert_snapshot!("rm", call(&world, &["rm", "last"]));
    insta::assert_snapshot!("list_empty", call(&world, &["list"]));
}

#[test]
fn a_failed_run_says_why_and_what_to_type_next() {
    let world = world(FAILING);
    insta::assert_snapshot!("run_failed", call(&world, &["run", "workflow.yaml"]));
    insta::assert_snapshot!("status_failed", call(&world, &["status"]));
    insta::assert_snapshot!("logs_failed", call(&world, &["logs", "last", "breaks"]));
    insta::assert_snapshot!("resume_failed", call(&world, &["resume", "--quiet"]));
    insta::assert_snapshot!("cancel_ended", call(&world, &["cancel", "last"]));
}

#[test]
fn a_run_with_a_failure_that_was_let_pass_ends_with_4() {
    let world = world(&FAILING.replace("      exit 3\n", ""));
    let arguments = ["run", "workflow.yaml", "--json"];
    let done = world.ratchet(arguments).expect_code(4);
    let state: Value = serde_json::from_str(&done.stdout).expect("one JSON object on standard output");
    assert_eq!(state["failed_steps"], serde_json::json!(["beside"]));
    assert_eq!(state["status"], "completed");
    insta::assert_snapshot!("run_continued_stderr", redacted(&world, &done.stderr));
}

#[test]
fn quiet_says_the_end_only() {
    let world = world(GREETING);
    insta::assert_snapshot!("run_quiet", call(&world, &["run", "workflow.yaml", "--quiet"]));
}

#[test]
fn two_runs_with_one_key_are_one() {
    let world = world(GREETING);
    let arguments = ["run", "workflow.yaml", "--json", "--idempotency-key", "push-7"];
    let state =
        |done: ratchet_tests::world::Done| serde_json::from_str::<Value>(&done.expect_code(0).stdout).expect("JSON");
    let first = state(world.ratchet(arguments));
    let second = state(world.ratchet(arguments));
    assert_eq!(first, second, "the second call gives the first run's result");
    assert_eq!(first["steps"]["greet"]["attempts"], 1);
    let other = ["run", "workflow.yaml", "--idempotency-key", "push-7", "-i", "who=you"];
    let done = world.ratchet(other);
    insta::assert_snapshot!("key_taken", shown(&world, &other, &done));
}

const READING: &str = r#"
name: reading
version: "1"
environment: { STAGE: "{{ inputs.name }} stage" }
inputs:
  base: { type: integer, default: 40 }
  name: { type: string, default: "a 'b'" }
steps:
  - id: first
    type: shell
    command: |
      echo '<coverage line-rate="0.5" branch-rate="0"><packages></packages></coverage>' > coverage.xml
      echo 2
    outputs:
      two: { type: integer, from: stdout }
      report: ./coverage.xml
  - id: second
    type: shell
    command: echo 1; rm coverage.xml
    outputs:
      sum: { type: integer, from: inputs.base + first.outputs.two }
      named: { type: string, from: "'{{ inputs.name }}|' ~ env.STAGE ~ '|' ~ execution.workflow ~ '|' ~ first.status" }
      own: { type: integer, from: sum + stdout | int }
      covered: { type: number, from: parse_coverage(first.outputs.report).line_coverage }
      time: { type: string, from: now() }
      fine: { type: boolean, from: success() }
  - id: each
    type: shell
    foreach: "['x', 'y']"
    command: echo {{ item }}{{ item }}
    outputs:
      at: { type: string, from: "stdout ~ index ~ item ~ second.outputs.sum" }
  - id: same_clock
    type: assert
    condition: second.outputs.time == now() | string
"#;

#[test]
fn an_output_of_a_process_reads_what_a_template_reads() {
    let world = world(READING);
    let done = super::state(&world, &["run", ".", "--json"]);
    let outputs = &done["steps"]["second"]["outputs"];
    let named = "a 'b'|a 'b' stage|reading|completed";
    assert_eq!((&outputs["sum"], &outputs["named"], &outputs["own"]), (&42.into(), &named.into(), &43.into()));
    assert_eq!((&outputs["covered"], &outputs["fine"]), (&50.into(), &true.into()));
    assert_eq!(done["steps"]["each"]["outputs"]["at"], serde_json::json!(["xx0x42", "yy1y42"]));
}

#[test]
fn until_and_only_leave_the_rest_out() {
    let world = world(GREETING);
    let statuses = |arguments: &[&str]| {
        let done = world.ratchet(arguments).expect_code(0);
        let state: Value = serde_json::from_str(&done.stdout).expect("JSON");
        ["greet", "count", "check"].map(|step| state["steps"][step]["status"].as_str().unwrap_or("none").to_owned())
    };
    assert_eq!(statuses(&["run", ".", "--json", "--until", "count"]), ["completed", "completed", "skipped"]);
    assert_eq!(statuses(&["run", ".", "--json", "--only", "greet"]), ["completed", "skipped", "skipped"]);
}

#[test]
fn the_log_is_structured_and_names_what_it_is_about() {
    let world = world(GREETING);
    let done = world.ratchet(["run", ".", "--quiet", "--log", "ratchet=info", "--log-format", "json"]).expect_code(0);
    let lines: Vec<Value> = done.stderr.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let of_count: Vec<&Value> = lines.iter().filter(|line| line["step"] == "count").collect();
    assert_eq!(of_count.len(), 2, "claimed and succeeded: {}", done.stderr);
    assert!(of_count.iter().all(|line| line["attempt"] == 1 && line["execution"].is_string()), "{of_count:#?}");
    assert_eq!(of_count[1]["status"], "completed");
}

#[test]
fn a_run_joins_the_callers_trace_and_its_steps_see_it() {
    let mut world =
        world(&GREETING.replace("command: wc -c < card.txt", "command: echo \"$TRACEPARENT\" >&2; wc -c < card.txt"));
    let trace = "0af7651916cd43dd8448eb211c80319c";
    world.variables.push(("TRACEPARENT".to_owned(), format!("00-{trace}-b7ad6b7169203331-01")));
    world.ratchet(["run", ".", "--quiet"]).expect_code(0);
    let seen = world.ratchet(["logs", "last", "count"]).expect_code(0).stdout;
    assert!(seen.contains(&format!("00-{trace}-")) && !seen.contains("b7ad6b7169203331"), "{seen}");
}

#[test]
fn many_steps_and_children_do_not_flood() {
    let step = |n| format!("  - {{ id: s{n}, type: assert, needs: [], condition: 1 < 2 }}\n");
    let steps = (0..80).map(step).collect::<Vec<_>>().concat();
    let fan = "  - { id: fan, type: template, foreach: range(200), template: \"{{ item }}\" }\n";
    let world = world(&format!("name: many\nversion: \"1\"\nsteps:\n{steps}{fan}"));
    let done = world.ratchet(["run", "."]).expect_code(0);
    let lines = done.stdout.lines().count();
    assert!(lines < 120, "{lines} lines:\n{}", done.stdout);
    assert!(done.stdout.contains("200/200 done"), "{}", done.stdout);
    let state: Value = serde_json::from_str(&world.ratchet(["status", "--json"]).expect_code(0).stdout).expect("JSON");
    assert_eq!(state["steps"]["fan"]["children"], serde_json::json!({ "count": 200, "completed": 200 }));
}

#[test]
fn logs_are_followed_to_the_end() {
    let world = world(GREETING);
    world.ratchet(["run", ".", "--quiet"]).expect_code(0);
    let followed = world.ratchet(["logs", "last", "-f"]).expect_code(0);
    assert_eq!(followed.stdout, "count | 11\n");
}

#[test]
fn old_runs_are_pruned_and_the_newest_kept() {
    let world = world(GREETING);
    for _ in 0..3 {
        world.ratchet(["run", ".", "--quiet"]).expect_code(0);
    }
    insta::assert_snapshot!("prune_dry", call(&world, &["prune", "--older-than", "0s", "--keep", "2", "--dry-run"]));
    insta::assert_snapshot!("prune", call(&world, &["prune", "--older-than", "0s", "--keep", "1"]));
    let left: Value = serde_json::from_str(&world.ratchet(["list", "--json"]).expect_code(0).stdout).expect("JSON");
    let left = left.as_array().expect("an array");
    assert_eq!(left.len(), 1);
    world.ratchet(["status", left[0]["execution_id"].as_str().expect("a name")]).expect_code(0);
    insta::assert_snapshot!("prune_default", call(&world, &["prune"]));
}

#[test]
fn a_rerun_has_what_the_first_run_had() {
    let world = world(GREETING);
    world.ratchet(["run", ".", "--quiet", "-i", "who=you"]).expect_code(0);
    world.write("workflow.yaml", "no workflow any more");
    let state = |arguments: &[&str]| {
        serde_json::from_str::<Value>(&world.ratchet(arguments).expect_code(0).stdout).expect("JSON")
    };
    let again = state(&["rerun", "--json"]);
    assert_eq!((&again["inputs"]["who"], &again["outputs"]["letters"]), (&"you".into(), &9.into()));
    let other = state(&["rerun", "--json", "-i", "who=all of you"]);
    assert_eq!(other["outputs"]["letters"], 16);
    assert_eq!(state(&["list", "--json"]).as_array().map(Vec::len), Some(3));
}
