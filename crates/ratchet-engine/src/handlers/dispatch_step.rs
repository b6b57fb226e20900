//! A step that waits for room is started.

use ratchet_core::{
    ids::{Epoch, ExecutionId, StepPath},
    join::NeedOutcome,
    rejection::Rejection,
};

use crate::{
    advance::{Advance, Dispatch, Task},
    engine::{Engine, EngineError},
    run::Run,
};

/// Waits for a slot, then starts the step where it still is to start.
pub(crate) async fn dispatch(
    engine: &Engine,
    id: &ExecutionId,
    epoch: Epoch,
    path: StepPath,
    needs: NeedOutcome,
    predecessor: Option<u32>,
) -> Result<(), EngineError> {
    let slot = engine.ports.launcher.reserve().await?;
    let run = Run::load(engine, id).await?;
    if !run.row.accepts_claims(epoch) {
        let rejection = Rejection::OldEpoch { event: epoch, current: run.row.epoch };
        tracing::debug!(step = %path, %rejection, "rejected");
        return Ok(());
    }
    let mut advance = Advance::new(engine, run).with_slot(slot);
    advance.push(Task::Dispatch(Dispatch { path, needs, predecessor, adopts: None }));
    advance.finish().await
}
