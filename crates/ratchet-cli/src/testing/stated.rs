//! Results that a test states: they stand in for processes, and for the words and edits of agents.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::Path,
    sync::{
        Arc, Mutex, OnceLock, PoisonError, Weak,
        atomic::{AtomicU32, Ordering},
    },
};

use async_trait::async_trait;
use ratchet_core::{
    execution::TraceParent,
    ids::StepKey,
    output::Output,
    step::{FailureClass, StepFailure, Usage},
};
use ratchet_definition::coerce::coerce;
use ratchet_engine::{
    order::{AgentOrder, AttemptOutcome, AttemptReport, Order, OutputOrderSource, Work},
    ports::{
        Agent, AgentError, AgentFault, AgentReply, AgentRequest, AttemptPlace, AttemptRunner, Envelope, Event,
        StopSignal,
    },
};
use ratchet_local::engine::LocalEngine;
use ratchet_runner::{
    Runner,
    agent::{Edit, RecordedFailure, RecordedFault, RecordedReply, Recording, Session},
};
use serde_json::Value;

use super::file::{Limit, Stated};

/// Writes files, prints and ends as it is told. All of that comes as arguments.
const STAND_IN: &str = r#"out=$1 code=$2; shift 2
while [ "$#" -gt 0 ]; do mkdir -p -- "$(dirname -- "$1")"; printf %s "$2" >"$1"; shift 2; done
printf %s "$out"; exit "$code""#;

/// Runs attempts as a test states them, and all others as they are.
pub(super) struct StatedRunner {
    inner: Arc<Runner>,
    steps: BTreeMap<String, Stated>,
    engine: OnceLock<Weak<LocalEngine>>,
}

impl StatedRunner {
    /// A runner with these results.
    pub(super) fn new(inner: Arc<Runner>, steps: BTreeMap<String, Stated>) -> Self {
        Self { inner, steps, engine: OnceLock::new() }
    }

    /// Tells it the engine that it runs attempts for: that is who hears that a task is lost.
    pub(super) fn serve(&self, engine: &Arc<LocalEngine>) {
        // A runner serves one engine.
        let _ = self.engine.set(Arc::downgrade(engine));
    }

    async fn lose(&self, key: &StepKey, attempt: u32, trace: TraceParent) {
        let Some(engine) = self.engine.get().and_then(Weak::upgrade) else { return };
        let event = Event::TaskLost { key: key.clone(), attempt };
        let lost = Envelope { execution: key.execution.clone(), trace, event };
        if let Err(error) = engine.engine().handle(lost).await {
            tracing::warn!(%key, %error, "the loss of a task was not heard");
        }
    }
}

#[async_trait]
impl AttemptRunner for StatedRunner {
    async fn run(&self, mut order: Order, place: AttemptPlace, stop: StopSignal) -> AttemptReport {
        let name = order.key.path.step.as_str();
        let Some(stated) = self.steps.get(name).filter(|_| !order.key.execution.is_nested()) else {
            return self.inner.run(order, place, stop).await;
        };
        let (key, attempt, token) = (order.key.clone(), order.attempt, order.token.clone());
        if attempt <= stated.lost {
            self.lose(&key, attempt, order.trace).await;
            // Its word comes too late: the step is at another attempt, or waits for a person.
            return AttemptReport { key, attempt, token, outcome: AttemptOutcome::Stopped };
        }
        if attempt <= stated.lost + stated.fails {
            let outcome = AttemptOutcome::Failed { failure: failure(stated, &order.work), usage: Usage::default() };
            return AttemptReport { key, attempt, token, outcome };
        }
        if let (Work::Agent(asked), Some(passes)) = (&mut order.work, stated.verify) {
            judge(asked, passes);
        }
        if matches!(order.work, Work::Agent(_)) || !stated.stands_for_process() {
            return self.inner.run(order, place, stop).await;
        }
        let mut given = BTreeMap::new();
        order.outputs.retain(|output| {
            let Some(value) = stated.outputs.get(&output.name) else { return true };
            let value_type = match &output.source {
                OutputOrderSource::From { value_type, .. } => Some(*value_type),
                OutputOrderSource::File(_) => None,
            };
            given.insert(output.name.clone(), (value.clone(), value_type));
            false
        });
        for (name, value) in &stated.outputs {
            given.entry(name.clone()).or_insert_with(|| (value.clone(), None));
        }
        order.work = stand_in(stated, &order.work);
        order.working_directory = String::new();
        let mut report = self.inner.run(order, place, stop).await;
        if let AttemptOutcome::Succeeded(result) = &mut report.outcome {
            for (name, (value, value_type)) in given {
                let output = Output::Json(value);
                match value_type.map_or(Ok(output.clone()), |value_type| coerce(value_type, output)) {
                    Ok(output) => drop(result.outputs.insert(name, output)),
                    Err(error) => {
                        let message = format!("the test states an output `{name}` that does not fit: {error}");
                        let failure = StepFailure::new(FailureClass::Output, message);
                        report.outcome = AttemptOutcome::Failed { failure, usage: result.usage };
                        break;
                    }
                }
            }
        }
        report
    }
}

/// Puts a command in the place of the one that judges an agent's work: it says what is stated, once.
fn judge(asked: &mut AgentOrder, passes: bool) {
    if let Some(verify) = &mut asked.verify {
        verify.argv = vec![if passes { "true" } else { "false" }.to_owned()];
        verify.values.clear();
        (verify.profile, verify.max_fix_rounds) = (None, 0);
    }
}

fn failure(stated: &Stated, work: &Work) -> StepFailure {
    let class = match work {
        Work::Agent(_) => FailureClass::AgentError,
        _ => FailureClass::Exit(stated.exit_code.unwrap_or(1)),
    };
    StepFailure::new(class, stated.message.clone().unwrap_or_else(|| "it fails, as the test states".to_owned()))
}

/// A process that does what is stated.
fn stand_in(stated: &Stated, work: &Work) -> Work {
    let code = if stated.fails == 0 { stated.exit_code.unwrap_or(0) } else { 0 };
    let mut argv = ["sh", "-euc", STAND_IN, "stand-in"].map(str::to_owned).to_vec();
    argv.extend([stated.stdout.clone().unwrap_or_default(), code.to_string()]);
    for (path, content) in &stated.write {
        argv.extend([path.to_string_lossy().into_owned(), content.clone()]);
    }
    let allow_exit_codes = match work {
        Work::Command { allow_exit_codes, .. } => allow_exit_codes.clone(),
        Work::Agent(_) | Work::Request(_) | Work::Program(_) => Vec::new(),
    };
    // What stands in is no program of the step's: nothing is kept from it.
    Work::Command { argv, values: BTreeMap::new(), allow_exit_codes, profile: None }
}

/// Writes a recording of what agents say and do in a test: that of a folder, with what is stated in its place. An idle one edits nothing.
pub(super) fn record(
    folder: &Path,
    base: Option<&Path>,
    idle: bool,
    steps: &BTreeMap<String, Stated>,
) -> Result<(), String> {
    let failed = |error: io::Error| format!("its recording cannot be made: {error}");
    let mut recording = match base {
        None => Recording { format: Recording::FORMAT, ..Recording::default() },
        Some(base) => {
            super::files::copy(base, folder).map_err(failed)?;
            Recording::read(base).map_err(|error| error.to_string())?
        }
    };
    if idle {
        recording.sessions.iter_mut().for_each(|session| session.edits.clear());
    }
    for (step, stated) in steps.iter().filter(|(_, stated)| stated.has_agent()) {
        recording.sessions.retain(|session| session.step.split('[').next() != Some(step));
        let mut session = Session {
            step: step.clone(),
            call: 1,
            round: 1,
            prompt_digest: None,
            reply: None,
            failure: None,
            edits: Vec::new(),
            transcript: None,
        };
        match (&stated.reply, stated.limit) {
            (Some(reply), _) => session.reply = Some(said(reply)),
            (None, limit) => {
                let (fault, what) = match limit {
                    Some(Limit::Turns) => (RecordedFault::Limit, "turns"),
                    Some(Limit::Stall) => (RecordedFault::Stalled, "silence"),
                    Some(Limit::Cost) | None => (RecordedFault::Limit, "money"),
                };
                let message = format!("its limit of {what} was reached, as the test states");
                session.failure = Some(RecordedFailure { fault, message, cost_usd: 0.0, tokens: 0, turns: 0 });
            }
        }
        fs::create_dir_all(folder.join("stated").join(step)).map_err(failed)?;
        for (position, (path, content)) in stated.write.iter().enumerate() {
            let file = format!("stated/{step}/{position}");
            fs::write(folder.join(&file), content).map_err(failed)?;
            let path = path.to_string_lossy().into_owned();
            session.edits.push(Edit::Write { path, mode: "644".to_owned(), file });
        }
        recording.sessions.push(session);
    }
    fs::create_dir_all(folder).map_err(failed)?;
    let text = serde_json::to_vec(&recording).map_err(|error| error.to_string())?;
    fs::write(folder.join(Recording::FILE), text).map_err(failed)
}

fn said(reply: &Value) -> RecordedReply {
    let response = reply.as_str().map_or_else(|| reply.to_string(), str::to_owned);
    RecordedReply { response, json: Some(reply.clone()).filter(|reply| !reply.is_string()), ..RecordedReply::default() }
}

/// The agent of a test: it counts what it is asked, and what that costs.
pub(super) struct Cast<A> {
    inner: A,
    /// Whether there is nothing but what is stated.
    is_bare: bool,
    /// The steps whose agent's words are stated.
    stated: BTreeSet<String>,
    calls: AtomicU32,
    cost_usd: Mutex<f64>,
}

impl<A> Cast<A> {
    /// Nothing was asked yet. What is stated of a step is so of each of its children.
    pub(super) fn new(inner: A, is_bare: bool, steps: &BTreeMap<String, Stated>) -> Self {
        let stated = steps.iter().filter(|(_, stated)| stated.has_agent()).map(|(step, _)| step.clone());
        Self { inner, is_bare, stated: stated.collect(), calls: AtomicU32::new(0), cost_usd: Mutex::new(0.0) }
    }

    /// How often it was asked since the last look, and what that cost in US dollars.
    pub(super) fn take(&self) -> (u32, f64) {
        let cost = std::mem::take(&mut *self.cost_usd.lock().unwrap_or_else(PoisonError::into_inner));
        (self.calls.swap(0, Ordering::Relaxed), cost)
    }
}

#[async_trait]
impl<A: Agent> Agent for Cast<A> {
    fn identity(&self) -> String {
        self.inner.identity()
    }

    async fn perform(&self, mut request: AgentRequest, stop: StopSignal) -> Result<AgentReply, AgentError> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        if let Some((step, _)) = request.step.split_once('[')
            && self.stated.contains(step)
        {
            request.step = step.to_owned();
        }
        let step = request.step.clone();
        let mut replied = self.inner.perform(request, stop).await;
        if let Err(error) = &mut replied
            && self.is_bare
            && error.fault == AgentFault::Recording
            && !self.stated.contains(&step)
        {
            error.message = format!("the test has no agent, and states no reply of {step}");
            error.hint = Some("name a recording as its `agent`, or write a `reply` under `steps`".to_owned());
        }
        let spent = replied.as_ref().map_or_else(|error| error.spent.cost_usd, |reply| reply.cost_usd);
        *self.cost_usd.lock().unwrap_or_else(PoisonError::into_inner) += spent;
        replied
    }
}
