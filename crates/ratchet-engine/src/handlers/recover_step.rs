//! A task was lost, or the time of the next attempt has come.

use ratchet_core::ids::StepKey;

use crate::{
    advance::{Advance, Task},
    engine::{Engine, EngineError},
    run::Run,
};

/// Decides about an attempt whose task is gone.
pub(crate) async fn lost(engine: &Engine, key: &StepKey, attempt: u32) -> Result<(), EngineError> {
    advance(engine, key, Task::Lost { key: key.clone(), attempt }).await
}

/// Starts the next attempt.
pub(crate) async fn retry(engine: &Engine, key: &StepKey, attempt: u32) -> Result<(), EngineError> {
    advance(engine, key, Task::Retry { key: key.clone(), attempt }).await
}

async fn advance(engine: &Engine, key: &StepKey, task: Task) -> Result<(), EngineError> {
    let run = Run::load(engine, &key.execution).await?;
    if !run.row.accepts_claims(key.epoch) {
        return Ok(());
    }
    let mut advance = Advance::new(engine, run).waiting_for_room();
    advance.push(task);
    advance.work().await
}
