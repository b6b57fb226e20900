//! Rows as tests need them: valid, chained, and different only where the test says so.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use ratchet_core::{
    artifact::{Artifact, ArtifactName, Maker, Origin, Readers, Retention, media_type},
    execution::{DefinitionRef, ExecutionRow, RunOptions, TraceParent},
    history::{Actor, Chain, Record, sha256_hex},
    ids::{Digest, Epoch, ExecutionId, StepId, StepKey, StepPath, TokenHash},
    join::{JoinKey, JoinKind, NeedOutcome},
    output::{BlobRef, FileValue, Output},
    status::ExecutionStatus,
    step::{AttemptRow, StepFailure, StepResult, StepRow, Usage},
    transition::{ExecutionTransition, StepTransition},
};
use ratchet_definition::evaluate::{ExecutionView, Scope};
use ratchet_engine::{
    masks::Masks,
    order::{Order, TaskSize, Token, Work},
    ports::{Entry, EntryName, Envelope, Event, Expectation, Used, Write},
};
use serde_json::Value;

/// So many seconds after the beginning of 2026.
pub fn time(seconds: i64) -> Timestamp {
    Timestamp::constant(1_767_225_600, 0).saturating_add(SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MAX)
}

/// The trace that built rows belong to.
pub fn trace() -> TraceParent {
    TraceParent("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned())
}

/// An order to do something, with nothing declared and no time limit.
pub fn order(key: StepKey, attempt: u32, work: Work) -> Order {
    let execution = ExecutionView {
        id: key.execution.clone(),
        workflow: "sample".to_owned(),
        version: "1".to_owned(),
        started_at: time(0),
    };
    Order {
        attempt,
        token: Token::new([7; 16]),
        trace: trace(),
        work,
        tree: None,
        environment: BTreeMap::new(),
        secrets: BTreeMap::new(),
        secret_files: BTreeMap::new(),
        working_directory: String::new(),
        disk_bytes_max: None,
        timeout: None,
        outputs: Vec::new(),
        scope: Scope::of_run(execution),
        inputs: Vec::new(),
        captured: Vec::new(),
        size: TaskSize::default(),
        idempotency_key: key.to_string(),
        masks: Masks::default(),
        place: Value::Null,
        way: key.path.to_string(),
        key,
    }
}

/// A run that was just created, at revision 1.
pub fn execution_row(id: &str) -> ExecutionRow {
    let digest = Digest::new(sha256_hex(b"steps: []"));
    let mut row = ExecutionRow {
        parent: None,
        id: ExecutionId::new(id),
        definition: DefinitionRef {
            name: "example".to_owned(),
            version: "1".to_owned(),
            digest: digest.clone(),
            origin: "example/workflow.yaml".to_owned(),
        },
        epoch: Epoch::FIRST,
        status: ExecutionStatus::Running,
        endings: Vec::new(),
        in_finally: false,
        tree: None,
        left: None,
        turn: None,
        failure: None,
        pause_reason: None,
        inputs: BTreeMap::new(),
        environment: BTreeMap::new(),
        trigger: Value::Null,
        stored_trigger: None,
        options: RunOptions { max_parallel: 4, ..RunOptions::default() },
        trace: trace(),
        created_at: time(0),
        updated_at: time(0),
        ended_at: None,
        deadline: None,
        wake_at: Some(time(120)),
        idle_wakes: 0,
        asks: false,
        outputs: BTreeMap::new(),
        continued: false,
        revision: 1,
        chain: Chain::EMPTY,
        records: Vec::new(),
    };
    let created =
        ExecutionTransition::Created { definition: digest, deadline: None, group: None, parent: None, tree: None };
    row.apply(row.chain.next(row.id.as_str(), time(0), Actor::Engine, "start".to_owned(), created));
    row
}

/// The run after one more change, one revision on.
pub fn changed_execution(row: &ExecutionRow, transition: ExecutionTransition) -> ExecutionRow {
    let mut row = row.clone();
    row.revision += 1;
    let at = row.updated_at.saturating_add(SignedDuration::from_secs(1)).unwrap_or(Timestamp::MAX);
    row.apply(row.chain.next(row.id.as_str(), at, Actor::Engine, "test".to_owned(), transition));
    row
}

/// The run after it ended, one revision on.
pub fn ended_execution(row: &ExecutionRow, status: ExecutionStatus) -> ExecutionRow {
    let outputs = BTreeMap::new();
    changed_execution(row, ExecutionTransition::Ended { status, outputs, continued: false, failure: None, tree: None })
}

/// The name of an artifact of the workflow `example`.
pub fn artifact_name(name: &str) -> ArtifactName {
    ArtifactName { workflow: "example".to_owned(), name: name.to_owned() }
}

/// A file with this content, as a step or, without one, a run made it.
pub fn artifact(name: &str, execution: &str, epoch: u32, step: Option<StepPath>, content: &str) -> Artifact {
    let (content, size) = (Digest::new(sha256_hex(content.as_bytes())), content.len() as u64);
    let file = FileValue { path: format!("out/{name}.xml"), content: BlobRef { digest: content, size } };
    let maker = Maker {
        execution: ExecutionId::new(execution),
        epoch: Epoch(epoch),
        step,
        definition: Digest::new(sha256_hex(b"steps: []")),
        cache_key: None,
    };
    Artifact {
        name: artifact_name(name),
        media_type: media_type(&file.path).to_owned(),
        file,
        origin: Origin::Run(maker),
        retention: Retention::default(),
        readers: Readers::default(),
        made_at: time(1),
    }
}

/// The key of a step.
pub fn step_key(execution: &str, epoch: u32, step: &str) -> StepKey {
    let path = StepPath::step(StepId::new(step));
    StepKey { execution: ExecutionId::new(execution), epoch: Epoch(epoch), path }
}

/// The key of a child of a fan-out.
pub fn child_key(execution: &str, epoch: u32, step: &str, child: u32) -> StepKey {
    let path = StepPath::child(StepId::new(step), child);
    StepKey { execution: ExecutionId::new(execution), epoch: Epoch(epoch), path }
}

/// The key of a bucket of the join of a step's needs.
pub fn join_key(execution: &str, epoch: u32, step: &str, level: u8, bucket: u32) -> JoinKey {
    JoinKey {
        execution: ExecutionId::new(execution),
        epoch: Epoch(epoch),
        step: StepId::new(step),
        kind: JoinKind::Needs,
        level,
        bucket,
    }
}

/// The hash of a token that a test knows by a word.
pub fn token_hash(word: &str) -> TokenHash {
    TokenHash::new(sha256_hex(word.as_bytes()))
}

/// A step whose first attempt was claimed with a token known by this word, at revision 1.
pub fn claimed_step(key: StepKey, token: &str) -> StepRow {
    let claimed =
        StepTransition::Claimed { token_hash: token_hash(token), predecessor: None, execution: None, cache: None };
    let record = Chain::EMPTY.next(&key.to_string(), time(1), Actor::Engine, "step ready".to_owned(), claimed);
    StepRow::first(key, record, NeedOutcome::FINE, None)
}

/// A step whose first attempt was claimed, at revision 1.
pub fn step_row(key: StepKey) -> StepRow {
    claimed_step(key, "token")
}

/// The step after one more change, one revision on.
pub fn changed_step(row: &StepRow, transition: StepTransition) -> StepRow {
    let mut row = row.clone();
    let at = time(i64::try_from(row.revision()).unwrap_or(i64::MAX).saturating_add(1));
    row.apply(row.chain.next(&row.key.to_string(), at, Actor::Runner, "test".to_owned(), transition));
    row
}

/// The step after its attempt succeeded with these outputs, one revision on.
pub fn succeeded_step(row: &StepRow, outputs: BTreeMap<String, Value>) -> StepRow {
    let outputs = outputs.into_iter().map(|(name, value)| (name, Output::Json(value))).collect();
    step_with_result(row, StepResult { outputs, exit_code: Some(0), ..StepResult::default() })
}

/// The step after its attempt succeeded with this result, one revision on.
pub fn step_with_result(row: &StepRow, result: StepResult) -> StepRow {
    changed_step(row, StepTransition::Succeeded { result, predecessor: None, successor: None })
}

/// The step after its last attempt failed, one revision on.
pub fn failed_step(row: &StepRow, failure: StepFailure) -> StepRow {
    let usage = Usage::default();
    changed_step(row, StepTransition::Failed { failure, continued: false, usage, predecessor: None, successor: None })
}

/// The item of an earlier attempt, with this many records.
pub fn attempt_row(key: StepKey, attempt: u32, records: usize) -> AttemptRow {
    let mut chain = Chain::EMPTY;
    let records = (0..records).map(|_| {
        let record = chain.next(&key.to_string(), time(1), Actor::Engine, "test".to_owned(), StepTransition::Blocked);
        chain = Chain { length: record.number, head: record.hash.clone() };
        record
    });
    let records: Vec<Record<StepTransition>> = records.collect();
    AttemptRow { key, attempt, records }
}

/// An event about a run.
pub fn envelope(execution: &str, event: Event) -> Envelope {
    Envelope { execution: ExecutionId::new(execution), trace: trace(), event }
}

/// The event that a step of the first epoch is ready, nothing having gone wrong above it.
pub fn step_ready(path: StepPath) -> Event {
    Event::StepReady { epoch: Epoch::FIRST, path, needs: NeedOutcome::FINE, predecessor: None }
}

/// The write that puts an execution's row where there is none.
pub fn put_execution(row: &ExecutionRow) -> Write {
    Write::Execution { row: Box::new(row.clone()), expect: Expectation::Absent }
}

/// The write that replaces an execution's row at a revision.
pub fn replace_execution(row: &ExecutionRow, revision: u64) -> Write {
    Write::Execution { row: Box::new(row.clone()), expect: Expectation::Revision(revision) }
}

/// The write that puts a step's row where there is none.
pub fn put_step(row: &StepRow) -> Write {
    Write::Step { row: Box::new(row.clone()), expect: Expectation::Absent }
}

/// The write that replaces a step's row at a revision.
pub fn replace_step(row: &StepRow, revision: u64) -> Write {
    Write::Step { row: Box::new(row.clone()), expect: Expectation::Revision(revision) }
}

/// What the step `s` of a run of `w` made under a key: 100 bytes, in 2 seconds, for a quarter of a dollar.
pub fn kept_result(key: &str, run: &str, output: Output) -> Entry {
    Entry {
        name: EntryName { scope: "w".to_owned(), key: Digest::new(sha256_hex(key.as_bytes())) },
        workflow: "w".to_owned(),
        version: Some("1".to_owned()),
        made_by: step_key(run, 1, "s"),
        outputs: [("big".to_owned(), output)].into(),
        exit_code: Some(0),
        warning: None,
        tree: Some(Digest::new(sha256_hex(b"tree"))),
        session: None,
        usage: Usage { process_ms: 2000, cost_usd: Some(0.25), ..Usage::default() },
        bytes: 100,
        created_at: time(1),
        expires_at: None,
        unproven: true,
    }
}

/// That a result was made.
pub fn use_of(entry: &Entry) -> Used {
    Used {
        step: entry.made_by.clone(),
        workflow: entry.workflow.clone(),
        name: entry.name.clone(),
        at: entry.created_at,
        hit: false,
        usage: entry.usage,
    }
}
