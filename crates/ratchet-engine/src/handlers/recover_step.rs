//! A task was lost, or the time that a step waits for has come.

use ratchet_core::{ids::StepKey, workflow::OnLost};

use crate::{
    advance::{Advance, Task},
    engine::{Engine, EngineError},
    run::Run,
};

/// Decides about an attempt whose task is gone.
pub(crate) async fn lost(engine: &Engine, key: &StepKey, attempt: u32) -> Result<(), EngineError> {
    let run = Run::load(engine, &key.execution).await?;
    let task = Task::Lost { key: key.clone(), attempt };
    // That a run pauses does not wait for room.
    match run.step_policy(&key.path).on_lost {
        OnLost::Pause => Box::pin(advance(Advance::new(engine, run), key, task)).await,
        OnLost::Rerun => advance_with_room(engine, key, task).await,
    }
}

/// Starts the next attempt.
pub(crate) async fn retry(engine: &Engine, key: &StepKey, attempt: u32) -> Result<(), EngineError> {
    advance_with_room(engine, key, Task::Retry { key: key.clone(), attempt }).await
}

/// Ends a wait.
pub(crate) async fn time_come(engine: &Engine, key: &StepKey) -> Result<(), EngineError> {
    let run = Run::load(engine, &key.execution).await?;
    advance(Advance::new(engine, run), key, Task::TimeCome(key.clone())).await
}

/// Waits for a slot before anything is read: what others did meanwhile is seen, and an attempt that they made is not made again only to conflict.
async fn advance_with_room(engine: &Engine, key: &StepKey, task: Task) -> Result<(), EngineError> {
    let slot = engine.ports.launcher.reserve().await?;
    let run = Run::load(engine, &key.execution).await?;
    Box::pin(advance(Advance::new(engine, run).with_slot(slot), key, task)).await
}

async fn advance(mut advance: Advance<'_>, key: &StepKey, task: Task) -> Result<(), EngineError> {
    if !advance.run.row.accepts_claims(key.epoch) {
        return Ok(());
    }
    advance.push(task);
    advance.finish().await
}
