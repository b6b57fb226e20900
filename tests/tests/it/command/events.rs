//! A run that an event starts.

use ratchet_tests::world::World;
use serde_json::{Value, json};

const WORKFLOW: &str = r#"
name: on-push
version: "1"
inputs:
  branch: { type: string, required: true }
  files: { type: array, default: [] }
on:
  push: { repositories: [acme/*], branches: [main] }
  inputs:
    branch: "{{ trigger.branch }}"
    files: "{{ trigger.paths }}"
steps:
  - id: say
    type: shell
    command: printf '%s' {{ trigger.type }} " " {{ trigger.repository }} " " {{ inputs.branch }} " " {{ trigger.event.sender.login }}
    outputs:
      said: { type: string, from: stdout }
"#;

fn push(branch: &str) -> String {
    json!({
        "ref": format!("refs/heads/{branch}"), "before": "1", "after": "2", "repository": {"full_name": "acme/shop"},
        "sender": {"login": "ada"}, "commits": [{"message": "x", "added": ["a b"], "modified": [], "removed": []}],
    })
    .to_string()
}

#[test]
fn an_event_starts_the_run_that_it_would_start() {
    let world = World::new();
    world.write("workflow.yaml", WORKFLOW);
    let started = |arguments: &[&str]| -> Value {
        let call = [&["run", ".", "--json"][..], arguments].concat();
        serde_json::from_str(&world.ratchet(call).expect_code(0).stdout).expect("JSON")
    };
    world.write("main.json", &push("main"));
    let state = started(&["--event", "main.json"]);
    assert_eq!(state["steps"]["say"]["outputs"]["said"], "push acme/shop main ada");
    assert_eq!(state["inputs"], json!({"branch": "main", "files": ["a b"]}));
    let state = started(&["--event", "main.json", "-i", "branch=other"]);
    assert_eq!(state["inputs"]["branch"], "other");

    world.write("dev.json", &push("dev"));
    let refused = world.ratchet(["run", ".", "--event", "dev.json"]).expect_code(2).stderr;
    assert!(refused.contains("RT-0430") && refused.contains("the branch `dev` is none of `main`"), "{refused}");
    world.write("broken.json", "{");
    assert!(world.ratchet(["run", ".", "--event", "broken.json"]).expect_code(2).stderr.contains("RT-0402"));
    assert!(world.ratchet(["run", "."]).expect_code(2).stderr.contains("`branch` is required"));
}
