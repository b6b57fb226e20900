//! A person says yes or no to a step that asks.

use ratchet_core::{
    decide::decide_step,
    event::{ExecutionEvent, StepEvent},
    execution::ExecutionRow,
    history::Actor,
    ids::{ExecutionId, StepKey},
    reconcile::backoff,
    rejection::Rejection,
    status::{ExecutionStatus, StepStatus},
    step::Answer,
};

use crate::{
    engine::{Engine, EngineError},
    execution_row,
    ports::{Envelope, Event, Expectation, Write},
    run::Run,
};

/// How often the step may change in between.
const CONFLICTS_MAX: u32 = 20;

/// Records the answer, then has the run planned: whoever drives it starts what the answer lets start.
pub(crate) async fn answer(
    engine: &Engine,
    key: &StepKey,
    answer: Answer,
    actor: Actor,
) -> Result<ExecutionRow, EngineError> {
    let id = &key.execution;
    let run = Run::load(engine, id).await?;
    run.node(&key.path.step)?;
    if run.row.epoch != key.epoch {
        return Err(Rejection::OldEpoch { event: key.epoch, current: run.row.epoch }.into());
    }
    if !run.row.is_watched() {
        return Err(Rejection::ExecutionNotApplicable { status: run.row.status, event: "Answered" }.into());
    }
    record(engine, &run, key, &answer, &actor).await?;
    let row = let_go_on(engine, id).await?;
    let_all_above_go_on(engine, &row).await?;
    let trace = row.trace.clone();
    engine.ports.bus.publish(Envelope { execution: id.clone(), trace, event: Event::ExecutionChanged }).await?;
    Ok(row)
}

async fn record(engine: &Engine, run: &Run, key: &StepKey, answer: &Answer, actor: &Actor) -> Result<(), EngineError> {
    let event = StepEvent::Answered(answer.clone());
    let path = &key.path;
    for _ in 0..CONFLICTS_MAX {
        let Some(row) = engine.ports.store.step(key).await? else {
            let (step, status, event) = (path.clone(), StepStatus::Pending, event.name());
            return Err(Rejection::NotApplicable { step, status, event }.into());
        };
        if let Some(given) = row.answer() {
            return if given.approved == answer.approved {
                Ok(())
            } else {
                let (step, approved, by) = (path.clone(), given.approved, given.by.clone());
                Err(Rejection::AnsweredOtherwise { step, approved, by }.into())
            };
        }
        let now = engine.ports.clock.now();
        let decision = decide_step(path, Some(&row), &event, &run.step_policy(path), now)?;
        let cause = format!("Answered {path}");
        let record = row.chain.next(&key.to_string(), now, actor.clone(), cause, decision.transition);
        let expect = Expectation::Revision(row.revision());
        let mut row = row;
        row.apply(record.clone());
        let write = Write::Step { row: Box::new(row.clone()), expect };
        if engine.ports.store.commit(vec![write]).await?.conflict.is_none() {
            engine.ports.observer.step_changed(&row, &record);
            return Ok(());
        }
    }
    Err(EngineError::Contention { execution: run.row.id.clone() })
}

/// The runs that this one is a step of go on with it. They would find that out by themselves, a little later.
async fn let_all_above_go_on(engine: &Engine, row: &ExecutionRow) -> Result<(), EngineError> {
    let mut above = row.parent.as_ref().map(|parent| parent.key.execution.clone());
    while let Some(id) = above {
        let run = Run::load(engine, &id).await?;
        if run.row.status == ExecutionStatus::Paused && run.row.is_watched() {
            let_go_on(engine, &id).await?;
        }
        above = run.row.parent.map(|parent| parent.key.execution);
    }
    Ok(())
}

/// A run that was paused for the answer goes on. It is read after the answer was written: whoever pauses it writes that first, and then looks
/// whether the answer is there, so that one of the two always sees the other.
async fn let_go_on(engine: &Engine, id: &ExecutionId) -> Result<ExecutionRow, EngineError> {
    let run = Run::load(engine, id).await?;
    if run.row.status != ExecutionStatus::Paused {
        // Should nobody hear of it.
        execution_row::wake_by(engine, id, backoff(0, engine.ports.clock.now())).await?;
        return Ok(run.row);
    }
    let event = ExecutionEvent::PauseOver;
    match execution_row::update(engine, &run, &event, Actor::Engine, event.name().to_owned()).await {
        Ok(row) => Ok(row),
        // Another handler was first, or the run has ended.
        Err(EngineError::Rejected(_)) => Ok(Run::load(engine, id).await?.row),
        Err(error) => Err(error),
    }
}
