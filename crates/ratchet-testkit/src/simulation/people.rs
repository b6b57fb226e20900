//! What people do to runs: they cancel and resume at any moment, and let what waits for them go on.

use std::sync::Arc;

use ratchet_core::{
    execution::ExecutionRow,
    history::Actor,
    ids::{StepId, StepKey, StepPath},
    status::ExecutionStatus,
    step::{Answer, StepState, Waiting},
};
use ratchet_engine::{Engine, EngineError, ResumeRequest, StartRequest};

use super::{
    Mode,
    model::{List, Model},
    random::Random,
    script::Script,
    world::{Act, HOUR, MINUTE, SECOND, Shared, Timer, World, lock},
};

/// Plans what people do to a run while things go wrong.
pub(crate) fn plan(world: &mut World, mode: Mode, run: usize, calm_at: i64) {
    world.after(0, Timer::Person(Act::Start(run)));
    world.after(10 * MINUTE, Timer::Person(Act::Look(run)));
    let acts = match mode {
        Mode::Calm | Mode::Killed => 0,
        Mode::Faults | Mode::Silent => [0, 0, 0, 1, 2][world.random.below(5)],
        Mode::Storm => world.random.below(9) + 2,
    };
    for _ in 0..acts {
        let at = match world.random.below(4) {
            0 => world.random.between(0, 50),
            1 => world.random.between(0, 30 * SECOND),
            _ => world.random.between(0, calm_at),
        };
        let act = match world.random.below(5) {
            0 | 1 => Act::Cancel(run),
            2 | 3 => Act::Resume { run, from_some: false },
            _ => Act::Resume { run, from_some: true },
        };
        world.after(at, Timer::Person(act));
    }
    // What failed or was cancelled is taken up again once all is calm, mostly.
    if !matches!(mode, Mode::Calm | Mode::Killed) && world.random.chance(600) {
        world.after(calm_at + HOUR, Timer::Person(Act::Resume { run, from_some: false }));
    }
}

/// Does what a person does. Returns a line about it.
pub(crate) async fn perform(
    engine: Arc<Engine>,
    world: Shared,
    act: Act,
    request: StartRequest,
    resume: ResumeRequest,
    script: Script,
) {
    let id = request.execution.clone();
    let again = |world: &Shared, act: Act| lock(world).after(MINUTE, Timer::Person(act));
    let files = resume.files.clone();
    let done: Result<(), EngineError> = match act {
        Act::Start(_) => Box::pin(engine.start(request)).await.map(|_| ()),
        Act::Cancel(_) => engine.cancel(&id, Actor::Person("ada".to_owned()), "enough").await.map(|_| ()),
        Act::Resume { .. } => {
            let resumed = engine.resume(&id, resume).await;
            resumed.map(|row| lock(&world).laws.brought_in(&row, files.as_ref()))
        }
        Act::Look(_) => return Box::pin(look(engine, world, act, request, script)).await,
    };
    let mut locked = lock(&world);
    locked.say(|| format!("{act:?}: {}", done.as_ref().map_or_else(ToString::to_string, |()| "done".to_owned())));
    drop(locked);
    if let (Act::Start(_), Err(_)) = (act, &done) {
        again(&world, act);
    }
}

/// Lets a run go on that waits for a person, answers what it asks, and asks again for a run that is not there.
async fn look(engine: Arc<Engine>, world: Shared, act: Act, request: StartRequest, script: Script) {
    let Act::Look(run) = act else { return };
    match engine.ports().store.execution(&request.execution).await {
        Ok(None) => lock(&world).after(0, Timer::Person(Act::Start(run))),
        // More than the budget will not be spent: they have it end there, at once or after they tried again.
        Ok(Some(row)) if is_out_of_budget(&row) && lock(&world).random.chance(700) => {
            lock(&world).after(0, Timer::Person(Act::Cancel(run)));
        }
        Ok(Some(row)) if row.status == ExecutionStatus::Paused && !row.is_watched() => {
            lock(&world).after(0, Timer::Person(Act::Resume { run, from_some: false }));
        }
        Ok(Some(row)) if row.is_watched() => {
            let all: Vec<ExecutionRow> = {
                let world = lock(&world);
                let within = world.laws.runs.values().filter_map(|known| known.row.clone());
                within.filter(|other| other.id.is_within(&row.id) && other.is_watched()).collect()
            };
            for row in all {
                answer_all(engine.clone(), world.clone(), &row, &script).await;
            }
        }
        Ok(Some(_)) | Err(_) => {}
    }
}

fn is_out_of_budget(row: &ExecutionRow) -> bool {
    let is_about_it = |reason: &String| reason.contains("RT-0188");
    row.status == ExecutionStatus::Paused && row.pause_reason.as_ref().is_some_and(is_about_it)
}

/// Says yes or no to every step that asks, at times twice and at times otherwise the second time.
async fn answer_all(engine: Arc<Engine>, world: Shared, row: &ExecutionRow, script: &Script) {
    let asking: Vec<(StepKey, Option<bool>)> = {
        let world = lock(&world);
        let rows = world.laws.runs.get(&row.id).into_iter().flat_map(|known| known.rows.values());
        rows.filter(|step| step.key.epoch == row.epoch)
            .filter_map(|step| {
                let StepState::Waiting(Waiting::Approval(question)) = &step.state else { return None };
                let StepPath { step: id, child } = &step.key.path;
                let answer = script.answer(id.as_str(), *child, question.due.is_some(), row.epoch.0);
                Some((step.key.clone(), answer))
            })
            .collect()
    };
    for (key, approved) in asking {
        let Some(approved) = approved else { continue };
        let (twice, otherwise) = {
            let mut world = lock(&world);
            (world.random.chance(300), world.random.chance(300))
        };
        let say = |approved| Answer { approved, comment: None, by: "ada".to_owned() };
        let actor = || Actor::Person("ada".to_owned());
        let first = engine.answer(&key, say(approved), actor()).await;
        lock(&world).say(|| format!("answer {key} {approved}: {:?}", first.as_ref().err()));
        // Where nobody knows whether the first answer was heard, the second may be it.
        if twice && (first.is_ok() || !otherwise) {
            let second = engine.answer(&key, say(approved != otherwise), actor()).await;
            if otherwise && second.is_ok() {
                lock(&world).laws.broken("an answer stands", format!("{key} was answered twice"));
            }
        }
    }
}

/// Some steps of the work to begin again from.
pub(crate) fn some_steps(model: &Model, random: &mut Random) -> Vec<StepId> {
    let work: Vec<&str> =
        model.steps.iter().filter(|step| step.list == List::Work).map(|step| step.id.as_str()).collect();
    (0..=random.below(2)).map(|_| StepId::new(*random.pick(&work))).collect()
}
