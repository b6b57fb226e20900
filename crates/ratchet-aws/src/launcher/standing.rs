//! Where the tasks of an attempt stand, as ECS tells it: a moment behind, and for an hour after their end.

use aws_sdk_ecs::{
    error::{ProvideErrorMetadata, SdkError},
    types::DesiredStatus,
};
use ratchet_core::ids::StepKey;
use ratchet_engine::ports::LaunchError;

use super::{EcsLauncher, name};
use crate::chain;

/// A task that was started for an attempt.
pub(super) struct Started {
    arn: String,
    /// Whether no process of it is left.
    pub(super) has_stopped: bool,
}

impl EcsLauncher {
    /// The tasks of an attempt: mostly one.
    pub(super) async fn tasks(&self, key: &StepKey, attempt: u32) -> Result<Vec<Started>, LaunchError> {
        let mut arns = Vec::new();
        for desired in [DesiredStatus::Running, DesiredStatus::Stopped] {
            let listed = self
                .client
                .list_tasks()
                .cluster(&self.place.cluster)
                .started_by(name(key, attempt))
                .desired_status(desired)
                .send()
                .await;
            arns.extend(listed.map_err(|error| not_asked(&error))?.task_arns.unwrap_or_default());
        }
        if arns.is_empty() {
            return Ok(Vec::new());
        }
        let described =
            self.client.describe_tasks().cluster(&self.place.cluster).set_tasks(Some(arns.clone())).send().await;
        let described = described.map_err(|error| not_asked(&error))?;
        let status = |arn: &String| {
            let task = described.tasks().iter().find(|task| task.task_arn() == Some(arn));
            task.and_then(|task| task.last_status()).map(str::to_owned)
        };
        // One that was listed and is not known any more, or not yet, may run.
        let started = |arn: String| Started { has_stopped: status(&arn).as_deref() == Some("STOPPED"), arn };
        Ok(arns.into_iter().map(started).collect())
    }

    /// Tells the tasks of an attempt to end, and says where they stood.
    pub(super) async fn stop_all(&self, key: &StepKey, attempt: u32) -> Result<Vec<Started>, LaunchError> {
        let tasks = self.tasks(key, attempt).await?;
        for task in tasks.iter().filter(|task| !task.has_stopped) {
            let request = self.client.stop_task().cluster(&self.place.cluster).task(&task.arn);
            let stopped = request.reason("the execution does not need it any more").send().await;
            stopped.map_err(|error| not_asked(&error))?;
        }
        Ok(tasks)
    }
}

fn not_asked<E>(error: &SdkError<E>) -> LaunchError
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    LaunchError::NoCapacity(chain(error))
}
