//! What a run would do, found out by the engine itself: it decides as it does in a run, over ports that keep everything in a folder that goes with them.
//!
//! Kept results stand in for steps, and what needs no process is done; a step that would run begins and never ends. So what the engine has not come to is what depends on
//! a step that would run. Nothing is started, and nothing of the state directory or of the user's directory is changed.

mod cache;
mod store;

use std::{
    collections::VecDeque,
    io,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use jiff::Timestamp;
use ratchet_core::{
    ids::{Digest, StepKey},
    workflow::{Action, ForEach, Step, SubWorkflow, Workflow},
};
use ratchet_engine::{
    Engine, Ports, RunSource, StartRequest,
    order::Order,
    ports::{
        BlobStore, BusError, CacheError, Envelope, EventBus, LaunchError, Lease, Silent, Slot, StateStore, StepCache,
        TaskLauncher, TaskState,
    },
    step_cache::name_of,
};
use tempfile::TempDir;

use self::{cache::KeptResults, store::RehearsalStore};
use crate::{
    blob_store::LocalBlobStore,
    clock::SystemClock,
    directory::StateDirectory,
    engine::DriveError,
    error::LocalError,
    lock::EngineLock,
    place::LocalPlace,
    state_store::{LocalStateStore, LocalStepCache},
    workspace::{Files, LocalWorkspaces, blocking},
};

/// A run that was played without its processes.
pub struct Rehearsal {
    /// The rows that it came to.
    pub store: Arc<dyn StateStore>,
    /// All contents: those of the state directory and its own.
    pub blobs: Arc<dyn BlobStore>,
    /// Results of other runs.
    pub step_cache: Arc<dyn StepCache>,
    /// The state directory and what it keeps, where they are there.
    others: Option<(StateDirectory, LocalStepCache)>,
    /// Goes last: all of it lies there.
    #[expect(dead_code, reason = "held for its drop")]
    folder: TempDir,
}

impl Rehearsal {
    /// Plays a run up to the steps that would start processes. `state` is the state directory where it is there, with its store.
    pub async fn of(
        state: Option<(&StateDirectory, Arc<LocalStateStore>)>,
        mut request: StartRequest,
        workflow: &Workflow,
    ) -> Result<Self, DriveError> {
        let folder = tempfile::Builder::new().prefix("ratchet-plan-").tempdir();
        let folder = folder.map_err(|error| unusable(&std::env::temp_dir(), error))?;
        let mut own = StateDirectory::open(folder.path())?;
        if let Some((state, _)) = &state {
            own = own.over(state);
        }
        let kept = state.as_ref().map(|(_, store)| store.clone());
        let own_store = Arc::new(LocalStateStore::open(&own.database())?);
        let results = kept.clone().map(|store| LocalStepCache::new(store, u64::MAX));
        let others = state.as_ref().map(|(state, _)| (*state).clone()).zip(results.clone());
        let store: Arc<dyn StateStore> = Arc::new(RehearsalStore { own: own_store, kept });
        let step_cache: Arc<dyn StepCache> = Arc::new(KeptResults(results));
        let own_blobs = LocalBlobStore::of(&own);
        let blobs: Arc<dyn BlobStore> = Arc::new(own_blobs.clone());
        let files = Files::new(own, own_blobs);
        let bus = Arc::new(Waiting::default());
        let engine = Engine::new(Ports {
            store: store.clone(),
            blobs: blobs.clone(),
            bus: bus.clone(),
            launcher: Arc::new(Endless),
            clock: Arc::new(SystemClock),
            workspaces: Arc::new(LocalWorkspaces::new(files.clone())),
            step_cache: step_cache.clone(),
            observer: Arc::new(Silent),
        });
        let place = LocalPlace::parse(&request.execution, &request.options.place)?;
        let (id, real) = (request.execution.clone(), state.map(|(state, _)| state.clone()));
        engine.keep_workflow(request.definition.digest.clone(), Arc::new(unhindered(workflow)));
        let RunSource { repository, exclude } = engine.source_of(&request)?;
        if repository.is_some() {
            return Err(LocalError::NotInPlace(request.definition.name).into());
        }
        let looked = blocking(move || files.begin_looking(&id, (&place, &exclude), real.as_ref())).await?;
        request.tree = Some(looked);
        request.options.max_parallel = u32::MAX;
        engine.start(request).await?;
        while let Some(envelope) = bus.next() {
            engine.handle(envelope).await?;
        }
        Ok(Self { store, blobs, step_cache, others, folder })
    }

    /// The step of another run that computes a result now, under the key that a step of this one has; a run that nobody drives any more computes nothing.
    pub fn computed_by(&self, workflow: &str, step: &Step, key: &Digest) -> Result<Option<StepKey>, CacheError> {
        let Some((state, results)) = &self.others else { return Ok(None) };
        let held = results.held(&name_of(workflow, step, key.clone()))?;
        let is_live = |lease: &Lease| {
            lease.until > Timestamp::now() && EngineLock::is_held(state, &lease.holder.execution.root())
        };
        Ok(held.filter(is_live).map(|lease| lease.holder))
    }
}

/// An engine that drives nothing, over a state directory: it answers what is asked of it.
pub fn looking(state: &StateDirectory, store: Arc<LocalStateStore>) -> Engine {
    let blobs = LocalBlobStore::of(state);
    let results = LocalStepCache::new(store.clone(), u64::MAX);
    Engine::new(Ports {
        store,
        blobs: Arc::new(blobs.clone()),
        bus: Arc::new(Waiting::default()),
        launcher: Arc::new(Endless),
        clock: Arc::new(SystemClock),
        workspaces: Arc::new(LocalWorkspaces::new(Files::new(state.clone(), blobs))),
        step_cache: Arc::new(KeptResults(Some(results))),
        observer: Arc::new(Silent),
    })
}

fn unusable(path: &Path, source: io::Error) -> LocalError {
    LocalError::state_directory(path, "hold what is tried", source)
}

/// The workflow without what holds its steps up: whoever waits for room, for a turn or for money would be told of nothing.
fn unhindered(workflow: &Workflow) -> Workflow {
    let mut workflow = workflow.clone();
    (workflow.timeout, workflow.concurrency, workflow.budget) = (None, None, None);
    for step in &mut workflow.steps {
        step.timeout = None;
        step.foreach = step.foreach.take().map(|foreach| ForEach { max_parallel: None, ..foreach });
        if let Action::Workflow(sub) = &mut step.action {
            let inner = Arc::new(unhindered(&sub.workflow));
            **sub = SubWorkflow { workflow: inner, ..(**sub).clone() };
        }
    }
    workflow
}

/// Events that wait for their handler. What is meant for a later time never comes.
#[derive(Default)]
struct Waiting(Mutex<VecDeque<Envelope>>);

impl Waiting {
    fn next(&self) -> Option<Envelope> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }
}

#[async_trait]
impl EventBus for Waiting {
    async fn publish(&self, envelope: Envelope) -> Result<(), BusError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push_back(envelope);
        Ok(())
    }

    async fn publish_at(&self, _envelope: Envelope, _at: Timestamp) -> Result<(), BusError> {
        Ok(())
    }
}

/// Room without end, in which attempts never end.
struct Endless;

#[async_trait]
impl TaskLauncher for Endless {
    async fn reserve(&self) -> Result<Slot, LaunchError> {
        Ok(Slot::unlimited())
    }

    async fn launch(&self, _slot: Slot, _order: Order) -> Result<(), LaunchError> {
        Ok(())
    }

    async fn state(&self, _key: &StepKey, _attempt: u32) -> Result<TaskState, LaunchError> {
        Ok(TaskState::Alive)
    }

    async fn stop(&self, _key: &StepKey, _attempt: u32) -> Result<(), LaunchError> {
        Ok(())
    }
}
