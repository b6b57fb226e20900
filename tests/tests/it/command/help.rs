use ratchet_tests::world::World;

use super::{call, is_untouched};

/// Every command, in the order of `ratchet --help`.
const COMMANDS: [&str; 37] = [
    "run",
    "plan",
    "rerun",
    "resume",
    "apply",
    "cancel",
    "artifacts",
    "approve",
    "reject",
    "validate",
    "test",
    "graph",
    "render",
    "status",
    "list",
    "logs",
    "diff",
    "ui",
    "report",
    "top",
    "compare",
    "stats",
    "cost",
    "shell",
    "new",
    "workflows",
    "history",
    "rm",
    "prune",
    "publish",
    "schema",
    "doctor",
    "completions",
    "replay",
    "why",
    "cache",
    "redrive",
];

#[test]
fn help_of_every_command() {
    let world = World::new();
    insta::assert_snapshot!("help", call(&world, &["--help"]));
    for command in COMMANDS {
        insta::assert_snapshot!(format!("help_{command}"), call(&world, &[command, "--help"]));
    }
}

#[test]
fn help_lists_the_commands_that_have_a_page_here() {
    let world = World::new();
    let help = world.ratchet(["--help"]).expect_code(0).stdout;
    let listed: Vec<&str> = help
        .lines()
        .skip_while(|line| !line.starts_with("Commands:"))
        .skip(1)
        .take_while(|line| line.starts_with("  "))
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    let mut pages = COMMANDS.to_vec();
    let mut listed = listed;
    pages.sort_unstable();
    listed.sort_unstable();
    assert_eq!(listed, pages);
}

#[test]
fn completions_know_the_commands() {
    let world = World::new();
    for shell in ["bash", "zsh", "fish"] {
        let script = world.ratchet(["completions", shell]).expect_code(0).stdout;
        assert!(
            script.contains("validate") && script.contains("--max-parallel") || shell == "fish",
            "{shell}: {script}"
        );
    }
}

#[test]
fn the_schema_is_one_json_object() {
    let world = World::new();
    let schema: serde_json::Value =
        serde_json::from_str(&world.ratchet(["schema"]).expect_code(0).stdout).expect("JSON");
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
}

#[test]
fn doctor_says_what_is_there() {
    let world = World::new();
    let done = world.ratchet(["doctor", "--json"]);
    let found: serde_json::Value = serde_json::from_str(&done.stdout).expect("JSON");
    let program =
        |name: &str| found["programs"].as_array().and_then(|all| all.iter().find(|one| one["name"] == name)).cloned();
    let bash = program("bash").expect("bash is looked for");
    assert!(
        bash["path"].is_string() && bash["version"].as_str().is_some_and(|version| version.contains("bash")),
        "{found:#}"
    );
    assert_eq!(program("claude").map(|claude| claude["path"].is_null()), Some(true), "an empty home has no agent");
    assert_eq!(found["state"]["directory"].as_str(), Some(&*world.state().display().to_string()));
    assert_eq!(found["ready"], true);
    assert_eq!(done.code, 0);
    assert!(is_untouched(&world), "doctor leaves nothing behind");
}
