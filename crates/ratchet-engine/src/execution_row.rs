//! Changes of an execution's row.

use jiff::Timestamp;
use ratchet_core::{
    decide::decide_execution,
    event::ExecutionEvent,
    execution::ExecutionRow,
    history::{Actor, Record},
    ids::{Digest, ExecutionId},
    join::NeedOutcome,
    output::{FileValue, Output, Outputs},
    rejection::Rejection,
    step::{FailureClass, StepFailure},
    transition::ExecutionTransition,
    workflow::{OutputDeclaration, ValueType},
};
use ratchet_definition::{coerce::coerce, evaluate::Evaluator, files::FileAccess};
use serde_json::Value;

use crate::{
    artifacts,
    engine::{Engine, EngineError},
    ports::{Current, Envelope, Event, Expectation, Write},
    prepare::failure_of,
    run::Run,
    scope::{self, Overlay},
    turns,
    values::store_large,
};

/// How often a write of an execution's row may conflict before its handler gives up.
const CONFLICTS_MAX: u32 = 50;

/// The row as an event leaves it, and the record of the change.
pub(crate) fn change(
    run: &Run,
    event: &ExecutionEvent,
    actor: Actor,
    cause: String,
    now: Timestamp,
) -> Result<(ExecutionRow, Record<ExecutionTransition>), Rejection> {
    let transition = decide_execution(&run.row, event, &run.policy(), now)?;
    let record = run.row.chain.next(run.row.id.as_str(), now, actor, cause, transition);
    let mut row = run.row.clone();
    row.apply(record.clone());
    row.revision += 1;
    Ok((row, record))
}

/// Changes the row by an event, however often others come between. Tells the observer. What the engine itself makes happen follows from the epoch that it saw, and
/// is rejected in the next one; a person means the run as it is.
pub(crate) async fn update(
    engine: &Engine,
    run: &Run,
    event: &ExecutionEvent,
    actor: Actor,
    cause: String,
) -> Result<ExecutionRow, EngineError> {
    let mut run = run.clone();
    for _ in 0..CONFLICTS_MAX {
        let (row, record) = change(&run, event, actor.clone(), cause.clone(), engine.ports.clock.now())?;
        match write(engine, &run.row, row.clone()).await? {
            Ok(()) => {
                engine.ports.observer.execution_changed(&row, &record);
                // In a box: it is rarely done, and every change of a row would have the room for it.
                if row.status.is_ended() {
                    Box::pin(turns::leave(engine, &row)).await?;
                }
                tell_parent(engine, &row, &record).await?;
                return Ok(row);
            }
            Err(current) if actor == Actor::Engine && current.epoch != run.row.epoch => {
                return Err(Rejection::OldEpoch { event: run.row.epoch, current: current.epoch }.into());
            }
            Err(current) => run.row = current,
        }
    }
    Err(EngineError::Contention { execution: run.row.id })
}

/// What the run that a step is tells the run that the step belongs to; the wake-up of that makes up for what is lost.
pub(crate) fn for_parent(row: &ExecutionRow, record: &Record<ExecutionTransition>) -> Option<Envelope> {
    use ExecutionTransition as T;
    let key = row.parent.as_ref()?.key.clone();
    match record.transition {
        T::Ended { .. } | T::Paused { .. } | T::WentOn => {
            let (execution, trace) = (key.execution.clone(), row.trace.clone());
            Some(Envelope { execution, trace, event: Event::RunChanged { key } })
        }
        T::Created { .. }
        | T::TurnCame { .. }
        | T::EndingBegan { .. }
        | T::FinallyBegan { .. }
        | T::Adopted { .. }
        | T::Resumed { .. } => None,
    }
}

async fn tell_parent(
    engine: &Engine,
    row: &ExecutionRow,
    record: &Record<ExecutionTransition>,
) -> Result<(), EngineError> {
    match for_parent(row, record) {
        Some(envelope) => Ok(engine.ports.bus.publish(envelope).await?),
        None => Ok(()),
    }
}

/// Has the run looked at no later than at a time.
pub(crate) async fn wake_by(engine: &Engine, id: &ExecutionId, at: Timestamp) -> Result<(), EngineError> {
    set_wake(engine, id, |row| ExecutionRow { wake_at: row.wake_at.into_iter().chain([at]).min(), ..row.clone() }).await
}

/// Sets when and how the run is looked at again, as `choose` gives it.
pub(crate) async fn set_wake(
    engine: &Engine,
    id: &ExecutionId,
    choose: impl Fn(&ExecutionRow) -> ExecutionRow,
) -> Result<(), EngineError> {
    let mut current = engine.ports.store.execution(id).await?;
    for _ in 0..CONFLICTS_MAX {
        let Some(old) = current.filter(ExecutionRow::is_watched) else { return Ok(()) };
        let chosen = choose(&old);
        if chosen == old {
            return Ok(());
        }
        match write(engine, &old, ExecutionRow { revision: old.revision + 1, ..chosen }).await? {
            Ok(()) => return Ok(()),
            Err(other) => current = Some(other),
        }
    }
    Err(EngineError::Contention { execution: id.clone() })
}

async fn write(
    engine: &Engine,
    old: &ExecutionRow,
    new: ExecutionRow,
) -> Result<Result<(), ExecutionRow>, EngineError> {
    let expect = Expectation::Revision(old.revision);
    let committed = engine.ports.store.commit(vec![Write::Execution { row: Box::new(new), expect }]).await?;
    match committed.conflict.map(|conflict| conflict.current) {
        None => Ok(Ok(())),
        Some(Current::Execution(row)) => Ok(Err(*row)),
        Some(Current::Absent | Current::Step(_) | Current::Budget(_) | Current::Artifact(_)) => {
            Err(EngineError::NotFound(old.id.clone()))
        }
    }
}

/// What a run gives.
pub(crate) struct Given {
    /// By name; null where an output cannot be evaluated.
    pub(crate) outputs: Outputs,
    /// Why the first one that cannot be evaluated cannot.
    pub(crate) failure: Option<StepFailure>,
}

/// What a run gives: its declared outputs, evaluated over its steps'.
pub(crate) async fn outputs(
    engine: &Engine,
    run: &Run,
    overlay: &Overlay,
    tree: Option<&Digest>,
) -> Result<Given, EngineError> {
    let declared = &run.workflow.outputs;
    if declared.is_empty() {
        return Ok(Given { outputs: Outputs::new(), failure: None });
    }
    let steps = declared
        .iter()
        .filter_map(|output| output.from.as_ref())
        .flat_map(|from| from.uses.steps.iter().cloned())
        .collect();
    let scope = scope::build(engine, run, overlay, steps, NeedOutcome::FINE, None).await?;
    let files = engine.ports.workspaces.files(&run.row, tree).await?;
    let asked = scope.artifacts.clone();
    let evaluator = Evaluator::new(scope, files.clone());
    loop {
        let given = evaluate(engine, declared, &evaluator, files.as_ref()).await?;
        if !artifacts::find_wanted(engine, run, None, &asked).await? {
            return Ok(Given { outputs: store_large(engine.ports.blobs.as_ref(), given.outputs).await?, ..given });
        }
    }
}

async fn evaluate(
    engine: &Engine,
    declared: &[OutputDeclaration],
    evaluator: &Evaluator,
    files: &dyn FileAccess,
) -> Result<Given, EngineError> {
    let mut given = Given { outputs: Outputs::new(), failure: None };
    for output in declared {
        let value = match evaluate_one(engine, output, evaluator, files).await? {
            Ok(value) => value,
            Err(failure) => {
                let failure = StepFailure {
                    message: format!("the workflow's output {}: {}", output.name, failure.message),
                    ..failure
                };
                given.failure.get_or_insert(failure);
                Output::Json(Value::Null)
            }
        };
        given.outputs.insert(output.name.clone(), value);
    }
    Ok(given)
}

async fn evaluate_one(
    engine: &Engine,
    output: &OutputDeclaration,
    evaluator: &Evaluator,
    files: &dyn FileAccess,
) -> Result<Result<Output, StepFailure>, EngineError> {
    let null = Output::Json(Value::Null);
    let evaluated = output.from.as_ref().map_or(Ok(null.clone()), |from| evaluator.expression(from));
    Ok(match evaluated {
        Ok(value) if value == null => Ok(value),
        // What is kept is the file that the path names.
        Ok(Output::Json(Value::String(path))) if output.value_type == ValueType::Artifact => {
            match files.read(path.trim()) {
                Ok(bytes) => {
                    let content = engine.ports.blobs.put(&bytes).await?;
                    let path = path.trim().trim_start_matches("./").to_owned();
                    Ok(Output::File(FileValue { path, content }))
                }
                Err(error) => Err(StepFailure::new(FailureClass::Output, error.to_string()).with_code("RT-0123")),
            }
        }
        Ok(value) => coerce(output.value_type, value)
            .map_err(|error| StepFailure::new(FailureClass::Output, error.to_string()).with_code(error.code)),
        Err(error) => Err(failure_of(&error)),
    })
}
