//! Figures over many executions.

use ratchet_tests::world::World;
use serde_json::Value;

use super::{call, state};

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
