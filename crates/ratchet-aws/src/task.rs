//! A deployment as one of its tasks sees it: an order to be fetched, a fence to be passed, a report to be left.

use std::{env, io, sync::Arc};

use ratchet_engine::{
    order::{AttemptReport, Order},
    ports::{BlobError, BlobStore, BusError, Clock, Envelope, Event, EventBus, Secrets, StoreError},
};
use ratchet_workspace::Contents;
use thiserror::Error;

use crate::{
    BlobContents, DynamoStateStore, ManagedSecrets, ParameterSecrets, S3BlobStore, SystemClock,
    deployment::{SecretPlace, Settings, SettingsError, config},
    event_bus::{BusPlace, EventBridgeBus},
    launcher::ORDER,
    workspaces::CapturedBlobs,
};

/// What a task has of its deployment.
pub struct Task {
    /// Content.
    pub blobs: Arc<dyn BlobStore>,
    /// The same, for threads that wait.
    pub contents: Arc<dyn Contents>,
    /// The files that steps gave.
    pub captured: CapturedBlobs,
    /// The secrets of steps, where the deployment has any.
    pub secrets: Option<Arc<dyn Secrets>>,
    /// What the environment says.
    pub settings: Settings,
    rows: DynamoStateStore,
    bus: EventBridgeBus,
    /// What this task calls itself.
    name: String,
}

/// Why a task cannot do its work.
#[derive(Debug, Error)]
pub enum TaskError {
    /// Its environment is not that of a task.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The system gives no thread.
    #[error("the contents of files cannot be read: {0}")]
    Contents(#[from] io::Error),
    /// Its order cannot be read.
    #[error("the order cannot be read: {0}")]
    Order(#[from] serde_json::Error),
    /// Content cannot be read or kept.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// What is known of it cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Task {
    /// The task that this process is.
    pub async fn from_environment() -> Result<Self, TaskError> {
        let (settings, config, of_contents) = (Settings::from_environment()?, config().await, config().await);
        let store = |config| -> Arc<dyn BlobStore> {
            Arc::new(S3BlobStore::new(aws_sdk_s3::Client::new(config), &settings.bucket, "").without_listing())
        };
        let blobs = store(&config);
        let contents: Arc<dyn Contents> = Arc::new(BlobContents::new(store(&of_contents))?);
        let secrets = settings.secrets.as_ref().map(|place| -> Arc<dyn Secrets> {
            match place {
                SecretPlace::Managed(prefix) => {
                    Arc::new(ManagedSecrets::new(aws_sdk_secretsmanager::Client::new(&config), prefix))
                }
                SecretPlace::Parameters(prefix) => {
                    Arc::new(ParameterSecrets::new(aws_sdk_ssm::Client::new(&config), prefix))
                }
            }
        });
        Ok(Self {
            captured: CapturedBlobs::new(contents.clone(), &settings.folder),
            rows: DynamoStateStore::new(aws_sdk_dynamodb::Client::new(&config), &settings.table),
            bus: EventBridgeBus::new(
                aws_sdk_eventbridge::Client::new(&config),
                aws_sdk_sqs::Client::new(&config),
                BusPlace { bus: settings.bus.clone(), timers: settings.timers.clone() },
                blobs.clone(),
                Arc::new(SystemClock),
            ),
            name: uuid::Uuid::new_v4().to_string(),
            blobs,
            contents,
            secrets,
            settings,
        })
    }

    /// What it is to do.
    pub async fn order(&self) -> Result<Order, TaskError> {
        let digest = env::var(ORDER).ok().filter(|digest| !digest.is_empty());
        let digest = digest.ok_or(SettingsError { name: ORDER, problem: "is not set" })?;
        Ok(serde_json::from_slice(&self.blobs.get(&ratchet_core::ids::Digest::new(digest)).await?)?)
    }

    /// Whether this task is the attempt's. Another of the same, or one that nobody waits for any more, does nothing.
    pub async fn begin(&self, order: &Order) -> Result<bool, TaskError> {
        Ok(self.rows.begin_task(&order.key, order.attempt, &self.name, SystemClock.now()).await?)
    }

    /// Leaves the report where whoever asks finds it, and then tells the engine. Whether anybody waits for it.
    pub async fn report(&self, order: &Order, report: AttemptReport) -> Result<bool, TaskError> {
        let event = Event::StepFinished(Box::new(report));
        let envelope = Envelope { execution: order.key.execution.clone(), trace: order.trace.clone(), event };
        let kept = self.blobs.put(&serde_json::to_vec(&envelope)?).await?;
        if !self.rows.report_task(&order.key, order.attempt, &self.name, (&kept.digest, SystemClock.now())).await? {
            return Ok(false);
        }
        if let Err(BusError::Unavailable(reason)) = self.bus.publish(envelope).await {
            tracing::warn!(reason, "the report waits for the wake-up of its execution");
        }
        Ok(true)
    }
}
