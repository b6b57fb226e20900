//! A state directory that is full, read only, damaged, or of another version: a clear error each, and nothing lost.
//!
//! A full and a read-only disk are real ones: a small file system in memory, and a mount that takes no writes, in a mount namespace that only the test sees.
//! Where the system lets its user make none, these tests say that they skip.

use std::fs;

use ratchet_tests::world::{Done, World};

use super::{call, redacted, shown, state};

const STEPS: &str = "\
name: filling
version: \"1\"
environment:
  OUTSIDE: \"{{ env.OUTSIDE }}\"
steps:
  - { id: first, type: shell, command: \"echo first >> $OUTSIDE/effects\" }
  - id: fills
    type: shell
    command: |
      echo fills >> \"$OUTSIDE/effects\"
      test -e \"$OUTSIDE/room\" || cat /dev/zero > rest || true
  - { id: last, type: shell, command: \"echo last >> $OUTSIDE/effects\" }
";

/// The end of each call goes to a file of its own.
const SCRIPT: &str = "\
call() { name=$1; shift; \"$@\" > \"$OUTSIDE/$name.out\" 2> \"$OUTSIDE/$name.err\"; echo $? > \"$OUTSIDE/$name.code\"; }
";

/// Runs a script that may mount, in a namespace of its own. `None` where this system lets its user make none.
fn in_a_namespace(world: &World, script: &str) -> Option<()> {
    let prepared = format!("set -u\n{SCRIPT}{script}");
    let options: [&[&str]; 2] = [&["--mount"], &["--user", "--map-root-user", "--mount"]];
    let may = |options: &&&[&str]| {
        let mut tried = world.program("unshare");
        tried.args(**options).args(["mount", "-t", "tmpfs", "none", "/mnt"]).stderr(std::process::Stdio::null());
        tried.status().is_ok_and(|status| status.success())
    };
    let Some(options) = options.iter().find(may) else {
        skip();
        return None;
    };
    let mut command = world.program("unshare");
    command.args(*options).args(["bash", "-c", &prepared]);
    command.env("RATCHET", ratchet_tests::ratchet()).env("STATE", world.state()).env("OUTSIDE", world.outside(""));
    let output = command.output().expect("a shell");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(())
}

#[expect(clippy::print_stderr, reason = "a test that skips says so")]
fn skip() {
    eprintln!("skipped: this system lets its user mount nothing in a namespace of his own");
}

/// How a call of the script ended.
fn done(world: &World, name: &str) -> Done {
    let read = |ending: &str| {
        let path = world.outside(&format!("{name}.{ending}"));
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    };
    Done { code: read("code").trim().parse().expect("a number"), stdout: read("out"), stderr: read("err") }
}

#[test]
fn a_disk_that_fills_up_during_a_run_loses_nothing() {
    let world = World::new();
    world.write("workflow.yaml", STEPS);
    let script = r#"
        mount -t tmpfs -o size=4m none "$STATE"
        call run "$RATCHET" run . --env OUTSIDE="$OUTSIDE"
        call status "$RATCHET" status --json
        touch "$OUTSIDE/room"
        mount -o remount,size=64m "$STATE"
        call resume "$RATCHET" resume --json
    "#;
    if in_a_namespace(&world, script).is_none() {
        return;
    }
    insta::assert_snapshot!("disk_full", shown(&world, &["run", "."], &done(&world, "run")));
    let left: serde_json::Value = serde_json::from_str(&done(&world, "status").expect_code(0).stdout).expect("JSON");
    assert_eq!((&left["left_behind"], &left["steps"]["first"]["status"]), (&true.into(), &"completed".into()));
    let resumed: serde_json::Value = serde_json::from_str(&done(&world, "resume").expect_code(0).stdout).expect("JSON");
    assert_eq!(resumed["status"], "completed");
    assert_eq!(resumed["steps"]["first"], left["steps"]["first"]);
    assert_eq!(fs::read_to_string(world.outside("effects")).expect("effects"), "first\nfills\nfills\nlast\n");
}

#[test]
fn a_disk_that_is_full_starts_nothing() {
    let world = World::new();
    world.write("workflow.yaml", STEPS);
    let script = r#"
        mount -t tmpfs -o size=4m none "$STATE"
        call before "$RATCHET" run . --only last --quiet --env OUTSIDE="$OUTSIDE"
        cat /dev/zero > "$STATE/filler" 2> /dev/null
        call run "$RATCHET" run . --env OUTSIDE="$OUTSIDE"
        rm "$STATE/filler"
        call list "$RATCHET" list --json
        call after "$RATCHET" run . --only last --quiet --env OUTSIDE="$OUTSIDE"
        call all "$RATCHET" list --json
    "#;
    if in_a_namespace(&world, script).is_none() {
        return;
    }
    done(&world, "before").expect_code(0);
    let refused = done(&world, "run").expect_code(1);
    assert!(refused.stderr.contains("RT-02") && refused.stderr.contains("hint: "), "{}", refused.stderr);
    assert!(
        ["the disk is full", "no room", "No space"].iter().any(|words| refused.stderr.contains(words)),
        "{}",
        refused.stderr
    );
    done(&world, "after").expect_code(0);
    let ends = |name: &str| {
        let listed: serde_json::Value = serde_json::from_str(&done(&world, name).expect_code(0).stdout).expect("JSON");
        listed.as_array().expect("a list").iter().map(|run| run["status"].to_string()).collect::<Vec<_>>()
    };
    assert_eq!(ends("list"), ["\"completed\""], "what was there is there, and nothing else");
    assert_eq!(ends("all"), ["\"completed\"", "\"completed\""]);
    assert_eq!(fs::read_to_string(world.outside("effects")).expect("effects"), "last\nlast\n");
}

#[test]
fn a_state_directory_that_takes_no_writes_is_named() {
    let world = World::new();
    world.write("workflow.yaml", STEPS);
    world
        .ratchet(["run", ".", "--only", "last", "--env", &format!("OUTSIDE={}", world.outside("").display())])
        .expect_code(0);
    let script = r#"
        mount --bind "$STATE" "$STATE"
        mount -o remount,bind,ro "$STATE"
        call run "$RATCHET" run . --env OUTSIDE="$OUTSIDE"
        call list "$RATCHET" list
        call doctor "$RATCHET" doctor --json
    "#;
    if in_a_namespace(&world, script).is_none() {
        return;
    }
    insta::assert_snapshot!("read_only_run", shown(&world, &["run", "."], &done(&world, "run")));
    insta::assert_snapshot!("read_only_list", shown(&world, &["list"], &done(&world, "list")));
    let found: serde_json::Value = serde_json::from_str(&done(&world, "doctor").expect_code(1).stdout).expect("JSON");
    assert_eq!((&found["state"]["writable"], &found["ready"]), (&false.into(), &false.into()));
    assert_eq!(fs::read_to_string(world.outside("effects")).expect("effects"), "last\n");
    assert_eq!(state(&world, &["list", "--json"]).as_array().map(Vec::len), Some(1));
}

/// A world with one run in it, and its state file.
fn with_a_run() -> (World, std::path::PathBuf) {
    let world = World::new();
    world.write(
        "workflow.yaml",
        "name: one\nversion: \"1\"\nsteps:\n  - { id: only, type: shell, command: echo one }\n",
    );
    world.ratchet(["run", ".", "--quiet"]).expect_code(0);
    let file = world.state().join("state.db");
    (world, file)
}

/// Every command that reads or writes the state refuses, in the same words, and the file stays as it is.
fn is_refused(name: &str, world: &World, file: &std::path::Path, content: &[u8]) {
    fs::write(file, content).expect("a file can be written");
    insta::assert_snapshot!(name, call(world, &["status"]));
    let first = world.ratchet(["status"]).stderr;
    for arguments in [&["run", "."][..], &["list"], &["logs"], &["history"], &["resume"], &["prune"], &["rm", "last"]] {
        let done = world.ratchet(arguments).expect_code(1);
        assert_eq!(redacted(world, &done.stderr), redacted(world, &first), "{arguments:?}");
    }
    let found: serde_json::Value =
        serde_json::from_str(&world.ratchet(["doctor", "--json"]).expect_code(1).stdout).expect("JSON");
    let problem = found["state"]["problem"].as_str().unwrap_or_default();
    assert!(!problem.is_empty() && first.contains(problem), "doctor says the same: {problem}");
    assert!(fs::read(file).expect("a file") == content, "not a byte was changed");
}

#[test]
fn a_state_file_of_a_newer_version_is_left_as_it_is() {
    // Where a database file says its version.
    const VERSION: std::ops::Range<usize> = 60..64;
    let (world, file) = with_a_run();
    let mut content = fs::read(&file).expect("a file");
    content[VERSION].copy_from_slice(&999_u32.to_be_bytes());
    is_refused("newer_state", &world, &file, &content);
}

#[test]
fn a_damaged_state_file_is_left_as_it_is() {
    let (world, file) = with_a_run();
    let mut content = fs::read(&file).expect("a file");
    // Its head is whole, so that it is known for what it is; all that follows is not.
    content[512..].fill(0xa5);
    is_refused("damaged_state", &world, &file, &content);
}
