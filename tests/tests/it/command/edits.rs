//! Executions that go on under an edited file.

use std::fs;

use ratchet_tests::world::{Done, World};
use serde_json::json;

use super::{call, redacted, state};

/// Each process that runs leaves a line in a file that lies outside.
fn workflow(world: &World) -> String {
    let ran = world.outside("ran").display().to_string();
    format!(
        "\
name: build
version: \"1\"
inputs: {{word: {{type: string, default: made}}}}
step_types:
  both:
    inputs: {{word: {{type: string, required: true}}}}
    steps:
      - {{id: one, type: shell, command: 'echo one >> {ran}; echo {{{{ inputs.word }}}} > one.txt'}}
steps:
  - {{id: make, type: shell, command: 'echo make >> {ran}; echo {{{{ inputs.word }}}} | tee made.txt', outputs: {{text: {{type: string, from: stdout}}}}}}
  - {{id: right, type: assert, condition: 'make.outputs.text == inputs.word'}}
  - {{id: each, type: shell, foreach: \"['a', 'b']\", command: 'echo each >> {ran}; echo {{{{ item }}}} > {{{{ item }}}}.txt', max_parallel: 1}}
  - {{id: group, type: both, inputs: {{word: '{{{{ inputs.word }}}}'}}}}
  - {{id: test, type: shell, command: 'echo test >> {ran}; grep wrong made.txt', timeout: 1m}}
  - {{id: pack, type: shell, command: 'echo pack >> {ran}; cat *.txt > packed', use_cache: true}}
"
    )
}

struct Edited {
    world: World,
    text: String,
}

impl Edited {
    fn new() -> Self {
        let world = World::new();
        let text = workflow(&world);
        world.write("workflow.yaml", &text);
        fs::create_dir(world.work().join("w")).expect("a folder can be made");
        Self { world, text }
    }

    fn run(&self, code: i32) {
        self.world.ratchet(["run", "workflow.yaml", "--workspace", "w", "--quiet"]).expect_code(code);
    }

    /// Changes a part of the file, and goes on under it. What it says of that comes back, and what ran.
    fn resume(&mut self, changes: &[(&str, &str)], more: &[&str], code: i32) -> String {
        for (old, new) in changes {
            assert!(self.text.contains(old), "{old}");
            self.text = self.text.replace(old, new);
        }
        self.world.write("edited.yaml", &self.text);
        let _ = fs::remove_file(self.world.outside("ran"));
        let call = [&["resume", "last", "--edit", "edited.yaml", "--quiet"], more].concat();
        let Done { stderr, .. } = self.world.ratchet(call).expect_code(code);
        let ran = fs::read_to_string(self.world.outside("ran")).unwrap_or_default();
        let ran: Vec<&str> = ran.lines().collect();
        let told = redacted(&self.world, &format!("{stderr}ran: {}\n", ran.join(" ")));
        told.replace(concat!("[WORLD]/work", "/"), "")
    }
}

#[test]
fn what_still_holds_is_kept() {
    let mut edited = Edited::new();
    edited.run(1);
    let mut told = Vec::new();
    // The test is put right: all before it is kept, and a limit changes nothing.
    told.push(edited.resume(&[("grep wrong", "grep made"), ("timeout: 1m", "timeout: 2m")], &[], 0));
    // An assertion that changes no file goes, and what comes after it is kept; a new step at the end runs.
    let sign = "  - {id: sign, type: shell, command: echo signed > sign.txt}\n";
    let right = "  - {id: right, type: assert, condition: 'make.outputs.text == inputs.word'}\n";
    let text = edited.text.clone() + sign;
    edited.text = text;
    told.push(edited.resume(&[(right, "")], &[], 0));
    // A step that made files goes: what comes after it runs again.
    let each = edited.text.lines().find(|line| line.contains("id: each")).expect("it is there").to_owned() + "\n";
    told.push(edited.resume(&[(&each, "")], &[], 0));
    // A step is reset beside, and a group of steps is edited.
    told.push(edited.resume(&[("> one.txt", "> two.txt")], &["--from", "sign"], 0));
    // What is written otherwise is done again, and where it comes to the same, a kept result is taken.
    told.push(edited.resume(
        &[(
            "- {id: pack, type: shell, command: 'echo pack >>",
            "- {id: pack, description: all, when: '1 < 2', type: shell, command: 'echo pack >>",
        )],
        &[],
        0,
    ));
    insta::assert_snapshot!("edits", told.join("--\n"));
    let run = state(&edited.world, &["status", "last", "--json"]);
    assert_eq!(
        (&run["status"], &run["epoch"], &run["steps"]["pack"]["cached"]),
        (&json!("completed"), &json!(6), &json!(true))
    );
    let files =
        ["made.txt", "two.txt", "packed", "sign.txt"].map(|file| edited.world.work().join("w").join(file).exists());
    assert_eq!(files, [true; 4]);
    // Who, when, and from which definition to which: the history says it, and it is decided again.
    let history = state(&edited.world, &["history", "last", "--json"]);
    let edits: Vec<_> = history["records"]
        .as_array()
        .expect("records")
        .iter()
        .filter(|record| !record["change"]["edit"].is_null())
        .collect();
    assert_eq!(edits.len(), 5);
    for pair in edits.windows(2) {
        assert_eq!(pair[0]["change"]["edit"]["to"], pair[1]["change"]["edit"]["from"]);
        assert_eq!(pair[1]["actor"], json!({"person": "tester"}));
    }
    edited.world.ratchet(["replay", "last"]).expect_code(0);
    edited.world.ratchet(["replay", "last", "--at", "5"]).expect_code(0);
}

#[test]
fn a_step_that_waits_may_go() {
    let mut edited = Edited::new();
    let asks = "  - {id: asks, type: approval, message: 'Sure?'}\n";
    let text = edited.text.replace("grep wrong", "grep made") + asks;
    edited.world.write("workflow.yaml", &text);
    edited.run(3);
    edited.text = text;
    insta::assert_snapshot!("edits_gone", edited.resume(&[(asks, "")], &["--yes"], 0));
    edited.world.ratchet(["replay", "last"]).expect_code(0);
}

#[test]
fn what_cannot_go_on_is_refused() {
    let mut edited = Edited::new();
    edited.run(1);
    let mut told = Vec::new();
    let wrong = [
        ("name: build", "name: other"),
        ("steps:\n  - {id: make", "concurrency: {limit: 1}\nsteps:\n  - {id: make"),
        ("{type: string, default: made}", "{type: string, default: made}, more: {type: integer, required: true}"),
        ("{type: string, default: made}", "{type: integer, default: 1}"),
    ];
    for change in wrong {
        edited.text = workflow(&edited.world);
        told.push(edited.resume(&[change], &[], 2));
    }
    edited.world.write("broken.yaml", "name: build\nsteps: nothing\n");
    told.push(call(&edited.world, &["resume", "last", "--edit", "broken.yaml"]));
    told.push(call(&edited.world, &["resume", "last", "--edit", "workflow.yaml", "--from", "nowhere"]));
    insta::assert_snapshot!("edits_refused", told.join("--\n"));
    let run = state(&edited.world, &["status", "last", "--json"]);
    assert_eq!((&run["status"], &run["epoch"]), (&json!("failed"), &json!(1)), "nothing was changed");
}

/// A program beside the file is a part of what a step does: of its key, and of what an edit compares.
#[test]
fn a_program_counts_by_its_content() {
    let world = World::new();
    let flow = "\
name: counted
version: \"1\"
step_types:
  count: {outputs: {number: {type: integer}}, exec: [./count.sh]}
steps:
  - {id: count, type: count, use_cache: true}
  - {id: after, type: shell, command: \"echo {{ count.outputs.number }} > number.txt\"}
";
    world.write("flows/workflow.yaml", flow);
    fs::create_dir(world.work().join("w")).expect("a folder can be made");
    let write = |number: u32| {
        let program = world.write("flows/count.sh", &format!("#!/bin/sh\necho '{{\"number\": {number}}}'\n"));
        world.must("chmod", &["+x", &program.display().to_string()]);
    };
    let number = |call: &[&str]| {
        let run = state(&world, &[call, &["--json"]].concat());
        json!([run["steps"]["count"]["outputs"]["number"], run["steps"]["count"]["cached"]])
    };
    let run = ["run", "flows/workflow.yaml", "--workspace", "w"];
    write(1);
    assert_eq!(number(&run), json!([1, false]));
    fs::remove_file(world.work().join("w/number.txt")).expect("it was made");
    assert_eq!(number(&run), json!([1, true]));
    fs::remove_file(world.work().join("w/number.txt")).expect("it was made");
    write(2);
    assert_eq!(number(&run), json!([2, false]), "the file says the same, and the program does not");
    write(1);
    let resume = ["resume", "last", "--edit", "flows/workflow.yaml"];
    assert_eq!(number(&resume), json!([1, true]), "what was kept of it is taken by its key");
    assert!(world.ratchet(resume).expect_code(2).stderr.contains("follows already"));
}
