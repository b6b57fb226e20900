use std::sync::Arc;

use async_trait::async_trait;
use ratchet_core::{
    ids::{Digest, ExecutionId, StepKey},
    output::{FileValue, Output, Outputs},
    step::{FailureClass, StepFailure, StepResult, StepRow, Usage},
};
use ratchet_engine::{
    order::{AttemptOutcome, AttemptReport, Order, OutputOrderSource, Work},
    ports::{Envelope, Event, LaunchError, Slot, StateStore as _, TaskLauncher, TaskState},
};
use serde_json::json;

use super::bus::send;
use crate::{
    memory::{MemoryBlobStore, MemoryStateStore, MemoryWorkspaces},
    simulation::{
        Mutation,
        laws::Laws,
        limits::price,
        model::{Failing, kept_content},
        random::Random,
        script::{Deed, Script, list, value},
        tasks::{Task, TaskStage},
        trace::name,
        world::{HOUR, MINUTE, SECOND, Shared, Timer, World, lock, pause},
    },
};

/// Tasks that take time, fail, are lost, and report late or not at all. One launcher for each process of the engine; they share the tasks.
pub(crate) struct SimulatedLauncher {
    pub(crate) world: Shared,
    pub(crate) process: usize,
    pub(crate) store: Arc<MemoryStateStore>,
    pub(crate) blobs: Arc<MemoryBlobStore>,
    pub(crate) script: Script,
    pub(crate) workspaces: Arc<MemoryWorkspaces>,
    /// The contract that it breaks on purpose.
    pub(crate) mutation: Option<Mutation>,
}

#[async_trait]
impl TaskLauncher for SimulatedLauncher {
    async fn reserve(&self) -> Result<Slot, LaunchError> {
        let slots = {
            let mut world = lock(&self.world);
            let slots = world.tasks.slots.clone();
            // At times a slot is there at once, at times only after others had their turn.
            if world.random.chance(700)
                && let Ok(permit) = slots.clone().try_acquire_owned()
            {
                return Ok(Slot::counted(permit));
            }
            slots
        };
        pause(&self.world).await;
        let permit = slots.acquire_owned().await;
        permit.map(Slot::counted).map_err(|closed| LaunchError::Refused(closed.to_string()))
    }

    async fn launch(&self, slot: Slot, order: Order) -> Result<(), LaunchError> {
        pause(&self.world).await;
        // What a process does follows from how often its step failed before, which only the state knows.
        let row = self.store.step(&order.key).await.ok().flatten();
        let launched = self.start(slot, &order, row.as_ref());
        pause(&self.world).await;
        launched
    }

    async fn state(&self, key: &StepKey, attempt: u32) -> Result<TaskState, LaunchError> {
        pause(&self.world).await;
        let state = self.look(key, attempt)?;
        pause(&self.world).await;
        Ok(state)
    }

    fn is_driven(&self, execution: &ExecutionId) -> bool {
        match self.mutation {
            Some(Mutation::DeadDrive) => true,
            Some(Mutation::NobodyDrives) => false,
            _ => !lock(&self.world).laws.killed.is_away(execution),
        }
    }

    fn room_left_by(&self, _key: &StepKey, _attempt: u32) -> Option<Slot> {
        let mut world = lock(&self.world);
        let slots = world.tasks.slots.clone();
        // Kept room is room that has come free in this very moment, which nobody else had a chance to take.
        if world.random.chance(500) { slots.try_acquire_owned().ok().map(Slot::counted) } else { None }
    }

    async fn stop(&self, key: &StepKey, attempt: u32) -> Result<(), LaunchError> {
        pause(&self.world).await;
        {
            let mut world = lock(&self.world);
            let named = (key.clone(), attempt);
            let is_live = world.tasks.lose(&named);
            world.tasks.fenced.insert(named);
            world.say(|| {
                format!("stop {}#{attempt}: {}", name(key), if is_live { "stopped" } else { "was not running" })
            });
            // A task that is told to stop reports that it did.
            if is_live && world.random.chance(500) {
                let task = world.tasks.by_name.get(&(key.clone(), attempt));
                let report = task.map(|task| AttemptReport { outcome: AttemptOutcome::Stopped, ..task.report.clone() });
                if let Some(report) = report {
                    send_report(&mut world, report);
                }
            }
            let rate = world.faults.launcher_answer_lost;
            if world.random.chance(rate) {
                return Err(LaunchError::NoCapacity("the launcher does not answer".to_owned()));
            }
        }
        pause(&self.world).await;
        Ok(())
    }
}

impl SimulatedLauncher {
    fn start(&self, slot: Slot, order: &Order, row: Option<&StepRow>) -> Result<(), LaunchError> {
        let mut world = lock(&self.world);
        let world = &mut *world;
        let named = (order.key.clone(), order.attempt);
        let rate = world.faults.no_capacity;
        if world.random.chance(rate) {
            world.say(|| format!("launch {}#{}: no capacity", name(&order.key), order.attempt));
            return Err(LaunchError::NoCapacity("all machines are taken".to_owned()));
        }
        let forgets = self.mutation == Some(Mutation::LauncherForgets);
        if world.tasks.fenced.contains(&named) && !forgets {
            world.say(|| format!("launch {}#{}: was given up before it started", name(&order.key), order.attempt));
            return Ok(());
        }
        if world.tasks.by_name.contains_key(&named) {
            world.laws.launched_twice(&named);
            return Ok(());
        }
        let failures = row.map_or(0, |row| row.failures);
        let step = order.key.path.step.as_str();
        let deed = self.script.deed(step, order.key.path.child, failures, order.key.epoch.0);
        Laws::check_launch(world, order, row);
        if deed == Deed::Fails(Failing::Refused) {
            world.say(|| format!("launch {}#{}: refused", name(&order.key), order.attempt));
            world.tasks.fenced.insert(named);
            return Err(LaunchError::Refused("there is no such program".to_owned()));
        }
        let serial = world.tasks.by_name.len() as u64 + 1;
        let left = order.tree.as_ref().map(|tree| self.workspaces.leave(tree, [effect(&order.key, order.attempt)]));
        let outcome = outcome(order, deed, serial, left, &self.blobs);
        let duration = duration(&mut world.random);
        world.say(|| format!("launch {}#{} for {duration} ms: {deed:?}", name(&order.key), order.attempt));
        let report =
            AttemptReport { key: order.key.clone(), attempt: order.attempt, token: order.token.clone(), outcome };
        let task = Task {
            process: self.process,
            slot: Some(slot),
            report,
            state: TaskStage::Running,
            in_flight: 0,
            handled: false,
        };
        world.tasks.by_name.insert(named, task);
        world.after(duration, Timer::TaskEnds(order.key.clone(), order.attempt));
        let rate = world.faults.launcher_answer_lost;
        if world.random.chance(rate) {
            world.say(|| format!("launch {}#{}: the answer is lost", name(&order.key), order.attempt));
            return Err(LaunchError::NoCapacity("the launcher does not answer".to_owned()));
        }
        Ok(())
    }

    fn look(&self, key: &StepKey, attempt: u32) -> Result<TaskState, LaunchError> {
        let mut world = lock(&self.world);
        let rate = world.faults.launcher_answer_lost;
        if world.random.chance(rate) {
            return Err(LaunchError::NoCapacity("the launcher does not answer".to_owned()));
        }
        let named = (key.clone(), attempt);
        let early = world.faults.gone_too_early;
        let gone_too_early = world.random.chance(early);
        let keeps = world.tasks.keeps_reports;
        let state = match world.tasks.by_name.get(&named) {
            None => TaskState::Gone,
            Some(task) => match task.state {
                TaskStage::Running => TaskState::Alive,
                TaskStage::Reported if task.in_flight > 0 && !gone_too_early => TaskState::Alive,
                TaskStage::Reported if keeps && !task.handled => {
                    let report = task.report.clone();
                    send_report(&mut world, report);
                    TaskState::Alive
                }
                TaskStage::Reported | TaskStage::Lost => TaskState::Gone,
            },
        };
        world.say(|| format!("state of {}#{attempt}: {state:?}", name(key)));
        if state == TaskState::Gone {
            world.tasks.fenced.insert(named);
        }
        Ok(state)
    }
}

/// Ends the process of an attempt: it reports, or is lost.
pub(crate) fn end(world: &mut World, key: &StepKey, attempt: u32) {
    let named = (key.clone(), attempt);
    let rate = world.faults.task_lost;
    if world.random.chance(rate) {
        if world.tasks.lose(&named) {
            world.say(|| format!("task {}#{attempt} is lost", name(key)));
        }
        return;
    }
    let Some(task) = world.tasks.by_name.get_mut(&named).filter(|task| task.state == TaskStage::Running) else {
        return;
    };
    task.state = TaskStage::Reported;
    task.slot = None;
    let report = task.report.clone();
    world.say(|| format!("task {}#{attempt} ends", name(key)));
    send_report(world, report);
}

fn send_report(world: &mut World, report: AttemptReport) {
    let execution = report.key.execution.clone();
    let trace = crate::builders::trace();
    send(world, &Envelope { execution, trace, event: Event::StepFinished(Box::new(report)) }, None);
}

/// The file that an attempt writes.
pub(crate) fn effect(key: &StepKey, attempt: u32) -> (String, String) {
    (format!("{}/{}", key.execution, key.path), format!("{}#{attempt}", key.epoch.0))
}

fn outcome(order: &Order, deed: Deed, serial: u64, left: Option<Digest>, blobs: &MemoryBlobStore) -> AttemptOutcome {
    let (cost, tokens) = price(serial);
    let asks = matches!(order.work, Work::Agent(_));
    let usage = Usage {
        process_ms: serial,
        cost_usd: asks.then_some(cost),
        tokens: asks.then_some(tokens),
        ..Usage::default()
    };
    let failed = |class, message: &str| {
        let failure = StepFailure { tree: left.clone(), ..StepFailure::new(class, message) };
        AttemptOutcome::Failed { failure, usage }
    };
    match deed {
        Deed::Fails(Failing::Exit(code)) => failed(FailureClass::Exit(code.into()), "it exited badly"),
        Deed::Fails(Failing::Timeout) => failed(FailureClass::Timeout, "it took too long"),
        Deed::Fails(Failing::Output) => failed(FailureClass::Output, "an output is not there"),
        Deed::Fails(Failing::Refused) => failed(FailureClass::Launch, "it was refused"),
        Deed::Succeeds => {
            let step = order.key.path.step.as_str();
            let variables = order.environment.iter().map(|(name, value)| (name.as_str(), value.as_str()));
            let v = value(step, variables.filter(|(name, _)| !name.starts_with("A_")));
            let mut outputs = Outputs::new();
            outputs.insert("v".to_owned(), Output::Json(json!(v)));
            outputs.insert("list".to_owned(), Output::Json(json!(list(step, v))));
            for output in &order.outputs {
                if let OutputOrderSource::File(path) = &output.source {
                    let content = blobs.keep(kept_content(step, v).as_bytes());
                    outputs.insert(output.name.clone(), Output::File(FileValue { path: path.clone(), content }));
                }
            }
            AttemptOutcome::Succeeded(StepResult {
                outputs,
                exit_code: Some(0),
                usage,
                tree: left,
                ..StepResult::default()
            })
        }
    }
}

fn duration(random: &mut Random) -> i64 {
    match random.below(10) {
        0..=3 => random.between(0, 5),
        4..=7 => random.between(10, 5 * SECOND),
        8 => random.between(SECOND, 10 * MINUTE),
        _ => random.between(MINUTE, HOUR),
    }
}
