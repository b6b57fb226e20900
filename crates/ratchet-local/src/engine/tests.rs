//! Whole runs on the real ports, with a runner that starts real processes.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::process::ExitStatusExt,
    path::Path,
    process::Stdio,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use async_trait::async_trait;
use jiff::Timestamp;
use ratchet_core::{
    execution::{DefinitionRef, RunOptions, TraceParent},
    history::sha256_hex,
    ids::{Digest, Epoch, StepId, StepKey, StepPath},
    output::{BlobRef, FileValue, Output},
    status::{ExecutionStatus, StepStatus},
    step::{FailureClass, StepFailure, StepResult, Usage},
};
use ratchet_engine::{
    order::{AttemptOutcome, AttemptReport, Order, OutputOrderSource, Work},
    ports::{AttemptPlace, Silent, StopSignal},
};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::{lock::EngineLock, processes::EXECUTION_VARIABLE};

/// Starts each command as a process in the workspace and waits for it; told to stop, it kills it.
#[derive(Default)]
struct PlainRunner {
    started: AtomicUsize,
}

#[async_trait]
impl AttemptRunner for PlainRunner {
    async fn run(&self, order: Order, place: AttemptPlace, mut stop: StopSignal) -> AttemptReport {
        self.started.fetch_add(1, Ordering::SeqCst);
        let Work::Command { argv, values, .. } = &order.work else { panic!("only commands here") };
        let mut command = tokio::process::Command::new(&argv[0]);
        place.files.place(command.as_std_mut(), Path::new("")).unwrap();
        let mut child = command
            .args(&argv[1..])
            .envs(&order.environment)
            .envs(values)
            .env(EXECUTION_VARIABLE, order.key.execution.as_str())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut outcome = tokio::select! {
            status = child.wait() => {
                let status = status.unwrap();
                match status.code().unwrap_or_else(|| 128 + status.signal().unwrap()) {
                    0 => AttemptOutcome::Succeeded(StepResult::default()),
                    code => AttemptOutcome::Failed {
                        failure: StepFailure::new(FailureClass::Exit(code), "it failed"),
                        usage: Usage::default(),
                    },
                }
            }
            () = told(&mut stop) => {
                child.kill().await.unwrap();
                AttemptOutcome::Stopped
            }
        };
        if let AttemptOutcome::Succeeded(result) = &mut outcome {
            for output in &order.outputs {
                let OutputOrderSource::File(path) = &output.source else { panic!("only files here") };
                let content = fs::read(place.files.root().join(path)).unwrap();
                let content = BlobRef { digest: Digest::new(sha256_hex(&content)), size: content.len() as u64 };
                result.outputs.insert(output.name.clone(), Output::File(FileValue { path: path.clone(), content }));
            }
        }
        AttemptReport { key: order.key, attempt: order.attempt, token: order.token, outcome }
    }
}

async fn told(stop: &mut StopSignal) {
    let _ = stop.wait_for(Option::is_some).await;
}

struct World {
    folder: TempDir,
    /// Of its own, since processes are found by it.
    id: ExecutionId,
    runner: Arc<PlainRunner>,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("project")).unwrap();
        fs::write(folder.path().join("project/a"), "one").unwrap();
        Self { folder, id: ExecutionId::new(uuid::Uuid::new_v4().to_string()), runner: Arc::default() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().canonicalize().unwrap().join(name)
    }

    fn project(&self, name: &str) -> String {
        fs::read_to_string(self.path("project").join(name)).unwrap_or_else(|error| error.kind().to_string())
    }

    fn engine(&self) -> LocalEngine {
        LocalEngine::open(LocalConfig {
            cache_bytes_max: CACHE_BYTES_MAX,
            secrets: Arc::new(crate::secrets::LocalSecrets::default()),
            state_dir: self.path("state"),
            runner: self.runner.clone(),
            observer: Arc::new(Silent),
            max_parallel: NonZeroUsize::new(4),
        })
        .unwrap()
    }

    fn request(&self, steps: &str, in_place: bool) -> StartRequest {
        let source = format!("name: test\nversion: \"1\"\n{steps}");
        StartRequest {
            parent: None,
            tree: None,
            execution: self.id.clone(),
            definition: DefinitionRef {
                name: "test".into(),
                version: "1".into(),
                digest: Digest::new(sha256_hex(source.as_bytes())),
                origin: "test.yaml".into(),
            },
            source,
            inputs: BTreeMap::new(),
            environment: BTreeMap::new(),
            trigger: Value::Null,
            options: RunOptions {
                max_parallel: 4,
                place: json!({"workspace": self.path("project"), "in_place": in_place}),
                ..RunOptions::default()
            },
            actor: person(),
            trace: TraceParent(String::new()),
        }
    }

    async fn run(&self, steps: &str) -> (LocalEngine, ExecutionRow) {
        let engine = self.engine();
        assert!(engine.start(self.request(steps, false)).await.unwrap().created);
        let row = engine.drive(&self.id).await.unwrap();
        (engine, row)
    }

    /// Waits until a step has made a file.
    async fn made(&self, name: &str) {
        while !self.path(name).exists() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

fn person() -> Actor {
    Actor::Person("test".into())
}

async fn status_of(engine: &LocalEngine, id: &ExecutionId, step: &str) -> Option<StepStatus> {
    let key = StepKey { execution: id.clone(), epoch: Epoch(1), path: StepPath::step(StepId::new(step)) };
    engine.store().step(&key).await.unwrap().map(|row| row.status())
}

const TWO_STEPS: &str = "
steps:
  - id: first
    type: shell
    command: printf two > a && printf x > report && mkdir __pycache__ && printf x > __pycache__/y
    outputs: {report: ./report}
  - id: second
    type: shell
    command: test \"$(cat a)\" = two && printf new > b
";

#[tokio::test]
async fn a_run_works_in_a_copy_and_its_changes_are_applied() {
    let world = World::new();
    let (engine, row) = world.run(TWO_STEPS).await;
    assert_eq!(row.status, ExecutionStatus::Completed);
    assert_eq!([world.project("a"), world.project("b"), world.project("report")], ["two", "new", "x"]);
    assert!(!world.path("project/__pycache__").exists());
    let Some(Application::Applied { paths, .. }) = engine.application(&row).unwrap() else { panic!() };
    assert_eq!(paths.iter().map(ToString::to_string).collect::<Vec<_>>(), ["a", "b", "report"]);
    assert!(!EngineLock::is_held(engine.state(), &world.id), "the run is given back");
    assert_eq!(engine.drive(&world.id).await.unwrap(), row, "once more it is only told");
    assert!(!engine.start(world.request(TWO_STEPS, false)).await.unwrap().created);
    assert_eq!(world.runner.started.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_failed_run_leaves_the_directory_and_goes_on_when_resumed() {
    let world = World::new();
    let steps = format!(
        "steps:
  - {{id: first, type: shell, command: printf two > a}}
  - {{id: second, type: shell, command: test -e {0}/allowed && printf new > b}}
",
        world.folder.path().display()
    );
    let (engine, row) = world.run(&steps).await;
    assert_eq!((row.status, engine.application(&row).unwrap()), (ExecutionStatus::Failed, None));
    assert_eq!([world.project("a"), world.project("b")], ["one", "entity not found"]);
    fs::write(world.path("allowed"), "").unwrap();
    let again = engine
        .resume(&world.id, ResumeRequest { from: vec![], edit: None, files: None, added_usd: None, actor: person() })
        .await
        .unwrap();
    assert_eq!(again.epoch, Epoch(2));
    assert_eq!(engine.drive(&world.id).await.unwrap().status, ExecutionStatus::Completed);
    assert_eq!([world.project("a"), world.project("b")], ["two", "new"]);
    assert_eq!(world.runner.started.load(Ordering::SeqCst), 3, "the first step did not run again");
}

#[tokio::test]
async fn a_run_in_place_has_no_copy() {
    let world = World::new();
    let engine = world.engine();
    engine.start(world.request(TWO_STEPS, true)).await.unwrap();
    let row = engine.drive(&world.id).await.unwrap();
    assert_eq!((row.status, world.project("b")), (ExecutionStatus::Completed, "new".to_owned()));
    assert_eq!((row.tree, engine.state().source(&world.id).exists()), (None, false));
}

#[tokio::test]
async fn a_file_that_the_user_changed_meanwhile_is_left_alone() {
    let world = World::new();
    let engine = world.engine();
    engine.start(world.request(TWO_STEPS, false)).await.unwrap();
    fs::write(world.path("project/a"), "mine").unwrap();
    let row = engine.drive(&world.id).await.unwrap();
    assert_eq!((row.status, world.project("a")), (ExecutionStatus::Completed, "mine".to_owned()));
    assert!(
        matches!(engine.application(&row).unwrap(), Some(Application::NotApplied { conflicts }) if conflicts.len() == 1)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_runs_are_driven_at_once() {
    let world = World::new();
    let engine = Arc::new(world.engine());
    let wide: Vec<String> =
        (0..20).map(|n| format!("  - {{id: s{n}, type: shell, needs: [], command: [\"true\"]}}\n")).collect();
    let steps = format!("steps:\n{}  - {{id: join, type: shell, command: [\"true\"]}}\n", wide.concat());
    let mut drives = tokio::task::JoinSet::new();
    for number in 0..10 {
        let id = ExecutionId::new(format!("{}-{number}", world.id));
        engine.start(StartRequest { execution: id.clone(), ..world.request(&steps, true) }).await.unwrap();
        let engine = engine.clone();
        drives.spawn(async move { engine.drive(&id).await.unwrap().status });
    }
    assert!(drives.join_all().await.iter().all(|status| *status == ExecutionStatus::Completed));
    assert_eq!(world.runner.started.load(Ordering::SeqCst), 210);
}

const HANGS: &str = "
steps:
  - {id: hangs, type: shell, command: 'touch ../started; exec sleep 600'}
finally:
  - {id: tidy, type: shell, command: touch ../tidied}
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_process_cancels_a_run() {
    let world = World::new();
    let engine = world.engine();
    engine.start(world.request(HANGS, true)).await.unwrap();
    let other = world.engine();
    let cancel = async {
        world.made("started").await;
        let error = other.drive(&world.id).await.unwrap_err();
        assert!(matches!(error, DriveError::Local(LocalError::Driven { .. })), "{error}");
        other.cancel(&world.id, person(), "enough").await.unwrap();
    };
    let (driven, ()) = tokio::join!(engine.drive(&world.id), cancel);
    assert_eq!(driven.unwrap().status, ExecutionStatus::Cancelled);
    assert!(world.path("tidied").exists());
    assert_eq!(status_of(&engine, &world.id, "hangs").await, Some(StepStatus::Cancelled));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_abandoned_run_is_left_at_once_and_can_go_on() {
    let world = World::new();
    let engine = world.engine();
    engine.start(world.request(HANGS, true)).await.unwrap();
    let abandon = async {
        world.made("started").await;
        engine.abandon(&world.id);
    };
    let (driven, ()) = tokio::join!(engine.drive(&world.id), abandon);
    assert_eq!(driven.unwrap().status, ExecutionStatus::Running);
    assert!(!EngineLock::is_held(engine.state(), &world.id));
    assert_eq!(status_of(&engine, &world.id, "hangs").await, Some(StepStatus::Running));
}

/// Lets an engine die while a step runs whose process lives on, and another take the run over.
async fn die_and_take_over(on_lost: &str) -> (World, LocalEngine, ExecutionRow) {
    let world = World::new();
    // The second attempt finds what the first one left behind, and whether its process is still there.
    let script = "if test -e ../started; then ! kill -0 $(cat ../started) 2>/dev/null; else trap '' TERM; echo $$ > ../writing; mv ../writing ../started; while :; do sleep 1; done; fi";
    let steps =
        format!("steps:\n  - {{id: s, type: shell, on_lost: {on_lost}, command: ['bash', '-c', \"{script}\"]}}\n");
    let engine = world.engine();
    engine.start(world.request(&steps, true)).await.unwrap();
    {
        let id = world.id.clone();
        tokio::select! {
            row = engine.drive(&id) => panic!("{row:?}"),
            () = world.made("started") => {}
        }
    }
    // What a kill leaves: the lock free, with the name of an owner that is no more, and the process alive.
    let id = world.id.clone();
    engine.holds().clear();
    let dead = supervise::Supervision::None.owner(&crate::processes::ProcessTable::default());
    let dead = crate::lock::Owner {
        guard: crate::processes::ProcessName { pid: dead.guard.pid, started: dead.guard.started + 1 },
        ..dead
    };
    fs::write(engine.state().lock(&id), serde_json::to_vec(&dead).unwrap()).unwrap();
    let next = world.engine();
    let row = next.drive(&id).await.unwrap();
    drop(engine);
    (world, next, row)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_whose_engine_died_goes_on_and_no_process_of_it_is_left() {
    let (world, engine, row) = die_and_take_over("rerun").await;
    assert_eq!(row.status, ExecutionStatus::Completed);
    assert_eq!(world.runner.started.load(Ordering::SeqCst), 2);
    let key = StepKey { execution: world.id.clone(), epoch: Epoch(1), path: StepPath::step(StepId::new("s")) };
    let step = engine.store().step(&key).await.unwrap().unwrap();
    assert_eq!((step.losses, step.attempt), (1, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_attempt_whose_effect_matters_pauses_the_run() {
    let (world, engine, row) = die_and_take_over("pause").await;
    assert_eq!(row.status, ExecutionStatus::Paused);
    assert_eq!(world.runner.started.load(Ordering::SeqCst), 1);
    assert!(!EngineLock::is_held(engine.state(), &world.id));
    let pid = fs::read_to_string(world.path("started")).unwrap();
    assert!(!Path::new("/proc").join(pid.trim()).exists(), "its process is gone all the same");
}

#[tokio::test]
async fn a_run_that_was_completed_and_not_applied_yet_is_applied() {
    let world = World::new();
    let (engine, row) = world.run(TWO_STEPS).await;
    // As if the engine had died right after the end of the run was recorded.
    fs::remove_file(engine.state().applied(&world.id)).unwrap();
    fs::write(world.path("project/b"), "new").unwrap();
    assert_eq!(world.engine().drive(&world.id).await.unwrap(), row);
    assert!(engine.application(&row).unwrap().is_some());
}

#[tokio::test]
async fn a_run_that_cannot_begin_leaves_nothing() {
    let world = World::new();
    let engine = world.engine();
    fs::rename(world.path("project"), world.path("elsewhere")).unwrap();
    let error = engine.start(world.request(TWO_STEPS, false)).await.unwrap_err();
    assert!(matches!(&error, DriveError::Local(error) if error.code() == "RT-0253"), "{error}");
    assert!(!engine.state().execution(&world.id).exists());
    let error = engine.drive(&ExecutionId::new("none")).await.unwrap_err();
    assert!(matches!(&error, DriveError::Engine(EngineError::NotFound(_))), "{error}");
    assert!(engine.state().execution_ids().unwrap().is_empty(), "asking leaves no folder behind");
}

#[tokio::test]
async fn a_timeout_of_the_run_is_noticed_when_it_passes() {
    let world = World::new();
    let begin = Timestamp::now();
    let steps = HANGS.replace("\nsteps:", "\ntimeout: 1s\nsteps:");
    let (_, row) = world.run(&steps.replace("../", "")).await;
    assert_eq!(row.status, ExecutionStatus::Failed);
    let took = Timestamp::now().duration_since(begin);
    assert!(took.as_secs() < 20, "not only when the next wake-up is due: {took:?}");
}
