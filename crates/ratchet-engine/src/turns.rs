//! Turns in concurrency groups: a run whose workflow says so begins when its turn has come, and lets the next have theirs when it ends.

use ratchet_core::{
    event::ExecutionEvent,
    execution::ExecutionRow,
    group::{GroupRow, LIMIT_MAX, Member, QUEUE_MAX, Standing},
    history::Actor,
    ids::ExecutionId,
    join::NeedOutcome,
    reconcile::backoff,
    step::{FailureClass, StepFailure},
    transition::Ending,
    workflow::{OnConflict, Workflow},
};
use ratchet_definition::evaluate::Evaluator;

use crate::{
    engine::{Engine, EngineError},
    execution_row,
    handlers::plan::{Found, NextWake, set_next_wake},
    ports::{Envelope, Event, Write, WriteOutcome},
    run::Run,
    scope::{self, Overlay},
};

/// The stable code of a run that others were in the way of.
const REFUSED: &str = "RT-0187";

/// The most bytes of a group's name.
const NAME_MAX: usize = 256;

/// So many of those that wait before a run are looked after by it, besides those whose turn it is.
const LOOKED_AFTER_MAX: usize = 16;

/// How often in a row a run asks again after it found that others were gone.
const ROUNDS_MAX: u32 = 20;

/// How many runs are named to people.
const NAMED_MAX: usize = 3;

/// The name of the group of a run that is asked for; `None` where its workflow has none.
pub(crate) async fn group_of(engine: &Engine, run: &Run) -> Result<Option<String>, EngineError> {
    let Some(concurrency) = &run.workflow.concurrency else { return Ok(None) };
    let unnamed = |reason: String| EngineError::Group { workflow: run.workflow.name.clone(), reason };
    let mut scope =
        scope::build(engine, run, &Overlay::new(), std::collections::BTreeSet::new(), NeedOutcome::FINE, None).await?;
    let files = engine.ports.workspaces.files(&run.row, run.row.tree.as_ref()).await?;
    scope::add_environment(&mut scope, run, &files).map_err(|error| unnamed(error.to_string()))?;
    let name = Evaluator::new(scope, files).text(&concurrency.group).map_err(|error| unnamed(error.to_string()))?;
    if name.trim().is_empty() {
        return Err(unnamed("it is empty".to_owned()));
    }
    if name.len() > NAME_MAX || name.chars().any(char::is_control) {
        return Err(unnamed(format!("it is longer than {NAME_MAX} bytes, or more than a line")));
    }
    // A run that is a step of another one goes on in the turn of that.
    let mut above = run.row.parent.as_ref().map(|parent| parent.key.execution.clone());
    while let Some(row) = match above {
        Some(id) => engine.ports.store.execution(&id).await?,
        None => None,
    } {
        if row.turn.is_some_and(|turn| turn.group == name) {
            return Ok(None);
        }
        above = row.parent.map(|parent| parent.key.execution);
    }
    // A part of a run whose turn it is goes on within that: waiting for its own, it would wait for itself.
    let is_within = is_within(engine, &run.row, &name).await?;
    Ok((!is_within).then_some(name))
}

/// Whether a run that this one was started for, directly or not, is in a group.
async fn is_within(engine: &Engine, row: &ExecutionRow, group: &str) -> Result<bool, EngineError> {
    let mut parent = row.parent.as_ref().map(|parent| parent.key.execution.clone());
    while let Some(id) = parent {
        let Some(row) = engine.ports.store.execution(&id).await? else { return Ok(false) };
        if row.turn.as_ref().is_some_and(|turn| turn.group == group) {
            return Ok(true);
        }
        parent = row.parent.map(|parent| parent.key.execution);
    }
    Ok(false)
}

/// Asks for the turn of a run that waits for it. Whether there is more to do for the run at once: its turn has come, or it has ended.
pub(crate) async fn ask(engine: &Engine, run: &Run) -> Result<bool, EngineError> {
    let Some(turn) = &run.row.turn else { return Ok(true) };
    let (limit, on_conflict) = policy(&run.workflow);
    let id = &run.row.id;
    for _ in 0..ROUNDS_MAX {
        let member = Member { execution: id.clone(), epoch: run.row.epoch, limit };
        let waits = on_conflict != OnConflict::Reject;
        let row = write(engine, Write::TakeTurn { group: turn.group.clone(), member, waits }).await?;
        let standing = row.standing(id);
        if standing == Standing::Holds {
            request(engine, run, &ExecutionEvent::TurnCame).await?;
            return Ok(true);
        }
        let is_changed = take_out_who_is_gone(engine, &row, standing).await?;
        if is_changed {
            continue;
        }
        if standing == Standing::Out {
            request(engine, run, &ExecutionEvent::TurnRefused { failure: refusal(&row, on_conflict) }).await?;
            return Ok(true);
        }
        if on_conflict == OnConflict::CancelRunning {
            cancel_who_is_in_the_way(engine, &row, id).await?;
            // Those that only waited have left at once.
            let now = engine.ports.store.group(&turn.group).await?;
            if now.is_none_or(|now| now.next().iter().any(|member| member.execution == *id)) {
                continue;
            }
        }
        break;
    }
    let there = engine.ports.store.execution(id).await?;
    if there.is_none_or(|now| now.epoch != run.row.epoch || now.status.is_ended()) {
        // It ended, or began another epoch, before it asked: whoever ended it has taken it out already.
        let (group, execution) = (turn.group.clone(), id.clone());
        let row = write(engine, Write::LeaveGroup { group, execution, epoch: run.row.epoch }).await?;
        tell_next(engine, &row).await?;
        return Ok(true);
    }
    let now = engine.ports.clock.now();
    let wake = NextWake { at: backoff(run.row.idle_wakes, now), found: Found::Idle, asks: false };
    set_next_wake(engine, id, wake, now).await?;
    Ok(false)
}

/// Takes a run out of a group's queue that nobody looks after: it is asked for again when somebody does. One whose turn it is stays.
pub(crate) async fn pass_over(engine: &Engine, row: &ExecutionRow) -> Result<(), EngineError> {
    let Some(turn) = row.turn.as_ref().filter(|_| row.waits_for_turn()) else { return Ok(()) };
    let group = engine.ports.store.group(&turn.group).await?;
    if group.is_some_and(|group| matches!(group.standing(&row.id), Standing::Waits { .. })) {
        let (group, execution) = (turn.group.clone(), row.id.clone());
        let row = write(engine, Write::LeaveGroup { group, execution, epoch: row.epoch }).await?;
        tell_next(engine, &row).await?;
    }
    Ok(())
}

/// Lets those that wait have their turn, because a run has ended. Nothing where it was in no group.
pub(crate) async fn leave(engine: &Engine, row: &ExecutionRow) -> Result<(), EngineError> {
    match leaving(row) {
        Some(write) => {
            let row = self::write(engine, write).await?;
            tell_next(engine, &row).await
        }
        None => Ok(()),
    }
}

/// The write with which a run that has ended leaves its group.
pub(crate) fn leaving(row: &ExecutionRow) -> Option<Write> {
    let turn = row.turn.as_ref().filter(|_| row.status.is_ended())?;
    Some(Write::LeaveGroup { group: turn.group.clone(), execution: row.id.clone(), epoch: row.epoch })
}

/// Wakes those whose turn has come. Where that is lost, their own wake-ups find it.
pub(crate) async fn tell_next(engine: &Engine, group: &GroupRow) -> Result<(), EngineError> {
    for member in group.next() {
        execution_row::wake_by(engine, &member.execution, engine.ports.clock.now()).await?;
        if let Some(row) = engine.ports.store.execution(&member.execution).await? {
            let envelope = Envelope { execution: row.id, trace: row.trace, event: Event::ExecutionChanged };
            engine.ports.bus.publish(envelope).await?;
        }
    }
    Ok(())
}

fn policy(workflow: &Workflow) -> (u32, OnConflict) {
    let concurrency = workflow.concurrency.as_ref();
    concurrency.map_or((LIMIT_MAX, OnConflict::Queue), |concurrency| (concurrency.limit, concurrency.on_conflict))
}

async fn write(engine: &Engine, write: Write) -> Result<GroupRow, EngineError> {
    let committed = engine.ports.store.commit(vec![write]).await?;
    match committed.applied.into_iter().next() {
        Some(WriteOutcome::Group(row)) => Ok(row),
        _ => unreachable!("a group's write never conflicts and leaves the group's row"),
    }
}

/// Changes the execution's row, where that still applies.
async fn request(engine: &Engine, run: &Run, event: &ExecutionEvent) -> Result<(), EngineError> {
    match execution_row::update(engine, run, event, Actor::Engine, event.name().to_owned()).await {
        Ok(_) | Err(EngineError::Rejected(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Takes out those in a run's way that have ended or are not there any more: whoever was to see to that may have died. Whether there were some.
async fn take_out_who_is_gone(engine: &Engine, group: &GroupRow, standing: Standing) -> Result<bool, EngineError> {
    let ahead = match standing {
        Standing::Waits { ahead } => ahead,
        Standing::Holds | Standing::Out => group.queue.len(),
    };
    let mut is_changed = false;
    for member in group.holders.iter().chain(group.queue.iter().take(ahead.min(LOOKED_AFTER_MAX))) {
        let row = engine.ports.store.execution(&member.execution).await?;
        let epoch = match &row {
            Some(row) if row.status.is_ended() => row.epoch,
            Some(_) => continue,
            // It asked when it was there, so it was removed since.
            None => member.epoch,
        };
        let (group, execution) = (group.group.clone(), member.execution.clone());
        write(engine, Write::LeaveGroup { group, execution, epoch }).await?;
        is_changed = true;
    }
    Ok(is_changed)
}

async fn cancel_who_is_in_the_way(engine: &Engine, group: &GroupRow, by: &ExecutionId) -> Result<(), EngineError> {
    for member in group.in_the_way(by) {
        let other = match Run::load(engine, &member.execution).await {
            Ok(other) => other,
            Err(EngineError::NotFound(_)) => continue,
            Err(error) => return Err(error),
        };
        let event = ExecutionEvent::EndRequested { ending: Ending::Cancelled };
        let cause = format!("CancelRequested {by} of the same concurrency group took its turn");
        match execution_row::update(engine, &other, &event, Actor::Engine, cause).await {
            Ok(row) => {
                let envelope = Envelope { execution: row.id, trace: row.trace, event: Event::ExecutionChanged };
                engine.ports.bus.publish(envelope).await?;
            }
            // It is being cancelled, or has ended.
            Err(EngineError::Rejected(rejection)) => tracing::debug!(%rejection, "rejected"),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn refusal(group: &GroupRow, on_conflict: OnConflict) -> StepFailure {
    let name = &group.group;
    let (message, hint) = if on_conflict == OnConflict::Reject {
        let message = format!("the concurrency group {name} is taken: {}", names(group));
        (message, "when that has ended, `ratchet resume` begins; `on_conflict: queue` would wait for it")
    } else {
        let message = format!("{QUEUE_MAX} runs wait for their turn in the concurrency group {name}, and no more may");
        (message, "when some of them have begun, `ratchet resume` waits for its turn")
    };
    StepFailure::new(FailureClass::Definition, message).with_code(REFUSED).with_hint(hint)
}

/// Who is in the way, for people.
fn names(group: &GroupRow) -> String {
    let named: Vec<&str> = group.holders.iter().take(NAMED_MAX).map(|member| member.execution.as_str()).collect();
    let more = group.holders.len().saturating_sub(NAMED_MAX) + group.queue.len();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let goes = if group.holders.len() + group.queue.len() > 1 { "are" } else { "is" };
    format!("{}{more} {goes} before this run", named.join(", "))
}
