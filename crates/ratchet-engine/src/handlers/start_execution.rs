//! A run is asked for.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use ratchet_core::{
    execution::ExecutionRow, history::Chain, ids::Epoch, reconcile::WAKE_SECONDS_MIN, status::ExecutionStatus,
    transition::ExecutionTransition, workflow::Workflow,
};
use ratchet_definition::sources::compile_stored;

use crate::{
    artifacts,
    engine::{Engine, EngineError, StartRequest, Started},
    ports::{Current, Envelope, Event, Expectation, Write},
    run::Run,
    turns,
    values::{store_large, store_large_value},
};

/// The workflow that a run is asked for with, compiled once.
pub(crate) fn workflow_of(engine: &Engine, request: &StartRequest) -> Result<Arc<Workflow>, EngineError> {
    let StartRequest { execution, definition, source, .. } = request;
    if let Some(workflow) = engine.kept_workflow(&definition.digest) {
        return Ok(workflow);
    }
    let unreadable = |reason: String| EngineError::Definition { execution: execution.clone(), reason };
    compile_stored(&definition.origin, source).map(Arc::new).map_err(unreadable)
}

/// Starts a run. The same identifier again is the same run, whoever asks and however often.
pub(crate) async fn start(engine: &Engine, request: StartRequest) -> Result<Started, EngineError> {
    let workflow = workflow_of(engine, &request)?;
    let StartRequest {
        execution,
        definition,
        source,
        inputs,
        environment,
        trigger,
        options,
        actor,
        trace,
        parent,
        tree,
    } = request;
    let unreadable = |reason: String| EngineError::Definition { execution: execution.clone(), reason };
    // A run that a step starts has the variables of the run above it, which knows nothing of its secrets.
    if parent.is_none()
        && let Some(name) = workflow.secret_environment.iter().find(|name| environment.contains_key(*name))
    {
        return Err(EngineError::SecretVariable { workflow: workflow.name.clone(), name: name.clone() });
    }
    let blob = engine.ports.blobs.put(source.as_bytes()).await?;
    if blob.digest != definition.digest {
        return Err(unreadable(format!("its text has the digest {}, not {}", blob.digest, definition.digest)));
    }
    engine.keep_workflow(blob.digest, workflow.clone());
    let mut inputs = inputs;
    // In a box: few runs are given any, and every start would have the room for it.
    Box::pin(artifacts::read_inputs(engine, &execution, &workflow, &mut inputs)).await?;
    let (trigger, stored_trigger) = store_large_value(engine.ports.blobs.as_ref(), trigger).await?;
    let now = engine.ports.clock.now();
    let after = |span: SignedDuration| now.checked_add(span).unwrap_or(Timestamp::MAX);
    let row = ExecutionRow {
        id: execution.clone(),
        parent,
        definition,
        epoch: Epoch::FIRST,
        status: ExecutionStatus::Running,
        endings: Vec::new(),
        in_finally: false,
        turn: None,
        tree,
        left: None,
        pause_reason: None,
        inputs: store_large(engine.ports.blobs.as_ref(), inputs).await?,
        environment,
        trigger,
        stored_trigger,
        options,
        trace: trace.clone(),
        created_at: now,
        updated_at: now,
        ended_at: None,
        deadline: None,
        wake_at: Some(after(SignedDuration::from_secs(WAKE_SECONDS_MIN))),
        idle_wakes: 0,
        asks: false,
        outputs: ratchet_core::output::Outputs::new(),
        continued: false,
        failure: None,
        revision: 1,
        chain: Chain::EMPTY,
        records: Vec::new(),
    };
    let run = Run { row, workflow };
    let group = turns::group_of(engine, &run).await?;
    let mut row = run.row;
    // The time in which it waits for its turn does not count.
    let timeout = row.policy(&run.workflow).timeout.filter(|_| group.is_none());
    let deadline = timeout.map(|timeout| after(SignedDuration::try_from(timeout).unwrap_or(SignedDuration::MAX)));
    let created = ExecutionTransition::Created {
        definition: row.definition.digest.clone(),
        deadline,
        group,
        parent: row.parent.clone(),
        tree: row.tree.clone(),
    };
    let record = Chain::EMPTY.next(execution.as_str(), now, actor, "ExecutionRequested".to_owned(), created);
    row.apply(record.clone());
    let write = Write::Execution { row: Box::new(row.clone()), expect: Expectation::Absent };
    let committed = engine.ports.store.commit(vec![write]).await?;
    let created = committed.conflict.is_none();
    if let Some(Current::Execution(existing)) = committed.conflict.map(|conflict| conflict.current) {
        row = *existing;
    } else {
        engine.ports.observer.execution_changed(&row, &record);
    }
    // Also for a run that was there: whoever made it may have died before anybody was told.
    if row.status == ExecutionStatus::Running {
        engine.ports.bus.publish(Envelope { execution, trace, event: Event::ExecutionChanged }).await?;
    }
    Ok(Started { row, created })
}
