//! What is said of a run before it.

use std::{collections::BTreeMap, fs, path::Path, time::SystemTime};

use ratchet_tests::world::World;
use regex::Regex;

use super::{call, is_untouched, redacted, state};

const GROUP: &str = "\
step_types:
  build:
    inputs: {name: {type: string, required: true}}
    outputs: {text: {type: string, from: made.outputs.text}}
    steps:
      - {id: made, type: shell, command: 'echo \"made {{ inputs.name }}\"', cache_key: 'made-{{ inputs.name }}', outputs: {text: {type: string, from: stdout}}}
      - {id: written, type: template, template: '{{ made.outputs.text }}', output: made.txt}
";

const WORKFLOW: &str = "\
name: letters
version: \"1\"
inputs: {wanted: {type: string, default: HELLO}, word: {type: string, sensitive: true, default: hush}}
step_types: {build: ./types.yaml}
steps:
  - {id: large, type: shell, command: tr a-z A-Z < in.txt > large.txt, inputs: [in.txt], use_cache: true, outputs: {text: ./large.txt}}
  - {id: box, type: build, inputs: {name: box}}
  - {id: each, type: shell, foreach: \"['a', 'b']\", command: 'printf %s {{ item }}', cache_key: each, max_parallel: 1}
  - {id: right, type: assert, condition: \"file_content('large.txt') | trim == inputs.wanted\", message: 'No {{ inputs.word }}, not {{ inputs.wanted }}'}
  - {id: whole, type: shell, command: cat *.txt | wc -c, use_cache: true}
  - {id: count, type: shell, command: wc -c < large.txt}
  - {id: sure, type: approval, message: 'Sure?', when: 'false'}
  - {id: last, type: shell, command: date, cache_key: last, when: 'count.exit_code == 0'}
finally:
  - {id: tidy, type: shell, command: 'true'}
";

fn world() -> World {
    let world = World::new();
    world.write("types.yaml", GROUP);
    world.write("workflow.yaml", WORKFLOW);
    world.write("work/in.txt", "hello\n");
    world
}

fn plan(world: &World, more: &[&str]) -> String {
    let call = [&["plan", "workflow.yaml", "--workspace", "work"], more].concat();
    let done = world.ratchet(&call).expect_code(0);
    // An execution that a step is has a name that follows from that of the execution around it.
    let nested = Regex::new(r"(\[EXECUTION\])\.[0-9a-f]{12}").expect("a pattern");
    nested.replace_all(&redacted(world, &done.stdout), "$1.[NESTED]").into_owned()
}

/// All files below a folder, with when they were written last.
fn files(folder: &Path) -> BTreeMap<String, SystemTime> {
    let mut found = BTreeMap::new();
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let metadata = entry.metadata().expect("an entry is there");
            if metadata.is_dir() {
                open.push(entry.path());
            }
            // Whoever reads the state shares an index with others while it does.
            if !entry.path().to_string_lossy().contains("state.db-") && *"engines" != entry.file_name() {
                found.insert(entry.path().display().to_string(), metadata.modified().expect("a time"));
            }
        }
    }
    found
}

#[test]
fn what_hits_what_runs_and_what_cannot_be_known() {
    let world = world();
    let first = plan(&world, &[]);
    assert!(is_untouched(&world), "a command that only looks leaves nothing behind");
    let run = ["run", "workflow.yaml", "--workspace", "work", "--quiet"];
    world.ratchet(run).expect_code(0);
    let (kept, worked) = (files(&world.state()), files(&world.work().join("work")));
    let again = plan(&world, &[]);
    let wrong = plan(&world, &["-i", "wanted=OTHER"]);
    let until = plan(&world, &["--until", "each"]);
    let refreshed = plan(&world, &["--refresh"]);
    assert_eq!((files(&world.state()), files(&world.work().join("work"))), (kept, worked), "nothing was written");
    world.write("work/in.txt", "other\n");
    let changed = plan(&world, &[]);
    insta::assert_snapshot!(
        "plan",
        [first, again, wrong, until, refreshed, changed].join("----------------------------------------\n")
    );
    insta::assert_snapshot!("plan_wrong_step", call(&world, &["plan", "workflow.yaml", "--only", "larger"]));
}

/// What is forecast is what then happens.
#[test]
fn a_run_does_what_was_forecast() {
    let world = world();
    let run = || state(&world, &["run", "workflow.yaml", "--workspace", "work", "--json"]);
    run();
    world.write("work/other.txt", "seen by the step that reads everything\n");
    let plan = state(&world, &["plan", "workflow.yaml", "--workspace", "work", "--json"]);
    let done = run();
    let steps = plan["steps"].as_array().expect("steps");
    for (step, cached) in [("large", true), ("whole", false)] {
        let forecast = steps.iter().find(|forecast| forecast["step"] == step).expect("it is told");
        let (told, was) = (&forecast["forecast"], &done["steps"][step]);
        assert_eq!((told == "hit", told == "miss", was["cached"].as_bool()), (cached, !cached, Some(cached)), "{step}");
        assert_eq!(forecast["cache_key"], was["cache_key"], "{step}");
    }
    assert_eq!(plan["expected"]["no_record"], serde_json::json!([]));
    assert!(plan["at_most"]["steps"].as_u64() > plan["expected"]["steps"].as_u64());
}
