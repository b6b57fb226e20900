//! The children of a fan-out: lanes that move on, arrivals, and what they give together.

use std::collections::{BTreeMap, HashSet};

use jiff::Timestamp;
use ratchet_core::{
    event::{Outcome, StepEvent},
    fan_out::{self, Lane},
    history::Actor,
    ids::{StepId, StepKey, StepPath},
    join::{BUCKET_SIZE, JoinKind, JoinShape, NeedOutcome},
    output::{Output, Outputs},
    status::StepStatus,
    step::{StepFailure, StepResult, StepRow, StepState, Usage, Waiting},
    workflow::Step,
};

use super::{Advance, Change, Dispatch, Subject, Task};
use crate::{
    artifacts::Registered,
    engine::EngineError,
    ports::{Branch, Event, Expectation, Write},
    trees,
    values::store_large,
};

/// Children that are read at once: whole buckets.
const PAGE: usize = 10 * BUCKET_SIZE as usize;

/// Children that only others can move on.
#[derive(Default)]
pub(crate) struct Children {
    /// Attempts that should be running.
    pub(crate) running: Vec<(StepKey, u32)>,
    /// Attempts that are runs of their own.
    pub(crate) nested: Vec<StepRow>,
    /// Attempts that failed and whose next one is due.
    pub(crate) retry_due: Vec<(StepKey, u32)>,
    /// Those that waited for a time which has come.
    pub(crate) timers_due: Vec<StepKey>,
    /// The next time that another waits for.
    pub(crate) next_due: Option<Timestamp>,
    /// Whether one waits for a time that has not come.
    pub(crate) waits_for_time: bool,
    /// Whether one waits for a person's word.
    pub(crate) asks: bool,
    /// Whether one waits for a person: its attempt was lost.
    pub(crate) waits_for_person: bool,
}

/// What is left of children that their fan-out did not wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LeftBehind {
    /// None.
    Nothing,
    /// Some that are being given up.
    Stopping,
    /// Some that are runs of their own and are ending.
    Ending,
}

/// What the children of a fan-out gave together.
#[derive(Default)]
struct Gathered {
    outputs: BTreeMap<String, Vec<Option<Output>>>,
    failures: u32,
    /// Whether one ended them all as a success.
    concluded: bool,
    /// What those left that are done.
    branches: BTreeMap<u32, Branch>,
    /// Of the lowest child that failed.
    first_failure: Option<(StepPath, StepFailure)>,
}

impl Gathered {
    fn add(&mut self, child: u32, row: &StepRow, count: u32) {
        if let StepState::Failed { failure, .. } = &row.state {
            self.failures += 1;
            if self.first_failure.as_ref().is_none_or(|(first, _)| row.key.path < *first) {
                self.first_failure = Some((row.key.path.clone(), failure.clone()));
            }
        }
        self.concluded |= row.concludes();
        if let (StepStatus::Completed, Some(tree)) =
            (row.status(), row.tree().filter(|tree| row.base.as_ref() != Some(tree)))
        {
            self.branches.insert(child, Branch { step: row.key.path.clone(), tree: tree.clone() });
        }
        for (name, output) in row.result.iter().flat_map(|result| &result.outputs) {
            let list = self.outputs.entry(name.clone()).or_insert_with(|| vec![None; count as usize]);
            if let Some(place) = list.get_mut(child as usize) {
                *place = Some(output.clone());
            }
        }
    }
}

impl Children {
    /// Whether anything goes on, or is to, without a person's answer.
    pub(crate) fn go_on(&self) -> bool {
        let is_still = self.running.is_empty() && self.retry_due.is_empty() && self.timers_due.is_empty();
        !is_still || self.waits_for_time || self.waits_for_person
    }
}

impl Advance<'_> {
    /// Starts the first child of each lane.
    pub(super) async fn start_children(&mut self, step: &StepId, after: Option<u64>) -> Result<(), EngineError> {
        let Some(parent) = self.row(&StepPath::step(step.clone())).await? else { return Ok(()) };
        let StepState::FannedOut { lanes, .. } = parent.state else { return Ok(()) };
        for head in 0..lanes {
            self.start_child(&parent, head, None, after);
        }
        Ok(())
    }

    fn start_child(&mut self, parent: &StepRow, child: u32, predecessor: Option<u32>, after: Option<u64>) {
        let path = StepPath::child(parent.key.path.step.clone(), child);
        self.queue_after(Task::Dispatch(Dispatch { path, needs: parent.needs, predecessor, adopts: None }), after);
    }

    /// Moves the lane of a settled child on: to the child that its row names, or to another where that one was taken.
    pub(super) async fn pass_lane(&mut self, path: StepPath, after: Option<u64>) -> Result<(), EngineError> {
        let parent = self.row(&StepPath::step(path.step.clone())).await?;
        let Some(parent) = parent.filter(|row| !row.status().is_settled()) else { return Ok(()) };
        let Some(row) = self.row(&path).await?.filter(|row| row.status().is_settled()) else { return Ok(()) };
        let next = match row.successor {
            Some(next) => self.row(&StepPath::child(path.step.clone(), next)).await?,
            None => None,
        };
        let other = match fan_out::lane(&row, next.as_ref()) {
            Lane::Start(next) => {
                self.start_child(&parent, next, path.child, after);
                return Ok(());
            }
            Lane::MovedOn if row.successor.is_some() => return Ok(()),
            Lane::MovedOn => self.successor_of(&path).await?,
            Lane::Taken => {
                self.last_children.remove(&path.step);
                self.successor_of(&path).await?
            }
        };
        if other == row.successor {
            return Ok(());
        }
        if let Some(next) = other
            && self.run.workflow.step(&path.step).is_some_and(|step| step.action.needs_task())
            && !self.take_lane_slot(&path).await?
        {
            let (epoch, needs, predecessor) = (self.run.row.epoch, parent.needs, path.child);
            let path = StepPath::child(path.step, next);
            return self.put_off(Event::StepReady { epoch, path, needs, predecessor }, after).await;
        }
        let change = Change {
            cause: format!("LaneTaken {path}"),
            event: StepEvent::LaneTaken { successor: other },
            actor: Actor::Engine,
            on: Subject::Row(Box::new(row)),
            launch: None,
            origin: Task::PassLane(path.clone()),
            path,
        };
        self.change_or_log(change, after);
        Ok(())
    }

    /// Tells a fan-out that a child of it settled.
    pub(super) async fn tell_parent(
        &mut self,
        row: &StepRow,
        child: u32,
        outcome: NeedOutcome,
        after: Option<u64>,
    ) -> Result<(), EngineError> {
        let step = row.key.path.step.clone();
        let parent = self.row(&StepPath::step(step.clone())).await?;
        let Some(count) = parent.filter(|row| !row.status().is_settled()).and_then(|row| row.children()) else {
            return Ok(());
        };
        let failed = row.status() == StepStatus::Failed;
        if row.concludes() {
            self.queue_after(Task::ChildrenDone(step), after);
            return Ok(());
        }
        if failed && self.fails_for_all(&step, count, child).await? {
            self.queue_after(Task::ChildrenDone(step), after);
            return Ok(());
        }
        // What failed above the fan-out is told by the fan-out itself.
        let outcome = NeedOutcome { satisfied: outcome.satisfied, failed_above: failed, continued_above: false };
        let place = JoinShape::new(count).place(child);
        self.queue_after(Task::Arrive { step, kind: JoinKind::Children, place, outcome }, after);
        if row.successor.is_none() {
            self.queue_after(Task::PassLane(row.key.path.clone()), after);
        }
        Ok(())
    }

    /// Whether a child's failure is one more than the fan-out tolerates, and its author wants it to stop then.
    async fn fails_for_all(&self, step: &StepId, count: u32, child: u32) -> Result<bool, EngineError> {
        let Some(foreach) = self.run.workflow.step(step).and_then(|step| step.foreach.as_ref()) else {
            return Ok(false);
        };
        if !foreach.fail_fast {
            return Ok(false);
        }
        let mut failures = 1;
        for bucket in 0..JoinShape::new(count).buckets(0) {
            if failures > foreach.tolerated_failures {
                break;
            }
            let key = self.bucket(step.clone(), JoinKind::Children, 0, bucket);
            let mut failed = self.engine.ports.store.join(&key).await?.map_or(0, |row| row.failed);
            if bucket == child / BUCKET_SIZE {
                failed &= !(1 << (child % BUCKET_SIZE));
            }
            failures += failed.count_ones();
        }
        Ok(failures > foreach.tolerated_failures)
    }

    /// Settles a fan-out with what its children gave.
    pub(super) async fn children_done(&mut self, step: &StepId, after: Option<u64>) -> Result<(), EngineError> {
        let path = StepPath::step(step.clone());
        let Some(parent) = self.row(&path).await? else { return Ok(()) };
        let Some(count) = parent.children().filter(|_| !parent.status().is_settled()) else { return Ok(()) };
        self.register_children(step, count).await?;
        let gathered = self.gather(step, count).await?;
        let tolerated = self
            .run
            .workflow
            .step(step)
            .and_then(|step| step.foreach.as_ref())
            .map_or(0, |foreach| foreach.tolerated_failures);
        let branches = gathered.branches.into_values().collect();
        let left = trees::merge(self.engine, &self.run, branches).await?.unwrap_or_default();
        let outcome = match (gathered.first_failure, left.conflict) {
            (Some((first, failure)), _) if gathered.failures > tolerated && !gathered.concluded => {
                let message = format!("{} of {count} children failed, the first {first}: {failure}", gathered.failures);
                let failure = StepFailure { message, tree: left.tree, ..failure };
                Outcome::Failed { failure, usage: Usage::default() }
            }
            (_, Some(failure)) => Outcome::Failed { failure, usage: Usage::default() },
            (_, None) => {
                let outputs: Outputs =
                    gathered.outputs.into_iter().map(|(name, list)| (name, Output::Each(list))).collect();
                let outputs = store_large(self.engine.ports.blobs.as_ref(), outputs).await?;
                Outcome::Succeeded(StepResult {
                    outputs,
                    concludes: gathered.concluded,
                    tree: left.tree,
                    ..StepResult::default()
                })
            }
        };
        let change = Change {
            cause: format!("ChildrenDone {step}"),
            event: StepEvent::ChildrenDone(outcome),
            actor: Actor::Engine,
            on: Subject::Row(Box::new(parent)),
            launch: None,
            origin: Task::ChildrenDone(step.clone()),
            path,
        };
        self.change_or_log(change, after);
        Ok(())
    }

    /// Has registered what children made whose settling somebody did not live to follow up: nobody looks at them once the fan-out has settled.
    async fn register_children(&mut self, step: &StepId, count: u32) -> Result<(), EngineError> {
        let keeps = self.run.workflow.step(step).is_some_and(|step| step.outputs.iter().any(|output| output.artifact));
        let Some(registered) = Registered::load(self.engine, &self.run).await?.filter(|_| keeps) else { return Ok(()) };
        let mut from = 0;
        while from < count {
            let store = &self.engine.ports.store;
            let rows = store.children(&self.run.row.id, self.run.row.epoch, step, from, PAGE).await?;
            let Some(last) = rows.last().and_then(|row| row.key.path.child) else { break };
            registered.complete(self.engine, &self.run, &rows).await?;
            from = last + 1;
        }
        Ok(())
    }

    async fn gather(&self, step: &StepId, count: u32) -> Result<Gathered, EngineError> {
        // Where all children failed, the lists are there too.
        let declared = self.run.workflow.step(step).map(Step::output_names).unwrap_or_default();
        let mut gathered = Gathered::default();
        for output in declared {
            gathered.outputs.insert(output.to_owned(), vec![None; count as usize]);
        }
        // What was staged is not in the store yet, and stands over what is.
        let mut staged: BTreeMap<u32, &StepRow> = BTreeMap::new();
        for (path, row) in self.overlay.iter().filter(|(path, _)| path.step == *step) {
            staged.extend(path.child.map(|child| (child, row)));
        }
        let mut from = 0;
        while from < count {
            let store = &self.engine.ports.store;
            let rows = store.children(&self.run.row.id, self.run.row.epoch, step, from, PAGE).await?;
            let Some(last) = rows.last().and_then(|row| row.key.path.child) else { break };
            for row in &rows {
                let child = row.key.path.child.unwrap_or_default();
                gathered.add(child, staged.remove(&child).unwrap_or(row), count);
            }
            from = last + 1;
        }
        for (child, row) in staged {
            gathered.add(child, row, count);
        }
        Ok(gathered)
    }

    /// Stops the children of a fan-out, of whichever epoch, that still run.
    pub(crate) async fn stop_children(&mut self, key: &StepKey) -> Result<(), EngineError> {
        let unsettled: Vec<StepKey> = self.unsettled_children(key).await?.into_iter().map(|row| row.key).collect();
        if !unsettled.is_empty() {
            self.push(Task::Cancel(unsettled));
        }
        Ok(())
    }

    /// Stops the children of fan-outs that ended before they did. Says what there may be of them.
    pub(super) async fn stop_left_behind(&mut self) -> Result<LeftBehind, EngineError> {
        let with_children = self.run.workflow.steps.iter().filter(|step| step.foreach.is_some());
        let paths: Vec<StepPath> = with_children.map(|step| StepPath::step(step.id.clone())).collect();
        let mut found = LeftBehind::Nothing;
        for path in paths {
            let mut ended = self.row(&path).await?;
            if ended.is_none() && self.run.is_nested(&path.step) {
                // Runs of an older epoch may still be ending.
                let (store, row) = (&self.engine.ports.store, &self.run.row);
                let newest = store.newest_steps(&row.id, row.epoch, std::slice::from_ref(&path.step)).await?;
                ended = newest.into_iter().flatten().next();
            }
            let ended = ended.filter(|row| {
                let is_of_epoch = row.key.epoch == self.run.row.epoch;
                row.left_children_behind() && (row.status() != StepStatus::Cancelled || !is_of_epoch)
            });
            if ended.is_some() && self.overlay.contains_key(&path) {
                // It ends only with what is committed next, and its children are stopped then.
                found = LeftBehind::Stopping;
                continue;
            }
            let Some(row) = ended else { continue };
            for child in self.unsettled_children(&row.key).await? {
                if self.end_run(&child).await? {
                    self.push(Task::Cancel(vec![child.key]));
                    found = LeftBehind::Stopping;
                } else if found == LeftBehind::Nothing {
                    found = LeftBehind::Ending;
                }
            }
        }
        Ok(found)
    }

    /// The children of a fan-out, of whichever epoch, that are not settled.
    pub(super) async fn unsettled_children(&self, key: &StepKey) -> Result<Vec<StepRow>, EngineError> {
        let mut unsettled = Vec::new();
        let mut from = 0;
        loop {
            let store = &self.engine.ports.store;
            let rows = store.children(&key.execution, key.epoch, &key.path.step, from, PAGE).await?;
            let Some(last) = rows.last().and_then(|row| row.key.path.child) else { return Ok(unsettled) };
            unsettled.extend(rows.into_iter().filter(|row| !row.status().is_settled()));
            from = last + 1;
        }
    }

    /// Looks after a fan-out whose events may have been lost: every lane, every arrival.
    pub(crate) async fn push_fan_out(&mut self, key: &StepKey) -> Result<Children, EngineError> {
        let Some(parent) = self.row(&key.path).await? else { return Ok(Children::default()) };
        let StepState::FannedOut { count, lanes } = parent.state else { return Ok(Children::default()) };
        let shape = JoinShape::new(count);
        let now = self.engine.ports.clock.now();
        let mut found = Children::default();
        let registered = Registered::load(self.engine, &self.run).await?;
        let mut started = vec![false; lanes as usize];
        let (mut settled, mut taken_over) = (Vec::new(), HashSet::new());
        let mut begun = 0;
        for bucket in 0..shape.buckets(0) {
            let join = self
                .engine
                .ports
                .store
                .join(&self.bucket(key.path.step.clone(), JoinKind::Children, 0, bucket))
                .await?;
            let arrived = join.as_ref().map_or(0, ratchet_core::join::JoinRow::arrived);
            let from = bucket * BUCKET_SIZE;
            let store = &self.engine.ports.store;
            let limit = BUCKET_SIZE as usize;
            let rows = store.children(&self.run.row.id, self.run.row.epoch, &key.path.step, from, limit).await?;
            if let Some(registered) = &registered {
                registered.complete(self.engine, &self.run, &rows).await?;
            }
            for row in rows {
                let Some(child) = row.key.path.child.filter(|child| *child < from + BUCKET_SIZE) else { continue };
                if let Some(started) = started.get_mut(child as usize) {
                    *started = true;
                }
                begun += 1;
                let next_due = row.due().filter(|due| *due > now);
                found.next_due = found.next_due.into_iter().chain(next_due).min();
                taken_over.extend(row.predecessor);
                match &row.state {
                    StepState::Running { .. } if row.execution.is_some() => found.nested.push(row.clone()),
                    StepState::Running { .. } => found.running.push((row.key.clone(), row.attempt)),
                    StepState::Waiting(Waiting::Retry { due }) if *due <= now => {
                        found.retry_due.push((row.key.clone(), row.attempt));
                    }
                    StepState::Waiting(Waiting::Time { .. } | Waiting::Approval(_))
                        if row.due().is_some_and(|due| due <= now) =>
                    {
                        found.timers_due.push(row.key.clone());
                    }
                    StepState::Waiting(Waiting::Retry { .. } | Waiting::Time { .. }) => found.waits_for_time = true,
                    StepState::Waiting(Waiting::Approval(_)) => found.asks = true,
                    StepState::Waiting(Waiting::Lost { .. } | Waiting::Limit(_)) => found.waits_for_person = true,
                    StepState::FannedOut { .. } => {}
                    StepState::Completed
                    | StepState::Failed { .. }
                    | StepState::Skipped(_)
                    | StepState::Blocked
                    | StepState::Cancelled => {
                        if arrived & (1 << (child - from)) == 0 {
                            self.push(Task::Tell(Box::new(row.clone())));
                        }
                        settled.push(child);
                    }
                }
            }
            if let Some(join) = join.filter(|join| shape.is_full(join)) {
                self.united(&join).await?;
            }
        }
        for (head, _) in (0..lanes).zip(started).filter(|(_, started)| !started) {
            self.start_child(&parent, head, None, None);
        }
        if begun < count {
            for child in settled.into_iter().filter(|child| !taken_over.contains(child)) {
                self.push(Task::PassLane(StepPath::child(key.path.step.clone(), child)));
            }
        }
        Ok(found)
    }

    /// The highest child that was started, as far as this handler knows: it looks once, and from then on counts those that it names itself, so that no two of its lanes name the
    /// same child. Where another handler started some meanwhile, a lane finds its own taken, and has this one look again.
    pub(super) async fn last_child(&mut self, step: &StepId) -> Result<Option<u32>, EngineError> {
        if let Some(last) = self.last_children.get(step) {
            return Ok(Some(*last));
        }
        // Children come after their fan-out: one that is not there yet has none.
        let fan_out = StepPath::step(step.clone());
        let is_new = |write: &Write| matches!(write, Write::Step { row, expect: Expectation::Absent } if row.key.path == fan_out);
        let stored = if self.staged.iter().any(|staged| is_new(&staged.write)) {
            None
        } else {
            self.engine.ports.store.last_child(&self.run.row.id, self.run.row.epoch, step).await?
        };
        let staged = self.overlay.iter().filter(|(path, _)| path.step == *step);
        let last = staged.map(|(path, row)| path.child.max(row.successor)).max().flatten().max(stored);
        self.last_children.extend(last.map(|last| (step.clone(), last)));
        Ok(last)
    }
}
