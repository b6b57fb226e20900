//! The files that steps see and leave, and what of them reaches the directory.

use std::{fs, path::Path, process::Command};

use ratchet_tests::{running::Gate, world::World};

/// Steps that change files and the repository, one after the other and beside each other. A join sees what both branches did, and neither sees the other's.
const BRANCHES: &str = "\
name: branches
version: \"1\"
steps:
  - id: edits
    type: shell
    command: test \"$(cat a.txt)\" = one; echo two > a.txt; mkdir new; echo new > new/file
  - id: commits
    type: shell
    command: rm d/gone; git add -A; git -c user.name=t -c user.email=t@example.com commit -qm step
    outputs:
      report: ./new/file
  - id: left
    type: shell
    needs: commits
    command: test ! -e right.txt; echo left > left.txt
  - id: right
    type: shell
    needs: commits
    command: test ! -e left.txt; echo right > right.txt
  - id: joins
    type: shell
    needs: [left, right]
    command: cat left.txt right.txt {{ commits.outputs.report }} > joined.txt
";

fn git(folder: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .args(["-c", "user.name=t", "-c", "user.email=t@example.com"])
        .args(arguments)
        .current_dir(folder)
        .output()
        .expect("git");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// All files with their texts, and the commits.
fn end(world: &World) -> String {
    let files = ["a.txt", "d/gone", "new/file", "left.txt", "right.txt", "joined.txt"];
    let text = |name: &&str| fs::read_to_string(world.work().join(name)).unwrap_or_else(|_| "nothing\n".to_owned());
    let files = files.iter().map(|name| format!("{name}: {}", text(name))).collect::<Vec<_>>().concat();
    format!("{files}{}{}", git(&world.work(), &["log", "--format=%s"]), git(&world.work(), &["status", "--short"]))
}

#[test]
fn a_run_resumed_from_any_step_ends_as_the_whole_run() {
    let world = World::new();
    world.write("a.txt", "one\n");
    world.write("d/gone", "gone\n");
    world.write("workflow.yaml", BRANCHES);
    git(&world.work(), &["init", "-q"]);
    git(&world.work(), &["add", "-A"]);
    git(&world.work(), &["commit", "-qm", "begin"]);
    world.ratchet(["run", "."]).expect_code(0);
    let whole = end(&world);
    let expected = "a.txt: two\nd/gone: nothing\nnew/file: new\nleft.txt: left\nright.txt: right\n\
                    joined.txt: left\nright\nnew\nstep\nbegin\n?? joined.txt\n?? left.txt\n?? right.txt\n";
    assert_eq!(whole, expected);
    for step in ["joins", "right", "left", "commits", "edits", "joins"] {
        world.ratchet(["resume", "last", "--from", step]).expect_code(0);
        assert_eq!(end(&world), whole, "from {step}");
    }
}

#[test]
fn an_edit_during_a_run_does_not_enter_it() {
    let world = World::new();
    world.write("read.txt", "then\n");
    let gate = Gate::new(&world, "gate");
    let path = gate.path().display();
    let steps =
        [format!("echo ready > {path}; cat {path}; cp read.txt first.txt"), "cp read.txt second.txt".to_owned()];
    let steps = (1..)
        .zip(steps)
        .map(|(n, command)| format!("  - {{ id: s{n}, type: shell, command: \"{command}\" }}\n"))
        .collect::<Vec<_>>()
        .concat();
    world.write("workflow.yaml", &format!("name: reads\nversion: \"1\"\nsteps:\n{steps}"));
    let run = world.start(["run", "workflow.yaml", "--json"]);
    assert_eq!(gate.wait(), "ready\n");
    world.write("read.txt", "now\n");
    gate.open();
    run.end().expect_code(0);
    let read = ["first.txt", "second.txt", "read.txt"].map(|name| world.read(name));
    assert_eq!(read, ["then\n", "then\n", "now\n"]);
}

#[test]
fn commits_of_a_run_say_which_execution_made_them() {
    for in_place in [false, true] {
        let world = World::new();
        let commit = "git -c user.name=t -c user.email=t@example.com commit -q --allow-empty";
        world.write(
            "workflow.yaml",
            &format!(
                "name: commits\nversion: \"1\"\nsteps:\n  - {{ id: plain, type: shell, command: {commit} -m plain }}\n\
                 \x20 - {{ id: unverified, type: shell, command: {commit} -m unverified --no-verify }}\n"
            ),
        );
        git(&world.work(), &["init", "-q"]);
        git(&world.work(), &["add", "-A"]);
        git(&world.work(), &["commit", "-qm", "begin"]);
        // The repository's own hooks run as they would, wherever they are.
        world.write("hooks/post-commit", "#!/bin/sh\ngit log -1 --format=%s >> .git/told\n");
        world.must("chmod", &["+x", "hooks/post-commit"]);
        git(&world.work(), &["config", "core.hooksPath", "hooks"]);
        let more = in_place.then_some("--in-place");
        let run = world.ratchet(["run", ".", "--json"].into_iter().chain(more)).expect_code(0);
        let run: serde_json::Value = serde_json::from_str(&run.stdout).expect("JSON");
        let id = run["execution_id"].as_str().expect("an identifier");
        let log = git(&world.work(), &["log", "--format=%s %(trailers:key=Ratchet-Execution,separator=)"]);
        let expected = format!("unverified Ratchet-Execution: {id}\nplain Ratchet-Execution: {id}\nbegin ");
        assert_eq!(log.trim_end(), expected.trim_end(), "in place: {in_place}");
        if in_place {
            assert_eq!(world.read(".git/told"), "plain\nunverified\n");
        }
        assert_eq!(
            git(&world.work(), &["config", "core.hooksPath"]).trim(),
            "hooks",
            "the configuration is the user's"
        );
    }
}
