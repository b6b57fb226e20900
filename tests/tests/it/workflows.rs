//! Every reference workflow, on a fresh copy of its sample with its recorded agent, and once more on another copy: what was done once is not done again.

use std::{collections::BTreeSet, env, fs};

use ratchet_tests::{python_programs, repository, world::World};
use serde_json::Value;

use crate::ends::{End, from_each_step};

/// How a reference workflow is run.
struct Case {
    /// Its folder below `workflows/`.
    name: &'static str,
    /// What is given to it.
    arguments: &'static [&'static str],
    /// What is done in the copy of the sample, which is a repository with one commit, before it runs.
    prepare: &'static str,
    /// How many sessions of an agent the first run takes, and the second one: an answer that a check refused is asked for again.
    asked: [u64; 2],
}

/// How many sessions more the workflow that measures times may take: on a noisy machine it refuses a change that is faster, and asks again.
const NOISE: (&str, u64) = ("performance-optimization", 2);

const CASES: &[Case] = &[
    Case { name: "code-migration", arguments: &[], prepare: "", asked: [5, 1] },
    Case {
        name: "code-review",
        arguments: &[],
        prepare: "git switch --quiet --create feature; git apply change.patch; git commit --quiet --all --message change",
        asked: [3, 0],
    },
    Case {
        name: "deployment-validation",
        arguments: &["-i", "release=1.5.0", "-i", "keep=yes", "-i", "ignore_below_ms=10000"],
        prepare: "",
        asked: [0, 0],
    },
    Case { name: "documentation-generation", arguments: &["-i", "package=measures"], prepare: "", asked: [3, 1] },
    Case { name: "fix-typing-errors", arguments: &["-i", "package=stock"], prepare: "", asked: [4, 1] },
    Case {
        name: "increase-test-coverage",
        arguments: &["-i", "target_file=parcel/quote.py"],
        prepare: "",
        asked: [1, 0],
    },
    Case { name: "performance-optimization", arguments: &["-i", "package=wordlist"], prepare: "", asked: [4, 1] },
    Case {
        name: "security-scan",
        arguments: &["-i", "source=intake", "-i", "requirements=production.txt"],
        prepare: "",
        asked: [4, 0],
    },
];

#[test]
fn every_reference_workflow_runs_and_costs_nothing_the_second_time() {
    let folders = fs::read_dir(repository().join("workflows")).expect("the reference workflows");
    let folders: BTreeSet<String> =
        folders.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    let named: BTreeSet<String> = CASES.iter().map(|case| case.name.to_owned()).collect();
    assert_eq!(folders, named, "each folder has a case");
    let mut over_all = (0, 0);
    for case in CASES {
        let mut world = World::new();
        world.add_programs(python_programs());
        let first = case.run(&world, "one");
        let second = case.run(&world, "two");
        let more = if case.name == NOISE.0 { NOISE.1 } else { 0 };
        let is_right = |found: u64, expected: u64| (expected..=expected + more).contains(&found);
        let found = [first.asked, second.asked];
        let are_right = found.iter().zip(case.asked).all(|(found, expected)| is_right(*found, expected));
        assert!(are_right, "{}: the agent's sessions are {found:?}, not {:?}", case.name, case.asked);
        let names = |ran: &Ran| ran.outputs.as_object().map(|outputs| outputs.keys().cloned().collect::<Vec<_>>());
        assert_eq!(names(&first), names(&second), "{}", case.name);
        #[expect(clippy::print_stdout, reason = "the rate is what the test is for")]
        {
            println!("{}: {} attempts, and {} the second time", case.name, first.attempts, second.attempts);
        }
        over_all = (over_all.0 + first.attempts, over_all.1 + second.attempts);
    }
    let (first, second) = over_all;
    assert!(second * 10 <= first * 3, "{first} attempts, and {second} the second time");
}

/// `RATCHET_RESUMES=all` has every workflow resumed from each of its steps; else it is the first one of the project.
#[test]
fn a_resume_from_any_step_of_a_reference_workflow_ends_as_the_run() {
    let is_all = env::var("RATCHET_RESUMES").is_ok_and(|which| which == "all");
    for case in CASES.iter().filter(|case| is_all || case.name == "increase-test-coverage") {
        let mut world = World::new();
        world.add_programs(python_programs());
        case.run(&world, "one");
        let folder = world.work().join("one");
        let whole = End::of(&world, &folder).roughly();
        let file = repository().join("workflows").join(case.name).join("workflow.yaml");
        let text = fs::read_to_string(file).expect("a workflow");
        let ends = from_each_step(&world, &text, &folder);
        assert!(ends.len() >= 5, "{}: {} steps", case.name, ends.len());
        for (step, end) in ends {
            assert_eq!(end.roughly(), whole, "{}, from {step}", case.name);
        }
    }
}

/// What became of a run.
struct Ran {
    outputs: Value,
    /// Sessions of agents that were not kept ones.
    asked: u64,
    /// Attempts that left a log, those of groups included: processes that said something, and sessions.
    attempts: usize,
}

impl Case {
    /// Runs the workflow on a fresh copy of its sample.
    fn run(&self, world: &World, copy: &str) -> Ran {
        let folder = repository().join("workflows").join(self.name);
        world.copy_to(&folder.join("sample"), copy);
        let commands = format!(
            "cd {copy}; export GIT_AUTHOR_DATE=2026-01-01T00:00:00Z GIT_COMMITTER_DATE=2026-01-01T00:00:00Z
             git config --global user.name t; git config --global user.email t@localhost
             git init --quiet --initial-branch=main; git add .; git commit --quiet --message before; {}",
            self.prepare
        );
        world.must("bash", &["-euo", "pipefail", "-c", &commands]);
        let file = folder.join("workflow.yaml").display().to_string();
        let agent = format!("recorded:{}", folder.join("recording").display());
        let mut words = vec!["run", &file, "--json", "--agent", &agent, "--workspace", copy];
        words.extend(self.arguments);
        let done = world.ratchet(words).expect_code(0);
        let run: Value = serde_json::from_str(&done.stdout).unwrap_or_else(|error| panic!("{error}: {}", done.stdout));
        let asked = run["budget"]["spent"]["agent_calls"].as_u64();
        // Each attempt that said something has a folder, and a kept result has none.
        let execution = world.state().join("executions").join(run["execution_id"].as_str().expect("a name"));
        let folders = [&execution.display().to_string(), "-regex", ".*/attempts/[0-9]+/[^/]+/[0-9]+"];
        Ran {
            outputs: run["outputs"].clone(),
            asked: asked.unwrap_or_else(|| u64::from(run["cost_usd"] != 0.0)),
            attempts: world.must("find", &folders).lines().count(),
        }
    }
}
