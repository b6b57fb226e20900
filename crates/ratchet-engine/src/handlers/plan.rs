//! What is left undone of a run is derived and done: at its start, after a resume or a cancel, and whenever its wake-up is due.

use jiff::Timestamp;
use ratchet_core::{
    event::ExecutionEvent,
    history::Actor,
    ids::{ExecutionId, StepId, StepKey, StepPath},
    join::JoinKind,
    reconcile::{Plan, reconcile},
    status::ExecutionStatus,
    step::StepRow,
    transition::Ending,
};

use crate::{
    advance::{Advance, Dispatch, Task},
    engine::{Engine, EngineError},
    execution_row,
    ports::{Envelope, Event, TaskState},
    run::Run,
};

/// Rows of older epochs are fenced before anything is derived from them: at most so many rounds.
const ROUNDS_MAX: u32 = 20;

/// Derives what is left undone, and does it.
pub(crate) async fn plan(engine: &Engine, id: &ExecutionId) -> Result<(), EngineError> {
    for _ in 0..ROUNDS_MAX {
        let run = Run::load(engine, id).await?;
        if run.row.status != ExecutionStatus::Running {
            return Ok(());
        }
        let newest = newest(engine, &run).await?;
        let resumes = run.row.resumes();
        let now = engine.ports.clock.now();
        let rows: Vec<Option<&StepRow>> = newest.iter().map(Option::as_ref).collect();
        let plan = reconcile(run.graph(), &run.row, &rows, &resumes, now);
        if !plan.fence.is_empty() {
            fence(engine, run, plan.fence).await?;
            continue;
        }
        if let Some(ending) = plan.ending {
            begin_ending(engine, &run, ending).await?;
            continue;
        }
        return carry_out(engine, run, plan).await;
    }
    Err(EngineError::Contention { execution: id.clone() })
}

async fn newest(engine: &Engine, run: &Run) -> Result<Vec<Option<StepRow>>, EngineError> {
    let ids: Vec<StepId> = run.graph().nodes().iter().map(|node| node.id.clone()).collect();
    Ok(engine.ports.store.newest_steps(&run.row.id, run.row.epoch, &ids).await?)
}

/// Settles rows of older epochs, so that what counts of them can be told once and for all.
async fn fence(engine: &Engine, run: Run, keys: Vec<StepKey>) -> Result<(), EngineError> {
    let mut advance = Advance::new(engine, run);
    for key in keys {
        advance.stop_children_of(&key).await?;
        advance.push(Task::Cancel(key));
    }
    advance.work().await
}

async fn begin_ending(engine: &Engine, run: &Run, ending: Ending) -> Result<(), EngineError> {
    let event = ExecutionEvent::EndRequested { ending };
    match execution_row::update(engine, run, &event, Actor::Engine, event.name().to_owned()).await {
        Ok(_) | Err(EngineError::Rejected(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

async fn carry_out(engine: &Engine, run: Run, plan: Plan) -> Result<(), EngineError> {
    let found_work = plan.found_work();
    let id = run.row.id.clone();
    if let Some(step) = plan.waiting_for_person.first() {
        let reason = format!("{step} waits for a person: its attempt was lost and what it did is unknown");
        let event = ExecutionEvent::PauseRequested { reason, step: Some(step.clone()) };
        match execution_row::update(engine, &run, &event, Actor::Engine, event.name().to_owned()).await {
            Ok(_) | Err(EngineError::Rejected(_)) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
    let mut advance = Advance::new(engine, run);
    let mut running = plan.running;
    let mut retry_due = plan.retry_due;
    for key in &plan.fan_outs {
        let children = advance.push_fan_out(key).await?;
        running.extend(children.running);
        retry_due.extend(children.retry_due);
    }
    for key in &plan.ended_fan_outs {
        advance.stop_children_of(key).await?;
    }
    let lost = lost_among(engine, &running).await?;
    for ready in plan.ready {
        let adopts = match &ready.old_fan_out {
            Some(key) => engine.ports.store.step(key).await?.map(Box::new),
            None => None,
        };
        advance.push(Task::Dispatch(Dispatch { adopts, ..Dispatch::step(ready.step, ready.needs) }));
    }
    for (step, ordinal, outcome) in plan.unite {
        let place = advance.run.node(&step)?.join().place(ordinal);
        advance.push(Task::Arrive { step, kind: JoinKind::Needs, place, outcome });
    }
    if plan.work_over {
        advance.push(Task::WorkOver);
    }
    if let Some(needs) = plan.end {
        advance.push(Task::End(needs));
    }
    advance.work().await?;
    let trace = advance.run.row.trace.clone();
    let tell = |event| Envelope { execution: id.clone(), trace: trace.clone(), event };
    for (key, attempt) in &lost {
        engine.ports.bus.publish(tell(Event::TaskLost { key: key.clone(), attempt: *attempt })).await?;
    }
    for (key, attempt) in retry_due {
        engine.ports.bus.publish(tell(Event::RetryDue { key, attempt })).await?;
    }
    let idle = u32::from(!found_work && lost.is_empty());
    set_next_wake(engine, &id, plan.wake_at, idle).await
}

/// Attempts that should be running and whose task is gone.
async fn lost_among(engine: &Engine, running: &[(StepKey, u32)]) -> Result<Vec<(StepKey, u32)>, EngineError> {
    let mut lost = Vec::new();
    for (key, attempt) in running {
        if engine.ports.launcher.state(key, *attempt).await? == TaskState::Gone {
            lost.push((key.clone(), *attempt));
        }
    }
    Ok(lost)
}

async fn set_next_wake(
    engine: &Engine,
    id: &ExecutionId,
    planned: Option<Timestamp>,
    idle: u32,
) -> Result<(), EngineError> {
    let Some(planned) = planned else { return Ok(()) };
    let now = engine.ports.clock.now();
    execution_row::set_wake(engine, id, |row| {
        // A time that another handler set meanwhile and that has not come stands where it is earlier.
        let earlier = row.wake_at.filter(|at| *at > now && *at < planned);
        let wake = earlier.unwrap_or(planned);
        let idle_wakes = if idle == 0 { 0 } else { row.idle_wakes.saturating_add(idle) };
        (row.wake_at != Some(wake) || row.idle_wakes != idle_wakes).then_some((wake, idle_wakes))
    })
    .await
}

impl Advance<'_> {
    /// Gives up the children of a fan-out of an older epoch.
    async fn stop_children_of(&mut self, key: &StepKey) -> Result<(), EngineError> {
        for row in self.unsettled_children(key).await? {
            self.push(Task::Cancel(StepKey { path: StepPath::child(key.path.step.clone(), row), ..key.clone() }));
        }
        Ok(())
    }
}
