//! What a deployment does not have: it runs no tasks. Whoever asks for one is told.

use async_trait::async_trait;
use ratchet_core::ids::StepKey;
use ratchet_engine::{
    order::Order,
    ports::{LaunchError, Slot, TaskLauncher, TaskState},
};

/// Why there is none.
const REASON: &str = "this deployment has no image to run tasks in (the parameter RunnerImage): its steps are those that the engine does itself";

/// No task is started. A step that needs one fails and says so.
pub(super) struct Tasks;

#[async_trait]
impl TaskLauncher for Tasks {
    async fn reserve(&self) -> Result<Slot, LaunchError> {
        Ok(Slot::unlimited())
    }

    async fn launch(&self, _slot: Slot, _order: Order) -> Result<(), LaunchError> {
        Err(LaunchError::Refused(REASON.to_owned()))
    }

    async fn state(&self, _key: &StepKey, _attempt: u32) -> Result<TaskState, LaunchError> {
        Ok(TaskState::Gone)
    }

    async fn stop(&self, _key: &StepKey, _attempt: u32) -> Result<(), LaunchError> {
        Ok(())
    }
}
