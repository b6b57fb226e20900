//! A resume after somebody worked in the directory: with the files as they were, or with what changed since.

use std::fs;

use ratchet_tests::world::World;
use serde_json::json;

use super::{call, state};

/// The group and the fan-out are half done where `b.txt` is bad.
const CHECKED: &str = r#"
name: checked
version: "1"
step_types:
  both:
    steps:
      - { id: one, type: shell, command: "cp a.txt one.txt" }
      - { id: two, type: shell, command: "cp a.txt two.txt; grep -q good b.txt" }
steps:
  - { id: make, type: shell, command: "echo made > made.txt; cp a.txt seen_by_make" }
  - { id: group, type: both, needs: [make] }
  - { id: each, type: shell, needs: [make], foreach: "['x', 'y']", command: "cp a.txt {{ item }}.txt; test {{ item }} = x || grep -q good b.txt" }
  - { id: check, type: shell, needs: [group, each], command: "cp a.txt seen_by_check; grep -q good b.txt" }
"#;

fn checked() -> World {
    let world = World::new();
    fs::write(world.outside("checked.yaml"), CHECKED).expect("a file can be written");
    world.write("a.txt", "then\n");
    world.write("b.txt", "bad\n");
    let file = world.outside("checked.yaml").display().to_string();
    world.ratchet(["run", &file, "--quiet"]).expect_code(1);
    world
}

#[test]
fn what_changed_since_is_asked_about_and_brought_in_where_it_is_meant() {
    let world = checked();
    world.write("a.txt", "now\n");
    world.write("b.txt", "good\n");
    insta::assert_snapshot!("resume_asks", call(&world, &["resume", "last"]));
    let then = state_of(&world, &["--files", "then"], 1);
    assert_eq!(then["steps"]["check"]["status"], "blocked");
    assert!(!world.work().join("made.txt").exists());
    state_of(&world, &["--files", "now"], 0);
    let read = |files: &[&str]| files.iter().map(|file| world.read(file)).collect::<Vec<_>>().concat();
    assert_eq!(read(&["seen_by_make", "made.txt"]), "then\nmade\n", "what is kept saw what was there then");
    assert_eq!(
        read(&["one.txt", "two.txt", "x.txt", "y.txt", "seen_by_check"]),
        "now\n".repeat(5),
        "nothing is half of each"
    );
    assert_eq!(read(&["a.txt", "b.txt"]), "now\ngood\n");
    // The directory is as the run left it: there is nothing to ask about.
    state_of(&world, &["--from", "check"], 0);
    world.write("a.txt", "later\n");
    let asked = world.ratchet(["resume", "last", "--from", "check"]).expect_code(2);
    assert!(asked.stderr.contains("RT-0428") && asked.stderr.contains(": a.txt"), "{}", asked.stderr);
    state_of(&world, &["--from", "check", "--files", "then"], 0);
    assert_eq!(read(&["seen_by_check", "a.txt"]), "now\nlater\n", "an edit that is left out stays");
    state_of(&world, &["--from", "check", "--files", "now"], 0);
    assert_eq!(read(&["seen_by_check", "a.txt", "seen_by_make"]), "later\nlater\nthen\n");
    world.ratchet(["replay", "last"]).expect_code(0);
}

#[test]
fn what_a_kept_step_and_somebody_changed_is_told() {
    let world = checked();
    world.write("b.txt", "good\n");
    world.write("made.txt", "mine\n");
    let run = state_of(&world, &["--files", "now"], 1);
    for step in ["group", "each"] {
        let error = &run["steps"][step]["error"];
        assert_eq!(error["code"], "RT-0195", "{run:#}");
        assert!(error["message"].to_string().contains("made.txt was changed in the directory"), "{error}");
    }
    assert_eq!(world.read("made.txt"), "mine\n");
    // From the step that makes it, the step wins over what it finds, as in any run.
    state_of(&world, &["--from", "make", "--files", "now"], 0);
    assert_eq!(world.read("made.txt"), "made\n");
}

fn state_of(world: &World, more: &[&str], code: i32) -> serde_json::Value {
    let done = world.ratchet([&["resume", "last", "--json"], more].concat()).expect_code(code);
    serde_json::from_str(&done.stdout).unwrap_or_else(|error| panic!("{error}: {}", done.stdout))
}

/// An agent whose answer an assertion refuses: in the run itself, in a group before the assertion, and above a group with the assertion in it.
#[test]
fn an_answer_that_an_assertion_refutes_is_withdrawn_wherever_its_agent_was_asked() {
    let flows = [
        "\
steps:
  - {id: write, type: claude_code, prompt: Write., cache_key: written}
  - {id: right, type: assert, condition: 'file_content(\"expected\") == file_content(\"NOTES.md\")'}
",
        "\
step_types:
  deep: {steps: [{id: write, type: claude_code, prompt: Write., cache_key: written}]}
  group: {steps: [{id: inner, type: deep}]}
steps:
  - {id: written, type: group}
  - {id: right, type: assert, condition: 'file_content(\"expected\") == file_content(\"NOTES.md\")'}
",
        "\
step_types:
  check: {steps: [{id: right, type: assert, condition: 'file_content(\"expected\") == file_content(\"NOTES.md\")'}]}
steps:
  - {id: write, type: claude_code, prompt: Write., cache_key: written}
  - {id: checked, type: check}
",
    ];
    for (number, steps) in flows.into_iter().enumerate() {
        let world = World::new();
        fs::write(world.outside("flow.yaml"), format!("name: writing\nversion: \"1\"\n{steps}")).expect("a file");
        let agent = world.outside("agent");
        fs::create_dir(&agent).expect("a folder");
        fs::write(agent.join("notes"), "salve\n").expect("a file");
        let session = json!({
            "step": if number == 1 { "written.inner.write" } else { "write" },
            "reply": {"response": "done", "cost_usd": 0.5},
            "edits": [{"action": "write", "path": "NOTES.md", "file": "notes"}],
        });
        let recording = json!({"format": 1, "agent": "by hand", "sessions": [session]});
        fs::write(agent.join("recording.json"), recording.to_string()).expect("a file");
        let run = |folder: &str, expected: &str, code: i32| {
            world.write(&format!("{folder}/expected"), expected);
            let (file, agent) = (world.outside("flow.yaml"), format!("recorded:{}", agent.display()));
            let words = ["run", &file.display().to_string(), "--workspace", folder, "--agent", &agent, "--quiet"];
            world.ratchet(words).expect_code(code);
            let kept = state(&world, &["cache", "ls", "--json"]);
            let kept =
                kept.as_array().expect("a list").iter().map(|entry| entry["unproven"].clone()).collect::<Vec<_>>();
            let counted = state(&world, &["cache", "stats", "--json"]);
            (kept, counted["total"]["hits"].as_u64().expect("a number"))
        };
        assert_eq!(run("one", "salve\n", 0), (vec![json!(false)], 0), "{number}: what holds confirms it");
        assert_eq!(run("two", "vale\n", 1), (vec![], 1), "{number}: it was taken, and is withdrawn");
        assert_eq!(run("three", "salve\n", 0), (vec![json!(false)], 1), "{number}: the agent was asked again");
    }
}
