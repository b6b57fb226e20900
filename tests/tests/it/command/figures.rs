//! Figures over many executions.

use ratchet_tests::{running::Gate, world::World};
use serde_json::Value;

use super::{call, state, terminal::Terminal};

const REVIEW: &str = "\
name: review
version: \"1\"
roi: { manual_minutes: 45 }
steps:
  - id: read
    type: claude_code
    prompt: Read it.
    cache_key: read
  - id: tries
    type: shell
    retry: { attempts: 2, delay: 0s }
    command: test \"$RATCHET_ATTEMPT\" = 2
  - id: check
    type: assert
    condition: read.outputs.response == 'done'
";

const RECORDING: &str = r#"{"format": 1, "sessions": [{"step": "read", "reply": {
    "response": "done", "cost_usd": 0.25, "tokens": 1200, "turns": 3, "models": {
        "large": {"cost_usd": 0.2, "tokens": 1000}, "small": {"cost_usd": 0.05, "tokens": 200}}}}]}"#;

/// A world in which a workflow ran twice, the second time with a kept result, and failed once.
fn world() -> World {
    let world = World::new();
    world.write("project/workflow.yaml", REVIEW);
    world.write("recording/recording.json", RECORDING);
    let run = ["run", "project", "--workspace", "project", "--agent", "recorded:recording", "--quiet"];
    world.ratchet(run).expect_code(0);
    world.ratchet(run).expect_code(0);
    world.write("project/workflow.yaml", &REVIEW.replace("= 2", "= 3"));
    world.ratchet(run).expect_code(1);
    world
}

#[test]
fn executions_and_steps_are_counted() {
    let world = world();
    insta::assert_snapshot!("stats", call(&world, &["stats"]));
    insta::assert_snapshot!("stats_steps", call(&world, &["stats", "review", "--hourly-rate", "80"]));
    let shown = state(&world, &["stats", "--by", "step", "--json", "--since", "1h"]);
    let read = &shown["figures"][1];
    assert_eq!((read["workflow"].as_str(), read["step"].as_str()), (Some("review"), Some("read")), "{shown:#}");
    assert_eq!(
        (read["hits"].as_u64(), read["misses"].as_u64(), read["cost_usd"].as_f64()),
        (Some(2), Some(1), Some(0.25))
    );
    assert_eq!(
        (read["agent_results"].as_u64(), read["validated"].as_u64()),
        (Some(3), Some(2)),
        "the third was not checked"
    );
    assert_eq!(shown["total"]["retries"], 3);
    insta::assert_snapshot!("stats_nothing", call(&world, &["stats", "other"]));
    insta::assert_snapshot!("stats_wrong_rate", call(&world, &["stats", "--hourly-rate", "much"]));
    insta::assert_snapshot!("stats_of_a_stack", call(&world, &["stats", "--stack", "tools"]));
}

#[test]
fn what_agents_cost_is_summed_in_four_ways() {
    let world = world();
    insta::assert_snapshot!("cost", call(&world, &["cost"]));
    insta::assert_snapshot!("cost_steps", call(&world, &["cost", "review"]));
    insta::assert_snapshot!("cost_models", call(&world, &["cost", "--by", "model"]));
    let days: Value = state(&world, &["cost", "--by", "day", "--json"]);
    assert_eq!(days["costs"].as_array().map(Vec::len), Some(1), "{days:#}");
    assert_eq!((days["total"]["cost_usd"].as_f64(), days["total"]["saved_usd"].as_f64()), (Some(0.25), Some(0.5)));
    insta::assert_snapshot!("cost_nothing", call(&World::new(), &["cost"]));
}

#[test]
fn two_executions_stand_side_by_side() {
    let world = World::new();
    let text = "\
name: letters
version: \"1\"
inputs:
  who: { type: string }
outputs:
  size: { type: integer, from: count.outputs.size }
steps:
  - id: write
    type: shell
    command: printf %s {{ inputs.who }} > who.txt; printf same > same.txt; touch {{ inputs.who }}.txt
    cache_key: write
  - id: count
    type: shell
    command: wc -c < who.txt
    outputs: { size: { type: integer, from: stdout } }
";
    world.write("one/keep", "");
    world.write("two/keep", "");
    world.write("workflow.yaml", text);
    let run = |folder: &str, who: &str| {
        state(&world, &["run", "workflow.yaml", "--workspace", folder, "-i", &format!("who={who}"), "--json"])
    };
    let (a, b) = (run("one", "ann"), run("two", "barbara"));
    let names = [&a, &b].map(|run| run["execution_id"].as_str().expect("a name").to_owned());
    insta::assert_snapshot!("compare", call(&world, &["compare", &names[0], &names[1]]));
    let compared = state(&world, &["compare", &names[0], "last", "--json"]);
    assert_eq!(compared["steps"][0]["key"], "differs", "{compared:#}");
    assert_eq!(compared["steps"][0]["changed"], serde_json::json!(["command"]));
    assert_eq!(compared["steps"][1]["outputs"]["size"], serde_json::json!({"a": 3, "b": 7}));
    let files = serde_json::json!({
        "only_a": ["ann.txt"], "only_b": ["barbara.txt"], "different": ["who.txt"], "same": 1,
    });
    assert_eq!(compared["files"], files);
    let same = state(&world, &["compare", "last", "last", "--json"]);
    assert_eq!((&same["inputs"], &same["files"]["same"]), (&serde_json::json!({}), &3.into()), "all that it changed");
    insta::assert_snapshot!("compare_unknown", call(&world, &["compare", "last", "nothing"]));
}

#[test]
fn what_runs_now() {
    let world = World::new();
    insta::assert_snapshot!("top_nothing", call(&world, &["top"]));
    let gate = Gate::new(&world, "gate");
    let text = format!(
        "\
name: slow
version: \"1\"
steps:
  - id: first
    type: shell
    command: echo done
  - id: inner
    type: group
  - id: last
    type: shell
    command: echo never
step_types:
  group:
    steps:
      - id: waits
        type: shell
        command: {}
",
        format_args!("echo ready > {0}; cat {0}", gate.path().display())
    );
    world.write("workflow.yaml", &text);
    let running = world.start(["run", "workflow.yaml", "--quiet"]);
    assert_eq!(gate.wait(), "ready\n");
    insta::assert_snapshot!("top", call(&world, &["top"]));
    let shown = state(&world, &["top", "--json"]);
    let [execution] = shown["executions"].as_array().expect("a list").as_slice() else { panic!("{shown:#}") };
    assert_eq!(execution["workflow_name"], "slow");
    let steps: Vec<&str> =
        execution["steps"].as_array().into_iter().flatten().filter_map(|step| step["step"].as_str()).collect();
    assert_eq!(steps, ["inner.waits"], "{shown:#}");
    let mut terminal = Terminal::start(&world, &["top"], &[]);
    terminal.shows("inner.waits");
    gate.open();
    running.end().expect_code(0);
    terminal.shows("nothing runs");
    terminal.types(b"\x03");
    assert_eq!(terminal.end().1, Some(0));
    assert_eq!(state(&world, &["top", "--json"])["executions"], serde_json::json!([]));
}
