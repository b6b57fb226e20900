use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use jiff::Timestamp;
use ratchet_core::{ids::StepKey, step::StepResult};
use ratchet_engine::{
    order::{AttemptOutcome, AttemptReport, Order, Token, Work},
    ports::{
        AttemptPlace, AttemptRunner, BusError, Envelope, Event, EventBus, Stop, StopSignal, TaskLauncher, TaskState,
    },
};
use serde_json::Value;
use tokio::{
    sync::{Mutex, mpsc, watch},
    time::timeout,
};

use crate::builders::{order, step_key, trace};

/// The run that all attempts of [`task_launcher`] belong to.
pub const LAUNCHER_EXECUTION: &str = "run";

/// A launcher under test.
pub struct Launching<L> {
    /// The launcher. It has no task yet.
    pub launcher: L,
    /// The place that its orders name.
    pub place: Value,
    /// Whether it has room for exactly two tasks. Otherwise it has room for as many as there are.
    pub counts_room: bool,
}

/// The contract of [`TaskLauncher`]. `make` gives a launcher that runs attempts with this runner and publishes on this bus. Runs in a Tokio runtime with its
/// timer on.
pub async fn task_launcher<L: TaskLauncher>(
    make: impl AsyncFn(Arc<dyn AttemptRunner>, Arc<dyn EventBus>) -> Launching<L>,
) {
    an_attempt_reports_its_end(Case::new(&make).await).await;
    an_attempt_starts_at_most_once(Case::new(&make).await).await;
    a_stopped_attempt_has_ended(Case::new(&make).await).await;
    what_never_was_launched_is_gone_and_stays_so(Case::new(&make).await).await;
    let case = Case::new(&make).await;
    if case.counts_room {
        there_is_room_for_so_many(case).await;
    }
}

struct Case<L> {
    launcher: L,
    place: Value,
    counts_room: bool,
    runner: Arc<ScriptedRunner>,
    reports: Mutex<mpsc::UnboundedReceiver<Envelope>>,
}

async fn an_attempt_reports_its_end<L: TaskLauncher>(case: Case<L>) {
    for attempt in 1..=3 {
        let key = step_key(LAUNCHER_EXECUTION, 1, "build");
        case.launch(&key, attempt, "end").await;
        let (envelope, report) = case.report().await;
        assert_eq!((envelope.execution, envelope.trace), (key.execution.clone(), trace()));
        assert_eq!((&report.key, report.attempt, report.token), (&key, attempt, token(attempt)));
        assert_eq!(report.outcome, AttemptOutcome::Succeeded(StepResult::default()));
    }
}

async fn an_attempt_starts_at_most_once<L: TaskLauncher>(case: Case<L>) {
    let key = step_key(LAUNCHER_EXECUTION, 1, "build");
    case.launch(&key, 1, "wait").await;
    case.launch(&key, 1, "wait").await;
    case.runner.wait_until_running(1).await;
    assert_eq!(case.state(&key, 1).await, TaskState::Alive);
    case.launcher.stop(&key, 1).await.expect("it can be stopped");
    case.report().await;
    case.launch(&key, 1, "wait").await;
    case.launch(&key, 2, "end").await;
    while case.report().await.1.attempt != 2 {}
    assert_eq!(case.runner.started.load(Ordering::SeqCst), 2, "each of the two attempts once");
}

async fn a_stopped_attempt_has_ended<L: TaskLauncher>(case: Case<L>) {
    let keys = ["build", "check"].map(|step| step_key(LAUNCHER_EXECUTION, 1, step));
    for key in &keys {
        case.launch(key, 1, "wait").await;
    }
    case.runner.wait_until_running(2).await;
    case.launcher.stop(&keys[0], 1).await.expect("it can be stopped");
    assert_eq!(*case.runner.running.borrow(), 1, "it has ended when the call returns, and the other runs on");
    let (_, report) = case.report().await;
    assert_eq!((report.key, report.outcome), (keys[0].clone(), AttemptOutcome::Stopped));
    assert_eq!(case.state(&keys[1], 1).await, TaskState::Alive);
    for key in &keys {
        case.launcher.stop(key, 1).await.expect("what has ended can be stopped again");
    }
    assert_eq!(*case.runner.running.borrow(), 0);
}

async fn what_never_was_launched_is_gone_and_stays_so<L: TaskLauncher>(case: Case<L>) {
    let keys = ["never", "stopped", "other"].map(|step| step_key(LAUNCHER_EXECUTION, 1, step));
    let mut asked = 0;
    // It may be about to be launched, for as long as its handler has.
    while case.state(&keys[0], 1).await != TaskState::Gone {
        asked += 1;
        assert!(asked < 100, "it is waited for as if it were there");
    }
    case.launcher.stop(&keys[1], 1).await.expect("there is nothing to stop");
    for key in &keys {
        // The handlers that claimed them come late.
        case.launch(key, 1, "end").await;
    }
    assert_eq!(case.report().await.1.key, keys[2]);
    assert_eq!(case.runner.started.load(Ordering::SeqCst), 1, "what is gone starts no more");
}

async fn there_is_room_for_so_many<L: TaskLauncher>(case: Case<L>) {
    let key = step_key(LAUNCHER_EXECUTION, 1, "build");
    let first = case.launcher.reserve().await.expect("there is room");
    case.launch(&key, 1, "wait").await;
    let mut third = Box::pin(case.launcher.reserve());
    assert!(timeout(Duration::from_millis(30), &mut third).await.is_err(), "two slots are all");
    drop(first);
    let third = timeout(PATIENCE, third).await.expect("a slot that was given back can be had").expect("there is room");
    let mut fourth = Box::pin(case.launcher.reserve());
    assert!(timeout(Duration::from_millis(30), &mut fourth).await.is_err(), "an attempt keeps its slot while it runs");
    case.launcher.stop(&key, 1).await.expect("it can be stopped");
    timeout(PATIENCE, fourth).await.expect("an attempt that has ended gives its slot back").expect("there is room");
    drop(third);
}

/// How long the suite waits for what must come.
const PATIENCE: Duration = Duration::from_secs(20);

impl<L: TaskLauncher> Case<L> {
    async fn new(make: &impl AsyncFn(Arc<dyn AttemptRunner>, Arc<dyn EventBus>) -> Launching<L>) -> Self {
        let (sender, reports) = mpsc::unbounded_channel();
        let runner = Arc::new(ScriptedRunner { started: AtomicUsize::new(0), running: watch::Sender::new(0) });
        let Launching { launcher, place, counts_room } = make(runner.clone(), Arc::new(ChannelBus(sender))).await;
        Self { launcher, place, counts_room, runner, reports: Mutex::new(reports) }
    }

    async fn launch(&self, key: &StepKey, attempt: u32, word: &str) {
        let slot = self.launcher.reserve().await.expect("there is room");
        let work = Work::Command {
            argv: vec![word.to_owned()],
            values: BTreeMap::new(),
            allow_exit_codes: vec![],
            profile: None,
        };
        let order = order(key.clone(), attempt, work);
        let order = Order { token: token(attempt), place: self.place.clone(), ..order };
        self.launcher.launch(slot, order).await.expect("it can be launched");
    }

    async fn state(&self, key: &StepKey, attempt: u32) -> TaskState {
        self.launcher.state(key, attempt).await.expect("the launcher answers")
    }

    async fn report(&self) -> (Envelope, AttemptReport) {
        let mut reports = self.reports.lock().await;
        let envelope =
            timeout(PATIENCE, reports.recv()).await.expect("an attempt that ended reports").expect("the bus is there");
        match envelope.event.clone() {
            Event::StepFinished(report) => (envelope, *report),
            other => panic!("an attempt that ended reports, and does not say {other:?}"),
        }
    }
}

fn token(attempt: u32) -> Token {
    Token::new(std::array::from_fn(|n| u8::try_from(attempt).unwrap_or(0) + u8::try_from(n).unwrap_or(0)))
}

/// Runs an attempt as the first word of its command says: `end` at once, `wait` until it is told to stop.
struct ScriptedRunner {
    started: AtomicUsize,
    running: watch::Sender<usize>,
}

impl ScriptedRunner {
    async fn wait_until_running(&self, count: usize) {
        let mut running = self.running.subscribe();
        let reached = timeout(PATIENCE, running.wait_for(|running| *running == count)).await;
        reached.expect("what was launched starts").expect("the runner is there");
    }
}

#[async_trait]
impl AttemptRunner for ScriptedRunner {
    async fn run(&self, order: Order, _place: AttemptPlace, mut stop: StopSignal) -> AttemptReport {
        self.started.fetch_add(1, Ordering::SeqCst);
        self.running.send_modify(|running| *running += 1);
        let waits = matches!(&order.work, Work::Command { argv, .. } if argv == &["wait"]);
        let outcome = if waits {
            // A launcher that is gone tells nobody to stop; then nobody waits for the report either.
            let _ = stop.wait_for(Option::<Stop>::is_some).await;
            AttemptOutcome::Stopped
        } else {
            AttemptOutcome::Succeeded(StepResult::default())
        };
        self.running.send_modify(|running| *running -= 1);
        AttemptReport { key: order.key, attempt: order.attempt, token: order.token, outcome }
    }
}

/// Hands events to the suite as they come.
struct ChannelBus(mpsc::UnboundedSender<Envelope>);

#[async_trait]
impl EventBus for ChannelBus {
    async fn publish(&self, envelope: Envelope) -> Result<(), BusError> {
        self.0.send(envelope).map_err(|_| BusError::Unavailable("the suite is over".to_owned()))
    }

    async fn publish_at(&self, envelope: Envelope, _at: Timestamp) -> Result<(), BusError> {
        self.publish(envelope).await
    }
}
