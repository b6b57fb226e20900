//! One test: its files are made, its run is driven to its end, and what came of it is compared.

use std::{
    collections::BTreeMap,
    num::NonZeroUsize,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use ratchet_core::{
    execution::{ExecutionRow, RunOptions},
    history::Actor,
    ids::{ExecutionId, StepId, StepKey, StepPath},
    status::StepStatus,
    step::StepState,
    transition::SkipReason,
    workflow::Workflow,
    workspace::Source,
};
use ratchet_definition::{
    files::FileAccess,
    inputs::{GivenInput, resolve},
};
use ratchet_engine::{
    StartRequest,
    ports::{Agent as _, BlobStore, SecretError, Secrets, Silent},
    view::ExecutionRows,
};
use ratchet_local::{
    blob_store::LocalBlobStore,
    directory::StateDirectory,
    engine::{LocalConfig, LocalEngine},
    secrets::LocalSecrets,
    workspace::ConfinedFiles,
};
use ratchet_runner::{Runner, agent::RecordedAgent};
use serde_json::{Value, json};

use super::{
    Problem, expected,
    file::{Agent, Answer, Test},
    files,
    stated::{Cast, StatedRunner, record},
};
use crate::{
    definition::Definition,
    driving,
    state::{Outcome, State},
    telemetry::new_trace,
};

/// Processes of one test that may run at once.
const PARALLEL: NonZeroUsize = NonZeroUsize::new(4).expect("it is not 0");

/// Who answers what a run asks.
const PERSON: &str = "the test";

/// How a test went.
#[derive(Debug)]
pub(crate) struct Told {
    /// Its name.
    pub(crate) name: String,
    /// What is not as it must be; it passed where there is nothing.
    pub(crate) problems: Vec<Problem>,
    /// How long it took.
    pub(crate) took: Duration,
    /// Where the steps of its run stood at the end.
    pub(crate) steps: BTreeMap<StepId, Seen>,
    /// What it would say if it expected all that came of it, where it says nothing of what it expects.
    pub(crate) came: Option<Vec<(&'static str, Value)>>,
    /// Whether the file says from now on what came of it.
    pub(crate) updated: bool,
}

impl Told {
    /// Of a test that did not run yet.
    pub(super) fn of(name: &str) -> Self {
        let name = name.to_owned();
        Self { name, problems: Vec::new(), took: Duration::ZERO, steps: BTreeMap::new(), came: None, updated: false }
    }
}

/// How a step ended in a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Where it stood.
    pub(crate) status: StepStatus,
    /// Whether its own condition was false.
    pub(crate) left_out: bool,
}

/// What came of a run.
pub(super) struct Ended<'a> {
    pub(super) workflow: &'a Workflow,
    pub(super) outcome: Outcome,
    pub(super) rows: ExecutionRows,
    pub(super) files: Arc<dyn FileAccess>,
    pub(super) workspace: &'a Path,
    pub(super) agent_calls: u32,
    pub(super) cost_usd: f64,
}

/// Makes a test in a folder of its own.
pub(crate) async fn run(test: &Test, beside: &Path, definition: &Definition, place: &Path) -> Told {
    let began = Instant::now();
    let mut told = Told::of(&test.name);
    if let Err(reason) = Box::pin(play(test, beside, definition, place, &mut told)).await {
        told.problems.push(Problem::new(reason));
    }
    told.took = began.elapsed();
    told
}

async fn play(
    test: &Test,
    beside: &Path,
    definition: &Definition,
    place: &Path,
    told: &mut Told,
) -> Result<(), String> {
    let words = |error: &dyn std::fmt::Display| error.to_string();
    let workspace = place.join("workspace");
    let recording = place.join("recording");
    let base = match &test.agent {
        Agent::Nobody => None,
        Agent::Recorded(folder) => Some(beside.join(folder)),
        Agent::Idle => Some(beside.join("recording")),
    };
    record(&recording, base.as_deref(), test.agent == Agent::Idle, &test.steps)?;
    let recorded = RecordedAgent::open(&recording).map_err(|error| words(&error))?;
    let agent = Arc::new(Cast::new(recorded, base.is_none(), &test.steps));
    let state = StateDirectory::open(&place.join("state")).map_err(|error| words(&error))?;
    let blobs: Arc<dyn BlobStore> = Arc::new(LocalBlobStore::new(state.blobs()));
    let web = driving::web().map_err(|error| words(&error))?;
    let runner = Runner::new(blobs, agent.clone(), Arc::new(Silent), driving::files_of(state.clone()));
    let confinement = driving::confinement().map_err(|error| words(&error))?;
    let runner = runner.with_secrets(Arc::new(MadeUp(test.secrets.clone()))).with_web(web);
    let runner = Arc::new(runner.with_confinement(confinement));
    let runner = Arc::new(StatedRunner::new(runner, test.steps.clone()));
    let local = Arc::new(
        LocalEngine::open(LocalConfig {
            secrets: Arc::new(LocalSecrets::default()),
            state_dir: state.root().to_owned(),
            runner: runner.clone(),
            observer: Arc::new(Silent),
            max_parallel: Some(PARALLEL),
            cache_bytes_max: u64::MAX,
        })
        .map_err(|error| words(&error))?,
    );
    runner.serve(&local);
    // The files of the test stand for whatever the workflow works on.
    let mut workflow = Workflow::clone(&definition.workflow);
    workflow.workspace.source = Source::Snapshot;
    local.engine().keep_workflow(definition.reference().digest, Arc::new(workflow));
    let state = State::over(state, Arc::clone(local.store()));
    for is_last in if test.again { &[false, true][..] } else { &[true] } {
        let _ = ratchet_local::workspace::remove_tree(&workspace);
        files::prepare(test, beside, &workspace)?;
        let row = drive(&local, &state, test, definition, &agent.identity(), &workspace).await?;
        let (agent_calls, cost_usd) = agent.take();
        let workflow = &*definition.workflow;
        let outcome = state.outcome(&row, workflow).await.map_err(|error| words(&error))?;
        let rows = ExecutionRows::load(&*state.store, &*state.blobs, workflow, &row.id).await;
        let rows = rows.map_err(|error| words(&error))?.ok_or("its execution is gone")?;
        for (id, step) in &outcome.view.steps {
            let row = rows.step(id).map(|rows| &rows.row.state);
            let left_out = matches!(row, Some(StepState::Skipped(SkipReason::WhenFalse)));
            told.steps.insert(id.clone(), Seen { status: step.status, left_out });
        }
        if *is_last {
            let files = Arc::new(ConfinedFiles::new(
                &workspace,
                state.here().map_err(|error| words(&error))?.directory.clone(),
            ));
            let ended = Ended { workflow, outcome, rows, files, workspace: &workspace, agent_calls, cost_usd };
            let expected = test.expect.clone().unwrap_or_default();
            told.problems = expected::compare(&expected, &ended);
            told.came = test.expect.is_none().then(|| expected::all_of(&ended.outcome.view));
        }
    }
    Ok(())
}

/// The secrets that a test makes up.
struct MadeUp(BTreeMap<String, String>);

#[async_trait]
impl Secrets for MadeUp {
    async fn get(&self, name: &str) -> Result<String, SecretError> {
        self.0.get(name).cloned().ok_or_else(|| SecretError::NotFound(name.to_owned()))
    }
}

/// Starts the run and drives it until nothing is left to do or to answer.
async fn drive(
    local: &Arc<LocalEngine>,
    state: &State,
    test: &Test,
    definition: &Definition,
    agent: &str,
    workspace: &Path,
) -> Result<ExecutionRow, String> {
    let words = |error: &dyn std::fmt::Display| error.to_string();
    let given = test.inputs.iter().map(|(name, value)| (name.clone(), GivenInput::Value(value.clone())));
    let inputs = resolve(&definition.workflow, given.collect()).map_err(|mistakes| {
        let mistakes: Vec<String> =
            mistakes.iter().map(|mistake| format!("[{}] {}", mistake.code, mistake.message)).collect();
        format!("its inputs are wrong: {}", mistakes.join("; "))
    })?;
    let request = StartRequest {
        execution: driving::fresh_name(),
        definition: definition.reference(),
        source: definition.text.clone(),
        inputs,
        environment: test.env.clone(),
        trigger: json!({ "type": "manual" }),
        options: RunOptions {
            place: json!({ "workspace": workspace, "in_place": false, "definitions": definition.folder }),
            max_parallel: u32::try_from(PARALLEL.get()).unwrap_or(u32::MAX),
            agent: Some(agent.to_owned()),
            ..RunOptions::default()
        },
        actor: Actor::Person(PERSON.to_owned()),
        trace: new_trace(uuid::Uuid::new_v4().into_bytes(), None),
        parent: None,
        tree: None,
    };
    let id = request.execution.clone();
    local.start(request).await.map_err(|error| words(&error))?;
    loop {
        let row = local.drive(&id).await.map_err(|error| words(&error))?;
        if !answer(local, state, test, definition, &id).await? {
            return Ok(row);
        }
    }
}

/// Says what a person says to the first step that asks and that has an answer in the test. Whether there was one.
async fn answer(
    local: &Arc<LocalEngine>,
    state: &State,
    test: &Test,
    definition: &Definition,
    id: &ExecutionId,
) -> Result<bool, String> {
    let words = |error: &dyn std::fmt::Display| error.to_string();
    let row = state.store.execution(id).await.map_err(|error| words(&error))?;
    let Some(row) = row.filter(|row| !row.status.is_ended()) else { return Ok(false) };
    let outcome = state.outcome(&row, &definition.workflow).await.map_err(|error| words(&error))?;
    for (step, view) in outcome.view.steps.iter().filter(|(_, view)| view.status == StepStatus::Waiting) {
        let Some(stated) = test.steps.get(step.as_str()).filter(|_| view.question.is_some()) else { continue };
        let Some(answered) = stated.answer else { continue };
        let path = StepPath::step(step.clone());
        let key = StepKey { execution: id.clone(), epoch: row.epoch, path };
        let answer = ratchet_core::step::Answer {
            approved: answered == Answer::Approve,
            comment: stated.comment.clone(),
            by: PERSON.to_owned(),
        };
        local.answer(&key, answer, Actor::Person(PERSON.to_owned())).await.map_err(|error| words(&error))?;
        return Ok(true);
    }
    Ok(false)
}
