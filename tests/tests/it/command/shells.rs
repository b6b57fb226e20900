//! Terminals in the files of steps.

use std::fs;

use ratchet_tests::world::World;
use regex::Regex;

use super::terminal::Terminal;

const CANARY: &str = "c4n4ry-of-a-shell";

const WORKFLOW: &str = r#"
name: visited
version: "1"
secrets: [TOKEN]
inputs: { name: { type: string, default: one } }
environment: { NAME: "{{ inputs.name }}" }
steps:
  - id: makes
    type: shell
    command: echo made > made; mkdir below; echo said
    outputs: { said: { type: string, from: stdout } }
  - id: edits
    type: shell
    command: echo edited > ../made; test -n "$TOKEN"
    working_directory: below
    environment: { SAID: "{{ makes.outputs.said }}" }
    secrets: [TOKEN]
  - { id: each, type: shell, foreach: "{{ ['a', 'b'] }}", command: "echo $ITEM > item-$ITEM", environment: { ITEM: "{{ item }}" } }
  - { id: fails, type: shell, command: echo broken > made; exit 3 }
  - { id: never, type: shell, command: echo never }
"#;

fn visited(mut world: World) -> World {
    world.write("workflow.yaml", WORKFLOW);
    world.variables.push(("RATCHET_SECRET_TOKEN".to_owned(), CANARY.to_owned()));
    world.ratchet(["run", "."]).expect_code(1);
    world
}

#[test]
fn a_command_sees_what_the_step_saw_and_changes_nothing() {
    for world in [World::new(), World::of_copies()] {
        sees_and_changes_nothing(&visited(world));
    }
}

fn sees_and_changes_nothing(world: &World) {
    let copy = Regex::new(r"WORK/\.ratchet/\S+/below").expect("a pattern");
    let work = world.work().canonicalize().expect("a path");
    for (step, after, command, code, expected) in [
        (
            "edits",
            false,
            "cat ../made; echo $NAME $SAID $RATCHET_STEP; echo ${TOKEN-none}; echo mine > ../made; exit 7",
            7,
            "made\none said edits\nnone\n",
        ),
        ("edits", false, "cat ../made; pwd", 0, "made\nWORK/below\n"),
        ("edits", true, "cat ../made", 0, "edited\n"),
        ("each[1]", false, "cat made; echo $ITEM; test ! -e item-b", 0, "edited\nb\n"),
        ("each[1]", true, "cat item-b", 0, "b\n"),
        ("fails", true, "cat made; env | grep -c -e RATCHET_STATE -e CANARY || ls -A \"$HOME\"", 0, "broken\n0\n"),
    ] {
        let arguments = ["shell", "last", step].into_iter().chain(after.then_some("--after"));
        let done = world.ratchet(arguments.chain(["-c", command])).expect_code(code);
        let shown = done.stdout.replace(work.to_str().expect("UTF-8"), "WORK");
        assert_eq!(copy.is_match(&shown), shown.contains("/below") && world.state().starts_with(world.work()));
        assert_eq!(copy.replace(&shown, "WORK/below"), expected, "{step} {after} {command}");
        assert!(!format!("{}{}", done.stdout, done.stderr).contains(CANARY));
    }
    assert!(!world.work().join("made").exists(), "the directory is as it was");
    assert_eq!(
        fs::read_dir(world.state().join("scratch")).map_or(0, Iterator::count),
        0,
        "nothing is left of the views"
    );
}

#[test]
fn a_terminal_says_what_it_is_and_is_the_persons_own_shell() {
    let world = visited(World::new());
    world.add_program("myshell", "#!/bin/sh\necho \"this is $0\"\nexec /bin/sh \"$@\"\n");
    let shell = world.outside("programs/myshell");
    let variables = [("SHELL", shell.to_str().expect("UTF-8")), ("PS1", "$ ")];
    let mut terminal = Terminal::start(&world, &["shell", "last", "edits"], &variables);
    terminal.shows("not set here: TOKEN");
    terminal.shows("this is");
    terminal.types(b"test -t 0 && cat ../made && echo ty''ped\n");
    terminal.shows("typed");
    terminal.types(b"exit 5\n");
    let (shown, code) = terminal.end();
    assert!(shown.contains("made") && shown.contains("gone at the end"), "{shown}");
    assert_eq!(code, Some(0));
}

#[test]
fn what_has_no_files_is_told_so() {
    let world = visited(World::new());
    for (arguments, says) in [
        (&["shell", "last", "edit", "-c", "true"][..], "did you mean"),
        (&["shell", "nothing", "edits", "-c", "true"], "there is no execution"),
    ] {
        let done = world.ratchet(arguments);
        assert!(done.code != 0 && done.stderr.contains(says), "{arguments:?}: {}", done.stderr);
    }
    world.ratchet(["run", ".", "--in-place"]).expect_code(1);
    let done = world.ratchet(["shell", "last", "makes", "-c", "true"]).expect_code(2);
    assert!(done.stderr.contains("RT-0427") && done.stderr.contains("--in-place"), "{}", done.stderr);
}
