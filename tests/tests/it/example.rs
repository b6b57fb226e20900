//! A workflow that was written before the engine was, as it stands: nothing in the fixture may be changed to please the engine.

use std::{fs, path::PathBuf};

use ratchet_tests::{python_programs, repository, world::World};
use serde_json::{Value, json};

/// The test file that the run is about. It is the workflow's target, because pytest finds no tests in a source file.
const TARGET: &str = "tests/test_quote.py";

#[test]
fn it_runs_as_it_stands() {
    let example = Example::new();
    let state = example.run(&[]).0;
    assert_eq!(state["status"], "completed");
    assert_eq!(state["steps"]["generate_tests"]["status"], "completed");
    assert_eq!(state["steps"]["create_pr"]["status"], "skipped");
    assert_eq!(state["outputs"]["coverage_report"], Value::Null, "nothing sets this output");
    // The two reports are two files of one name: the first is still what it was.
    let digest = |step: &str, output: &str| state["steps"][step]["outputs"][output]["digest"].clone();
    assert_ne!(digest("baseline", "coverage_xml"), digest("verify_coverage", "final_coverage_xml"));
    assert_eq!(example.world.read(TARGET), example.recorded_tests());
}

#[test]
fn with_a_pull_request_it_commits_and_pushes() {
    let example = Example::new();
    let world = &example.world;
    let bare = world.outside("remote.git");
    world.must("git", &["init", "--quiet", "--bare", "--initial-branch=main", &bare.display().to_string()]);
    world.must("git", &["init", "--quiet", "--initial-branch=main"]);
    world.must("git", &["add", "."]);
    world.must("git", &["-c", "user.name=t", "-c", "user.email=t@localhost", "commit", "--quiet", "--message=before"]);
    // Stands for GitHub's command: what it would publish goes to a repository on disk, and its words are kept.
    let said = world.outside("gh-said");
    let stub = format!(
        "#!/bin/sh\nset -e\nprintf '%s\\n' \"$@\" >{}\ngit push --quiet {} HEAD:refs/heads/proposal\necho https://example.invalid/pull/1\n",
        said.display(),
        bare.display()
    );
    world.add_program("gh", &stub);

    let state = example.run(&["--env", "CREATE_PR=true", "--in-place"]).0;

    assert_eq!(state["status"], "completed");
    assert_eq!(state["steps"]["create_pr"]["status"], "completed", "{state:#}");
    let git_dir = format!("--git-dir={}", bare.display());
    let subject = world.must("git", &[&git_dir, "log", "-1", "--format=%s", "proposal"]);
    assert_eq!(subject.trim(), "Increase test coverage for tests/test_quote.py to 90%");
    let pushed = world.must("git", &[&git_dir, "show", &format!("proposal:{TARGET}")]);
    assert_eq!(pushed, example.recorded_tests());
    let said = fs::read_to_string(said).expect("gh was called");
    let words: Vec<&str> = said.lines().collect();
    let body = "Automated test generation to achieve 90% coverage";
    assert_eq!(words, ["pr", "create", "--title", "Increase test coverage: tests/test_quote.py", "--body", body]);
}

#[test]
fn once_the_target_is_met_it_fails_before_the_agent_is_asked() {
    let example = Example::new();
    fs::write(example.world.work().join(TARGET), example.recorded_tests()).expect("a file can be written");
    let (state, _) = example.run_to(&["-i", "target_coverage=50"], 1);
    assert_eq!(state["steps"]["check_current_coverage"]["status"], "failed");
    assert_eq!(state["steps"]["generate_tests"]["status"], "blocked");
    let error = state["steps"]["check_current_coverage"]["error"].to_string();
    assert!(error.contains("Coverage already meets target"), "{error}");
}

#[test]
fn run_again_it_uses_what_it_did_and_stops_at_the_first_assertion_once_that_is_applied() {
    let example = Example::new();
    example.world.copy_to(&repository().join("workflows/increase-test-coverage/sample"), "elsewhere");
    let (first, _) = example.run(&[]);
    let (second, _) = example.run(&["--workspace", "elsewhere"]);
    for step in ["baseline", "generate_tests"] {
        assert_eq!((&first["steps"][step]["cached"], &second["steps"][step]["cached"]), (&json!(false), &json!(true)));
    }
    assert_eq!((&second["status"], &second["cost_usd"]), (&json!("completed"), &json!(0.0)));
    assert_eq!(example.world.read(&format!("elsewhere/{TARGET}")), example.recorded_tests());
    // A test of one's own, beside those of the first run.
    let improved = format!("{}\n\ndef test_of_my_own():\n    assert True\n", example.recorded_tests());
    for text in [example.recorded_tests(), improved] {
        example.world.write(&format!("elsewhere/{TARGET}"), &text);
        let (third, _) = example.run_to(&["--workspace", "elsewhere"], 1);
        assert_eq!(third["steps"]["check_current_coverage"]["status"], "failed", "{third:#}");
        assert_eq!((&third["steps"]["generate_tests"]["status"], &third["cost_usd"]), (&json!("blocked"), &json!(0.0)));
        assert_eq!(example.world.read(&format!("elsewhere/{TARGET}")), text);
    }
}

#[test]
fn a_file_without_tests_is_explained() {
    let example = Example::new();
    let (state, said) = example.run_to(&["-i", "target_file=parcel/quote.py"], 1);
    let error = &state["steps"]["baseline"]["error"];
    assert_eq!(error["message"], "the command ended with exit code 5");
    for text in [error["hint"].to_string(), said] {
        assert!(text.contains("pytest found no tests") && text.contains("not the source file"), "{text}");
    }
}

#[test]
fn it_validates_with_three_warnings() {
    let example = Example::new();
    let done = example.world.ratchet(["validate", &fixture().display().to_string()]).expect_code(0);
    let said = format!("{}{}", done.stdout, done.stderr);
    assert_eq!(said.matches("RT-").count(), 3, "{said}");
    for name in ["coverage_report", "tests_added", "on_lost"] {
        assert!(said.contains(name), "{name}: {said}");
    }
}

/// The sample package in a world of its own, with an agent that plays the tests that ship with the reference workflow.
struct Example {
    world: World,
    recording: PathBuf,
}

impl Example {
    fn new() -> Self {
        let mut world = World::new();
        world.add_programs(python_programs());
        world.copy_in(&repository().join("workflows/increase-test-coverage/sample"));
        let recording = world.outside("recording");
        fs::create_dir(&recording).expect("a folder can be made");
        let shipped = repository().join("workflows/increase-test-coverage/recording/files/tests/test_quote_rules.py");
        fs::copy(shipped, recording.join("tests.py")).expect("the recorded tests are there");
        let session = json!({
            "step": "generate_tests",
            "reply": {"response": "Done.", "cost_usd": 0.25, "tokens": 60_000, "turns": 5, "session_id": "example"},
            "edits": [{"action": "write", "path": TARGET, "file": "tests.py"}],
        });
        let text = json!({"format": 1, "agent": "a test", "sessions": [session]}).to_string();
        fs::write(recording.join("recording.json"), text).expect("a file can be written");
        Self { world, recording }
    }

    fn recorded_tests(&self) -> String {
        fs::read_to_string(self.recording.join("tests.py")).expect("the recorded tests are there")
    }

    fn run(&self, more: &[&str]) -> (Value, String) {
        self.run_to(more, 0)
    }

    /// The state at the end, and what was said.
    fn run_to(&self, more: &[&str], code: i32) -> (Value, String) {
        let agent = format!("recorded:{}", self.recording.display());
        let file = fixture().display().to_string();
        let mut words = vec!["run", &file, "--json", "--agent", &agent];
        if !more.iter().any(|word| word.starts_with("target_file=")) {
            words.extend(["-i", "target_file=tests/test_quote.py"]);
        }
        words.extend(more);
        let done = self.world.ratchet(words).expect_code(code);
        let state = serde_json::from_str(&done.stdout).unwrap_or_else(|error| panic!("{error}: {}", done.stdout));
        (state, done.stderr)
    }
}

fn fixture() -> PathBuf {
    repository().join("tests/fixtures/increase-test-coverage.yaml")
}
