//! A person ends a run.

use ratchet_core::{
    event::ExecutionEvent, execution::ExecutionRow, history::Actor, ids::ExecutionId, transition::Ending,
};

use crate::{
    engine::{Engine, EngineError},
    execution_row,
    ports::{Envelope, Event},
    run::Run,
};

/// Ends a run before its work is done. What runs is stopped, what stands under `finally` runs.
pub(crate) async fn cancel(
    engine: &Engine,
    id: &ExecutionId,
    actor: Actor,
    reason: &str,
) -> Result<ExecutionRow, EngineError> {
    let run = Run::load(engine, id).await?;
    let event = ExecutionEvent::EndRequested { ending: Ending::Cancelled };
    let row = execution_row::update(engine, &run, &event, actor, format!("CancelRequested {reason}")).await?;
    let trace = row.trace.clone();
    engine.ports.bus.publish(Envelope { execution: id.clone(), trace, event: Event::ExecutionChanged }).await?;
    Ok(row)
}
