use std::{
    fs,
    time::{Duration, Instant},
};

use ratchet_tests::{running::Gate, world::World};
use rustix::process::Signal;
use serde_json::{Value, json};

use super::{call, redacted, state};

/// Each process that runs leaves a line in a file that lies outside.
fn workflow(world: &World) -> String {
    let ran = world.outside("ran").display().to_string();
    format!(
        "\
name: letters
version: \"1\"
steps:
  - id: large
    type: shell
    command: |
      echo large >> {ran}
      sleep 0.3
      tr a-z A-Z < in.txt > large.txt
    inputs: [in.txt]
    use_cache: true
    outputs: {{ text: ./large.txt }}
  - id: count
    type: shell
    command: echo count >> {ran}; wc -c < large.txt | tee count.txt
    use_cache: true
    outputs: {{ bytes: {{ type: integer, from: stdout }} }}
  - id: each
    type: shell
    foreach: \"['a', 'b', 'a']\"
    command: echo each >> {ran}; printf %s {{{{ item }}}}
    cache_key: each
    outputs: {{ letter: {{ type: string, from: stdout }} }}
"
    )
}

fn world() -> World {
    let world = World::new();
    world.write("workflow.yaml", &workflow(&world));
    for folder in ["one", "two", "three", "four"] {
        world.write(&format!("{folder}/in.txt"), "hello\n");
    }
    world
}

fn ran(world: &World) -> Vec<String> {
    let text = fs::read_to_string(world.outside("ran")).unwrap_or_default();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

fn run(world: &World, folder: &str, more: &[&str]) -> Value {
    state(world, &[&["run", "workflow.yaml", "--workspace", folder, "--json"], more].concat())
}

fn cached(run: &Value) -> [bool; 2] {
    ["large", "count"].map(|step| run["steps"][step]["cached"].as_bool().expect("a step says so"))
}

#[test]
fn a_result_stands_in_for_a_step_on_another_copy() {
    let world = world();
    let first = run(&world, "one", &[]);
    assert_eq!(
        (cached(&first), ran(&world)),
        ([false, false], ["count", "each", "each", "large"].map(str::to_owned).into())
    );
    let second = run(&world, "two", &[]);
    assert_eq!((cached(&second), ran(&world).len()), ([true, true], 4), "no process ran");
    let children = [&first, &second].map(|run| run["steps"]["each"]["children"]["cached"].as_u64());
    assert_eq!(children, [Some(1), Some(3)], "two of the first run's are alike");
    for step in ["large", "count", "each"] {
        assert_eq!(first["steps"][step]["outputs"], second["steps"][step]["outputs"], "{step}");
    }
    assert_eq!(first["steps"]["large"]["cache_key"], second["steps"]["large"]["cache_key"]);
    assert!(second["steps"]["large"]["saved"]["process_ms"].as_u64() >= Some(300));
    for file in ["large.txt", "count.txt"] {
        assert_eq!(world.read(&format!("one/{file}")), world.read(&format!("two/{file}")), "{file}");
    }
    world.write("two/in.txt", "other\n");
    fs::remove_file(world.work().join("two/count.txt")).expect("it was restored");
    assert_eq!(cached(&run(&world, "two", &[])), [false, false], "what it reads is otherwise");
    insta::assert_snapshot!("why_changed", call(&world, &["why", "last", "large"]));
    let counted: Value = state(&world, &["cache", "stats", "--json"]);
    assert_eq!((counted["total"]["hits"].as_u64(), counted["total"]["misses"].as_u64()), (Some(9), Some(6)));
}

#[test]
fn an_edit_is_never_overwritten() {
    let world = world();
    run(&world, "one", &[]);
    world.write("two/count.txt", "mine\n");
    let second = run(&world, "two", &[]);
    assert_eq!(cached(&second), [true, false], "all files are in the key of the second");
    let own_key =
        workflow(&world).replace("use_cache: true\n    outputs: { bytes", "cache_key: mine\n    outputs: { bytes");
    world.write("workflow.yaml", &own_key);
    assert_eq!(cached(&run(&world, "four", &[])), [true, false]);
    world.write("three/count.txt", "mine\n");
    assert_eq!(cached(&run(&world, "three", &[])), [true, false]);
    insta::assert_snapshot!("why_differs", call(&world, &["why", "last", "count"]));
}

#[test]
fn a_file_output_is_put_back_that_was_there_before() {
    let world = world();
    world.write("one/large.txt", "HELLO\n");
    run(&world, "one", &[]);
    assert!(cached(&run(&world, "two", &[]))[0]);
    assert_eq!(world.read("two/large.txt"), "HELLO\n");
}

#[test]
fn results_are_refreshed_left_alone_and_removed() {
    let world = world();
    run(&world, "one", &[]);
    assert_eq!(cached(&run(&world, "two", &["--no-cache"])), [false, false]);
    assert_eq!(cached(&run(&world, "three", &["--refresh"])), [false, false]);
    let listed: Vec<Value> = serde_json::from_str(&world.ratchet(["cache", "ls", "--json"]).stdout).expect("an array");
    assert_eq!(listed.len(), 4);
    insta::assert_snapshot!("cache_verify", call(&world, &["cache", "verify"]));
    insta::assert_snapshot!("cache_invalidate_nothing", call(&world, &["cache", "invalidate"]));
    insta::assert_snapshot!("cache_invalidate", call(&world, &["cache", "invalidate", "--step", "each"]));
    insta::assert_snapshot!("cache_prune", call(&world, &["cache", "prune", "--max-size", "0"]));
    assert_eq!(world.ratchet(["cache", "ls", "--json"]).stdout.trim(), "[]");
}

/// Steps that are kept for a time, for all workflows, and under a version.
const KEPT: &str = "\
name: NAME
version: \"1\"
steps:
  - { id: brief, type: shell, command: echo brief, cache: { key: a, ttl: 1ms } }
  - { id: shared, type: shell, command: echo shared, cache: { key: b, scope: shared } }
  - { id: own, type: shell, command: echo own, cache: { key: c, version: \"7\" } }
";

#[test]
fn results_have_their_time_their_scope_and_their_version() {
    let world = World::new();
    let run = |name: &str, text: &str| {
        world.write("workflow.yaml", &text.replace("NAME", name));
        let run = state(&world, &["run", "workflow.yaml", "--json"]);
        ["brief", "shared", "own"].map(|step| run["steps"][step]["cached"] == true)
    };
    assert_eq!(run("one", KEPT), [false, false, false]);
    assert_eq!(run("one", KEPT), [false, true, true], "a millisecond has passed");
    let why = world.ratchet(["why", "last", "brief"]).expect_code(0).stdout;
    assert!(why.contains("had had its time"), "{why}");
    assert_eq!(run("two", KEPT), [false, true, false], "what is not shared is its workflow's");
    assert_eq!(run("two", &KEPT.replace('7', "8")), [false, true, false], "another version is another key");

    let id = |entry: &Value| format!("{}/{}", entry["workflow"].as_str().unwrap(), entry["step"].as_str().unwrap());
    let listed = |selection: &[&str]| {
        let entries = state(&world, &[&["cache", "ls", "--json"], selection].concat());
        let mut ids: Vec<String> = entries.as_array().expect("a list").iter().map(id).collect();
        ids.sort();
        ids
    };
    let key = state(&world, &["cache", "ls", "--workflow", "one", "--step", "own", "--json"])[0]["key"].clone();
    let key = &key.as_str().expect("a key")[..12];
    let all = ["one/brief", "one/own", "one/shared", "two/brief", "two/own", "two/own"];
    // Each removes what it selects of what those above it left.
    let selections: [(&[&str], &[&str]); 8] = [
        (&["--older-than", "1h"], &[]),
        (&["--version", "6"], &[]),
        (&["--version", "8"], &["two/own"]),
        (&["--key", key, "--version", "8"], &[]),
        (&["--workflow", "two", "--step", "brief"], &["two/brief"]),
        (&["--step", "shared"], &["one/shared"]),
        (&["--workflow", "two", "--older-than", "0s"], &["two/own"]),
        (&["--key", key], &["one/own"]),
    ];
    let mut left: Vec<String> = all.map(str::to_owned).into();
    assert_eq!(listed(&[]), left);
    for (selection, selected) in selections {
        assert_eq!(listed(selection), selected, "{selection:?}");
        world.ratchet([&["cache", "invalidate", "--dry-run"], selection].concat()).expect_code(0);
        assert_eq!(listed(&[]), left, "{selection:?}");
        world.ratchet([&["cache", "invalidate"], selection].concat()).expect_code(0);
        for one in selected {
            left.remove(left.iter().position(|other| other == one).expect("it was there"));
        }
        assert_eq!(listed(&[]), left, "{selection:?}");
    }
    world.ratchet(["cache", "prune"]).expect_code(0);
    assert_eq!(listed(&[]), [""; 0], "what has had its time goes");

    // What is removed still counts.
    let counted = |selection: &[&str]| {
        let total = state(&world, &[&["cache", "stats", "--json"], selection].concat())["total"].clone();
        [total["hits"].as_u64(), total["misses"].as_u64()].map(Option::unwrap_or_default)
    };
    let counts: [(&[&str], [u64; 2]); 6] = [
        (&[], [4, 8]),
        (&["--workflow", "one"], [2, 4]),
        (&["--workflow", "two", "--step", "shared"], [2, 0]),
        (&["--step", "brief", "--since", "1h"], [0, 4]),
        (&["--until", "1h"], [0, 0]),
        (&["--since", "2h", "--until", "0s"], [4, 8]),
    ];
    for (selection, expected) in counts {
        assert_eq!(counted(selection), expected, "{selection:?}");
    }
}

#[test]
fn a_damaged_result_is_a_miss_and_removed() {
    let world = world();
    let first = run(&world, "one", &[]);
    let digest = first["steps"]["large"]["outputs"]["text"]["digest"].as_str().expect("a digest").to_owned();
    let blob = world.state().join("blobs/sha256").join(&digest[..2]).join(&digest[2..]);
    fs::remove_file(&blob).expect("it is kept");
    fs::write(&blob, "other\n").expect("it can be written");
    assert!(!cached(&run(&world, "two", &[]))[0]);
    let why = redacted(&world, &world.ratchet(["why", "last", "large"]).expect_code(0).stdout);
    assert!(why.contains("was damaged, and was removed"), "{why}");
    assert!(cached(&run(&world, "three", &[]))[0], "what ran again is kept");
}

#[test]
fn runs_at_once_compute_the_same_once() {
    let world = world();
    let both = ["one", "two"].map(|folder| world.start(["run", "workflow.yaml", "--workspace", folder, "--quiet"]));
    for running in both {
        running.end().expect_code(0);
    }
    assert_eq!(ran(&world), ["count", "each", "each", "large"]);
    assert_eq!(world.read("one/large.txt"), world.read("two/large.txt"));
}

#[test]
fn nothing_is_kept_in_place() {
    let world = world();
    for _ in 0..2 {
        let done = world.ratchet(["run", "workflow.yaml", "--workspace", "one", "--in-place"]).expect_code(0);
        assert_eq!(done.stderr.matches("no result is kept").count(), 1, "{}", done.stderr);
    }
    assert_eq!(ran(&world).len(), 10);
    insta::assert_snapshot!("why_in_place", call(&world, &["why", "last", "large"]));
}

/// Whoever computes a result is waited for while its run goes on, and told of by a plan; with a run that was killed nobody waits.
#[test]
fn a_killed_run_holds_nobody_up() {
    let world = World::new();
    let gate = Gate::new(&world, "gate");
    let ran = world.outside("ran");
    world.write(
        "workflow.yaml",
        &format!(
            "name: slow\nversion: \"1\"\nsteps:\n  - {{ id: computes, type: shell, cache_key: one, command: \"echo ran >> {}; \
             test -e {2} || {{ echo ready > {1}; cat {1}; }}\" }}\n",
            ran.display(),
            gate.path().display(),
            world.outside("open").display()
        ),
    );
    let call = ["run", "workflow.yaml", "--quiet"];
    let first = world.start(call);
    assert_eq!(gate.wait(), "ready\n");
    let forecast = |wanted: &str| {
        let plan = state(&world, &["plan", "workflow.yaml", "--json"]);
        let id = state(&world, &["list", "--json"])[0]["execution_id"].clone();
        let expected = if wanted.is_empty() { json!(null) } else { json!({"execution": id, "step": wanted}) };
        assert_eq!((&plan["steps"][0]["forecast"], &plan["steps"][0]["computed_by"]), (&json!("miss"), &expected));
    };
    forecast("computes");
    let text = world.ratchet(["plan", "workflow.yaml"]).expect_code(0).stdout;
    assert!(text.contains("computes it now"), "{text}");
    fs::write(world.outside("open"), "").expect("a file can be written");
    first.signal(Signal::KILL);
    first.end();
    forecast("");
    let start = Instant::now();
    world.ratchet(call).expect_code(0);
    // A lease is given for 30 seconds at least.
    assert!(start.elapsed() < Duration::from_secs(15), "it waited for {:?}", start.elapsed());
    assert_eq!(fs::read_to_string(ran).expect("both ran"), "ran\nran\n");
}
