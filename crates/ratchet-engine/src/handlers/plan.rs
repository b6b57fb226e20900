//! What is left undone of a run is derived and done: at its start, after a resume or a cancel, and whenever its wake-up is due.

use jiff::Timestamp;
use ratchet_core::{
    event::ExecutionEvent,
    execution::ExecutionRow,
    history::Actor,
    ids::{Epoch, ExecutionId, StepId, StepKey, StepPath},
    reconcile::{Plan, backoff, reconcile},
    status::ExecutionStatus,
    step::{StepRow, StepState, Waiting},
    transition::Ending,
    workflow::OnLost,
};

use crate::{
    advance::{Advance, Dispatch, NestedRuns, Task, limit_reason, paused_in_words, settle_ended, tell},
    artifacts::Registered,
    engine::{Engine, EngineError},
    execution_row,
    ports::{Event, TaskState},
    prepare::has_later_files,
    run::Run,
    turns,
};

/// Rows of older epochs are fenced before anything is derived from them: at most so many rounds.
const ROUNDS_MAX: u32 = 20;

/// Rows that are read at once.
const PAGE: usize = 500;

/// Derives what is left undone, and does it.
pub(crate) async fn plan(engine: &Engine, id: &ExecutionId) -> Result<(), EngineError> {
    look_after(engine, id, false).await
}

/// The same, and the runs that steps of it are have themselves looked after.
pub(crate) async fn wake(engine: &Engine, id: &ExecutionId) -> Result<(), EngineError> {
    look_after(engine, id, true).await
}

async fn look_after(engine: &Engine, id: &ExecutionId, wakes_nested: bool) -> Result<(), EngineError> {
    for _ in 0..ROUNDS_MAX {
        let run = Run::load(engine, id).await?;
        if !run.row.is_watched() {
            return Ok(());
        }
        if is_left_alone(engine, &run.row).await? {
            request(engine, &run, &ExecutionEvent::EndRequested { ending: Ending::Cancelled }).await?;
            continue;
        }
        if run.row.waits_for_turn() {
            if Box::pin(turns::ask(engine, &run)).await? {
                continue;
            }
            return Ok(());
        }
        Box::pin(settle_ended(engine, &run)).await?;
        let newest = run.newest(engine).await?;
        // First: what is told of a settled step is that all of it was done.
        if let Some(registered) = Registered::load(engine, &run).await? {
            registered.complete(engine, &run, newest.iter().flatten()).await?;
        }
        let resumes = run.row.resumes();
        let now = engine.ports.clock.now();
        let rows: Vec<Option<&StepRow>> = newest.iter().map(Option::as_ref).collect();
        let mut plan = reconcile(run.graph(), &run.row, &rows, &resumes, now);
        plan.fence.extend(gone(engine, &run).await?);
        // A run that a step is goes on under the step's next claim, but for one that would go on without what changed in the directory since.
        let goes_on = |key: &StepKey| run.is_nested(&key.path.step) && has_later_files(&run, key);
        plan.fence.retain(|key| !(plan.surviving.contains(key) && goes_on(key)));
        if run.row.status == ExecutionStatus::Paused {
            if let Some(wake_at) = stays_paused(engine, &run, &plan).await? {
                let wake = NextWake { at: wake_at, found: Found::of(false, wakes_nested), asks: false };
                return set_next_wake(engine, id, wake, now).await;
            }
            request(engine, &run, &ExecutionEvent::PauseOver).await?;
            continue;
        }
        if !plan.fence.is_empty() {
            if Box::pin(fence(engine, run.clone(), std::mem::take(&mut plan.fence))).await? {
                continue;
            }
            if plan.ending.is_none() {
                let soon = NextWake { at: backoff(0, now), found: Found::Work, asks: run.row.asks };
                return set_next_wake(engine, id, soon, now).await;
            }
        }
        if let Some(ending) = plan.ending {
            request(engine, &run, &ExecutionEvent::EndRequested { ending }).await?;
            continue;
        }
        if !Box::pin(carry_out(engine, run, plan, wakes_nested)).await? {
            return Ok(());
        }
    }
    Err(EngineError::Contention { execution: id.clone() })
}

/// Whether nobody waits for what the run gives any more: the step that it was started for has another attempt, was given up, or is of a run that ends.
async fn is_left_alone(engine: &Engine, row: &ExecutionRow) -> Result<bool, EngineError> {
    let Some(parent) = row.parent.as_ref().filter(|_| !row.endings.contains(&Ending::Cancelled)) else {
        return Ok(false);
    };
    let store = &engine.ports.store;
    let Some(above) = store.execution(&parent.key.execution).await? else { return Ok(true) };
    let is_this = |step: &StepRow| step.execution.as_ref() == Some(&row.id);
    if above.epoch == parent.key.epoch {
        let step = store.step(&parent.key).await?;
        return Ok(!step.is_some_and(|step| is_this(&step) && !step.status().is_settled()));
    }
    if above.status.is_ended() || !above.endings.is_empty() {
        return Ok(true);
    }
    // Its run was resumed: unless the step has something else to do there, it is about to take this one over.
    let newer = store.step(&StepKey { epoch: above.epoch, ..parent.key.clone() }).await?;
    Ok(newer.is_some_and(|newer| !is_this(&newer)))
}

/// Rows that are not settled of steps that an edit of the definition took away.
async fn gone(engine: &Engine, run: &Run) -> Result<Vec<StepKey>, EngineError> {
    let mut found = Vec::new();
    if run.row.definitions().last().is_none_or(|(epoch, _)| *epoch != run.row.epoch || *epoch == Epoch::FIRST) {
        return Ok(found);
    }
    let mut after = None;
    loop {
        let page = engine.ports.store.steps(&run.row.id, after.as_ref(), PAGE).await?;
        after = page.rows.last().map(|row| row.key.clone());
        let is_gone = |row: &&StepRow| !row.status().is_settled() && run.graph().node_of(&row.key.path.step).is_none();
        found.extend(page.rows.iter().filter(is_gone).map(|row| row.key.clone()));
        if !page.more {
            return Ok(found);
        }
    }
}

/// Settles rows of older epochs, so that what counts of them can be told once and for all. `false` where some are runs of their own that have not ended yet.
async fn fence(engine: &Engine, run: Run, keys: Vec<StepKey>) -> Result<bool, EngineError> {
    let mut advance = Advance::new(engine, run);
    let undecided = advance.undecided(&keys).await?;
    if let Some(step) = undecided.first().map(|key| key.path.step.clone()) {
        advance.push(Task::Suspend(undecided));
        advance.work().await?;
        // Whoever suspended them may have died before the run was paused.
        return wait_for_person(engine, &advance.run, &step).await.map(|()| true);
    }
    for key in &keys {
        advance.stop_children(key).await?;
    }
    let (nested, other): (Vec<StepKey>, Vec<StepKey>) =
        keys.into_iter().partition(|key| advance.run.is_nested(&key.path.step));
    advance.push(Task::Cancel(other));
    if !nested.is_empty() {
        advance.work().await?;
        if !advance.awaits_runs {
            advance.push(Task::Cancel(nested));
        }
    }
    advance.work().await?;
    // Looked at once more, it is found paused.
    Ok(wait_for_stuck(engine, &advance).await? || !advance.awaits_runs)
}

/// Has the run wait for a person where one that is to end does: people see this one.
async fn wait_for_stuck(engine: &Engine, advance: &Advance<'_>) -> Result<bool, EngineError> {
    let Some((path, _)) = advance.stuck.first() else { return Ok(false) };
    let reason = paused_in_words(&advance.stuck);
    let event = ExecutionEvent::PauseRequested { reason, step: Some(path.step.clone()), wake_at: None };
    request(engine, &advance.run, &event).await.map(|()| true)
}

/// Changes the execution's row, where that still applies.
async fn request(engine: &Engine, run: &Run, event: &ExecutionEvent) -> Result<(), EngineError> {
    match execution_row::update(engine, run, event, Actor::Engine, event.name().to_owned()).await {
        Ok(_) | Err(EngineError::Rejected(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Has the run wait for a person: whoever found that it must may not have got to say so.
async fn wait_for_person(engine: &Engine, run: &Run, step: &StepId) -> Result<(), EngineError> {
    let row = engine.ports.store.step(&run.key(StepPath::step(step.clone()))).await?;
    let reason = match row.as_ref().map(|row| &row.state) {
        Some(StepState::Waiting(Waiting::Limit(failure))) => limit_reason(step, failure),
        _ => format!("{step} waits for a person: its attempt was lost and what it did is unknown"),
    };
    let event = ExecutionEvent::PauseRequested { reason, step: Some(step.clone()), wake_at: None };
    request(engine, run, &event).await
}

/// When a run is looked at again that waits for people's answers; `None` where it has one, or something else to do.
async fn stays_paused(engine: &Engine, run: &Run, plan: &Plan) -> Result<Option<Timestamp>, EngineError> {
    let mut wake_at = plan.wake_at;
    let mut nested = plan.nested.clone();
    let mut advance = Advance::new(engine, run.clone());
    for key in &plan.fan_outs {
        let children = advance.push_fan_out(key).await?;
        if children.go_on() || !advance.is_idle() {
            return Ok(None);
        }
        wake_at = wake_at.into_iter().chain(children.next_due).min();
        nested.extend(children.nested);
    }
    let nested = advance.look_at_nested(nested).await?;
    if nested.go_on || !advance.is_idle() {
        return Ok(None);
    }
    Ok(wake_at.filter(|_| !plan.goes_on()))
}

/// Does what a plan says. Whether the run is to be looked at once more: it is paused now, or is about to be.
async fn carry_out(engine: &Engine, run: Run, plan: Plan, wakes_nested: bool) -> Result<bool, EngineError> {
    let id = run.row.id.clone();
    let mut goes_on = plan.goes_on();
    let mut waiting_for_person = plan.waiting_for_person;
    let mut advance = Advance::new(engine, run);
    let mut running = plan.running;
    let mut retry_due = plan.retry_due;
    let mut timers_due = plan.timers_due;
    let mut asking = plan.asking;
    let mut nested = plan.nested;
    let mut next_due = None;
    for key in &plan.fan_outs {
        let children = advance.push_fan_out(key).await?;
        goes_on |= children.go_on();
        if children.asks {
            asking.push(key.path.step.clone());
        }
        running.extend(children.running);
        nested.extend(children.nested);
        retry_due.extend(children.retry_due);
        timers_due.extend(children.timers_due);
        next_due = next_due.into_iter().chain(children.next_due).min();
        if children.waits_for_person {
            waiting_for_person.push(key.path.step.clone());
        }
    }
    if let Some(step) = waiting_for_person.first() {
        return wait_for_person(engine, &advance.run, step).await.map(|()| false);
    }
    for key in &plan.ended_fan_outs {
        advance.stop_children(key).await?;
    }
    if wait_for_stuck(engine, &advance).await? {
        return Ok(true);
    }
    let lost = lost_among(engine, &running).await?;
    let asked = pausing(&advance.run, &lost);
    if !asked.is_empty() {
        // The run is about to wait for a person: nothing is started now that would be on its way then.
        let mut advance = Advance::new(engine, advance.run);
        for (key, attempt) in asked {
            advance.push(Task::Lost { key, attempt });
        }
        return advance.work().await.map(|()| false);
    }
    for ready in plan.ready {
        let adopts = match &ready.old {
            Some(key) => engine.ports.store.step(key).await?.map(Box::new),
            None => None,
        };
        advance.push(Task::Dispatch(Dispatch { adopts, ..Dispatch::step(ready.step, ready.needs) }));
    }
    advance.push_missing_arrivals(plan.unite).await?;
    if plan.work_over {
        advance.push(Task::WorkOver);
    }
    if let Some(needs) = plan.end {
        advance.push(Task::End(needs));
    }
    for (key, attempt) in lost {
        advance.push(Task::Lost { key, attempt });
    }
    for (key, attempt) in retry_due {
        advance.push(Task::Retry { key, attempt });
    }
    for key in timers_due {
        advance.push(Task::TimeCome(key));
    }
    let NestedRuns { go_on, running, paused } = advance.look_at_nested(nested).await?;
    goes_on |= go_on;
    advance.work().await?;
    if wakes_nested {
        for row in running.iter().chain(paused.iter().map(|(_, row)| row)).filter(|row| row.is_watched()) {
            tell(engine, row, Event::WakeUpDue).await?;
        }
    }
    let now = engine.ports.clock.now();
    let wake_at = plan.wake_at.into_iter().chain(next_due).min();
    let is_still = !goes_on && !advance.progress.changed && advance.put_off == 0;
    let paused_at = paused.first().map(|(path, _)| &path.step);
    if let (Some(step), true) = (asking.first().or(paused_at), is_still) {
        let reason = if asking.is_empty() { paused_in_words(&paused) } else { asks_in_words(&asking) };
        // What only a resume lets go on is not looked at again.
        let is_watched = !asking.is_empty() || paused.iter().any(|(_, row)| row.is_watched());
        let wake_at = wake_at.filter(|_| is_watched);
        let event = ExecutionEvent::PauseRequested { reason, step: Some(step.clone()), wake_at };
        request(engine, &advance.run, &event).await?;
        return Ok(true);
    }
    // What was changed may have been left undone by a handler that died, and others with it. What only waits for room waits as well later.
    let soon = advance.progress.changed.then(|| backoff(0, now));
    let asks = !asking.is_empty() || !paused.is_empty();
    if let Some(at) = wake_at.into_iter().chain(soon).min() {
        let found = Found::of(advance.progress.changed, wakes_nested);
        set_next_wake(engine, &id, NextWake { at, found, asks }, now).await?;
    }
    // Whoever ended a step before that was written did not know of it; and what was changed here may have left nothing but questions.
    let is_new = !advance.run.row.asks || (advance.progress.changed && !advance.progress.goes_on);
    Ok(advance.progress.has_asked || (asks && is_new))
}

fn asks_in_words(asking: &[StepId]) -> String {
    match asking {
        [one] => format!("{one} waits for an approval"),
        [one, others @ ..] => format!("{one} and {} more wait for an approval", others.len()),
        [] => String::new(),
    }
}

/// Attempts that should be running and whose task is gone.
async fn lost_among(engine: &Engine, running: &[(StepKey, u32)]) -> Result<Vec<(StepKey, u32)>, EngineError> {
    let mut lost = Vec::new();
    for (key, attempt) in running {
        if !engine.claims.are_held(key, *attempt)
            && engine.ports.launcher.state(key, *attempt).await? == TaskState::Gone
        {
            lost.push((key.clone(), *attempt));
        }
    }
    Ok(lost)
}

/// When a run is looked at again, and what is known of it until then.
pub(crate) struct NextWake {
    /// When.
    pub(crate) at: Timestamp,
    /// What the look that sets it found to do.
    pub(crate) found: Found,
    /// Whether a step waits for a person's word.
    pub(crate) asks: bool,
}

/// What a look at a run found to do.
#[derive(Clone, Copy)]
pub(crate) enum Found {
    /// Something.
    Work,
    /// Nothing, and it was only looked at because its time had come: the next time is later.
    Idle,
    /// Nothing, and somebody had told that there might be something.
    Told,
}

impl Found {
    /// Of a look that changed something or not, because its time had come or not.
    fn of(changed: bool, woke: bool) -> Self {
        match (changed, woke) {
            (true, _) => Self::Work,
            (false, true) => Self::Idle,
            (false, false) => Self::Told,
        }
    }
}

/// Of attempts whose task is gone, those about which a person decides.
fn pausing(run: &Run, lost: &[(StepKey, u32)]) -> Vec<(StepKey, u32)> {
    let pauses = |(key, _): &&(StepKey, u32)| run.step_policy(&key.path).on_lost == OnLost::Pause;
    lost.iter().filter(pauses).cloned().collect()
}

/// Sets when the run is looked at again.
pub(crate) async fn set_next_wake(
    engine: &Engine,
    id: &ExecutionId,
    wake: NextWake,
    now: Timestamp,
) -> Result<(), EngineError> {
    execution_row::set_wake(engine, id, |row| {
        // A time that another handler set meanwhile and that has not come stands where it is earlier.
        let earlier = row.wake_at.filter(|at| *at > now && *at < wake.at);
        let idle_wakes = match wake.found {
            Found::Work => 0,
            Found::Idle => row.idle_wakes.saturating_add(1),
            Found::Told => row.idle_wakes,
        };
        ExecutionRow { wake_at: Some(earlier.unwrap_or(wake.at)), idle_wakes, asks: wake.asks, ..row.clone() }
    })
    .await
}
