//! The command is killed at random moments and resumed until its run has ended. What its steps did to the world outside is compared with what the state says.
//!
//! `RATCHET_KILLS` says how often (`make soak` 200 times), `RATCHET_SEED` repeats a run of the test; the seed is printed.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs, io,
    path::PathBuf,
    process::{Child, ExitStatus, Stdio},
    sync::mpsc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use ratchet_tests::{ratchet, world::World};
use serde_json::Value;

use crate::ends::End;

/// Kills where the environment does not say: enough to meet every phase of a run, few enough for each change.
const KILLS: u32 = 24;
/// Kills of one run: a step whose task is lost too often is given up by design.
const KILLS_OF_A_RUN: u64 = 3;
/// Resumes of one run after which it is stuck.
const RESUMES_MAX: u32 = 20;

#[test]
fn a_killed_run_ends_right_and_repeats_no_recorded_step() {
    let mut random = Random::seeded("rerun");
    let mut hits = Hits::of_a_whole_run();
    while hits.total() < kills() {
        let run = Run::new("rerun", random.below(2) == 0);
        run.kill_and_resume(&mut random, &mut hits);
        run.ended_right();
    }
    hits.tell();
    assert!(hits.in_a_step > 0, "no kill met a step in the middle, so nothing was shown");
}

#[test]
fn with_on_lost_pause_no_effect_happens_twice() {
    let mut random = Random::seeded("pause");
    let mut hits = Hits::of_a_whole_run();
    while hits.total() < kills() {
        let run = Run::new("pause", true);
        run.kill_and_resume(&mut random, &mut hits);
        for (step, times) in run.effects().by_step {
            assert_eq!(times.len(), 1, "{step} had its effect more than once\n{}", run.history());
        }
    }
    hits.tell();
    assert!(hits.in_a_step > 0, "no kill met a step in the middle, so nothing was shown");
}

/// Steps whose results are kept, killed at any moment: what is kept then is whole, and stands in for a step that does the same.
#[test]
fn kills_leave_no_half_result_behind() {
    const CACHED: &str = r#"
name: cached
version: "1"
inputs: { n: { type: integer, required: true } }
steps:
  - { id: large, type: shell, use_cache: true, command: "seq {{ inputs.n }} 40000 > large.txt", outputs: { large: ./large.txt } }
  - { id: each, type: shell, foreach: "range(4)", use_cache: true, command: "echo {{ item }} {{ inputs.n }} > {{ item }}.txt", outputs: { part: "./{{ item }}.txt" } }
  - { id: all, type: shell, use_cache: true, command: "cat *.txt | sha256sum > all", outputs: { all: { type: string, from: "file_content('all')" } } }
"#;
    let world = World::new();
    let file = world.outside("cached.yaml").display().to_string();
    fs::write(&file, CACHED).expect("a file can be written");
    let mut random = Random::seeded("cached");
    let run = |number: u32, folder: &str| {
        fs::create_dir(world.work().join(folder)).expect("a folder can be made");
        let mut command = world.program(ratchet());
        command.args(["run", &file, "--quiet", "-i", &format!("n={number}"), "--workspace", folder]);
        command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("ratchet can be started")
    };
    let started = Instant::now();
    assert!(wait_for_all(run(0, "whole")).success());
    let whole_run = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
    let mut met = 0;
    for number in 1..=kills() / 2 {
        let (once, again) = (format!("once-{number}"), format!("again-{number}"));
        let mut child = run(number, &once);
        let was_killed = Run::kill_after(&mut child, Duration::from_micros(random.below(whole_run)));
        wait_for_all(child);
        world.ratchet(["cache", "verify"]).expect_code(0);
        let shown = world.ratchet(["status", "last", "--json"]).expect_code(0).stdout;
        let latest: Value = serde_json::from_str(&shown).expect("JSON");
        if latest["inputs"]["n"] == number && (latest["status"] == "running" || latest["application"].is_null()) {
            met += u32::from(was_killed);
            world.ratchet(["resume", "last", "--quiet"]).expect_code(0);
        } else if latest["inputs"]["n"] != number {
            // It was killed before it was there.
            fs::remove_dir(world.work().join(&once)).expect("nothing lies there");
            assert!(wait_for_all(run(number, &once)).success());
        }
        world.ratchet(["cache", "verify"]).expect_code(0);
        assert!(wait_for_all(run(number, &again)).success());
        let (first, second) = (End::of_folder(&world.work().join(&once)), End::of_folder(&world.work().join(&again)));
        assert!(first == second, "{number}: {:?} and {:?}", first.keys(), second.keys());
        assert_eq!(second.len(), 6);
    }
    assert!(met > 0, "no kill met a run in the middle, so nothing was shown");
}

/// Which moments the kills met.
struct Hits {
    /// How long a run takes here, from its start to its end: kills come at any moment of it.
    whole_run: Duration,
    before_the_run: u32,
    in_a_step: u32,
    between_steps: u32,
    after_the_end: u32,
}

impl Hits {
    fn of_a_whole_run() -> Self {
        let start = Instant::now();
        let run = Run::new("rerun", false);
        let status = wait_for_all(run.start(None));
        assert!(status.success(), "{status}: {}", run.said());
        run.ended_right();
        Self { whole_run: start.elapsed(), before_the_run: 0, in_a_step: 0, between_steps: 0, after_the_end: 0 }
    }

    fn count(&mut self, state: Option<&Value>) {
        let Some(state) = state else {
            self.before_the_run += 1;
            return;
        };
        let runs = state["steps"].as_object().into_iter().flatten().any(|(_, step)| step["status"] == "running");
        match state["status"].as_str() {
            Some("running") if runs => self.in_a_step += 1,
            Some("running") => self.between_steps += 1,
            _ => self.after_the_end += 1,
        }
    }

    fn total(&self) -> u32 {
        self.before_the_run + self.in_a_step + self.between_steps + self.after_the_end
    }

    #[expect(clippy::print_stdout, reason = "a soak shows what it met")]
    fn tell(&self) {
        println!(
            "{} kills: {} before the run was there, {} in a step, {} between steps, {} after its end",
            self.total(),
            self.before_the_run,
            self.in_a_step,
            self.between_steps,
            self.after_the_end
        );
    }
}

/// Four steps in a row, a fan-out, three side by side, and a join. Each says outside that it began, takes a moment, and leaves a file in the workspace.
/// The lock tells whether a process of an earlier attempt is alive: it goes with the last process that holds it.
const WORKFLOW: &str = r#"
name: crash
version: "1"
environment:
  OUTSIDE: "OUTSIDE_FOLDER"
steps:
  - { id: first, type: shell, on_lost: ON_LOST, command: "sh ./effect.sh first" }
  - { id: second, type: shell, on_lost: ON_LOST, command: "sh ./effect.sh second" }
  - { id: fan, type: shell, on_lost: ON_LOST, foreach: "range(6)", max_parallel: 2, command: "sh ./effect.sh fan-{{ item }}" }
  - { id: left, type: shell, on_lost: ON_LOST, needs: [fan], command: "sh ./effect.sh left" }
  - { id: middle, type: shell, on_lost: ON_LOST, needs: [fan], command: "sh ./effect.sh middle" }
  - { id: right, type: shell, on_lost: ON_LOST, needs: [fan], command: "sh ./effect.sh right" }
  - { id: join, type: shell, on_lost: ON_LOST, needs: [left, middle, right], command: "sh ./effect.sh join" }
  - { id: last, type: shell, on_lost: ON_LOST, command: "sh ./effect.sh last" }
"#;

const EFFECT: &str = r#"set -eu
exec 9>"$OUTSIDE/lock-$1"
flock --nonblock 9 || echo "$1" >>"$OUTSIDE/overlaps"
echo "$1 $TRACEPARENT" >>"$OUTSIDE/effects"
sleep 0.02
mkdir -p out
echo "$1" >"out/$1"
"#;

/// What the files of the directory are called at the end.
const FILES: [&str; 13] = [
    "fan-0", "fan-1", "fan-2", "fan-3", "fan-4", "fan-5", "first", "join", "last", "left", "middle", "right", "second",
];

/// One run of the workflow in a world of its own.
struct Run {
    world: World,
    outside: PathBuf,
    in_place: bool,
    pauses: bool,
}

/// What the steps did outside, by the name that each gave itself: the home of each attempt, which no two attempts share.
struct Effects {
    by_step: BTreeMap<String, Vec<String>>,
}

impl Run {
    fn new(on_lost: &str, in_place: bool) -> Self {
        let world = World::new();
        let outside = world.outside("effects");
        fs::create_dir(&outside).expect("a folder can be made");
        world.write("effect.sh", EFFECT);
        let text = WORKFLOW.replace("ON_LOST", on_lost).replace("OUTSIDE_FOLDER", &outside.display().to_string());
        fs::write(world.outside("crash.yaml"), text).expect("a file can be written");
        Self { world, outside, in_place, pauses: on_lost == "pause" }
    }

    /// Starts, kills and resumes until the run has ended, or waits for a person who will not let it go on.
    fn kill_and_resume(&self, random: &mut Random, hits: &mut Hits) {
        let mut left = 1 + random.below(KILLS_OF_A_RUN);
        let mut before = None;
        for _ in 0..RESUMES_MAX {
            let recorded = before.as_ref().map(recorded).unwrap_or_default();
            let effects = self.effects();
            let id = before.as_ref().map(|state: &Value| text(&state["execution_id"]));
            let mut child = self.start(id.as_deref());
            let micros = u64::try_from(hits.whole_run.as_micros()).unwrap_or(u64::MAX);
            let killed = left > 0 && Self::kill_after(&mut child, Duration::from_micros(random.below(micros)));
            let status = wait_for_all(child);
            if !killed {
                assert!(matches!(status.code(), Some(0 | 3)), "{status}: {}", self.said());
            }
            let state = self.state();
            if killed {
                left -= 1;
                hits.count(state.as_ref());
            }
            self.nothing_recorded_ran_again(&recorded, &effects);
            match state.as_ref().map(|state| text(&state["status"])).as_deref() {
                Some("completed") if self.is_applied() => return,
                Some("paused") if !self.a_person_resumes(state.as_ref()) => return,
                None | Some("running" | "paused" | "completed") => before = state,
                Some(other) => panic!("the execution is {other}: {state:#?}"),
            }
        }
        panic!("the run is stuck: {:#?}\n{}", self.state(), self.said());
    }

    fn start(&self, id: Option<&str>) -> Child {
        let mut command = self.world.program(ratchet());
        match id {
            None => {
                command.arg("run").arg(self.world.outside("crash.yaml"));
                if self.in_place {
                    command.arg("--in-place");
                }
            }
            Some(id) => {
                command.args(["resume", id]);
            }
        }
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.world.outside("said"))
            .expect("a log can be opened");
        command.stdout(Stdio::piped()).stderr(log).spawn().expect("ratchet can be started")
    }

    /// Kills the command alone, not its group: that its steps end with it is its own business. False where it had ended already.
    fn kill_after(child: &mut Child, moment: Duration) -> bool {
        let (_open, clock) = mpsc::channel::<()>();
        let until = Instant::now() + moment;
        while Instant::now() < until {
            if child.try_wait().expect("it can be asked").is_some() {
                return false;
            }
            let _ = clock.recv_timeout(Duration::from_millis(1).min(until.saturating_duration_since(Instant::now())));
        }
        child.kill().expect("it can be killed");
        child.wait().expect("it can be waited for").code().is_none()
    }

    /// What `status --json` shows; none before the execution was created.
    fn state(&self) -> Option<Value> {
        let listed: Value =
            serde_json::from_str(&self.world.ratchet(["list", "--json"]).expect_code(0).stdout).expect("JSON");
        let id = text(listed.as_array()?.first()?.get("execution_id")?);
        let shown = self.world.ratchet(["status", &id, "--json"]).expect_code(0);
        Some(serde_json::from_str(&shown.stdout).expect("JSON"))
    }

    /// A person looks whether the lost steps had their effect, and lets only a run go on in which none had.
    fn a_person_resumes(&self, state: Option<&Value>) -> bool {
        assert!(self.pauses, "paused though no step asks for it: {state:#?}");
        let effects = self.effects();
        let steps = state.and_then(|state| state["steps"].as_object()).into_iter().flatten();
        let lost = steps.filter(|(_, step)| step["status"] == "waiting").map(|(id, _)| id.clone()).collect::<Vec<_>>();
        // Which child of a fan-out was lost is not told here, so that such a run is left to wait.
        let a_child =
            state.is_some_and(|state| matches!(state["steps"]["fan"]["status"].as_str(), Some("running" | "waiting")));
        assert!(a_child || !lost.is_empty(), "paused for nothing: {state:#?}");
        !a_child && lost.iter().all(|id| !effects.by_step.contains_key(id))
    }

    fn effects(&self) -> Effects {
        let lines = fs::read_to_string(self.outside.join("effects")).unwrap_or_default();
        let mut by_step: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (step, attempt) in lines.lines().filter_map(|line| line.split_once(' ')) {
            by_step.entry(step.to_owned()).or_default().push(attempt.to_owned());
        }
        Effects { by_step }
    }

    fn nothing_recorded_ran_again(&self, recorded: &BTreeSet<String>, before: &Effects) {
        let now = self.effects();
        for step in recorded {
            // A fan-out's own row says that all of its children are recorded.
            for (name, times) in
                now.by_step.iter().filter(|(name, _)| *name == step || (step == "fan" && name.starts_with("fan-")))
            {
                assert_eq!(before.by_step.get(name), Some(times), "{name} had a recorded result and ran again");
            }
        }
    }

    fn is_applied(&self) -> bool {
        self.in_place || FILES.iter().all(|name| self.world.work().join("out").join(name).exists())
    }

    fn ended_right(&self) {
        let state = self.state().expect("there is an execution");
        assert_eq!(text(&state["status"]), "completed", "{state:#?}");
        let mut files: Vec<String> = fs::read_dir(self.world.work().join("out"))
            .expect("the steps left files")
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        files.sort();
        assert_eq!(files, FILES);
        assert!(!self.outside.join("overlaps").exists(), "a step ran while a process of an earlier attempt lived");
        for (step, attempts) in self.effects().by_step {
            let distinct: BTreeSet<&String> = attempts.iter().collect();
            assert_eq!(distinct.len(), attempts.len(), "an attempt of {step} was launched twice: {attempts:?}");
        }
        self.world.ratchet(["replay", &text(&state["execution_id"])]).expect_code(0);
    }

    fn history(&self) -> String {
        self.world.ratchet(["history", "last"]).stdout
    }

    fn said(&self) -> String {
        fs::read_to_string(self.world.outside("said")).unwrap_or_default()
    }
}

/// Waits until every process of the command has ended: each holds its output. Of a command that was killed, the processes behind it may go on for a moment.
fn wait_for_all(mut child: Child) -> ExitStatus {
    let mut output = child.stdout.take().expect("its output is a pipe");
    let status = child.wait().expect("it can be waited for");
    io::copy(&mut output, &mut io::sink()).expect("its output can be read");
    status
}

/// The steps that the state shows as completed.
fn recorded(state: &Value) -> BTreeSet<String> {
    let steps = state["steps"].as_object().into_iter().flatten();
    steps.filter(|(_, step)| step["status"] == "completed").map(|(id, _)| id.clone()).collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn kills() -> u32 {
    env::var("RATCHET_KILLS").ok().map_or(KILLS, |text| text.parse().expect("RATCHET_KILLS is a number"))
}

/// The generator `SplitMix64`: the same seed gives the same moments.
struct Random(u64);

impl Random {
    #[expect(clippy::print_stdout, reason = "a failing seed is repeated")]
    fn seeded(test: &str) -> Self {
        let given = env::var("RATCHET_SEED").ok().map(|text| text.parse().expect("RATCHET_SEED is a number"));
        let seed = given.unwrap_or_else(|| {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            u64::from(now.subsec_nanos()) ^ now.as_secs()
        });
        println!("{test}: RATCHET_SEED={seed}");
        Self(seed)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }
}
