use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use ratchet_core::{
    execution::{DefinitionRef, ExecutionRow, RunOptions, TraceParent},
    few::FewMap,
    graph::{Graph, StepShape},
    history::{Actor, Chain},
    ids::{Epoch, StepKey, StepPath, TokenHash},
    join::NeedOutcome,
    output::{BlobRef, FileValue},
    retry::RetryPolicy,
    step::{StepResult, StepRow, Usage},
    transition::{ExecutionTransition, StepTransition},
    workflow::{
        Action, CachePolicy, InputDeclaration, InputValidation, OnFailure, OnLost, OutputDeclaration, OutputSource,
        Place, Program, Shell, Step, StepInputs, StepOutput, Template,
    },
};

use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("a time")
}

fn text(source: &str) -> Template {
    Template { source: source.to_owned(), uses: ratchet_core::workflow::Uses::default() }
}

fn step(id: &str) -> Step {
    Step {
        id: StepId::new(id),
        name: None,
        description: None,
        place: Place::Work,
        when: None,
        foreach: None,
        environment: FewMap::default(),
        secrets: BTreeMap::new(),
        secret_files: BTreeMap::new(),
        resources: None,
        working_directory: None,
        timeout: None,
        retry: RetryPolicy::ONCE,
        on_lost: OnLost::Rerun,
        on_failure: OnFailure::Fail,
        cache: CachePolicy::default(),
        inputs: StepInputs::Files(Vec::new()),
        outputs: vec![StepOutput {
            name: "report".to_owned(),
            source: OutputSource::File(text("report.xml")),
            description: None,
            artifact: true,
        }],
        action: Action::Shell(Shell {
            source: "true".to_owned(),
            program: Program::Words(vec![text("true")]),
            allow_exit_codes: BTreeSet::new(),
            security_profile: None,
        }),
    }
}

/// Steps as `id: need need`.
fn workflow(lines: &[&str]) -> Workflow {
    let parts: Vec<(&str, Vec<StepId>)> = lines
        .iter()
        .map(|line| line.split_once(':').expect("id: needs"))
        .map(|(id, needs)| (id, needs.split_whitespace().map(StepId::new).collect()))
        .collect();
    let shapes: Vec<StepShape> = parts
        .iter()
        .map(|(id, needs)| StepShape {
            id: StepId::new(*id),
            place: Place::Work,
            needs: Some(needs.clone()),
            handles_failure: false,
        })
        .collect();
    Workflow {
        name: "sample".to_owned(),
        version: "1.0".to_owned(),
        description: None,
        inputs: vec![InputDeclaration {
            name: "key".to_owned(),
            value_type: ValueType::String,
            required: true,
            default: None,
            description: None,
            validation: InputValidation::default(),
            sensitive: true,
        }],
        outputs: vec![OutputDeclaration {
            name: "final".to_owned(),
            value_type: ValueType::Artifact,
            description: None,
            from: None,
        }],
        environment: FewMap::default(),
        secret_environment: BTreeSet::new(),
        triggers: None,
        timeout: None,
        finally_timeout: Duration::from_mins(1),
        concurrency: None,
        budget: None,
        by_hand: None,
        workspace: ratchet_core::workspace::Workspace::default(),
        artifacts: ratchet_core::artifact::ArtifactPolicy::default(),
        steps: parts.iter().map(|(id, _)| step(id)).collect(),
        graph: Graph::new(&shapes).expect("a graph"),
    }
}

fn execution() -> ExecutionRow {
    let id = ExecutionId::new("run");
    let created = Chain::EMPTY.next(
        "run",
        at(0),
        Actor::Person("me".to_owned()),
        "run".to_owned(),
        ExecutionTransition::Created {
            definition: Digest::new("d1"),
            deadline: None,
            group: None,
            parent: None,
            tree: None,
        },
    );
    let mut row = ExecutionRow {
        parent: None,
        id,
        definition: DefinitionRef {
            name: "sample".to_owned(),
            version: "1.0".to_owned(),
            digest: Digest::new("d1"),
            origin: "sample.yaml".to_owned(),
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
        inputs: Outputs::from([("key".to_owned(), Output::Json(json!("hunter2")))]),
        environment: BTreeMap::new(),
        trigger: Value::Null,
        stored_trigger: None,
        options: RunOptions::default(),
        trace: TraceParent("00-0-0-01".to_owned()),
        created_at: at(0),
        updated_at: at(0),
        ended_at: None,
        deadline: None,
        wake_at: None,
        idle_wakes: 0,
        asks: false,
        outputs: Outputs::new(),
        continued: false,
        revision: 1,
        chain: Chain::EMPTY,
        records: Vec::new(),
    };
    row.apply(created);
    row
}

fn claimed() -> StepTransition {
    StepTransition::Claimed { token_hash: TokenHash::new("t"), predecessor: None, execution: None, cache: None }
}

fn succeeded(process_ms: u64) -> StepTransition {
    let report = Output::File(FileValue {
        path: "report.xml".to_owned(),
        content: BlobRef { digest: Digest::new("d2"), size: 7 },
    });
    let result = StepResult {
        outputs: Outputs::from([("report".to_owned(), report)]),
        exit_code: Some(0),
        usage: Usage { start_ms: 100, process_ms, cost_usd: Some(0.25), ..Usage::default() },
        warning: None,
        concludes: false,
        cache: None,
        tree: None,
        session: None,
    };
    StepTransition::Succeeded { result, predecessor: None, successor: None }
}

/// The rows of a step that saw these changes, one a second from `start` on.
fn rows(id: &str, epoch: u32, start: i64, changes: Vec<StepTransition>) -> StepRows {
    let key =
        StepKey { execution: ExecutionId::new("run"), epoch: Epoch(epoch), path: StepPath::step(StepId::new(id)) };
    let mut row: Option<StepRow> = None;
    for (change, second) in changes.into_iter().zip(start..) {
        let chain = row.as_ref().map_or(Chain::EMPTY, |row| row.chain.clone());
        let record = chain.next(&key.to_string(), at(second), Actor::Engine, "test".to_owned(), change);
        match &mut row {
            None => row = Some(StepRow::first(key.clone(), record, NeedOutcome::FINE, None)),
            Some(row) => row.apply(record),
        }
    }
    StepRows { row: row.expect("a change"), attempts: Vec::new(), children_expected: 0, children: None }
}

#[test]
fn a_run_under_way_shows_every_step_in_the_order_of_the_file() {
    let workflow = workflow(&["zeta:", "alpha: zeta", "mid: alpha"]);
    let steps = vec![rows("zeta", 1, 1, vec![claimed(), succeeded(900)]), rows("alpha", 1, 2, vec![claimed()])];
    let view = ExecutionView::new(&workflow, &ExecutionRows::of(execution(), steps));
    let shown = serde_json::to_string(&view).expect("JSON");
    let place = |id: &str| shown.find(&format!("\"{id}\":{{")).expect("the step");
    assert!(place("zeta") < place("alpha") && place("alpha") < place("mid"), "{shown}");
    assert_eq!(view.current_step, Some(StepId::new("alpha")));
    assert_eq!(view.step(&StepId::new("mid")).map(|step| step.status), Some(StepStatus::Pending));
    assert_eq!(view.inputs["key"], json!(MASK), "a sensitive input is masked");
    assert_eq!(view.artifacts.len(), 1);
    assert_eq!(view.updated_at, at(2));
    assert!((view.cost_usd - 0.25).abs() < f64::EPSILON);
}

#[test]
fn the_overhead_follows_the_critical_path() {
    // a (2 s) and b (4 s) side by side, then c (1 s): a does not count.
    let workflow = workflow(&["a:", "b:", "c: a b"]);
    let mut steps = vec![
        rows("a", 1, 1, vec![claimed(), succeeded(2000)]),
        rows("b", 1, 4, vec![claimed(), succeeded(4000)]),
        rows("c", 1, 6, vec![claimed(), succeeded(1000)]),
    ];
    let mut row = execution();
    row.ended_at = Some(at(8));
    let overhead = Overhead::of(&workflow, &ExecutionRows::of(row.clone(), steps.clone()), at(8));
    assert_eq!(overhead, Overhead { wall_ms: 8000, process_ms: 5000, start_ms: 200, engine_ms: 2800 });

    // b fans out: its last lane is child 0, then child 2.
    let child = |index, predecessor, settled| ChildBrief {
        execution: None,
        asks: false,
        cached: false,
        index,
        status: StepStatus::Completed,
        predecessor,
        settled_at: Some(at(settled)),
        spent: Usage { process_ms: 500, start_ms: 10, ..Usage::default() },
    };
    steps[1].children_expected = 4;
    steps[1].children = Some(vec![child(0, None, 3), child(1, None, 4), child(2, Some(0), 5)]);
    let rows = ExecutionRows::of(row, steps);
    let overhead = Overhead::of(&workflow, &rows, at(8));
    assert_eq!((overhead.process_ms, overhead.start_ms), (2000, 120));
    let view = ExecutionView::new(&workflow, &rows);
    let children = view.step(&StepId::new("b")).and_then(|step| step.children.clone()).expect("children");
    assert_eq!(children.count, 4);
    assert_eq!(children.by_status, BTreeMap::from([(StepStatus::Completed, 3), (StepStatus::Pending, 1)]));
}

#[test]
fn a_failure_is_named_with_its_reason() {
    let workflow = workflow(&["a:", "b: a"]);
    let failure = StepFailure::new(FailureClass::Exit(3), "exited with 3").with_detail("no such file");
    let failed = StepTransition::Failed {
        failure,
        continued: false,
        usage: Usage::default(),
        predecessor: None,
        successor: None,
    };
    let steps = vec![rows("a", 1, 1, vec![claimed(), failed]), rows("b", 1, 3, vec![StepTransition::Blocked])];
    let view = ExecutionView::new(&workflow, &ExecutionRows::of(execution(), steps));
    assert_eq!(view.failed_steps, [StepId::new("a")]);
    let error = view.steps[0].1.error.as_ref().expect("an error");
    assert_eq!((error.class, error.message.as_str()), ("exit", "exited with 3"));
    assert_eq!(view.steps[1].1.status, StepStatus::Blocked);
    assert_eq!(view.steps[1].1.started_at, None, "a blocked step never started");
}
