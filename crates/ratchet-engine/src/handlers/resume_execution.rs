//! A person lets a run go on.

use ratchet_core::{event::ExecutionEvent, execution::ExecutionRow, ids::ExecutionId};

use crate::{
    engine::{Engine, EngineError, ResumeRequest},
    execution_row,
    ports::{Envelope, Event},
    run::Run,
};

/// Begins a new epoch: what ended well and was not reset still counts, the rest runs.
pub(crate) async fn resume(
    engine: &Engine,
    id: &ExecutionId,
    request: ResumeRequest,
) -> Result<ExecutionRow, EngineError> {
    let run = Run::load(engine, id).await?;
    for step in &request.from {
        run.node(step)?;
    }
    let event = ExecutionEvent::ResumeRequested { reset_from: request.from };
    let row = execution_row::update(engine, &run, &event, request.actor, event.name().to_owned()).await?;
    let trace = row.trace.clone();
    engine.ports.bus.publish(Envelope { execution: id.clone(), trace, event: Event::ExecutionChanged }).await?;
    Ok(row)
}
