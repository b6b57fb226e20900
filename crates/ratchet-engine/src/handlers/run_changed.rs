//! The run that a step is has ended, is paused, or goes on.

use ratchet_core::ids::StepKey;

use super::plan::plan;
use crate::{
    advance::{Advance, Task},
    engine::{Engine, EngineError},
    run::Run,
};

/// Records its end and goes on with what that makes possible; anything else concerns the whole run.
pub(crate) async fn changed(engine: &Engine, key: &StepKey) -> Result<(), EngineError> {
    let run = Run::load(engine, &key.execution).await?;
    let is_current = run.row.epoch == key.epoch;
    let mut advance = Advance::new(engine, run);
    advance.push(if is_current { Task::Nested(key.clone()) } else { Task::DisposeEnded(key.clone()) });
    if is_current {
        return advance.finish().await;
    }
    advance.work().await?;
    Box::pin(plan(engine, &key.execution)).await
}
