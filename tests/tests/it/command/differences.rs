//! What a run and its steps changed, and what becomes of changes that were not applied.

use ratchet_tests::{running::Gate, world::World};

use super::{call, state};

/// Every kind of change, by steps one after the other, one of which fails.
const EDITS: &str = "\
name: edits
version: \"1\"
steps:
  - id: edits
    type: shell
    command: |
      printf 'one\\n2\\nthree\\nfour' > text
      printf 'a\\0c' > binary
      chmod 755 tool
      ln -sfn text link
      rm gone old/inner
      rmdir old
      mkdir -p new/deep empty
      echo made > new/deep/file
      printf 'r\\033[31med\\n' > coloured
      mkdir __pycache__
      echo cached > __pycache__/a.pyc
  - id: nothing
    type: shell
    command: \"true\"
  - id: each
    type: shell
    foreach: \"[1, 2]\"
    command: echo {{ item }} > part{{ item }}
  - id: passed
    type: shell
    on_failure: continue
    command: echo lost > passed; exit 1
  - id: fails
    type: shell
    command: echo tried > text; exit 1
  - id: never
    type: shell
    command: echo never > never
";

fn world() -> World {
    let world = World::new();
    for (path, text) in [
        ("text", "one\ntwo\nthree\n"),
        ("binary", "a\0b"),
        ("tool", "#!/bin/sh\n"),
        ("gone", "1\n2\n"),
        ("old/inner", "x\n"),
    ] {
        world.write(path, text);
    }
    for arguments in [["644", "text"], ["644", "binary"], ["644", "tool"], ["644", "gone"], ["644", "old/inner"]] {
        world.must("chmod", &arguments);
    }
    world.must("ln", &["-s", "gone", "link"]);
    world.write("workflow.yaml", EDITS);
    world.ratchet(["run", "."]).expect_code(1);
    world
}

#[test]
fn what_a_run_and_its_steps_changed_is_shown() {
    let world = world();
    insta::assert_snapshot!("diff_step", call(&world, &["diff", "last", "edits"]));
    insta::assert_snapshot!("diff_stat", call(&world, &["diff", "last", "edits", "--stat", "--all"]));
    insta::assert_snapshot!("diff_run", call(&world, &["diff", "last", "--stat"]));
    insta::assert_snapshot!("diff_failed", call(&world, &["diff", "last", "fails"]));
    insta::assert_snapshot!("diff_passed_over", call(&world, &["diff", "last", "passed"]));
    insta::assert_snapshot!("diff_child", call(&world, &["diff", "last", "each[1]"]));
    insta::assert_snapshot!("diff_nothing", call(&world, &["diff", "last", "nothing"]));
    let shown = state(&world, &["diff", "last", "edits", "--json"]);
    let text = shown["changes"].as_array().and_then(|all| all.iter().find(|one| one["path"] == "text")).expect("text");
    assert_eq!((&text["lines_added"], &text["lines_removed"]), (&2.into(), &1.into()), "{text:#}");
    let link = shown["changes"].as_array().and_then(|all| all.iter().find(|one| one["path"] == "link")).expect("link");
    assert_eq!((&link["before"]["target"], &link["diff"]), (&"gone".into(), &serde_json::Value::Null), "{link:#}");
}

#[test]
fn a_diff_is_one_that_patch_takes() {
    let world = world();
    let diff = world.ratchet(["diff", "last", "each"]).expect_code(0).stdout;
    let patch = world.outside("patch");
    std::fs::write(&patch, diff).expect("a file");
    world.must("git", &["apply", &patch.display().to_string()]);
    assert_eq!([world.read("part1"), world.read("part2")], ["1\n", "2\n"]);
}

#[test]
fn files_that_are_not_kept_are_told() {
    let world = world();
    insta::assert_snapshot!("diff_never", call(&world, &["diff", "last", "never"]));
    insta::assert_snapshot!("diff_no_step", call(&world, &["diff", "last", "edit"]));
    world.write("place.yaml", "name: place\nversion: \"1\"\nsteps:\n  - { id: a, type: shell, command: echo > a }\n");
    world.ratchet(["run", "place.yaml", "--in-place"]).expect_code(0);
    insta::assert_snapshot!("diff_in_place", call(&world, &["diff", "last"]));
}

#[test]
fn what_was_not_applied_is_applied_once_nothing_stands_in_the_way() {
    let world = World::new();
    world.write("a", "one\n");
    world.write("b", "one\n");
    let gate = Gate::new(&world, "gate");
    let path = gate.path().display();
    let command = format!("echo two > a; echo two > b; echo ready > {path}; cat {path}");
    world.write(
        "workflow.yaml",
        &format!("name: both\nversion: \"1\"\nsteps:\n  - {{ id: s, type: shell, command: \"{command}\" }}\n"),
    );
    let run = world.start(["run", "workflow.yaml"]);
    assert_eq!(gate.wait(), "ready\n");
    world.write("a", "mine\n");
    gate.open();
    run.end().expect_code(5);
    let both = || [world.read("a"), world.read("b")];
    insta::assert_snapshot!("apply_refused", call(&world, &["apply", "last"]));
    assert_eq!(both(), ["mine\n", "one\n"], "all or none");
    insta::assert_snapshot!("apply_resume", call(&world, &["resume", "last"]));
    world.write("a", "one\n");
    let applied = state(&world, &["apply", "last", "--json", "--quiet"]);
    assert_eq!(applied["application"]["outcome"], "applied", "{applied:#}");
    assert_eq!(both(), ["two\n", "two\n"]);
    world.write("a", "mine\n");
    world.ratchet(["apply", "last"]).expect_code(0);
    assert_eq!(both(), ["mine\n", "two\n"], "done already, it is not done again");
}

#[test]
fn what_did_not_complete_is_not_applied() {
    let world = world();
    insta::assert_snapshot!("apply_failed", call(&world, &["apply", "last"]));
}
