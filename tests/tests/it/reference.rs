//! The reference workflow does what its README says, and would not without its agent.

use std::path::PathBuf;

use ratchet_tests::{python_programs, repository, world::World};
use serde_json::Value;

#[test]
fn it_raises_the_coverage_of_the_sample() {
    let sample = Sample::new();
    let state = sample.run(&shipped_recording(), &[], 0);
    let outputs = &state["outputs"];
    assert!(outputs["coverage_before"].as_f64().is_some_and(|before| before < 65.0), "{outputs}");
    assert!(outputs["coverage_after"].as_f64().is_some_and(|after| after >= 90.0), "{outputs}");
    assert_eq!(outputs["tests_added"], 61, "{outputs}");
    assert_eq!(outputs["coverage_report"]["path"], "coverage.xml");
    assert!(state["cost_usd"].as_f64().is_some_and(|cost| cost > 0.0 && cost <= 2.0));
    assert_eq!(state["steps"]["commit"]["status"], "skipped");
    assert!(sample.world.work().join("tests/test_quote_rules.py").exists(), "the tests were applied to the directory");
}

#[test]
fn the_workflows_keep_their_own_tests() {
    let mut world = World::new();
    world.add_programs(python_programs());
    world.copy_in(&repository().join("workflows"));
    let done = world.ratchet(["test"]).expect_code(0);
    let gaps: Vec<&str> = done.stdout.lines().filter(|line| line.contains("no test runs")).collect();
    assert!(done.stdout.contains("coverage:") && gaps.is_empty(), "{}", done.stdout);
}

#[test]
fn a_commit_is_on_a_branch_of_its_own_and_only_when_asked_for() {
    let sample = Sample::new();
    let world = &sample.world;
    world.must("git", &["init", "--quiet", "--initial-branch=main"]);
    world.must("git", &["add", "."]);
    world.must("git", &["-c", "user.name=t", "-c", "user.email=t@localhost", "commit", "--quiet", "--message=before"]);
    let remote = world.outside("remote.git").display().to_string();
    world.must("git", &["init", "--quiet", "--bare", "--initial-branch=main", &remote]);
    world.must("git", &["remote", "add", "origin", &remote]);

    sample.run(&shipped_recording(), &["--in-place", "-i", "publish=push"], 0);

    let log = world.must("git", &["log", "--format=%s", "main"]);
    assert_eq!(log.trim(), "before", "the branch that one is on stays where it is");
    let changed = world.must("git", &["diff", "--name-only", "main", "ratchet/increase-test-coverage"]);
    assert_eq!(changed.trim(), "tests/test_quote_rules.py");
    let pushed = world
        .must("git", &[&format!("--git-dir={remote}"), "log", "-1", "--format=%s", "ratchet/increase-test-coverage"]);
    assert_eq!(pushed.trim(), "Test parcel/quote.py: 100 % of its lines");
}

/// The sample package in a world of its own.
struct Sample {
    world: World,
}

impl Sample {
    fn new() -> Self {
        let mut world = World::new();
        world.add_programs(python_programs());
        world.copy_in(&folder().join("sample"));
        Self { world }
    }

    fn run(&self, recording: &std::path::Path, more: &[&str], code: i32) -> Value {
        let agent = format!("recorded:{}", recording.display());
        let file = folder().join("workflow.yaml").display().to_string();
        let mut words = vec!["run", &file, "--json", "--agent", &agent, "-i", "target_file=parcel/quote.py"];
        words.extend(more);
        let done = self.world.ratchet(words).expect_code(code);
        serde_json::from_str(&done.stdout).unwrap_or_else(|error| panic!("{error}: {}", done.stdout))
    }
}

fn folder() -> PathBuf {
    repository().join("workflows/increase-test-coverage")
}

fn shipped_recording() -> PathBuf {
    folder().join("recording")
}
