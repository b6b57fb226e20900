//! Attempts that wait, break and report, by their steps' names.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
};

use ratchet_core::ids::{Epoch, StepId, StepPath};
use ratchet_core::step::StepResult;
use ratchet_engine::{
    order::{Token, Work},
    ports::{Clock, StopSignal},
};
use ratchet_testkit::builders::order;
use serde_json::json;

use super::*;
use crate::{
    blob_store::LocalBlobStore,
    bus::{LocalBus, Subscription},
    directory::StateDirectory,
};

struct StoppedClock;

impl Clock for StoppedClock {
    fn now(&self) -> jiff::Timestamp {
        jiff::Timestamp::UNIX_EPOCH
    }

    fn entropy(&self) -> [u8; 16] {
        [0; 16]
    }
}

/// Runs by the step's name: `waits` until it is stopped, `breaks` the contract, anything else succeeds at once.
#[derive(Default)]
struct NamedRunner {
    started: AtomicUsize,
}

#[async_trait]
impl AttemptRunner for NamedRunner {
    async fn run(&self, order: Order, place: AttemptPlace, mut stop: StopSignal) -> AttemptReport {
        self.started.fetch_add(1, Ordering::SeqCst);
        assert!(place.directory.is_absolute() && place.files.path() == Path::new("/somewhere"));
        let outcome = match order.key.path.step.as_str() {
            "waits" => {
                stop.wait_for(Option::is_some).await.unwrap();
                AttemptOutcome::Stopped
            }
            "breaks" => panic!("on purpose"),
            _ => AttemptOutcome::Succeeded(StepResult::default()),
        };
        AttemptReport { key: order.key, attempt: order.attempt, token: order.token, outcome }
    }
}

struct Bench {
    launcher: LocalLauncher,
    runner: Arc<NamedRunner>,
    events: Subscription,
    _folder: tempfile::TempDir,
}

fn run_id() -> ExecutionId {
    ExecutionId::new("run")
}

fn key(step: &str) -> StepKey {
    StepKey { execution: run_id(), epoch: Epoch::FIRST, path: StepPath::step(StepId::new(step)) }
}

impl Bench {
    fn new(max_parallel: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDirectory::open(folder.path()).unwrap();
        let bus = LocalBus::new(Arc::new(StoppedClock));
        let events = bus.subscribe(&run_id());
        let runner = Arc::new(NamedRunner::default());
        let blobs = LocalBlobStore::new(state.blobs());
        let launcher = LocalLauncher::new(
            runner.clone(),
            Arc::new(bus),
            Files::new(state, blobs),
            ProcessTable::default(),
            NonZeroUsize::new(max_parallel),
        );
        Self { launcher, runner, events, _folder: folder }
    }

    async fn launch(&self, step: &str) {
        self.launch_in(self.launcher.reserve().await.unwrap(), step).await;
    }

    async fn launch_in(&self, slot: Slot, step: &str) {
        let work = Work::Command { argv: vec![], values: BTreeMap::new(), allow_exit_codes: vec![], profile: None };
        let order = Order { place: json!({"workspace": "/somewhere"}), ..order(key(step), 1, work) };
        self.launcher.launch(slot, order).await.unwrap();
    }

    async fn report(&self) -> AttemptReport {
        match self.events.next().await.event {
            Event::StepFinished(report) => *report,
            other => panic!("{other:?}"),
        }
    }

    async fn state(&self, step: &str) -> TaskState {
        self.launcher.state(&key(step), 1).await.unwrap()
    }
}

#[tokio::test]
async fn an_attempt_runs_once_and_its_report_is_kept_until_it_was_handled() {
    let bench = Bench::new(2);
    bench.launch("quick").await;
    let first = bench.report().await;
    bench.launch("quick").await;
    assert_eq!(bench.runner.started.load(Ordering::SeqCst), 1);

    assert_eq!((bench.launcher.running(&run_id()), bench.launcher.unsettled(&run_id())), (0, 1));
    assert_eq!(bench.state("quick").await, TaskState::Alive);
    assert_eq!(bench.report().await, first, "who asks gets the report again");
    bench.launcher.acknowledge(&key("quick"), 1);
    assert_eq!(bench.launcher.unsettled(&run_id()), 0);
    assert_eq!(bench.state("quick").await, TaskState::Gone);
    assert!(bench.events.try_next().is_none());
    bench.launch("quick").await;
    assert_eq!(bench.runner.started.load(Ordering::SeqCst), 1, "not even then");
}

#[tokio::test]
async fn the_room_of_what_did_well_is_kept_while_others_wait_and_until_its_report_was_handled() {
    let bench = Bench::new(1);
    for is_asked_for in [true, false] {
        let slot = bench.launcher.reserve().await.unwrap();
        let launcher = bench.launcher.clone();
        let waiting = tokio::spawn(async move { launcher.reserve().await.map(drop) });
        while bench.launcher.inner.waiting.load(Ordering::Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
        let step = if is_asked_for { "asked" } else { "quick" };
        bench.launch_in(slot, step).await;
        bench.report().await;
        assert!(!waiting.is_finished());
        if is_asked_for {
            let room = bench.launcher.room_left_by(&key(step), 1).expect("it was kept");
            assert!(bench.launcher.room_left_by(&key(step), 1).is_none(), "there is one");
            drop(room);
        } else {
            bench.launcher.acknowledge(&key(step), 1);
        }
        waiting.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_slot_is_free_when_the_report_is_out() {
    let bench = Bench::new(1);
    for step in ["a", "b", "c"] {
        bench.launch(step).await;
        bench.report().await;
    }
    bench.launch("waits").await;
    let reserved = tokio::time::timeout(Duration::ZERO, bench.launcher.reserve()).await;
    assert!(reserved.is_err(), "one slot, and it is taken");
    assert_eq!((bench.state("waits").await, bench.launcher.running(&run_id())), (TaskState::Alive, 1));
    bench.launcher.stop(&key("waits"), 1).await.unwrap();
    assert_eq!((bench.report().await.outcome, bench.launcher.running(&run_id())), (AttemptOutcome::Stopped, 0));
    bench.launcher.reserve().await.unwrap();
}

#[tokio::test]
async fn a_runner_that_breaks_its_contract_is_a_failed_attempt() {
    let bench = Bench::new(1);
    bench.launch("breaks").await;
    let report = bench.report().await;
    let AttemptOutcome::Failed { failure, .. } = report.outcome else { panic!("{report:?}") };
    assert_eq!(failure.code.as_deref(), Some("RT-0262"));
    assert_eq!(report.token, Token::new([7; 16]));
}

#[tokio::test]
async fn an_attempt_of_an_engine_that_died_is_gone_and_one_of_another_engine_is_alive() {
    let bench = Bench::new(1);
    assert_eq!(bench.state("never").await, TaskState::Gone);
    let table = ProcessTable::default();
    let me = crate::supervise::Supervision::None.owner(&table);
    let held = EngineLock::acquire(bench.launcher.inner.files.state(), &run_id(), &table, &me).unwrap();
    assert_eq!(bench.state("never").await, TaskState::Alive, "another holds the run");
    bench.launcher.stop(&key("never"), 1).await.unwrap_err();
    bench.launcher.adopt(&run_id());
    assert_eq!(bench.state("never").await, TaskState::Gone, "it is ours");
    bench.launcher.stop(&key("never"), 1).await.unwrap();
    drop(held);
}
