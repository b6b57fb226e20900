//! Steps that are runs of their own, step types, and published workflows.

use std::fs;

use ratchet_tests::world::{Done, World};
use serde_json::{Value, json};

const TYPES: &str = "\
step_types:
  build:
    inputs: {name: {type: string, required: true}}
    outputs:
      text: {type: string, from: made.outputs.text}
      by: {type: string, from: confirm.outputs.by}
    steps:
      - {id: made, type: shell, command: 'echo \"made {{ inputs.name }}\" | tee -a log.txt', outputs: {text: {type: string, from: stdout}}}
      - {id: confirm, type: approval, message: 'Keep {{ inputs.name }}?'}
      - {id: kept, type: shell, command: 'test ! -e /nowhere; test -e \"{{ env.FLAG }}\"; echo kept >> log.txt'}
    finally:
      - {id: tidy, type: shell, command: echo tidied >> log.txt}
  length:
    inputs: {text: {type: string, required: true}}
    outputs: {length: {type: integer}}
    exec: [./length.sh]
";

const INNER: &str = "\
name: inner
version: \"1\"
inputs: {name: {type: string, default: thing}}
outputs: {text: {type: string, from: one.outputs.text}}
step_types: {build: ./types.yaml}
steps:
  - {id: one, type: build, inputs: {name: \"{{ inputs.name }}\"}}
";

const OUTER: &str = "\
name: outer
version: \"1\"
outputs: {length: {type: integer, from: count.outputs.length}}
step_types: {length: ./types.yaml}
steps:
  - {id: sub, type: workflow, workflow: ./inner.yaml, inputs: {name: box}}
  - {id: count, type: length, inputs: {text: \"{{ sub.outputs.text }}\"}}
";

/// Reads one JSON object and writes one.
const PROGRAM: &str = "#!/bin/sh
text=$(sed 's/.*\"text\":\"\\([^\"]*\\)\".*/\\1/')
echo \"counting $text\" >&2
echo \"{\\\"length\\\": ${#text}}\"
";

fn world() -> World {
    let world = World::new();
    world.write("types.yaml", TYPES);
    world.write("inner.yaml", INNER);
    world.write("workflow.yaml", OUTER);
    let program = world.write("length.sh", PROGRAM);
    world.must("chmod", &["+x", &program.display().to_string()]);
    world
}

fn state(world: &World, execution: &str) -> Value {
    serde_json::from_str(&world.ratchet(["status", execution, "--json"]).expect_code(0).stdout).expect("JSON")
}

fn nested(state: &Value, step: &str) -> String {
    state["steps"][step]["execution"].as_str().expect("an execution").to_owned()
}

/// What was asked is answered by the way to it from the root, what failed goes on from where it failed, and files that changed meanwhile change nothing.
#[test]
fn a_run_of_runs_pauses_is_answered_fails_and_goes_on() {
    let world = world();
    let flag = world.outside("flag").display().to_string();
    let variable = format!("FLAG={flag}");
    world.ratchet(["run", "workflow.yaml", "--env", &variable]).expect_code(3);
    let paused = state(&world, "last");
    assert_eq!(paused["pause_reason"], "sub: one: confirm waits for an approval");
    world.write("types.yaml", "step_types: {}\n");
    fs::remove_file(world.work().join("inner.yaml")).expect("a file");
    world.ratchet(["approve", "last", "sub.one.confirm"]).expect_code(1);
    let failed = state(&world, "last");
    assert_eq!(
        failed["steps"]["sub"]["error"]["message"],
        "one failed: kept failed: the command ended with exit code 1"
    );
    fs::write(&flag, "").expect("a file");
    let refused = world.ratchet(["resume", "--from", "sub.one"]).expect_code(2).stderr;
    assert!(refused.contains("RT-0402") && refused.contains("--from sub` runs all of sub again"), "{refused}");
    world.ratchet(["resume", "--files", "then"]).expect_code(0);
    let done = state(&world, "last");
    assert_eq!((&done["outputs"], &done["status"]), (&json!({"length": 8}), &json!("completed")));
    assert_eq!(nested(&done, "sub"), nested(&failed, "sub"), "the same run went on");
    assert_eq!(
        world.read("log.txt"),
        "made box\nkept\ntidied\n",
        "what was done was not done again, and `finally` left nothing to those that it tidied up after"
    );
    let replayed = world.ratchet(["replay", "last"]).expect_code(0).stderr;
    assert!(replayed.contains("of its steps' own executions decided again, all as recorded"), "{replayed}");
    let history: Value =
        serde_json::from_str(&world.ratchet(["history", "--json"]).expect_code(0).stdout).expect("JSON");
    let below = history["nested"].as_array().expect("a list");
    assert_eq!((below.len(), &below[0]["step"], &below[1]["step"]), (2, &json!("sub"), &json!("sub.one")));
    assert_eq!(below[0]["execution_id"], nested(&done, "sub"));
    let pointed = world.ratchet(["history"]).expect_code(0).stderr;
    assert!(pointed.contains(&format!("`ratchet history {}`", nested(&done, "sub"))), "{pointed}");
    world.ratchet(["replay", &nested(&done, "sub")]).expect_code(0);
    assert_eq!(world.ratchet(["logs", "last", "sub.one.made"]).expect_code(0).stdout.trim(), "made box");
}

/// A child of a fan-out that is a group keeps what it did only where the group's own check holds, and a recording tells their agents apart.
#[test]
fn of_groups_with_agents_only_those_that_hold_are_kept() {
    let world = World::new();
    let mending = "\
name: mending
version: \"1\"
step_types:
  mend:
    inputs: {file: {type: string, required: true}}
    outputs: {good: {type: boolean, from: check.outputs.good}}
    steps:
      - {id: write, type: claude_code, prompt: 'Mend {{ inputs.file }}.'}
      - {id: check, type: shell, command: 'grep -q mended {{ inputs.file }}', outputs: {good: {type: boolean, from: exit_code == 0}}}
outputs: {good: {type: array, from: mended.outputs.good}}
steps:
  - {id: mended, type: mend, foreach: [a.txt, b.txt], tolerated_failures: 2, inputs: {file: '{{ item }}'}}
";
    world.write("workflow.yaml", mending);
    let played = |edits: [&str; 2], recording: &str| -> Value {
        let session = |number: usize, file: &str| {
            let edits = json!([{"action": "write", "path": file, "file": edits[number]}]);
            json!({"step": format!("mended[{number}].write"), "reply": {"response": file}, "edits": edits})
        };
        for (name, text) in [("good", "mended\n"), ("bad", "broken\n")] {
            world.write(&format!("{recording}/{name}"), text);
        }
        let sessions = [session(0, "a.txt"), session(1, "b.txt")];
        let text = json!({"format": 1, "agent": "a test", "sessions": sessions}).to_string();
        world.write(&format!("{recording}/recording.json"), &text);
        let agent = format!("recorded:{recording}");
        let run = world.ratchet(["run", "workflow.yaml", "--json", "--agent", &agent]).expect_code(0);
        serde_json::from_str(&run.stdout).expect("JSON")
    };
    for name in ["a.txt", "b.txt"] {
        world.write(name, "as it was\n");
    }
    assert_eq!(played(["good", "bad"], "one")["outputs"]["good"], json!([true, null]));
    assert_eq!((world.read("a.txt").as_str(), world.read("b.txt").as_str()), ("mended\n", "as it was\n"));
    // Where none holds, the list is there all the same.
    assert_eq!(played(["bad", "bad"], "none")["outputs"]["good"], json!([null, null]));
    assert_eq!(world.read("a.txt"), "mended\n");
    // As it is where there is nothing to do.
    world.write("workflow.yaml", &mending.replace("[a.txt, b.txt]", "[]"));
    assert_eq!(played(["good", "bad"], "idle")["outputs"]["good"], json!([]));
}

/// What is below a run is listed on demand, belongs to it, and goes with it.
#[test]
fn what_is_below_a_run_belongs_to_it() {
    let world = world();
    world.ratchet(["run", "workflow.yaml"]).expect_code(3);
    let rows = |arguments: &[&str]| -> usize {
        let listed = world.ratchet(arguments.iter().copied()).expect_code(0).stdout;
        serde_json::from_str::<Vec<Value>>(&listed).expect("JSON").len()
    };
    assert_eq!((rows(&["list", "--json"]), rows(&["list", "--all", "--json"])), (1, 3));
    let inner = nested(&state(&world, "last"), "sub");
    for command in [["resume", &inner], ["rm", &inner]] {
        let Done { code, stderr, .. } = world.ratchet(command);
        assert!(code == 2 && stderr.contains("is a part of"), "{stderr}");
    }
    world.ratchet(["cancel", "last"]).expect_code(0);
    assert_eq!(state(&world, &inner)["status"], "cancelled");
    world.ratchet(["rm", "last"]).expect_code(0);
    assert_eq!(rows(&["list", "--all", "--json"]), 0);
}

/// A name and a version stand for one text, and a run of it needs no file.
#[test]
fn a_published_workflow_stays_as_it_is() {
    let world = World::new();
    let text = |word: &str| {
        format!(
            "name: said\nversion: \"1\"\noutputs: {{word: {{type: string, from: say.outputs.word}}}}\nsteps:\n  - {{id: say, type: shell, command: echo {word}, outputs: {{word: {{type: string, from: stdout}}}}}}\n"
        )
    };
    world.write("said.yaml", &text("one"));
    world.ratchet(["publish", "said.yaml"]).expect_code(0);
    world.ratchet(["publish", "said.yaml"]).expect_code(0);
    world.write("said.yaml", &text("two"));
    let taken = world.ratchet(["publish", "said.yaml"]);
    assert!(taken.code == 2 && taken.stderr.contains("RT-0423"), "{taken:?}");
    world.write("said.yaml", &text("two").replace("\"1\"", "\"2\""));
    world.ratchet(["publish", "said.yaml"]).expect_code(0);
    for (name, word) in [("said", "two"), ("said@1", "one")] {
        world.ratchet(["run", name]).expect_code(0);
        assert_eq!(state(&world, "last")["outputs"]["word"], word);
    }
    world.write("workflow.yaml", "name: w\nversion: \"1\"\nsteps:\n  - {id: a, type: workflow, workflow: said, version: \"1\"}\n  - {id: b, type: assert, condition: \"a.outputs.word == 'one'\"}\n");
    world.ratchet(["run", "workflow.yaml"]).expect_code(0);
    let unknown = world.ratchet(["run", "said@3"]);
    assert!(unknown.code == 2 && unknown.stderr.contains("RT-0422") && unknown.stderr.contains("1, 2"), "{unknown:?}");
}

/// A program that does not write what its type declares fails its step, and the error says why.
#[test]
fn a_program_is_held_to_its_type() {
    for (script, code, says) in [
        ("echo '{\"length\": \"4\"}'", 0, ""),
        ("echo '{\"size\": 4}'", 1, "has no field `length`: its fields are size"),
        ("echo '{\"length\": \"many\"}'", 1, "`many` is not a whole number"),
        ("echo '[4]'", 1, "is JSON, and no object"),
        ("echo four", 1, "is no JSON"),
        ("exit 3", 1, "exit code 3"),
    ] {
        let world = World::new();
        let workflow = format!(
            "name: w\nversion: \"1\"\nstep_types:\n  length: {{outputs: {{length: {{type: integer}}}}, exec: [sh, -c, {}]}}\nsteps:\n  - {{id: a, type: length}}\n",
            json!(script)
        );
        world.write("workflow.yaml", &workflow);
        world.ratchet(["run", "workflow.yaml"]).expect_code(code);
        let step = &state(&world, "last")["steps"]["a"];
        match code {
            0 => assert_eq!(step["outputs"]["length"], 4),
            _ => assert!(step["error"]["message"].as_str().is_some_and(|message| message.contains(says)), "{step}"),
        }
    }
}

/// A picture shows what runs in a step, and in what runs there.
#[test]
fn what_a_step_runs_is_drawn() {
    let world = world();
    let drawn = world.ratchet(["graph", "workflow.yaml"]).expect_code(0).stdout;
    insta::assert_snapshot!("nested_graph", drawn);
    let dot = world.ratchet(["graph", "workflow.yaml", "--format", "dot"]).expect_code(0).stdout;
    assert!(dot.contains("\"sub.one\" -> \"sub.one.made\";") && dot.contains("subgraph cluster_"), "{dot}");
}

/// An item that was done before a resume is still known by its run.
#[test]
fn items_that_are_taken_over_keep_their_runs() {
    let world = World::new();
    let flag = world.outside("flag").display().to_string();
    world.write(
        "workflow.yaml",
        "name: w\nversion: \"1\"\nstep_types:\n  tried:\n    inputs: {word: {type: string}}\n    steps:\n      - {id: try, type: shell, command: 'test {{ inputs.word }} = good || test -e \"{{ env.FLAG }}\"'}\nsteps:\n  - {id: all, type: tried, foreach: [good, bad], inputs: {word: \"{{ item }}\"}}\n",
    );
    world.ratchet(["run", "workflow.yaml", "--env", &format!("FLAG={flag}")]).expect_code(1);
    let runs = || -> Vec<Value> {
        let history = world.ratchet(["history", "--json"]).expect_code(0).stdout;
        let history: Value = serde_json::from_str(&history).expect("JSON");
        history["nested"].as_array().expect("a list").clone()
    };
    let failed = runs();
    fs::write(&flag, "").expect("a file");
    world.ratchet(["resume"]).expect_code(0);
    assert_eq!(runs(), failed, "the same runs, the first of them done before");
    assert_eq!((failed.len(), &failed[0]["step"]), (2, &json!("all[0]")));
    world.ratchet(["logs", "last", "all[0].try"]).expect_code(0);
}
