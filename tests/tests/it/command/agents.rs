//! Agent steps: asked for real, recorded, played. The agent is a stand-in for Claude Code; where `RATCHET_TEST_CLAUDE` names the real command, it is that
//! one, with a scripted model on loopback.

use std::{env, fs, path::Path};

use ratchet_testkit::messages_api::{Answer, MessagesApi};
use ratchet_tests::{running::Gate, world::World};
use serde_json::{Value, json};

use super::{call, state, terminal::Terminal};

const WRITING: &str = "\
name: writing
version: \"1\"
outputs:
  words: { type: string, from: write.outputs.response }
steps:
  - id: write
    type: claude_code
    prompt: Write NOTES.md in Latin.
  - id: read
    type: shell
    command: cat NOTES.md
";

/// Looks like a key, and must stand nowhere afterwards.
const KEY: &str = "sk-ant-canary-0123456789";

/// What the stand-in does: it answers as the command does, writes the file, and tells of it.
const STAND_IN: &str = r#"#!/bin/sh
case "$1" in --version) echo '2.1.330 (Claude Code)'; exit 0;; esac
cat > /dev/null
test -n "$ANTHROPIC_API_KEY" -a "$ANTHROPIC_API_KEY" != @KEY@ || exit 9
cost=0.0065
case " $* " in *' --resume s-1 '*) printf vale > NOTES.md; cost=0.013;; *) printf salve > NOTES.md;; esac
sed "s/0.0065/$cost/" <<'EVENTS'
{"type":"system","subtype":"init","session_id":"s-1"}
{"type":"assistant","message":{"id":"m1","content":[{"type":"tool_use","id":"t1","name":"Write","input":{"file_path":"@WORK@/NOTES.md","content":"salve"}}],"usage":{"input_tokens":1000,"output_tokens":50}}}
{"type":"user","message":{"content":[{"type":"tool_result","tool_use_id":"t1","content":"written"}]}}
{"type":"assistant","message":{"id":"m2","content":[{"type":"text","text":"Factum est."}],"usage":{"input_tokens":1000,"output_tokens":50}}}
{"type":"result","subtype":"success","is_error":false,"terminal_reason":"completed","result":"Factum est.","session_id":"s-1","num_turns":2,"total_cost_usd":0.0065,"usage":{"input_tokens":2000,"output_tokens":100}}
EVENTS
"#;

/// A world with an agent in it.
struct Studio {
    world: World,
    api: Option<MessagesApi>,
}

impl Studio {
    fn new() -> Self {
        Self::of(WRITING, &["salve"])
    }

    /// A workflow whose agent writes these texts in turn, one in each round.
    fn of(workflow: &str, texts: &[&str]) -> Self {
        let mut world = World::new();
        world.write("workflow.yaml", workflow);
        let mut set = |name: &str, value: String| world.variables.push((name.to_owned(), value));
        set("ANTHROPIC_API_KEY", KEY.to_owned());
        let Some(real) = env::var("RATCHET_TEST_CLAUDE").ok().filter(|path| !path.is_empty()) else {
            let work = world.work().display().to_string();
            world.add_program("claude", &STAND_IN.replace("@KEY@", KEY).replace("@WORK@", &work));
            return Self { world, api: None };
        };
        set("RATCHET_CLAUDE", real);
        set("CLAUDE_CODE_MAX_RETRIES", "0".to_owned());
        let path = world.work().join("NOTES.md");
        let write = |text| Answer::tool("Write", json!({ "file_path": path, "content": text }));
        let answers: Vec<_> = texts.iter().flat_map(|text| [write(text), Answer::text("Factum est.")]).collect();
        let api = MessagesApi::start(answers).expect("a port");
        world.variables.push(("ANTHROPIC_BASE_URL".to_owned(), api.url()));
        Self { world, api: Some(api) }
    }

    /// What the agent's step gave, with what tells one machine or session from another left out.
    fn given(state: &Value) -> Value {
        let outputs = &state["steps"]["write"]["outputs"];
        let names = ["response", "json", "cost_usd", "tokens", "turns", "files_changed", "permission_denials"];
        names.into_iter().map(|name| (name.to_owned(), outputs[name].clone())).collect::<serde_json::Map<_, _>>().into()
    }
}

/// Every file below a folder whose content holds some words.
pub(super) fn files_with(folder: &Path, words: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())).flatten() {
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.extend(files_with(&path, words));
        } else if fs::read(&path).is_ok_and(|content| content.windows(words.len()).any(|part| part == words.as_bytes()))
        {
            found.push(path.display().to_string());
        }
    }
    found
}

#[test]
fn a_session_is_recorded_and_played_again_without_the_agent() {
    let studio = Studio::new();
    let recording = studio.world.outside("recording");
    let folder = recording.display().to_string();
    let call = ["run", ".", "--in-place", "--json", "--agent", "claude", "--record", &folder];
    let first = state(&studio.world, &call);
    assert_eq!(first["outputs"]["words"], "Factum est.", "{first:#}");
    assert_eq!(first["steps"]["write"]["outputs"]["files_changed"], json!(["NOTES.md"]));
    assert!(first["cost_usd"].as_f64().is_some_and(|cost| cost > 0.0), "{first:#}");
    assert_eq!(studio.world.read("NOTES.md"), "salve");
    for place in [&recording, &studio.world.state()] {
        assert_eq!(files_with(place, KEY), [""; 0], "the key is in a file");
        let home = studio.world.outside("home").display().to_string();
        assert!(place == &studio.world.state() || files_with(place, &home).is_empty(), "a path of this machine");
    }
    let said = studio.world.ratchet(["logs", "last", "write", "--transcript"]).expect_code(0).stdout;
    assert!(said.contains("> Write NOTES.md\n") && said.contains("Factum est."), "{said}");
    assert!(said.lines().last().is_some_and(|line| line.contains("2 turns")), "{said}");

    let elsewhere = World::new();
    elsewhere.write("workflow.yaml", WRITING);
    let agent = format!("recorded:{folder}");
    let second = state(&elsewhere, &["run", ".", "--json", "--agent", &agent]);
    assert_eq!(Studio::given(&second), Studio::given(&first));
    assert_eq!(elsewhere.read("NOTES.md"), "salve");
    let played = elsewhere.ratchet(["logs", "last", "write", "--transcript"]).expect_code(0).stdout;
    assert!(played.contains("> Write") && played.contains("Factum est."), "{played}");
    // It plays on another agent's machine as well as on one without: whoever records a replay gets the same again.
    let again = elsewhere.outside("again").display().to_string();
    let third = state(&elsewhere, &["run", ".", "--json", "--agent", &agent, "--record", &again]);
    assert_eq!(Studio::given(&third)["response"], "Factum est.");
}

/// Its check fails until the file says goodbye.
const CHECKED: &str = "\
name: writing
version: \"1\"
inputs:
  word: { type: string, default: vale }
steps:
  - id: write
    type: claude_code
    prompt: Write NOTES.md in Latin.
    max_turns: 8
    verify: echo \"it says $(cat NOTES.md)\"; grep -q {{ inputs.word }} NOTES.md
    max_fix_rounds: 1
";

#[test]
fn what_a_check_prints_goes_back_to_the_agent_which_mends_its_work() {
    let studio = Studio::of(CHECKED, &["salve", "vale"]);
    let recording = studio.world.outside("recording");
    let folder = recording.display().to_string();
    let first = state(&studio.world, &["run", ".", "--in-place", "--json", "--agent", "claude", "--record", &folder]);
    assert_eq!(first["status"], "completed", "{first:#}");
    assert_eq!(studio.world.read("NOTES.md"), "vale");
    let given = Studio::given(&first);
    assert_eq!((&given["turns"], &given["tokens"]), (&json!(4), &json!(4200)), "both rounds are counted, each once");
    if let Some(api) = &studio.api {
        let last = api.requests().pop().expect("it was asked").body["messages"].to_string();
        assert!(last.contains("Write NOTES.md in Latin.") && last.contains("it says salve"), "{last}");
    }
    let said = studio.world.ratchet(["logs", "last", "write", "--transcript"]).expect_code(0).stdout;
    let told: Vec<&str> = said.lines().filter(|line| line.contains("verify") || line.starts_with('!')).collect();
    assert_eq!(told.len(), 3, "two checks, of which one failed: {said}");
    let log = studio.world.ratchet(["logs", "last", "write"]).expect_code(0).stdout;
    assert!(log.contains("it says salve") && log.contains("it says vale"), "{log}");

    // Both rounds are played, and what they left is judged again.
    let elsewhere = World::new();
    elsewhere.write("workflow.yaml", CHECKED);
    let agent = format!("recorded:{folder}");
    let second = state(&elsewhere, &["run", ".", "--json", "--agent", &agent]);
    assert_eq!(Studio::given(&second), given);
    // A recording that has no round in which that is mended fails by what was left last.
    let run = elsewhere.ratchet(["run", ".", "--agent", &agent, "-i", "word=ave"]).expect_code(1);
    assert!(run.stdout.contains("RT-0342") && run.stdout.contains("it says vale"), "{run:?}");
}

/// Its agent needs more turns than it has.
const LIMITED: &str = "\
name: writing
version: \"1\"
steps:
  - id: write
    type: claude_code
    prompt: Write three files.
    max_turns: 2
    on_limit: pause
  - id: read
    type: shell
    command: cat ONE.md TWO.md THREE.md
    outputs: { all: { type: string, from: stdout } }
";

/// Writes two files, is over its limit, and keeps what was said where the command does; going on it writes the third.
const LIMITED_STAND_IN: &str = r#"#!/bin/sh
case "$1" in --version) echo '2.1.330 (Claude Code)'; exit 0;; esac
kept=$CLAUDE_CONFIG_DIR/projects/$(pwd | tr -c 'a-zA-Z0-9\n' -)/s-1.jsonl
echo '{"type":"system","subtype":"init","session_id":"s-1"}'
case " $* " in
  *' --resume s-1 '*)
    grep -q 'Write three files' "$kept" || exit 9
    printf 3 > THREE.md
    echo '{"type":"result","is_error":false,"result":"All three.","session_id":"s-1","num_turns":2,"total_cost_usd":0.02,"usage":{"input_tokens":2000,"output_tokens":100}}';;
  *)
    mkdir -p "${kept%/*}"; cat > "$kept"
    printf 1 > ONE.md; printf 2 > TWO.md
    echo '{"type":"result","subtype":"error_max_turns","is_error":true,"terminal_reason":"max_turns","errors":["Reached maximum number of turns (2)"],"session_id":"s-1","num_turns":3,"total_cost_usd":0.01,"usage":{"input_tokens":2000,"output_tokens":100}}'
    exit 1;;
esac
"#;

#[test]
fn a_limit_pauses_the_run_and_the_agent_goes_on_where_it_was() {
    let mut studio = Studio::of(LIMITED, &[]);
    let work = studio.world.work();
    if env::var("RATCHET_TEST_CLAUDE").is_ok_and(|path| !path.is_empty()) {
        let write = |name: &str, text| Answer::tool("Write", json!({ "file_path": work.join(name), "content": text }));
        let answers = [write("ONE.md", "1"), write("TWO.md", "2"), write("THREE.md", "3"), Answer::text("All three.")];
        let api = MessagesApi::start(answers).expect("a port");
        studio.world.variables.push(("ANTHROPIC_BASE_URL".to_owned(), api.url()));
        studio.api = Some(api);
    } else {
        studio.world.add_program("claude", LIMITED_STAND_IN);
    }
    let world = &studio.world;
    let recording = world.outside("recording").display().to_string();
    let paused = world.ratchet(["run", ".", "--agent", "claude", "--record", &recording]).expect_code(3);
    assert!(
        paused.stdout.contains("RT-0334") && paused.stdout.contains("go on in the same session"),
        "{}",
        paused.stdout
    );
    assert!(!work.join("ONE.md").exists(), "nothing is applied yet");
    let shown: Value = serde_json::from_str(&world.ratchet(["status", "last", "--json"]).stdout).expect("JSON");
    assert_eq!((&shown["status"], &shown["steps"]["write"]["status"]), (&json!("paused"), &json!("waiting")));
    let session = |state: &Value| state["steps"]["write"]["outputs"]["session_id"].clone();
    let done = state(world, &["resume", "last", "--json"]);
    assert_eq!((&done["status"], &done["steps"]["read"]["outputs"]["all"]), (&json!("completed"), &json!("123")));
    assert_eq!(["ONE.md", "TWO.md", "THREE.md"].map(|name| world.read(name)), ["1", "2", "3"]);
    assert!(session(&done).is_string(), "{done:#}");
    world.ratchet(["replay"]).expect_code(0);
    // What was done before the pause is paid once, and so is what came after it.
    assert_eq!(done["steps"]["write"]["outputs"]["turns"], 2, "{done:#}");
    let costs = state(world, &["cost", "--json"]);
    let total = costs["total"]["cost_usd"].as_f64().expect("a cost");
    let after = done["steps"]["write"]["outputs"]["cost_usd"].as_f64().expect("a cost");
    assert!((total - 2.0 * after).abs() < 1e-9, "{total} of which {after}");
    if let Some(api) = &studio.api {
        let last = api.requests().pop().expect("it was asked").body["messages"].to_string();
        assert!(last.contains("Write three files.") && last.contains("go on where you were"), "{last}");
    }
}

/// One of its steps goes on in the conversation of the other.
const CONVERSING: &str = "\
name: writing
version: \"1\"
inputs:
  plans: { type: boolean, default: true }
  what: { type: string, default: Latin }
steps:
  - id: plan
    type: claude_code
    security_profile: plan_only
    when: inputs.plans
    prompt: Plan how NOTES.md gets its {{ inputs.what }}.
    cache_key: plan
  - id: write
    type: claude_code
    session: plan
    prompt: Now do it.
    cache_key: write
";

/// Says its plan, and writes where it has been told one before.
const CONVERSING_STAND_IN: &str = r#"#!/bin/sh
case "$1" in --version) echo '2.1.330 (Claude Code)'; exit 0;; esac
kept=$CLAUDE_CONFIG_DIR/projects/$(pwd | tr -c 'a-zA-Z0-9\n' -)/s-1.jsonl
mkdir -p "${kept%/*}"
cost=0.01
case " $* " in
  *' --resume s-1 '*) grep -q 'Plan how' "$kept" || exit 9; cat >> "$kept"; printf salve > NOTES.md; cost=0.02;;
  *) cat > "$kept";;
esac
echo '{"type":"system","subtype":"init","session_id":"s-1"}'
echo '{"type":"result","is_error":false,"result":"Factum est.","session_id":"s-1","num_turns":1,"total_cost_usd":'$cost',"usage":{"input_tokens":1000,"output_tokens":50}}'
"#;

#[test]
fn a_step_goes_on_in_the_conversation_of_another() {
    let mut studio = Studio::of(CONVERSING, &[]);
    let work = studio.world.work();
    if env::var("RATCHET_TEST_CLAUDE").is_ok_and(|path| !path.is_empty()) {
        let write = Answer::tool("Write", json!({ "file_path": work.join("NOTES.md"), "content": "salve" }));
        let round = [Answer::text("I shall write."), write, Answer::text("Factum est.")];
        let api = MessagesApi::start([&round[..], &round[..]].concat()).expect("a port");
        studio.world.variables.push(("ANTHROPIC_BASE_URL".to_owned(), api.url()));
        studio.api = Some(api);
    } else {
        studio.world.add_program("claude", CONVERSING_STAND_IN);
    }
    let world = &studio.world;
    let recording = world.outside("recording").display().to_string();
    let first = state(world, &["run", ".", "--json", "--agent", "claude", "--record", &recording]);
    let of = |state: &Value, step: &str, name: &str| state["steps"][step]["outputs"][name].clone();
    assert_eq!((&first["status"], of(&first, "write", "response")), (&json!("completed"), json!("Factum est.")));
    assert_eq!(world.read("NOTES.md"), "salve");
    assert_eq!(of(&first, "write", "session_id"), of(&first, "plan", "session_id"));
    let costs = ["plan", "write"].map(|step| of(&first, step, "cost_usd").as_f64().expect("a cost"));
    assert!((costs.iter().sum::<f64>() - first["cost_usd"].as_f64().expect("a cost")).abs() < 1e-9, "{first:#}");
    if let Some(api) = &studio.api {
        let last = api.requests().pop().expect("it was asked").body["messages"].to_string();
        let said = ["Plan how NOTES.md gets its Latin.", "I shall write.", "Now do it."];
        assert!(said.iter().all(|said| last.contains(said)), "{last}");
    }
    // A recording needs no session of its own.
    let played = state(world, &["run", ".", "--json", "--no-cache", "--agent", &format!("recorded:{recording}")]);
    assert_eq!(of(&played, "write", "response"), "Factum est.", "{played:#}");
    // What is kept of the one has its session with it, and so stands in for both.
    let is_cached = |state: &Value| ["plan", "write"].map(|step| state["steps"][step]["cached"].clone());
    let again = state(world, &["run", ".", "--json", "--agent", "claude"]);
    assert_eq!(is_cached(&again), [json!(true), json!(true)], "{again:#}");
    // Another conversation, another result: also where what is asked last is the same.
    let other = state(world, &["run", ".", "--json", "--agent", "claude", "-i", "what=Greek"]);
    assert_eq!(is_cached(&other), [json!(false), json!(false)], "{other:#}");
    let skipped = world.ratchet(["run", ".", "--agent", "claude", "-i", "plans=false"]).expect_code(1);
    assert!(skipped.stdout.contains("RT-0344") && skipped.stdout.contains("it is skipped"), "{}", skipped.stdout);
}

/// Uses a tool, waits at the gate, says something, waits again, and ends.
const SLOW: &str = r#"#!/bin/sh
case "$1" in --version) echo '2.1.330 (Claude Code)'; exit 0;; esac
cat > /dev/null
echo '{"type":"system","subtype":"init","session_id":"s-1"}'
echo '{"type":"assistant","message":{"id":"m1","content":[{"type":"tool_use","name":"Edit","input":{"file_path":"@WORK@/src/deep.rs"}}]}}'
cat "@GATE@" > /dev/null
echo '{"type":"assistant","message":{"id":"m2","content":[{"type":"text","text":"First line.\\nIt is nearly done."}]}}'
cat "@GATE@2" > /dev/null
touch NOTES.md
echo '{"type":"result","is_error":false,"result":"","session_id":"s-1"}'
"#;

#[test]
fn what_an_agent_does_stands_in_its_steps_line() {
    let mut world = World::new();
    // The gates lie where no profile reaches.
    world.variables.push(("RATCHET_CONFINEMENT".to_owned(), "off".to_owned()));
    let (gate, second) = (Gate::new(&world, "gate"), Gate::new(&world, "gate2"));
    world.write("workflow.yaml", WRITING);
    let work = world.work().display().to_string();
    world.add_program("claude", &SLOW.replace("@WORK@", &work).replace("@GATE@", &gate.path().display().to_string()));
    let mut terminal = Terminal::start(&world, &["run", ".", "--in-place"], &[]);
    terminal.shows("> Edit src/deep.rs");
    gate.open();
    terminal.shows("It is nearly done.");
    second.open();
    let (shown, code) = terminal.end();
    assert_eq!(code, Some(0), "{shown}");
    assert!(!shown.contains("First line."), "a line shows one line: {shown:?}");

    // Where there is no terminal, it would drown what is told.
    let run = world.start(["run", ".", "--in-place"]);
    gate.open();
    second.open();
    let told = run.end().expect_code(0).stdout;
    assert!(!told.contains("deep.rs") && !told.contains("nearly"), "{told}");
}

#[test]
fn an_agent_that_is_not_there_is_said_with_what_to_do() {
    let world = World::new();
    world.write("workflow.yaml", WRITING);
    insta::assert_snapshot!("no_agent", call(&world, &["run", "."]));
    insta::assert_snapshot!("no_transcript", call(&world, &["logs", "last", "write", "--transcript"]));
    insta::assert_snapshot!("no_recording", call(&world, &["run", ".", "--agent", "recorded:nowhere"]));
}
