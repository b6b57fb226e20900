//! The workflow increase-test-coverage, run again: what an earlier run did is not done a second time, and no edit is lost.

use std::path::PathBuf;

use jiff::Timestamp;
use ratchet_tests::{python_programs, repository, world::World};
use serde_json::Value;

/// The steps whose results are kept.
const KEYED: [&str; 3] = ["measure_before", "write_tests", "measure_after"];
const WRITTEN: &str = "tests/test_quote_rules.py";

#[test]
fn a_fresh_copy_at_another_path_costs_nothing() {
    let copies = Copies::new();
    let first = copies.run("one");
    assert_eq!(cached(&first), [false, false, false]);
    let second = copies.run("elsewhere/two");
    assert_eq!(cached(&second), [true, true, true]);
    assert!(copies.asked(&first) && !copies.asked(&second));
    assert_eq!(second["outputs"]["coverage_after"], first["outputs"]["coverage_after"]);
    let (before, after) = (took_ms(&first), took_ms(&second));
    assert!(after * 10 < before, "{after} ms of {before} ms");
    assert_eq!(copies.files("elsewhere/two"), copies.files("one"));
}

#[test]
fn on_the_applied_tree_the_agent_is_not_asked() {
    let copies = Copies::new();
    copies.run("one");
    let again = copies.run_in("one", &[]);
    assert_eq!(again["steps"]["write_tests"]["status"], "skipped");
    assert!(!copies.asked(&again));
    assert_eq!(again["outputs"]["tests_added"], 0);
}

#[test]
fn an_improved_test_survives() {
    let copies = Copies::new();
    copies.run("one");
    let path = format!("one/{WRITTEN}");
    let improved = format!("{}\n\ndef test_of_my_own():\n    assert True\n", copies.world.read(&path));
    copies.world.write(&path, &improved);
    copies.run_in("one", &[]);
    assert_eq!(copies.world.read(&path), improved);
}

#[test]
fn of_one_changed_line_only_what_depends_on_it_runs() {
    let copies = Copies::new();
    copies.run("one");
    // Nothing that is run or measured reads it.
    copies.copy("two");
    copies.append("two/README.md", "More words.\n");
    assert_eq!(cached(&copies.run_in("two", &[])), [true, true, true]);
    // The tests run it, and the agent is asked about another file.
    copies.copy("three");
    copies.append("three/parcel/weight.py", "OUNCE = GRAMS[\"oz\"]\n");
    let third = copies.run_in("three", &[]);
    assert_eq!((cached(&third), copies.asked(&third)), ([false, true, false], false));
    // The file that the agent is asked about.
    copies.copy("four");
    copies.append("four/parcel/quote.py", "HEAVIEST = WEIGHT_MAX_GRAMS\n");
    assert_eq!(cached(&copies.run_in("four", &[])), [false, false, false]);
}

/// What changes between one run and the next, always as a comment, so that the tests pass: mostly words and settings, now and then code, and nothing
/// where a run is only repeated on another copy.
const EDITS: [Option<&str>; 10] = [
    None,
    Some("README.md"),
    Some(".gitignore"),
    Some("parcel/weight.py"),
    None,
    Some("README.md"),
    Some("README.md"),
    None,
    Some("parcel/quote.py"),
    Some("README.md"),
];

#[test]
fn over_twenty_runs_with_small_edits_most_steps_hit() {
    let copies = Copies::new();
    copies.copy("source");
    let (mut hits, mut asked) = (0, 0);
    for number in 0..20 {
        if let Some(path) = EDITS[number % EDITS.len()] {
            copies.append(&format!("source/{path}"), &format!("# edit {number}\n"));
        }
        let name = format!("copy-{number}");
        copies.world.copy_to(&copies.world.work().join("source"), &name);
        let run = copies.run_in(&name, &[]);
        hits += cached(&run).iter().filter(|hit| **hit).count();
        asked += usize::from(copies.asked(&run));
    }
    let settled = 20 * KEYED.len();
    #[expect(clippy::print_stdout, reason = "the rate is what the test is for")]
    {
        println!("{hits} of {settled} steps hit in 20 runs, and the agent was asked {asked} times");
    }
    assert!(hits * 10 > settled * 7, "{hits} of {settled}");
    assert_eq!(asked, 3, "at first, and for each edit of its file");
}

/// Copies of the sample, in a world with one state directory.
struct Copies {
    world: World,
}

impl Copies {
    fn new() -> Self {
        let mut world = World::new();
        world.add_programs(python_programs());
        Self { world }
    }

    /// Whether a run asked the agent: whoever does makes a folder for it.
    fn asked(&self, run: &Value) -> bool {
        let name = run["execution_id"].as_str().expect("a run has a name");
        let attempts = self.world.state().join("executions").join(name).join("attempts/1");
        attempts.join("write_tests").exists() || run["cost_usd"] != 0.0
    }

    fn copy(&self, name: &str) {
        self.world.copy_to(&folder().join("sample"), name);
    }

    fn append(&self, path: &str, text: &str) {
        let text = self.world.read(path) + text;
        self.world.write(path, &text);
    }

    /// Runs the workflow on a fresh copy.
    fn run(&self, name: &str) -> Value {
        self.copy(name);
        self.run_in(name, &[])
    }

    /// Runs the workflow on a copy that is there, with the recorded agent.
    fn run_in(&self, name: &str, more: &[&str]) -> Value {
        let agent = format!("recorded:{}", folder().join("recording").display());
        let file = folder().join("workflow.yaml").display().to_string();
        let words =
            ["run", &file, "--json", "--agent", &agent, "--workspace", name, "-i", "target_file=parcel/quote.py"];
        let done = self.world.ratchet(words.iter().chain(more)).expect_code(0);
        serde_json::from_str(&done.stdout).unwrap_or_else(|error| panic!("{error}: {}", done.stdout))
    }

    /// Every file of a copy with its content.
    fn files(&self, name: &str) -> Vec<(String, String)> {
        let list = self.world.must("find", &[name, "-type", "f", "-printf", "%P\\n"]);
        let mut files: Vec<_> =
            list.lines().map(|path| (path.to_owned(), self.world.read(&format!("{name}/{path}")))).collect();
        files.sort();
        files
    }
}

fn cached(run: &Value) -> [bool; 3] {
    KEYED.map(|step| run["steps"][step]["cached"] == true)
}

/// From the start of a run to the end of the last step that has a key: so it counts what looking for results takes too.
fn took_ms(run: &Value) -> i64 {
    let time = |value: &Value| value.as_str().and_then(|text| text.parse().ok()).expect("a time");
    let begin: Timestamp = time(&run["created_at"]);
    let end: Timestamp = time(&run["steps"]["measure_after"]["completed_at"]);
    i64::try_from(end.duration_since(begin).as_millis()).expect("a short time")
}

fn folder() -> PathBuf {
    repository().join("workflows/increase-test-coverage")
}
