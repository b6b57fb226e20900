//! The engine on one machine: the ports assembled, and one or more runs driven in this process until they end or pause.

mod check_out;
mod drive;
mod finish;
mod hold;
#[cfg(test)]
mod tests;
mod turn;
mod visit;
mod watch;
mod word;

use std::{
    collections::HashMap,
    io,
    num::NonZeroUsize,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use ratchet_core::{
    execution::ExecutionRow,
    history::Actor,
    ids::{ExecutionId, StepKey},
    step::Answer,
};
use ratchet_engine::{
    Engine, EngineError, Ports, ResumeRequest, RunSource, StartRequest, Started,
    ports::{AttemptRunner, BlobStore, Clock, Observer, Secrets, StateStore, Stop, StoreError},
};
use thiserror::Error;

pub use self::visit::Visit;
use self::{
    hold::Hold,
    watch::Watch,
    word::{BEAT, Word},
};
use crate::{
    blob_store::LocalBlobStore,
    bus::LocalBus,
    clock::SystemClock,
    directory::StateDirectory,
    error::LocalError,
    launcher::LocalLauncher,
    place::LocalPlace,
    state_store::{LocalStateStore, LocalStepCache},
    supervise,
    workspace::{self, Application, Files, LocalWorkspaces},
};

/// Bytes of kept results from which on the longest unused ones are pushed out, where nobody says otherwise: 10 GiB.
pub const CACHE_BYTES_MAX: u64 = 10 << 30;

/// What a local engine is made of.
pub struct LocalConfig {
    /// The state directory, which is made where it is not there.
    pub state_dir: PathBuf,
    /// Runs attempts.
    pub runner: Arc<dyn AttemptRunner>,
    /// Gives the secrets that repositories are asked for with. Those of steps are the runner's.
    pub secrets: Arc<dyn Secrets>,
    /// Is told what happens.
    pub observer: Arc<dyn Observer>,
    /// How many attempts run at once; `None` for one a CPU, at least two.
    pub max_parallel: Option<NonZeroUsize>,
    /// Bytes of kept results from which on the longest unused ones are pushed out.
    pub cache_bytes_max: u64,
}

/// The engine of this process.
pub struct LocalEngine {
    engine: Arc<Engine>,
    state: StateDirectory,
    store: Arc<LocalStateStore>,
    bus: LocalBus,
    launcher: LocalLauncher,
    watch: Arc<Watch>,
    files: Files,
    secrets: Arc<dyn Secrets>,
    word: Arc<Word>,
    holds: Mutex<HashMap<ExecutionId, Hold>>,
}

/// Why a run could not be driven.
#[derive(Debug, Error)]
pub enum DriveError {
    /// This machine stood in the way.
    #[error(transparent)]
    Local(#[from] LocalError),
    /// The engine could not go on.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl From<StoreError> for DriveError {
    fn from(error: StoreError) -> Self {
        Self::Engine(error.into())
    }
}

impl LocalEngine {
    /// Opens the state directory and puts the ports together.
    pub fn open(config: LocalConfig) -> Result<Self, DriveError> {
        let state = StateDirectory::open(&config.state_dir)?;
        let store = Arc::new(LocalStateStore::open(&state.database())?);
        let own_blobs = LocalBlobStore::new(state.blobs());
        let files = Files::new(state.clone(), own_blobs.clone());
        let blobs: Arc<dyn BlobStore> = Arc::new(own_blobs);
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let bus = LocalBus::new(clock.clone());
        let launcher = LocalLauncher::new(
            config.runner,
            Arc::new(bus.clone()),
            files.clone(),
            supervise::table(),
            config.max_parallel,
        );
        let watch = Arc::new(Watch::new(config.observer));
        let engine = Arc::new(Engine::new(Ports {
            store: store.clone(),
            blobs: blobs.clone(),
            bus: Arc::new(bus.clone()),
            launcher: Arc::new(launcher.clone()),
            clock,
            workspaces: Arc::new(LocalWorkspaces::new(files.clone())),
            step_cache: Arc::new(LocalStepCache::new(store.clone(), config.cache_bytes_max)),
            observer: watch.clone(),
        }));
        let word = Word::new(state.clone());
        Ok(Self {
            engine,
            state,
            store,
            bus,
            launcher,
            watch,
            files,
            secrets: config.secrets,
            word,
            holds: Mutex::default(),
        })
    }

    /// The engine on these ports.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The state directory.
    pub fn state(&self) -> &StateDirectory {
        &self.state
    }

    /// The store.
    pub fn store(&self) -> &Arc<LocalStateStore> {
        &self.store
    }

    /// Starts a run, which [`drive`](Self::drive) then drives, or finds the one that was started under the same identifier.
    pub async fn start(&self, request: StartRequest) -> Result<Started, DriveError> {
        let id = request.execution.clone();
        let place = LocalPlace::parse(&id, &request.options.place)?;
        loop {
            if self.store.execution(&id).await?.is_some() {
                return Ok(self.engine.start(request).await?);
            }
            match self.hold(&id).await {
                Ok(_) => break,
                // Another process makes it just now: its row is there in a moment, or nothing comes of it.
                Err(LocalError::Driven { .. }) => tokio::time::sleep(BEAT).await,
                Err(error) => return Err(error.into()),
            }
        }
        if self.store.execution(&id).await?.is_some() {
            // It was made, and may have ended, before it was held here: its files are not to be made again.
            self.release(&id);
            return Ok(self.engine.start(request).await?);
        }
        let started = self.prepare_and_start(&place, request).await;
        if started.is_err() && matches!(self.store.execution(&id).await, Ok(None)) {
            // What is left of it has no row and goes with the next `prune` at the latest. It is ours as long as it is held.
            let _ = workspace::remove_tree(&self.state.execution(&id));
        }
        if !started.as_ref().is_ok_and(|started| started.created) {
            // Another process made it in this very moment, or nothing came of it.
            self.release(&id);
        }
        started
    }

    async fn prepare_and_start(&self, place: &LocalPlace, request: StartRequest) -> Result<Started, DriveError> {
        let RunSource { repository, exclude } = self.engine.source_of(&request)?;
        if place.in_place {
            if repository.is_some() {
                return Err(LocalError::NotInPlace(request.definition.name).into());
            }
            // There is nothing to make.
            let tree = self.files.begin(&request.execution, place, &exclude)?;
            return Ok(self.engine.start(StartRequest { tree, ..request }).await?);
        }
        let (mut request, mut place) = (request, place.clone());
        if let Some(repository) = repository {
            // In a box: few runs have one, and every start would have the room for it.
            Box::pin(self.check_out(repository, &mut place, &mut request)).await?;
        }
        let (files, id) = (self.files.clone(), request.execution.clone());
        let tree = in_background(move || files.begin(&id, &place, &exclude)).await?;
        Ok(self.engine.start(StartRequest { tree, ..request }).await?)
    }

    /// Lets a run go on in a new epoch; [`drive`](Self::drive) then drives it. A run whose process died is driven without.
    pub async fn resume(&self, id: &ExecutionId, request: ResumeRequest) -> Result<ExecutionRow, DriveError> {
        self.row(id).await?;
        self.hold(id).await?;
        match self.engine.resume(id, request).await {
            Ok(row) => Ok(row),
            Err(error) => {
                self.release(id);
                Err(error.into())
            }
        }
    }

    /// Ends a run before its work is done, whichever process drives it. What runs is asked to end, then `finally` runs.
    pub async fn cancel(&self, id: &ExecutionId, actor: Actor, reason: &str) -> Result<ExecutionRow, DriveError> {
        let row = self.engine.cancel(id, actor, reason).await?;
        self.word.leave(id);
        Ok(row)
    }

    /// Records what a person says to a step that asks, whichever process drives the run.
    pub async fn answer(&self, key: &StepKey, answer: Answer, actor: Actor) -> Result<ExecutionRow, DriveError> {
        let row = self.engine.answer(key, answer, actor).await?;
        self.word.leave(&key.execution);
        Ok(row)
    }

    /// Kills what runs of a run here, and lets [`drive`](Self::drive) return at once. The run can be resumed. `false` where it is not driven here.
    pub fn abandon(&self, id: &ExecutionId) -> bool {
        self.watch.abandon(id);
        self.launcher.stop_all(id, Stop::AtOnce);
        self.holds().contains_key(id)
    }

    /// Drives a run until it is ended or paused and nothing of it runs, and applies its changes where it completed. A run that another process left behind is
    /// taken over. Several runs may be driven at once.
    pub async fn drive(&self, id: &ExecutionId) -> Result<ExecutionRow, DriveError> {
        let row = self.row(id).await?;
        if !self.has_something_left(&row)? {
            self.release(id);
            return Ok(row);
        }
        let taken_over = self.hold(id).await?;
        let driven = self.drive_held(id, taken_over).await;
        self.release(id);
        driven
    }

    /// Applies the changes of a completed run, also where the directory kept them away before. Done already, it is only told.
    pub async fn apply_again(&self, id: &ExecutionId) -> Result<Application, DriveError> {
        self.hold(id).await?;
        let applied = match self.row(id).await {
            Ok(row) => self.apply(&row, true).await,
            Err(error) => Err(error),
        };
        self.release(id);
        applied
    }

    /// What came of applying the changes of a completed run; `None` where it is not completed, or not tried yet.
    pub fn application(&self, row: &ExecutionRow) -> Result<Option<Application>, LocalError> {
        workspace::application(&self.state, &row.id, row.epoch)
    }

    /// Finishes what other processes left half applied when they died. Cheap where there is nothing.
    pub fn finish_applications(&self) -> Result<(), LocalError> {
        let unreadable = |source| LocalError::state_directory(&self.state.executions(), "be read", source);
        for id in self.state.execution_ids().map_err(unreadable)? {
            if self.state.journal(&id).exists()
                && let Ok(acquired) = self.lock(&id)
            {
                workspace::recover(&self.state, &id)?;
                drop(acquired);
            }
        }
        Ok(())
    }

    fn holds(&self) -> std::sync::MutexGuard<'_, HashMap<ExecutionId, Hold>> {
        self.holds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Does work that waits for the disk where it holds nobody up.
async fn in_background<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, LocalError> + Send + 'static,
) -> Result<T, LocalError> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| {
        Err(LocalError::Supervision {
            action: "finish work in the background".to_owned(),
            source: io::Error::other(error),
        })
    })
}
