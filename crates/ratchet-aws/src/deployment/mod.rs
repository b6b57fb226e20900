//! A deployment as its functions see it: the engine on the ports of AWS, built once for each cold start from what the environment names.

mod intake;
pub mod logs;
mod settings;
mod tasks;
mod told;
mod without;

use std::{io, sync::Arc};

use aws_config::{BehaviorVersion, SdkConfig, retry::RetryConfig};
use ratchet_core::{execution::TraceParent, history::hex};
use ratchet_engine::{
    Engine, EngineError, Ports,
    ports::{BlobError, BlobStore, Clock, EventBus, StateStore, TaskLauncher, WorkspaceError},
};
use thiserror::Error;

pub(crate) use self::intake::shape;
pub use self::{
    intake::Intake,
    settings::{Settings, SettingsError},
    tasks::SecretPlace,
};
use crate::{
    BlobContents, DynamoStateStore, DynamoStepCache, S3BlobStore, SystemClock,
    event_bus::{BusPlace, CarriedError, EventBridgeBus},
    launcher::EcsLauncher,
    published::{PublishedError, PublishedWorkflows},
    workspaces::BlobWorkspaces,
};

/// The engine of a deployment, and what its functions need beside it.
pub struct Deployment {
    /// The engine.
    pub engine: Engine,
    /// The published workflows.
    pub published: PublishedWorkflows,
    /// The files of runs.
    pub workspaces: Arc<BlobWorkspaces>,
    /// What the environment says.
    pub settings: Settings,
}

/// Why a function cannot begin.
#[derive(Debug, Error)]
pub enum BeginError {
    /// Its environment is not that of a deployment.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The system gives no thread.
    #[error("the contents of files cannot be read: {0}")]
    Contents(#[from] io::Error),
}

/// Why an invocation fails: the service that invoked makes it again, and after some times puts it aside for a person.
#[derive(Debug, Error)]
pub enum Failure {
    /// The engine could not do its work now.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// What came is nothing that this function knows. A version that knows it may be on its way.
    #[error("{0} is not understood: {1}")]
    NotUnderstood(&'static str, String),
    /// What came cannot be read.
    #[error(transparent)]
    Carried(#[from] CarriedError),
    /// What is published cannot be read now.
    #[error(transparent)]
    Published(#[from] PublishedError),
    /// The schedules of a workflow cannot be read or changed now.
    #[error("the schedules cannot be set: {0}")]
    Schedules(String),
    /// The queue of dead letters cannot be read or changed now.
    #[error("the queue of dead letters cannot be read: {0}")]
    DeadLetters(String),
    /// Some of several could not be done. What went wrong with each is in the log.
    #[error("{failed} of {all} could not be started now")]
    Some {
        /// How many.
        failed: usize,
        /// Of how many.
        all: usize,
    },
}

impl Deployment {
    /// The deployment that this process's environment names.
    pub async fn from_environment() -> Result<Self, BeginError> {
        let settings = Settings::from_environment()?;
        Ok(Self::new(&config().await, &config().await, settings)?)
    }

    /// A deployment whose clients are configured so. What reads the contents of files has connections of its own, of a configuration of its own.
    pub fn new(config: &SdkConfig, contents: &SdkConfig, settings: Settings) -> io::Result<Self> {
        let table = aws_sdk_dynamodb::Client::new(config);
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let state = DynamoStateStore::new(table.clone(), &settings.table);
        let step_cache = DynamoStepCache::new(state.clone(), settings.cache_bytes_max);
        let rows = state.clone();
        let store: Arc<dyn StateStore> = Arc::new(state);
        let blobs_of = |config: &SdkConfig| -> Arc<dyn BlobStore> {
            Arc::new(S3BlobStore::new(aws_sdk_s3::Client::new(config), &settings.bucket, ""))
        };
        let blobs = blobs_of(config);
        let contents = Arc::new(BlobContents::new(blobs_of(contents))?);
        let workspaces = Arc::new(BlobWorkspaces::new(contents, blobs.clone(), &settings.folder));
        let place = BusPlace { bus: settings.bus.clone(), timers: settings.timers.clone() };
        let bus: Arc<dyn EventBus> = Arc::new(EventBridgeBus::new(
            aws_sdk_eventbridge::Client::new(config),
            aws_sdk_sqs::Client::new(config),
            place,
            blobs.clone(),
            clock.clone(),
        ));
        let launcher: Arc<dyn TaskLauncher> = match &settings.tasks {
            None => Arc::new(without::Tasks),
            Some(place) => {
                let ports = (blobs.clone(), bus.clone(), clock.clone());
                Arc::new(EcsLauncher::new(aws_sdk_ecs::Client::new(config), place.clone(), rows, ports))
            }
        };
        let engine = Engine::new(Ports {
            store,
            blobs,
            bus,
            launcher,
            clock,
            workspaces: workspaces.clone(),
            step_cache: Arc::new(step_cache),
            observer: Arc::new(told::Told),
        });
        let published = PublishedWorkflows::new(table, &settings.table);
        Ok(Self { engine, published, workspaces, settings })
    }

    /// The context of a new trace.
    pub(crate) fn new_trace(&self) -> TraceParent {
        let clock = &self.engine.ports().clock;
        let (trace, span) = (hex(&clock.entropy()), hex(&clock.entropy()[..8]));
        TraceParent(format!("00-{trace}-{span}-01"))
    }
}

/// What clients need, from this process's environment. What is throttled is asked again, ever slower.
pub(crate) async fn config() -> SdkConfig {
    let retries = RetryConfig::adaptive().with_max_attempts(5);
    aws_config::defaults(BehaviorVersion::latest()).retry_config(retries).load().await
}

/// Whether the same may succeed later. What is refused for good is not worth another try; what a service refuses may be.
pub(crate) fn may_pass(error: &EngineError) -> bool {
    error.is_retryable()
        || matches!(
            error,
            EngineError::Blob(BlobError::Io { .. }) | EngineError::Workspace(WorkspaceError::Refused { .. })
        )
}
