use std::fs;

use ratchet_tests::world::World;

use super::{call, is_untouched};

const MINIMAL: &str = "\
name: minimal
version: \"1\"
inputs:
  count: { type: integer, required: true }
steps:
  - id: greet
    type: shell
    command: echo hello
  - id: check_it
    type: shell
    command: echo {{ inputs.count }}
";

#[test]
fn each_wrong_call_says_what_to_do() {
    let world = World::new();
    world.write("workflow.yaml", MINIMAL);
    world.write("broken.yaml", "name: broken\nversion: \"1\"\nsteps:\n  - id: a\n    typ: shell\n    command: true\n");
    world.write("torn.yaml", "name: torn\nversion: \"1\"\nsteps:\n  - id: a\n    type: shell\n   command: echo\n");
    world.write("list.json", "[1]");
    let calls: &[(&str, &[&str])] = &[
        ("unknown_command", &["rnu", "workflow.yaml"]),
        ("unknown_option", &["run", "workflow.yaml", "--max-paralel", "2"]),
        ("too_many", &["run", "workflow.yaml", "more"]),
        ("file_missing", &["render"]),
        ("value_missing", &["run", "workflow.yaml", "-i"]),
        ("value_of_few", &["graph", "workflow.yaml", "--format", "png"]),
        ("value_no_number", &["logs", "--attempt", "first"]),
        ("twice", &["run", "workflow.yaml", "--until", "a", "--until", "b"]),
        ("no_file", &["run", "missing.yaml"]),
        ("mistakes", &["run", "broken.yaml"]),
        ("no_yaml", &["run", "torn.yaml"]),
        ("validate_mistakes", &["validate", "broken.yaml", "workflow.yaml"]),
        ("input_missing", &["run", "workflow.yaml"]),
        ("input_unknown", &["run", "workflow.yaml", "-i", "count=1", "-i", "cuont=2"]),
        ("input_of_wrong_type", &["run", "workflow.yaml", "-i", "count=many"]),
        ("input_without_value", &["run", "workflow.yaml", "-i", "count"]),
        ("inputs_not_an_object", &["run", "workflow.yaml", "--inputs", "list.json"]),
        ("unknown_step", &["run", "workflow.yaml", "-i", "count=1", "--until", "chek_it"]),
        ("until_and_only", &["run", "workflow.yaml", "--until", "greet", "--only", "greet"]),
        ("unknown_agent", &["run", "workflow.yaml", "--agent", "robot"]),
        ("no_workspace", &["run", "workflow.yaml", "-i", "count=1", "--workspace", "nowhere"]),
        ("no_executions", &["status"]),
        ("unknown_execution", &["status", "20260101"]),
        ("log_filter", &["list", "--log", "ratchet=loud"]),
        ("age", &["prune", "--older-than", "soon"]),
        ("render_unknown_step", &["render", "workflow.yaml", "greeet"]),
    ];
    for (name, arguments) in calls {
        insta::assert_snapshot!(format!("error_{name}"), call(&world, arguments));
    }
    assert!(is_untouched(&world), "a wrong call leaves no state behind");
}

#[test]
fn a_call_of_nothing_shows_the_help() {
    let mut world = World::new();
    let help = world.ratchet(["--help"]).expect_code(0).stdout;
    let nothing: [&str; 0] = [];
    assert_eq!(world.ratchet(nothing).expect_code(2).stderr, help);
    // A variable that stands for an option changes nothing.
    world.variables.push(("RATCHET_LOG".to_owned(), "warn".to_owned()));
    assert_eq!(world.ratchet(nothing).expect_code(2).stderr, help);
}

#[test]
fn a_state_directory_that_cannot_be_used() {
    let world = World::new();
    world.write("workflow.yaml", MINIMAL);
    fs::remove_dir_all(world.state()).expect("an empty folder");
    fs::write(world.state(), "a file in the way").expect("a file");
    insta::assert_snapshot!("error_state_directory", call(&world, &["run", "workflow.yaml", "-i", "count=1"]));
}

#[test]
fn a_damaged_state_is_left_as_it_is() {
    let world = World::new();
    fs::create_dir_all(world.state()).expect("a folder");
    let damaged = "this is no state file, and it is long enough to be taken for one".repeat(40);
    fs::write(world.state().join("state.db"), &damaged).expect("a file");
    insta::assert_snapshot!("error_state_damaged", call(&world, &["list"]));
    assert_eq!(fs::read_to_string(world.state().join("state.db")).expect("a file"), damaged);
}
