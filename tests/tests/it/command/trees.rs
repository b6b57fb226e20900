//! What a run makes of a directory is what its commands make of it by themselves, whatever lies there and however its steps see it.

use std::fmt::Write as _;

use ratchet_tests::world::World;

use crate::ends::steps_of;

/// Makes the directory `$1`, of the kind `$2`: a repository with a submodule, or a worktree that is linked to another one.
const BEGIN: &str = r#"
set -eu
at=$1
if [ "$2" = worktree ]; then
    git init -q -b trunk "$at-main"
    git -C "$at-main" commit -q --allow-empty -m begin
    git -C "$at-main" worktree add -q -b side "$at"
else
    library=$(dirname "$at")/library
    test -d "$library" || { git init -q -b trunk "$library"; git -C "$library" commit -q --allow-empty -m library; }
    git init -q -b trunk "$at"
    git -C "$at" -c protocol.file.allow=always submodule --quiet add "$library" lib
fi
cd "$at"
printf '.ratchet/\n' > .gitignore
printf 'one\n' > a.txt
printf 'gone\n' > gone.txt
printf 'file\n' > was-file
mkdir was-folder empty
printf 'inner\n' > was-folder/inner
printf '#!/bin/sh\necho tool\n' > tool.sh
chmod 755 tool.sh
printf 'coffee\n' > "$(printf 'caf\351')"
ln -s a.txt link
ln -s /not/there nowhere
printf '\000\001\002\377' > blob.bin
head -c 8388608 /dev/zero | tr '\000' x > large.bin
git add -A
git commit -qm all
"#;

/// Each a step: its name and its commands.
const STEPS: [(&str, &str); 3] = [
    (
        "looks",
        r#"
test "$(readlink link) $(readlink nowhere)" = 'a.txt /not/there'
test -x tool.sh
test -d empty
test "$(cat $'caf\351')" = coffee
test "$(stat -c %s large.bin)" = 8388608
test -z "$(git status --porcelain)"
"#,
    ),
    (
        "changes",
        r"
git mv a.txt renamed.txt
git rm -q gone.txt
ln -sfn renamed.txt link
rmdir empty
mkdir -p new/empty
chmod 600 tool.sh
mv $'caf\351' $'th\351'
printf '\377\000' > blob.bin
printf tail >> large.bin
rm -r was-folder was-file
printf 'now a file\n' > was-folder
mkdir was-file
printf 'now within\n' > was-file/inner
git add -A
git commit -qm changes
if [ -d lib ]; then
    printf 'more\n' > lib/more
    git -C lib add -A
    git -C lib commit -qm inner
    git add lib
    git commit -qm pointer
fi
",
    ),
    (
        "ends",
        r#"
test "$(cat was-file/inner link)" = $'now within\none'
test -z "$(git status --porcelain)"
printf 'new\n' > untracked
chmod 640 untracked
git branch later
git commit -q --allow-empty -m last
"#,
    ),
];

/// Tells all that there is to tell of a directory.
const LOOK: &str = r#"
set -eu
cd "$1"
find . \( -name .git -o -name .ratchet \) -prune -o -printf '%P|%y|%m|%l\n' | LC_ALL=C sort
find . \( -name .git -o -name .ratchet \) -prune -o -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum
git log --format=%s
git log --format=%s later
git status --porcelain
if [ -d lib ]; then git -C lib log --format=%s; git submodule status | cut -c1; fi
git fsck --strict 2>&1 | grep -v ^dangling || true
"#;

/// Runs a script of the test's own, as a person would.
fn plainly(world: &World, script: &str, arguments: &[&str]) -> String {
    let output = world
        .program("bash")
        .args(["-euo", "pipefail", "-c", script, "bash"])
        .args(arguments)
        .envs(["AUTHOR", "COMMITTER"].map(|who| (format!("GIT_{who}_NAME"), "t")))
        .envs(["AUTHOR", "COMMITTER"].map(|who| (format!("GIT_{who}_EMAIL"), "t@example.com")))
        .output()
        .expect("bash");
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[track_caller]
fn assert_same(found: &str, expected: &str, after: &str) {
    let (found, expected): (Vec<&str>, Vec<&str>) = (found.lines().collect(), expected.lines().collect());
    let only = |one: &[&str], other: &[&str]| -> Vec<String> {
        one.iter().filter(|line| !other.contains(line)).map(|line| (*line).to_owned()).collect()
    };
    let differences = (only(&found, &expected), only(&expected, &found));
    assert!(found == expected, "after {after}, found and expected: {differences:#?}");
}

/// One strategy at a time: `is_copied` has the state directory lie in the directory itself, which cannot be seen through a mount then.
fn a_run_is_what_its_commands_are(kind: &str, is_copied: bool) {
    let mut world = World::new();
    let [run, by_hand] = ["run", "by-hand"].map(|name| world.work().join(name).display().to_string());
    for folder in [&run, &by_hand] {
        plainly(&world, BEGIN, &[folder, kind]);
    }
    let mut workflow = "name: trees\nversion: \"1\"\nsteps:\n".to_owned();
    for (step, commands) in STEPS {
        plainly(&world, &format!("cd \"$1\"\n{commands}"), &[&by_hand]);
        let commands: String = commands.trim().lines().fold(String::new(), |text, line| text + "      " + line + "\n");
        let _ = write!(workflow, "  - id: {step}\n    type: shell\n    command: |\n{commands}");
    }
    world.write("workflow.yaml", &workflow);
    if is_copied {
        world.variables.push(("RATCHET_STATE_DIR".to_owned(), format!("{run}/.ratchet")));
    }
    let expected = plainly(&world, LOOK, &[&by_hand]);
    world.ratchet(["run", "workflow.yaml", "--workspace", &run, "--quiet"]).expect_code(0);
    assert_same(&plainly(&world, LOOK, &[&run]), &expected, "the run");
    for step in steps_of(&workflow) {
        world.ratchet(["resume", "last", "--from", &step, "--files", "then", "--quiet"]).expect_code(0);
        assert_same(&plainly(&world, LOOK, &[&run]), &expected, &step);
    }
}

#[test]
fn of_a_repository_with_a_submodule() {
    a_run_is_what_its_commands_are("submodule", false);
}

#[test]
fn of_a_repository_with_a_submodule_in_copies() {
    a_run_is_what_its_commands_are("submodule", true);
}

#[test]
fn of_a_linked_worktree() {
    a_run_is_what_its_commands_are("worktree", false);
}

#[test]
fn of_a_linked_worktree_in_copies() {
    a_run_is_what_its_commands_are("worktree", true);
}
