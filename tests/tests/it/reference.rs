//! The reference workflow does what its README says, and would not without its agent.

use std::{fs, path::PathBuf};

use ratchet_tests::{python_programs, repository, world::World};
use serde_json::{Value, json};

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
fn without_the_agents_tests_it_fails_and_changes_nothing() {
    let sample = Sample::new();
    let before = sample.files();
    let state = sample.run(&sample.recording(&[]), &[], 1);
    assert_eq!(state["steps"]["accept"]["status"], "failed");
    assert_eq!(state["steps"]["commit"]["status"], "blocked");
    let message = state["steps"]["accept"]["error"].to_string();
    assert!(message.contains("63.6 %") && message.contains("90 %"), "{message}");
    assert_eq!(sample.files(), before, "a failed run leaves the directory as it was");
}

#[test]
fn an_agent_that_changes_a_setting_is_refused() {
    let sample = Sample::new();
    let state = sample.run(
        &sample.recording(&[("pyproject.toml", "[tool.coverage.report]\nexclude_also = [\".\"]\n")]),
        &[],
        1,
    );
    assert_eq!(state["steps"]["only_tests_changed"]["status"], "failed");
    assert_eq!(state["steps"]["measure_after"]["status"], "blocked");
    assert!(sample.world.read("pyproject.toml").contains("[project]"));
}

#[test]
fn a_file_that_meets_its_target_costs_nothing() {
    let sample = Sample::new();
    let state = sample.run(&sample.recording(&[]), &["-i", "target_coverage=60"], 0);
    assert_eq!(state["steps"]["write_tests"]["status"], "skipped");
    assert_eq!(state["cost_usd"].as_f64(), Some(0.0));
    assert_eq!(state["outputs"]["tests_added"], 0);
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

    /// A recording whose session writes these files.
    fn recording(&self, files: &[(&str, &str)]) -> PathBuf {
        let recording = self.world.outside("recording");
        fs::create_dir(&recording).expect("a folder can be made");
        let mut edits = Vec::new();
        for (number, (path, content)) in files.iter().enumerate() {
            fs::write(recording.join(number.to_string()), content).expect("a file can be written");
            edits.push(json!({"action": "write", "path": path, "file": number.to_string()}));
        }
        let reply = json!({"response": "", "json": {"summary": "nothing", "suspected_faults": []}});
        let sessions = [json!({"step": "write_tests", "reply": reply, "edits": edits})];
        let text = json!({"format": 1, "agent": "a test", "sessions": sessions}).to_string();
        fs::write(recording.join("recording.json"), text).expect("a file can be written");
        recording
    }

    fn run(&self, recording: &std::path::Path, more: &[&str], code: i32) -> Value {
        let agent = format!("recorded:{}", recording.display());
        let file = folder().join("workflow.yaml").display().to_string();
        let mut words = vec!["run", &file, "--json", "--agent", &agent, "-i", "target_file=parcel/quote.py"];
        words.extend(more);
        let done = self.world.ratchet(words).expect_code(code);
        serde_json::from_str(&done.stdout).unwrap_or_else(|error| panic!("{error}: {}", done.stdout))
    }

    /// Every file of the directory with its content.
    fn files(&self) -> Vec<(String, String)> {
        let list = self.world.must("find", &[".", "-type", "f"]);
        let mut files: Vec<_> = list.lines().map(|path| (path.to_owned(), self.world.read(path))).collect();
        files.sort();
        files
    }
}

fn folder() -> PathBuf {
    repository().join("workflows/increase-test-coverage")
}

fn shipped_recording() -> PathBuf {
    folder().join("recording")
}
