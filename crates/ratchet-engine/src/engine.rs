//! The engine: its ports, and the door to its handlers.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use ratchet_core::{
    execution::{DefinitionRef, ExecutionRow, Parent, RunOptions, TraceParent},
    history::{Actor, sha256_hex},
    ids::{Digest, ExecutionId, StepId, StepKey},
    output::Outputs,
    rejection::Rejection,
    step::{Answer, StepRow},
    workflow::Workflow,
};
use ratchet_definition::{evaluate::ArtifactError, sources::compile_stored};
use serde_json::Value;
use thiserror::Error;
use tracing::Instrument as _;

use crate::{
    claims::Claims,
    edit::{self, Difference, EditRequest},
    handlers,
    items::ItemCache,
    ports::{
        BlobError, BlobStore, BusError, Clock, Envelope, Event, EventBus, LaunchError, Observer, StateStore, StepCache,
        StoreError, TaskLauncher, WorkspaceError, Workspaces,
    },
    run::Run,
    seen::{self, Seen},
    source::{self, RunSource},
    turns,
    waits::Waits,
};

/// What the engine needs of the world.
#[derive(Clone)]
pub struct Ports {
    /// Where executions live.
    pub store: Arc<dyn StateStore>,
    /// Where content lives.
    pub blobs: Arc<dyn BlobStore>,
    /// Where events go.
    pub bus: Arc<dyn EventBus>,
    /// What starts tasks.
    pub launcher: Arc<dyn TaskLauncher>,
    /// Time and randomness.
    pub clock: Arc<dyn Clock>,
    /// The files of runs.
    pub workspaces: Arc<dyn Workspaces>,
    /// Results of steps, kept for other runs.
    pub step_cache: Arc<dyn StepCache>,
    /// Who is told.
    pub observer: Arc<dyn Observer>,
}

/// The engine. It holds no state of a run: only what can be read again, and what its own handlers are about to do.
pub struct Engine {
    pub(crate) ports: Ports,
    pub(crate) items: ItemCache,
    pub(crate) claims: Claims,
    pub(crate) waits: Waits,
    workflows: Mutex<HashMap<Digest, Arc<Workflow>>>,
}

/// A run to start.
#[derive(Debug, Clone)]
pub struct StartRequest {
    /// Its identifier. The same again is the same run.
    pub execution: ExecutionId,
    /// What it follows. The digest is that of `source`.
    pub definition: DefinitionRef,
    /// The definition's text.
    pub source: String,
    /// The values of its inputs, defaults included, each of its type.
    pub inputs: Outputs,
    /// Variables that the caller passed.
    pub environment: BTreeMap<String, String>,
    /// The event that started it.
    pub trigger: Value,
    /// What the caller chose.
    pub options: RunOptions,
    /// Who asked for it.
    pub actor: Actor,
    /// The trace that it belongs to.
    pub trace: TraceParent,
    /// The step that it is started for, where it is.
    pub parent: Option<Parent>,
    /// The files that it begins with: a tree in the blob store. `None` where it works in the directory itself.
    pub tree: Option<Digest>,
}

/// A run that was asked for.
#[derive(Debug, Clone)]
pub struct Started {
    /// Its row.
    pub row: ExecutionRow,
    /// Whether this call made it; else it was there already.
    pub created: bool,
}

/// A run that is to go on.
#[derive(Debug, Clone)]
pub struct ResumeRequest {
    /// Steps that run again, with all that depend on them, though they were done.
    pub from: Vec<StepId>,
    /// The definition that it follows from now on, where that is another one. What still holds under it is kept.
    pub edit: Option<Box<EditRequest>>,
    /// What changed in the directory since the run took it, as a tree whose layer is that: it is brought into what the steps that run from now on begin with.
    pub files: Option<Digest>,
    /// What is added to the money of the run's budget, in US dollars.
    pub added_usd: Option<f64>,
    /// Who asked for it.
    pub actor: Actor,
}

/// Why a handler could not do its work. A failure of a step is no such error: it is data.
#[derive(Debug, Error)]
pub enum EngineError {
    /// No such run.
    #[error("there is no execution {0}")]
    NotFound(ExecutionId),
    /// No such step.
    #[error("the workflow {workflow} has no step {step}")]
    NoSuchStep {
        /// The workflow.
        workflow: String,
        /// The step.
        step: StepId,
    },
    /// What was asked does not apply to the run as it stands.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// The definition that the run follows cannot be read any more.
    #[error("the definition of {execution} cannot be read: {reason}")]
    Definition {
        /// The run.
        execution: ExecutionId,
        /// What is wrong with it.
        reason: String,
    },
    /// The run cannot go on under the edited definition.
    #[error("{execution} cannot go on under the edited file: {reason}")]
    Edit {
        /// The run.
        execution: ExecutionId,
        /// Why not.
        reason: String,
    },
    /// The name of the run's concurrency group cannot be told.
    #[error("the name of the concurrency group of {workflow} cannot be told: {reason}")]
    Group {
        /// The workflow.
        workflow: String,
        /// Why not.
        reason: String,
    },
    /// Where the run's files come from cannot be told.
    #[error("where the files of {workflow} come from cannot be told: {reason}")]
    Source {
        /// The workflow.
        workflow: String,
        /// Why not.
        reason: String,
    },
    /// The caller passed a variable of the workflow that holds a secret.
    #[error("{name} holds a secret in {workflow}, and cannot be passed")]
    SecretVariable {
        /// The workflow.
        workflow: String,
        /// The variable.
        name: String,
    },
    /// What an input of the run names cannot be read.
    #[error("the input {input}: {error}")]
    Artifact {
        /// The input.
        input: String,
        /// Why not.
        error: ArtifactError,
    },
    /// Others changed the same rows again and again.
    #[error("{execution} is changed by many at once; try again")]
    Contention {
        /// The run.
        execution: ExecutionId,
    },
    /// The state store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The blob store failed.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// The event bus failed.
    #[error(transparent)]
    Bus(#[from] BusError),
    /// The launcher failed.
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// The files of a run failed.
    #[error(transparent)]
    Workspace(#[from] WorkspaceError),
}

impl EngineError {
    /// Whether the same call may succeed later.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Contention { .. } | Self::Bus(_) => true,
            Self::Store(error) => matches!(error, StoreError::Unavailable(_)),
            Self::Launch(error) => matches!(error, LaunchError::NoCapacity(_)),
            Self::NotFound(_)
            | Self::NoSuchStep { .. }
            | Self::Rejected(_)
            | Self::Definition { .. }
            | Self::Edit { .. }
            | Self::Group { .. }
            | Self::Source { .. }
            | Self::SecretVariable { .. }
            | Self::Artifact { .. }
            | Self::Blob(_)
            | Self::Workspace(_) => false,
        }
    }
}

impl Engine {
    /// An engine on these ports.
    pub fn new(ports: Ports) -> Self {
        Self {
            ports,
            items: ItemCache::default(),
            claims: Claims::default(),
            waits: Waits::default(),
            workflows: Mutex::default(),
        }
    }

    /// What it stands on.
    pub fn ports(&self) -> &Ports {
        &self.ports
    }

    /// Starts a run, or finds the one that was started under the same identifier.
    pub async fn start(&self, request: StartRequest) -> Result<Started, EngineError> {
        handlers::start_execution::start(self, request).await
    }

    /// What the process of a step of a run saw besides its files, which were `tree`.
    pub async fn seen_by(
        &self,
        run: &ExecutionRow,
        step: &StepRow,
        tree: Option<&Digest>,
    ) -> Result<Seen, EngineError> {
        seen::seen_by(self, run, step, tree).await
    }

    /// Where the files of a run that is asked for come from: for whoever makes them ready before it starts.
    pub fn source_of(&self, request: &StartRequest) -> Result<RunSource, EngineError> {
        let digest = &request.definition.digest;
        let workflow = handlers::start_execution::workflow_of(self, request)?;
        if self.kept_workflow(digest).is_none() && sha256_hex(request.source.as_bytes()) == digest.as_str() {
            self.keep_workflow(digest.clone(), workflow.clone());
        }
        source::source_of(self, &workflow, request)
    }

    /// Handles an event. The same event again, late or out of order changes nothing.
    pub async fn handle(&self, envelope: Envelope) -> Result<(), EngineError> {
        let span = tracing::debug_span!(
            "handle",
            event = envelope.event.name(),
            execution = %envelope.execution,
            traceparent = %envelope.trace.0,
        );
        let id = envelope.execution;
        async move {
            // In boxes, each as large as its handler needs: what awaits this is moved about.
            match envelope.event {
                Event::ExecutionChanged => Box::pin(handlers::plan::plan(self, &id)).await,
                Event::WakeUpDue => Box::pin(handlers::plan::wake(self, &id)).await,
                Event::RunChanged { key } => Box::pin(handlers::run_changed::changed(self, &key)).await,
                Event::StepReady { epoch, path, needs, predecessor } => {
                    Box::pin(handlers::dispatch_step::dispatch(self, &id, epoch, path, needs, predecessor)).await
                }
                Event::StepFinished(report) => Box::pin(handlers::complete_step::complete(self, *report)).await,
                Event::TaskLost { key, attempt } => Box::pin(handlers::recover_step::lost(self, &key, attempt)).await,
                Event::TimeCome { key } => Box::pin(handlers::recover_step::time_come(self, &key)).await,
                Event::RetryDue { key, attempt } => Box::pin(handlers::recover_step::retry(self, &key, attempt)).await,
            }
        }
        .instrument(span)
        .await
    }

    /// Derives what is left undone of a run, and does it.
    pub async fn wake(&self, id: &ExecutionId) -> Result<(), EngineError> {
        handlers::plan::wake(self, id).await
    }

    /// Ends a run before its work is done: what runs is stopped, what stands under `finally` runs.
    pub async fn cancel(&self, id: &ExecutionId, actor: Actor, reason: &str) -> Result<ExecutionRow, EngineError> {
        handlers::end_execution::cancel(self, id, actor, reason).await
    }

    /// Takes a run that nobody looks after out of the queue that it waits in, so that it keeps no other waiting. It joins again when somebody wakes it.
    pub async fn pass_over(&self, row: &ExecutionRow) -> Result<(), EngineError> {
        turns::pass_over(self, row).await
    }

    /// Records what a person says to a step that asks, in the epoch that they saw. The same answer again changes nothing.
    pub async fn answer(&self, key: &StepKey, answer: Answer, actor: Actor) -> Result<ExecutionRow, EngineError> {
        handlers::answer_step::answer(self, key, answer, actor).await
    }

    /// Lets a run go on in a new epoch.
    pub async fn resume(&self, id: &ExecutionId, request: ResumeRequest) -> Result<ExecutionRow, EngineError> {
        handlers::resume_execution::resume(self, id, request).await
    }

    /// What becomes of the steps of a run that goes on in a new epoch under an edited definition. Nothing is changed.
    pub async fn difference(
        &self,
        id: &ExecutionId,
        edit: &EditRequest,
        from: &[StepId],
    ) -> Result<Difference, EngineError> {
        let run = Run::load(self, id).await?;
        let workflow = edit::edited(&run, edit)?;
        edit::difference(self, &run, &workflow, &edit.inputs, from).await
    }

    /// The workflow that a run follows.
    pub async fn workflow(&self, row: &ExecutionRow) -> Result<Arc<Workflow>, EngineError> {
        let digest = &row.definition.digest;
        if let Some(workflow) = self.kept_workflow(digest) {
            return Ok(workflow);
        }
        let unreadable = |reason: String| EngineError::Definition { execution: row.id.clone(), reason };
        let text =
            String::from_utf8(self.ports.blobs.get(digest).await?).map_err(|error| unreadable(error.to_string()))?;
        let workflow = Arc::new(compile_stored(&row.definition.origin, &text).map_err(unreadable)?);
        self.keep_workflow(digest.clone(), workflow.clone());
        Ok(workflow)
    }

    /// Keeps the workflow that the definition with this digest gave, so that it is compiled once.
    pub fn keep_workflow(&self, digest: Digest, workflow: Arc<Workflow>) {
        self.workflows.lock().unwrap_or_else(PoisonError::into_inner).insert(digest, workflow);
    }

    pub(crate) fn kept_workflow(&self, digest: &Digest) -> Option<Arc<Workflow>> {
        self.workflows.lock().unwrap_or_else(PoisonError::into_inner).get(digest).cloned()
    }
}

impl Event {
    /// The word for it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::ExecutionChanged => "ExecutionChanged",
            Self::StepReady { .. } => "StepReady",
            Self::StepFinished(_) => "StepFinished",
            Self::TaskLost { .. } => "TaskLost",
            Self::RetryDue { .. } => "RetryDue",
            Self::TimeCome { .. } => "TimeCome",
            Self::RunChanged { .. } => "RunChanged",
            Self::WakeUpDue => "WakeUpDue",
        }
    }
}
