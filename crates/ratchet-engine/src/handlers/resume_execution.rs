//! A person lets a run go on.

use ratchet_core::{
    event::ExecutionEvent,
    execution::{Edit, ExecutionRow},
    ids::{Digest, ExecutionId, StepId},
};

use crate::{
    edit::{self, EditRequest},
    engine::{Engine, EngineError, ResumeRequest},
    execution_row,
    ports::{Envelope, Event},
    run::Run,
    values::{load_large, store_large},
};

/// Begins a new epoch: what ended well and was not reset still counts, the rest runs.
pub(crate) async fn resume(
    engine: &Engine,
    id: &ExecutionId,
    request: ResumeRequest,
) -> Result<ExecutionRow, EngineError> {
    let ResumeRequest { from, edit, files, added_usd, actor } = request;
    let run = Run::load(engine, id).await?;
    let (run, event) = if let Some(edit) = edit {
        Box::pin(under(engine, run, *edit, from, (files, added_usd))).await?
    } else {
        for step in &from {
            run.node(step)?;
        }
        (run, ExecutionEvent::ResumeRequested { reset_from: from, edit: None, files, added_usd })
    };
    let row = execution_row::update(engine, &run, &event, actor, event.name().to_owned()).await?;
    let trace = row.trace.clone();
    engine.ports.bus.publish(Envelope { execution: id.clone(), trace, event: Event::ExecutionChanged }).await?;
    Ok(row)
}

/// The run under an edited definition, and the event that has it go on so. What no longer holds is reset: also where a handler that saw the definition before
/// is about to record a result of it.
async fn under(
    engine: &Engine,
    run: Run,
    request: EditRequest,
    from: Vec<StepId>,
    (files, added_usd): (Option<Digest>, Option<f64>),
) -> Result<(Run, ExecutionEvent), EngineError> {
    let workflow = edit::edited(&run, &request)?;
    let edited = Run { workflow: workflow.clone(), ..run.clone() };
    for step in &from {
        edited.node(step)?;
    }
    let blobs = engine.ports.blobs.as_ref();
    let blob = blobs.put(request.source.as_bytes()).await?;
    let EditRequest { definition: to, inputs, .. } = request;
    if blob.digest != to.digest {
        let reason = format!("its text has the digest {}, not {}", blob.digest, to.digest);
        return Err(EngineError::Edit { execution: run.row.id.clone(), reason });
    }
    let difference = edit::difference(engine, &run, &workflow, &inputs, &from).await?;
    let changed = load_large(blobs, &run.row.inputs).await? != inputs;
    let inputs = if changed { Some((run.row.inputs.clone(), store_large(blobs, inputs).await?)) } else { None };
    engine.keep_workflow(blob.digest, workflow);
    let edit = Edit { from: run.row.definition.clone(), to, inputs, asked: from };
    let (reset_from, edit) = (difference.reset_from, Some(Box::new(edit)));
    Ok((edited, ExecutionEvent::ResumeRequested { reset_from, edit, files, added_usd }))
}
