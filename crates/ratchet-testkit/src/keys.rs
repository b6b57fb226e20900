//! What the key of a step's result is made of, seen from outside: a workflow is started, and the claim of its step says the key.

use std::{collections::BTreeMap, fmt::Write as _, sync::Arc};

use async_trait::async_trait;
use proptest::prelude::*;
use ratchet_core::{
    execution::{DefinitionRef, RunOptions},
    history::{Actor, sha256_hex},
    ids::{Digest, ExecutionId, StepId},
    output::Output,
};
use ratchet_engine::{
    Engine, Ports, StartRequest,
    order::Order,
    ports::{Envelope, Event, LaunchError, Silent, Slot, StateStore, TaskLauncher, TaskState},
};
use serde_json::{Value, json};

use crate::{
    builders::{time, trace},
    memory::{ManualClock, MemoryBlobStore, MemoryEventBus, MemoryStateStore, MemoryStepCache, MemoryWorkspaces},
};

/// Takes every task and runs none.
struct Idle;

#[async_trait]
impl TaskLauncher for Idle {
    async fn reserve(&self) -> Result<Slot, LaunchError> {
        Ok(Slot::unlimited())
    }

    async fn launch(&self, _slot: Slot, _order: Order) -> Result<(), LaunchError> {
        Ok(())
    }

    async fn state(&self, _key: &ratchet_core::ids::StepKey, _attempt: u32) -> Result<TaskState, LaunchError> {
        Ok(TaskState::Alive)
    }

    async fn stop(&self, _key: &ratchet_core::ids::StepKey, _attempt: u32) -> Result<(), LaunchError> {
        Ok(())
    }
}

/// A run of a workflow with one step `s`.
struct Case {
    source: String,
    files: Vec<(&'static str, &'static str)>,
    input: &'static str,
    agent: &'static str,
    /// What no key may depend on.
    run: &'static str,
}

impl Case {
    fn key(&self) -> Option<Digest> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(self.claimed())
    }

    async fn claimed(&self) -> Option<Digest> {
        let blobs = Arc::new(MemoryBlobStore::default());
        let workspaces = Arc::new(MemoryWorkspaces::new(blobs.clone()));
        let tree = self
            .files
            .iter()
            .fold(workspaces.empty_tree(), |tree, (path, content)| workspaces.leave(&tree, [(path, content)]));
        let store = Arc::new(MemoryStateStore::default());
        let engine = Engine::new(Ports {
            store: store.clone(),
            blobs,
            bus: Arc::new(MemoryEventBus::default()),
            launcher: Arc::new(Idle),
            clock: Arc::new(ManualClock::new(time(0), 1)),
            workspaces,
            step_cache: Arc::new(MemoryStepCache::default()),
            observer: Arc::new(Silent),
        });
        let execution = ExecutionId::new(self.run);
        let request = StartRequest {
            execution: execution.clone(),
            definition: DefinitionRef {
                name: "w".to_owned(),
                version: "1".to_owned(),
                digest: Digest::new(sha256_hex(self.source.as_bytes())),
                origin: format!("/{}/w.yaml", self.run),
            },
            source: self.source.clone(),
            inputs: BTreeMap::from([("n".to_owned(), Output::Json(json!(self.input)))]),
            environment: BTreeMap::new(),
            trigger: Value::Null,
            options: RunOptions {
                max_parallel: 1,
                agent: Some(self.agent.to_owned()),
                place: json!({ "workspace": format!("/{}", self.run) }),
                ..RunOptions::default()
            },
            actor: Actor::Person(self.run.to_owned()),
            trace: trace(),
            parent: None,
            tree: Some(tree),
        };
        let started = engine.start(request).await.unwrap_or_else(|error| panic!("{error}\n{}", self.source));
        let event = Envelope { execution: execution.clone(), trace: trace(), event: Event::ExecutionChanged };
        engine.handle(event).await.expect("nothing is in the way");
        let rows =
            store.newest_steps(&execution, started.row.epoch, &[StepId::new("s")]).await.expect("the store answers");
        let row = rows.into_iter().flatten().next().expect("it was claimed");
        row.cache.map(|cache| cache.key)
    }
}

/// A part of a step: as it is at first, and otherwise.
type Part = (&'static str, &'static str);

/// Of a step that says how it is cached.
const COUNTED: [Part; 12] = [
    ("command: echo {{ inputs.n }}", "command: echo ' {{ inputs.n }}'"),
    ("shell: bash", "shell: sh"),
    ("environment: {A: '1', B: x}", "environment: {A: '2', B: x}"),
    ("secrets: [T]", "secrets: [U]"),
    ("working_directory: .", "working_directory: src"),
    ("outputs: {o: {type: string, from: stdout}}", "outputs: {o: {type: number, from: stdout}}"),
    ("allow_exit_codes: [3]", "allow_exit_codes: [3, 4]"),
    ("cache_key: 'k{{ inputs.n }}'", "cache_key: 'l{{ inputs.n }}'"),
    ("cache: {version: '1'}", "cache: {version: '2'}"),
    ("inputs: [src/a.py]", "inputs: ['src/*.py']"),
    ("inputs: n1", "inputs: n2"),
    ("file src/a.py: one", "file src/a.py: two"),
];

const UNCOUNTED: [Part; 8] = [
    ("name: a name", "name: another"),
    ("description: some words", "description: other words"),
    ("when: inputs.n != 'never'", "when: inputs.n != 'nowhere'"),
    ("timeout: 10s", "timeout: 20s"),
    ("retry: {attempts: 2}", "retry: {attempts: 3}"),
    ("resources: {cpu: 1}", "resources: {cpu: 2}"),
    ("file other.txt: one", "file other.txt: two"),
    ("run first", "run second"),
];

const IMAGE: Part = ("resources: {image: one}", "resources: {image: two}");

const OF_AGENTS: [Part; 9] = [
    ("prompt: work on {{ inputs.n }}", "prompt: work well on {{ inputs.n }}"),
    ("append_system_prompt: be kind", "append_system_prompt: be quick"),
    ("model: small", "model: large"),
    ("security_profile: restricted", "security_profile: standard"),
    ("allowed_tools: [Read]", "allowed_tools: [Read, Grep]"),
    ("output_schema: {type: object}", "output_schema: {type: array}"),
    ("verify: test {{ inputs.n }}", "verify: test -n {{ inputs.n }}"),
    ("agent claude-code", "agent recorded:ab"),
    ("file any/where.txt: one", "file any/where.txt: two"),
];

/// How long and how dear an agent may be decides whether there is a result, not what it is.
const LIMITS_OF_AGENTS: [&str; 5] =
    ["max_turns: 3", "max_cost_usd: 1", "stall_timeout: 1m", "max_fix_rounds: 7", "on_limit: pause"];

fn case(kind: &str, parts: &[&'static str]) -> Case {
    let mut case = Case { source: String::new(), files: Vec::new(), input: "n1", agent: "claude-code", run: "first" };
    let mut lines = format!("  - id: s\n    type: {kind}\n");
    for part in parts {
        if let Some((path, content)) = part.strip_prefix("file ").and_then(|file| file.split_once(": ")) {
            case.files.push((path, content));
        } else if let Some(input) = part.strip_prefix("inputs: n") {
            case.input = if input == "1" { "n1" } else { "n2" };
        } else if let Some(agent) = part.strip_prefix("agent ") {
            case.agent = agent;
        } else if let Some(run) = part.strip_prefix("run ") {
            case.run = run;
        } else {
            let _ = writeln!(lines, "    {part}");
        }
    }
    let head = "name: w\nversion: '1'\nsecrets: [T, U]\ninputs: {n: {type: string, default: x}}\n";
    case.source = format!("{head}steps:\n{lines}");
    case
}

/// Of each part the first form, or the second where its bit is set.
fn chosen(parts: &[Part], bits: u32) -> Vec<&'static str> {
    (0..).zip(parts).map(|(bit, (one, other))| if bits & (1 << bit) == 0 { *one } else { *other }).collect()
}

fn shell(counted: u32, uncounted: u32) -> Digest {
    let parts = [chosen(&COUNTED, counted), chosen(&UNCOUNTED, uncounted)].concat();
    case("shell", &parts).key().expect("it has a key")
}

fn agent(bits: u32) -> Digest {
    case("claude_code", &[vec!["use_cache: true"], chosen(&OF_AGENTS, bits)].concat()).key().expect("it has a key")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn keys_are_the_same_where_all_that_counts_is(
        (one, other) in (0_u32..1 << COUNTED.len(), 0_u32..1 << COUNTED.len()),
        (here, there) in (0_u32..1 << UNCOUNTED.len(), 0_u32..1 << UNCOUNTED.len()),
    ) {
        prop_assert_eq!(shell(one, here), shell(one, there));
        prop_assert_eq!(shell(one, here) == shell(other, there), one == other);
    }
}

#[test]
fn each_part_that_counts_changes_the_key() {
    let (plain, asked) = (shell(0, 0), agent(0));
    for (bit, part) in COUNTED.iter().enumerate() {
        assert_ne!(shell(1 << bit, 0), plain, "{part:?}");
    }
    for (bit, part) in UNCOUNTED.iter().enumerate() {
        assert_eq!(shell(0, 1 << bit), plain, "{part:?}");
    }
    for (bit, part) in OF_AGENTS.iter().enumerate() {
        assert_ne!(agent(1 << bit), asked, "{part:?}");
    }
    let limited = [vec!["use_cache: true"], chosen(&OF_AGENTS, 0), LIMITS_OF_AGENTS.to_vec()].concat();
    assert_eq!(case("claude_code", &limited).key(), Some(asked.clone()));
    assert_eq!((shell(0, 0), agent(0)), (plain, asked), "and nothing else does");
    let image = |image| case("shell", &["command: echo", "use_cache: true", image]).key();
    assert_ne!(image(IMAGE.0), image(IMAGE.1));
}

#[test]
fn without_a_key_and_inputs_every_file_counts() {
    let key = |files: &[&'static str]| case("shell", &[&["command: echo", "use_cache: true"], files].concat()).key();
    let all = key(&["file a: 1", "file deep/b: 2"]);
    assert!(all.is_some());
    assert_eq!(key(&["file deep/b: 2", "file a: 1"]), all);
    for other in [&["file a: 1"][..], &["file a: 1", "file deep/b: 3"], &["file a: 1", "file deep/b: 2", "file c: 3"]] {
        assert_ne!(key(other), all, "{other:?}");
    }
    assert_eq!(case("shell", &["command: echo"]).key(), None, "who does not ask for it has no key");
}
